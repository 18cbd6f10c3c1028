//! The memory of a node with a thousand connected peers that want nothing of it.
#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{sync::Arc, time::Duration};

use perennis_net::{DhtMode, Multiaddr, Net, NetConfig, config::identity_of, dht::MemoryDhtStore};
use perennis_tests::{bench::Scratch, measure::say, node::Node};
use tokio::task::JoinSet;

const PEERS: u16 = 1_000;

/// Handshakes at once: fewer than the connections a node lets wait.
const AT_ONCE: usize = 32;

/// How long the node is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(30);

fn main() {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let wanted = if is_measured { PEERS } else { 10 };
    let dir = Scratch::new("crowd").unwrap();
    let node = Node::start(dir.path());
    let address: Multiaddr = node.peer().parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let peers = runtime.block_on(connect(wanted, &address));
    std::thread::sleep(if is_measured { IDLE } else { Duration::ZERO });
    let connected = node.json("/v1/peers")["peers"].as_array().unwrap().len();
    assert!(
        connected >= usize::from(wanted),
        "{connected} are connected"
    );
    let name = format!("net/rss/{PEERS}");
    say(&name, node.resident_mib(), "MiB");
    drop(peers);
    // The tasks of a thousand peers are not waited for.
    drop(node);
    std::process::exit(0);
}

async fn connect(wanted: u16, node: &Multiaddr) -> Vec<Net> {
    let (mut connecting, mut peers) = (JoinSet::new(), Vec::new());
    for number in 0..wanted {
        if connecting.len() == AT_ONCE {
            peers.push(connecting.join_next().await.unwrap().unwrap());
        }
        connecting.spawn(peer(number, node.clone()));
    }
    peers.extend(connecting.join_all().await);
    peers
}

/// A peer that asks the DHT, if anything, and is connected with one node.
async fn peer(number: u16, node: Multiaddr) -> Net {
    let mut seed = [13; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    let mut config = NetConfig::new(identity_of(&seed), Arc::new(MemoryDhtStore::new(1)));
    config.dht = DhtMode::Client;
    // All of them share this process.
    config.limits.process_bytes = usize::MAX;
    let net = Net::start(config).await.unwrap();
    net.connect_to(&node).await.unwrap();
    net
}
