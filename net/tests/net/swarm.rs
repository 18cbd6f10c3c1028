//! A network of peers on the memory transport or on loopback.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::future::join_all;
use perennis_net::{
    DhtMode, Multiaddr, Net, NetConfig,
    config::identity_of,
    dht::{MemoryDhtStore, Network},
};
use perennis_shared::{
    ipns::{Name, Record, RecordFields, create},
    sign::SigningKey,
    time::{Millis, Timestamp},
};

/// A peer and where it keeps what others put to it.
pub(crate) struct Peer {
    pub(crate) net: Net,
    pub(crate) store: MemoryDhtStore,
}

/// A configuration with a key made of `number`, listening in memory.
pub(crate) fn config(number: u16, store: &MemoryDhtStore) -> NetConfig {
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    let mut config = NetConfig::new(identity_of(&seed), Arc::new(store.clone()));
    config.listen = vec!["/memory/0".parse().unwrap()];
    config.dht = DhtMode::Server;
    config
}

pub(crate) async fn peer(number: u16) -> Peer {
    let store = MemoryDhtStore::new(10_000);
    let net = Net::start(config(number, &store)).await.unwrap();
    Peer { net, store }
}

/// Peers that all know the first one, and each other as far as their tables have room.
pub(crate) async fn network(peers: u16) -> Vec<Peer> {
    let network: Vec<Peer> = join_all((0..peers).map(peer)).await;
    let first = address(&network[0].net);
    for peer in &network[1..] {
        peer.net.connect_to(&first).await.unwrap();
    }
    settled(&network).await;
    network
}

pub(crate) fn address(net: &Net) -> Multiaddr {
    net.addresses()[0].clone()
}

/// Waits until every peer knows as many as the closest set of a key needs.
pub(crate) async fn settled(network: &[Peer]) {
    let wanted = (network.len() - 1).min(20);
    until(|| async {
        for peer in network {
            let routing = peer.net.status().await.unwrap().routing;
            let lan = routing.iter().find(|(network, _)| *network == Network::Lan);
            if lan.is_none_or(|(_, known)| *known < wanted) {
                // A lookup of one's own neighbourhood finds those that are still missing.
                let _ = peer.net.dht().closest(&peer.net.peer_id().to_bytes()).await;
                return false;
            }
        }
        true
    })
    .await;
}

/// Asks again until it holds; a test that waits for ever is ended by its own deadline.
pub(crate) async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("it holds within a minute");
}

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

pub(crate) fn name(number: u8) -> Name {
    Name::from_public_key(&key(number).public())
}

/// A record of name `number` that ends in a day.
/// The end of every record, so that one made again is the same.
static END: LazyLock<u64> = LazyLock::new(|| perennis_rt::now().0 + 86_400_000);

pub(crate) fn record(number: u8, sequence: u64) -> Record {
    record_until(number, sequence, *END)
}

pub(crate) fn record_until(number: u8, sequence: u64, end: u64) -> Record {
    let value = format!("/ipfs/bafkqaaa?{sequence}");
    let fields = RecordFields {
        value: &value,
        sequence,
        validity: Timestamp::from(Millis(end)),
        ttl: Duration::from_secs(60),
    };
    create(&key(number), &fields).unwrap()
}
