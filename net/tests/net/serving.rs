//! What others get from a server of the DHT: answers and refusals at once, on long streams and in bursts.

use std::time::{Duration, Instant};

use futures_util::{AsyncWriteExt, future::join_all};
use libp2p::{PeerId, Stream};
use perennis_net::{
    DhtMode, Net,
    dht::{DhtError, MemoryDhtStore, Network, record_key},
    framing::read_frame,
};
use perennis_shared::{
    limits::{KAD_MESSAGE_BYTES, PROVIDER_KEY_BYTES},
    wire::kad::{Answer, Question, add_provider, is_put_answer, pong, put_value},
};

use crate::{
    raw::{Raw, framed},
    swarm::{Peer, address, config, name, network, peer, record, until},
};

/// Longer than any answer takes on a machine that is busy with other tests, and less than implementations wait for one.
const PATIENCE: Duration = Duration::from_secs(8);

/// Sends a message, and reads the next one that comes on the stream.
async fn ask(stream: &mut Stream, message: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(&framed(message)).await?;
    stream.flush().await?;
    let reading = read_frame(stream, KAD_MESSAGE_BYTES);
    let read = tokio::time::timeout(PATIENCE, reading).await;
    read.expect("an answer or a refusal comes at once")
}

/// A server that has a record of sequence 9, and a peer that may say anything to it.
async fn server() -> (Peer, Raw, Vec<u8>) {
    let server = peer(1).await;
    let raw = Raw::connected(&address(&server.net)).await;
    let key = record_key(&name(1));
    let mut stream = raw.stream(server.net.peer_id()).await.unwrap();
    let answer = ask(&mut stream, &put_value(&key, record(1, 9).bytes())).await;
    assert_eq!(is_put_answer(&answer.unwrap(), &key), Ok(true));
    (server, raw, key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_put_resets_its_stream_at_once_and_no_other() {
    let (server, raw, key) = server().await;
    let to = server.net.peer_id();
    let mut other = raw.stream(to).await.unwrap();
    let question = Question::Record.message(&key);
    ask(&mut other, &question).await.unwrap();
    let bad = [
        ("stale", put_value(&key, record(1, 8).bytes())),
        ("of another name", put_value(&key, record(2, 10).bytes())),
        ("no record", put_value(&key, b"")),
        ("no name", put_value(b"/pk/x", record(1, 10).bytes())),
        ("no message", vec![0xff; 9]),
        ("an unknown type", vec![0x08, 0x63]),
    ];
    for (what, message) in bad {
        let mut stream = raw.stream(to).await.unwrap();
        assert!(ask(&mut stream, &message).await.is_err(), "{what}");
        let answer = ask(&mut other, &question).await.unwrap();
        let answer = Answer::parse(&answer, Question::Record, &key).unwrap();
        assert_eq!(answer.record, Some(&record(1, 9).bytes()[..]), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_hundred_refusals_on_one_connection_the_next_record_is_taken() {
    let (server, raw, key) = server().await;
    let to = server.net.peer_id();
    let stale = put_value(&key, record(1, 8).bytes());
    let mut held = Vec::new();
    let started = Instant::now();
    for _ in 0..100 {
        let mut stream = raw.stream(to).await.unwrap();
        assert!(ask(&mut stream, &stale).await.is_err());
        // What was reset holds no place, whether the other end lets go of it or not.
        held.push(stream);
    }
    let each = started.elapsed() / 100;
    assert!(each < Duration::from_secs(1), "a refusal takes {each:?}");
    let mut stream = raw.stream(to).await.unwrap();
    let answer = ask(&mut stream, &put_value(&key, record(1, 10).bytes())).await;
    assert_eq!(is_put_answer(&answer.unwrap(), &key), Ok(true));
    let kept = server.net.dht().find_record(&name(1)).await;
    assert_eq!(kept.unwrap().best, record(1, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_two_hundred_streams_is_answered_on_each() {
    let (server, raw, key) = server().await;
    let to = server.net.peer_id();
    let question = Question::Record.message(&key);
    for _ in 0..3 {
        let opened = join_all((0..200).map(|_| raw.stream(to))).await;
        let asked = opened.into_iter().map(async |stream| {
            let mut stream = stream.expect("it is negotiated");
            let answer = ask(&mut stream, &question).await.unwrap();
            let answer = Answer::parse(&answer, Question::Record, &key).unwrap();
            assert!(answer.record.is_some());
        });
        join_all(asked).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stream_serves_many_questions_of_every_kind() {
    let network = network(5).await;
    let server = &network[0];
    let raw = Raw::connected(&address(&server.net)).await;
    let mut stream = raw.stream(server.net.peer_id()).await.unwrap();
    let own = raw.peer.to_bytes();
    let long = [7; PROVIDER_KEY_BYTES + 1];
    for round in 0..50_u8 {
        let key = [round; 34];
        for question in [Question::Closest, Question::Record] {
            let answer = ask(&mut stream, &question.message(&key)).await.unwrap();
            let answer = Answer::parse(&answer, question, &key).unwrap();
            assert_eq!(answer.closer.len(), 4);
            assert!(answer.closer.iter().all(|peer| !peer.addresses.is_empty()));
        }
        // Neither is answered; the one that is refused ends nothing.
        for key in [&key[..], &long[..]] {
            let message = framed(&add_provider(
                key,
                &own,
                [&b"\x04\x7f\0\0\x01\x06\0\x01"[..]],
            ));
            stream.write_all(&message).await.unwrap();
        }
        let record = put_value(&record_key(&name(round)), record(round, 1).bytes());
        let answer = ask(&mut stream, &record).await.unwrap();
        assert_eq!(is_put_answer(&answer, &record_key(&name(round))), Ok(true));
        assert_eq!(ask(&mut stream, &pong()).await.unwrap(), pong());
    }
    assert_eq!(server.store.records(), 50);
    assert_eq!(server.store.provided_keys(), 50);
    // Who asks is told of others. Another hears of it, with its address.
    let question = Question::Providers.message(&[3; 34]);
    let told = ask(&mut stream, &question).await.unwrap();
    let told = Answer::parse(&told, Question::Providers, &[3; 34]).unwrap();
    assert!(told.providers.is_empty());
    let other = Raw::connected(&address(&server.net)).await;
    let mut stream = other.stream(server.net.peer_id()).await.unwrap();
    let told = ask(&mut stream, &question).await.unwrap();
    let told = Answer::parse(&told, Question::Providers, &[3; 34]).unwrap();
    assert_eq!(told.providers.len(), 1);
    assert_eq!(told.providers[0].peer, own);
    assert_eq!(told.providers[0].addresses.len(), 1);
}

/// Whether a peer says to another that it answers in the DHT.
async fn is_announced(to: &Net, of: PeerId, protocol: &str) -> Option<bool> {
    let peers = to.peers().await.unwrap();
    let info = peers.into_iter().find(|info| info.peer == of)?;
    info.agent?;
    Some(info.protocols.iter().any(|spoken| spoken == protocol))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_announced_and_let_into_tables_and_a_client_is_not() {
    let server = peer(1).await.net;
    let protocol = "/ipfs/lan/kad/1.0.0";
    let known = async || {
        let routing = server.status().await.unwrap().routing;
        let lan = routing.iter().find(|(network, _)| *network == Network::Lan);
        lan.map_or(0, |(_, known)| *known)
    };
    for (number, mode) in [
        (2, DhtMode::Off),
        (3, DhtMode::Client),
        (4, DhtMode::Server),
    ] {
        let mut other = config(number, &MemoryDhtStore::new(10));
        other.dht = mode;
        let other = Net::start(other).await.unwrap();
        other.connect_to(&address(&server)).await.unwrap();
        let is_server = mode == DhtMode::Server;
        let of = other.peer_id();
        until(|| async { is_announced(&server, of, protocol).await == Some(is_server) }).await;
        let own = server.peer_id();
        until(|| async { is_announced(&other, own, protocol).await == Some(true) }).await;
        until(|| async { known().await == usize::from(is_server) }).await;
        other.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_with_another_protocol_are_another_network() {
    let start = async |number, prefix: &str| {
        let store = MemoryDhtStore::new(100);
        let mut config = config(number, &store);
        config.dht_protocol = prefix.parse().unwrap();
        let net = Net::start(config).await.unwrap();
        Peer { net, store }
    };
    let mut peers = Vec::new();
    for number in 0..6 {
        let prefix = if number < 3 {
            "/ipfs"
        } else {
            "/example/private"
        };
        peers.push(start(number, prefix).await);
    }
    let first = address(&peers[0].net);
    for peer in &peers[1..] {
        peer.net.connect_to(&first).await.unwrap();
    }
    for [peer, to] in [[4, 3], [5, 3]] {
        let to = address(&peers[to].net);
        peers[peer].net.connect_to(&to).await.unwrap();
    }
    let known = async |peer: &Peer| {
        let routing = peer.net.status().await.unwrap().routing;
        let lan = routing.iter().find(|(network, _)| *network == Network::Lan);
        lan.map_or(0, |(_, known)| *known)
    };
    until(|| async {
        let mut all = Vec::new();
        for peer in &peers {
            // Looking around finds those of the same network that are not connected yet.
            let _ = peer.net.dht().closest(&peer.net.peer_id().to_bytes()).await;
            all.push(known(peer).await);
        }
        all == [2; 6]
    })
    .await;
    for (from, number) in [(1, 1), (4, 2)] {
        let net = &peers[from].net;
        let report = net
            .dht()
            .put_record(&name(number), &record(number, 1))
            .await;
        assert_eq!(report.unwrap().reached.len(), 2);
    }
    for (at, peer) in peers.iter().enumerate() {
        let (same, other) = if at < 3 { (1, 2) } else { (2, 1) };
        let found = peer.net.dht().find_record(&name(same)).await.unwrap();
        assert_eq!(found.best, record(same, 1));
        let unknown = peer.net.dht().find_record(&name(other)).await.unwrap_err();
        assert!(matches!(unknown, DhtError::NotFound { .. }), "{unknown}");
        let protocol = peer.net.status().await.unwrap().dht_protocol.to_string();
        assert_eq!(protocol == "/ipfs", at < 3);
        assert_eq!(peer.store.records(), 1);
    }
}

/// Prints what one question costs, both ends and the encryption between them included. It holds no bound that a busy
/// machine could break.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_on_a_kept_stream_costs_one_round_trip() {
    const QUESTIONS: u32 = 2_000;
    let network = network(21).await;
    let raw = Raw::connected(&address(&network[0].net)).await;
    let mut stream = raw.stream(network[0].net.peer_id()).await.unwrap();
    let started = Instant::now();
    for number in 0..QUESTIONS {
        let key = number.to_be_bytes();
        let question = Question::Closest.message(&key);
        let answer = ask(&mut stream, &question).await.unwrap();
        let answer = Answer::parse(&answer, Question::Closest, &key).unwrap();
        assert_eq!(answer.closer.len(), 20);
    }
    let each = started.elapsed() / QUESTIONS;
    eprintln!("a question and its answer: {} µs", each.as_micros());
}
