//! Peers that break the rules of the DHT: refused, bounded, and no hindrance to others.

use std::{sync::Arc, time::Duration};

use futures_util::{AsyncWriteExt, future::join_all};
use libp2p::PeerId;
use perennis_net::{
    DhtMode, Net, NetLimits,
    dht::{DhtStore, EXPIRY, MemoryDhtStore, Network, StoredProvider, StoredRecord, record_key},
};
use perennis_shared::{
    cid::{Block, Codec},
    codec::protobuf::{Reader, Writer},
    ipns::{Name, Record},
    limits::{KAD_MESSAGE_BYTES, PROVIDERS_PER_KEY, RECORD_BYTES},
    time::Millis,
    wire::kad::{add_provider, put_value},
};

use crate::{
    raw::{Raw, claim, framed, is_answered, open_connections},
    swarm::{
        Peer, address, config, key, name, network, peer, record, record_until, settled, until,
    },
};

/// A put and a lookup by peers that keep the rules, which have to be served whatever else happens. As any client they
/// try again: this machine may be busy.
async fn is_served(network: &[Peer], number: u8, sequence: u64) {
    let work = async {
        let record = record(number, sequence);
        let name = name(number);
        while network[1]
            .net
            .dht()
            .put_record(&name, &record)
            .await
            .is_err()
        {}
        loop {
            let found = network[2].net.dht().find_record(&name).await;
            if found.is_ok_and(|found| found.best == record) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("peers that keep the rules are served");
}

/// A record with some fields of its protobuf replaced, or taken out.
fn with_fields(record: &Record, change: impl Fn(u32) -> Option<Option<Vec<u8>>>) -> Vec<u8> {
    let mut reader = Reader::new(record.bytes());
    let mut writer = Writer::new();
    while let Some((number, value)) = reader.next_field().unwrap() {
        match change(number) {
            Some(None) => {}
            Some(Some(bytes)) => writer.bytes(number, &bytes),
            None => match value.uint("field") {
                Ok(number_value) => writer.uint(number, number_value),
                Err(_) => writer.bytes(number, value.bytes("field").unwrap()),
            },
        }
    }
    writer.finish()
}

/// Signed properly over what is no DAG-CBOR.
fn with_bad_cbor(number: u8) -> Vec<u8> {
    let data = b"\xa2\x61\x61\xff\xff".to_vec();
    let signature = key(number).sign_raw(&[b"ipns-signature:".as_slice(), &data].concat());
    let signature = signature.to_bytes().to_vec();
    with_fields(&record(number, 1), |field| match field {
        8 => Some(Some(signature.clone())),
        9 => Some(Some(data.clone())),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_break_a_rule_are_not_acknowledged_and_not_kept() {
    let network = network(4).await;
    let victim = &network[0];
    let raw = Raw::connected(&address(&victim.net)).await;
    let own = record_key(&name(1));
    let good = record(1, 1);
    let padded = with_fields(&good, |field| {
        (field == 1).then(|| Some(vec![b'x'; RECORD_BYTES]))
    });
    let mut at_the_limit = good.bytes().to_vec();
    at_the_limit.resize(RECORD_BYTES + 1, 0);
    let without_v2 = with_fields(&good, |field| matches!(field, 8 | 9).then_some(None));
    let lapsed = record_until(1, 9, perennis_rt::now().0 - 1_000);
    let puts = [
        ("10,241 bytes", put_value(&own, &at_the_limit)),
        ("a value beyond the limit", put_value(&own, &padded)),
        (
            "the record of another key",
            put_value(&own, record(2, 1).bytes()),
        ),
        ("V1 only", put_value(&own, &without_v2)),
        ("no CBOR", put_value(&own, &with_bad_cbor(1))),
        ("lapsed", put_value(&own, lapsed.bytes())),
        ("nothing", put_value(&own, b"")),
        ("no name", put_value(b"/ipns/x", good.bytes())),
        ("another namespace", put_value(b"/pk/x", good.bytes())),
        ("no protobuf", vec![0xff; 100]),
    ];
    let to = victim.net.peer_id();
    let sends = puts.iter().map(|(what, put)| async {
        let stream = raw.send(to, put).await;
        (*what, is_answered(stream).await)
    });
    for (what, answered) in join_all(sends).await {
        assert!(!answered, "{what} was acknowledged");
    }
    assert_eq!(victim.store.records(), 0);
    let stream = raw.send(to, &put_value(&own, good.bytes())).await;
    assert!(is_answered(stream).await, "a good one is");
    assert_eq!(victim.store.records(), 1);
    is_served(&network, 3, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_highest_sequence_there_is_wins_and_nothing_overflows() {
    let network = network(6).await;
    let last = record(1, u64::MAX);
    let before = network[1]
        .net
        .dht()
        .put_record(&name(1), &record(1, 7))
        .await;
    assert_eq!(before.unwrap().reached.len(), 5);
    let report = network[2]
        .net
        .dht()
        .put_record(&name(1), &last)
        .await
        .unwrap();
    assert_eq!(report.reached.len(), 5);
    for peer in &network {
        let found = peer.net.dht().find_record(&name(1)).await.unwrap();
        assert_eq!(found.best.sequence(), u64::MAX);
    }
    network[3]
        .net
        .dht()
        .put_record(&name(1), &record(1, 8))
        .await
        .unwrap_err();
    is_served(&network, 2, 1).await;
}

/// Gives one old record for ever, whatever it was told.
struct Replaying(Record);

impl DhtStore for Replaying {
    fn record(&self, _: &Name) -> Option<StoredRecord> {
        Some(StoredRecord {
            record: self.0.clone(),
            expires: Millis(u64::MAX),
        })
    }

    fn keep_record(&self, _: &Name, _: StoredRecord) {}

    fn forget_record(&self, _: &Name) {}

    fn providers(&self, _: &[u8]) -> Vec<StoredProvider> {
        Vec::new()
    }

    fn keep_provider(&self, _: &[u8], _: StoredProvider) {}

    fn forget_provider(&self, _: &[u8], _: &PeerId) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_records_replayed_by_half_the_peers_lose_against_the_newest() {
    let mut network: Vec<Peer> = join_all((0..10).map(crate::swarm::peer)).await;
    let old = record(1, 3);
    for number in 10..20 {
        let store = MemoryDhtStore::new(10);
        let mut liar = config(number, &store);
        liar.store = Arc::new(Replaying(old.clone()));
        let net = Net::start(liar).await.unwrap();
        network.push(Peer { net, store });
    }
    let first = address(&network[0].net);
    for peer in &network[1..] {
        while peer.net.connect_to(&first).await.is_err() {}
    }
    settled(&network).await;
    let newest = record(1, 9);
    // Those who replay say that they take it, and do not.
    network[1]
        .net
        .dht()
        .put_record(&name(1), &newest)
        .await
        .unwrap();
    for round in 0..3 {
        for peer in &network {
            let found = peer.net.dht().find_record(&name(1)).await.unwrap();
            assert_eq!(found.best, newest, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_streams_that_stall_hold_nobody_up() {
    let network = network(5).await;
    let victim = &network[0].net;
    let raw = Raw::connected(&address(victim)).await;
    let mut held = Vec::new();
    for number in 0..300_usize {
        let Some(mut stream) = raw.stream(victim.peer_id()).await else {
            // No more are taken: that is a bound too.
            break;
        };
        let garbage: Vec<u8> = match number % 6 {
            0 => Vec::new(),
            // A length without end, one above the limit, and one that nothing follows.
            1 => vec![0xff; 64],
            2 => framed(&vec![0; KAD_MESSAGE_BYTES + 1]),
            3 => vec![0x80, 0x40],
            4 => framed(&[0x08, 0x63, 0x12, 0xff]),
            _ => framed(&vec![number as u8; 4_000]),
        };
        let _ = stream.write_all(&garbage).await;
        let _ = stream.flush().await;
        held.push(stream);
    }
    assert!(held.len() >= 32, "only {} streams", held.len());
    is_served(&network, 1, 1).await;
    // The peer that did it is the one that is worse off; all others are where they were.
    let peers = victim.peers().await.unwrap();
    for peer in &network[1..] {
        assert!(peers.iter().any(|known| known.peer == peer.net.peer_id()));
    }
    assert_eq!(network[0].store.records(), 1);
    drop(held);
    is_served(&network, 1, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_opens_five_thousand_connections_keeps_a_few() {
    let network = network(5).await;
    let victim = &network[0].net;
    let target = address(victim);
    let flood = tokio::spawn(async move { open_connections(&target, 5_000).await });
    let mut sequence = 0;
    while !flood.is_finished() {
        sequence += 1;
        is_served(&network, 1, sequence).await;
        let status = victim.status().await.unwrap();
        assert!(status.inbound.open <= 32, "{:?}", status.inbound);
    }
    assert_eq!(flood.await.unwrap(), 5_000);
    until(|| async {
        let inbound = victim.status().await.unwrap().inbound;
        // Four of the peer that floods, and those of the others.
        inbound.open <= 4 + 4 * 4 && inbound.refused > 1_000
    })
    .await;
    is_served(&network, 2, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_spam_is_bounded_and_the_others_are_found() {
    let network = network(6).await;
    let victim = &network[0];
    let block = Block::new(Codec::Raw, b"wanted".to_vec()).unwrap();
    let multihash = block.cid().hash().to_bytes();
    network[1].net.dht().provide(block.cid()).await.unwrap();
    // Peers that do not exist, for one key: nobody may speak for another.
    let raw = Raw::connected(&address(&victim.net)).await;
    let to = victim.net.peer_id();
    let mut stream = raw.stream(to).await.unwrap();
    for _ in 0..2_000 {
        let stranger = PeerId::random().to_bytes();
        let message = add_provider(&multihash, &stranger, []);
        stream.write_all(&framed(&message)).await.unwrap();
    }
    // The peer itself, for the same key again and again, and for keys of any length.
    let own = raw.peer.to_bytes();
    for length in 0..2_000_usize {
        let long = vec![7; 1 + length % 200];
        for key in [&multihash, &long] {
            let message = add_provider(key, &own, []);
            stream.write_all(&framed(&message)).await.unwrap();
        }
    }
    stream.flush().await.unwrap();
    until(|| async {
        let providers = victim.store.providers(&multihash);
        providers.iter().any(|provider| provider.peer == raw.peer)
    })
    .await;
    let providers = victim.store.providers(&multihash);
    assert!(providers.len() <= 2, "{}", providers.len());
    // Keys beyond the limit are not kept.
    assert!(victim.store.provided_keys() <= 82);
    let found = network[3]
        .net
        .dht()
        .find_providers(block.cid(), 20)
        .await
        .unwrap();
    let honest = network[1].net.peer_id();
    assert!(found.providers.iter().any(|found| found.peer == honest));
    is_served(&network, 1, 1).await;
}

#[test]
fn a_full_store_lets_go_of_what_has_expired_and_of_nothing_else() {
    let store = MemoryDhtStore::new(4);
    let now = perennis_rt::now();
    let kept = |expires| StoredRecord {
        record: record(1, 1),
        expires,
    };
    for number in 1..=4 {
        let expires = if number == 1 {
            Millis(now.0 - 1)
        } else {
            now + EXPIRY
        };
        store.keep_record(&name(number), kept(expires));
    }
    for number in 5..=8 {
        store.keep_record(&name(number), kept(now + EXPIRY));
    }
    assert_eq!(store.records(), 4);
    assert!(store.record(&name(1)).is_none());
    assert!((2..=5).all(|number| store.record(&name(number)).is_some()));
    for number in 0..100_u8 {
        let provider = StoredProvider {
            peer: PeerId::random(),
            addresses: Vec::new(),
            expires: now + EXPIRY,
        };
        store.keep_provider(&[number], provider);
    }
    assert_eq!(store.provided_keys(), 4);
    const { assert!(PROVIDERS_PER_KEY <= 1_024) };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_group_gets_its_share_of_the_table_and_no_more() {
    let victim = peer(1).await;
    let address = address(&victim.net);
    let known = || async {
        let routing = victim.net.status().await.unwrap().routing;
        let public = routing
            .iter()
            .find(|(network, _)| *network == Network::Public);
        public.map_or(0, |(_, known)| *known)
    };
    let most = NetLimits::default().table_per_group;
    for number in 1..=4 * most {
        claim(
            &address,
            format!("/ip4/8.8.8.{number}/tcp/4001").parse().unwrap(),
        )
        .await;
    }
    until(|| async { known().await == most }).await;
    // Others find a place. When the last of them has one, all before it were judged.
    for number in 1..=5 {
        claim(
            &address,
            format!("/ip4/9.9.{number}.1/tcp/4001").parse().unwrap(),
        )
        .await;
    }
    until(|| async { known().await == most + 5 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_answers_nobody() {
    let network = network(3).await;
    let store = MemoryDhtStore::new(10);
    let mut client = config(900, &store);
    client.dht = DhtMode::Client;
    let client = Net::start(client).await.unwrap();
    client.connect_to(&address(&network[0].net)).await.unwrap();
    let raw = Raw::connected(&address(&client)).await;
    let put = put_value(&record_key(&name(1)), record(1, 1).bytes());
    let stream = raw.send(client.peer_id(), &put).await;
    assert!(!is_answered(stream).await);
    assert_eq!(store.records(), 0);
}
