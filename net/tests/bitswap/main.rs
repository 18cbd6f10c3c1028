//! Swarms that exchange blocks over memory, and peers that break every rule.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport,
    core::{muxing::StreamMuxerBox, transport::MemoryTransport, upgrade::Version},
    identity::Keypair,
    multiaddr::Protocol,
    noise,
    swarm::{self, NetworkBehaviour, SwarmEvent},
    yamux,
};
use parking_lot::Mutex;
use perennis_shared::{
    cid::{Block, Cid, Codec},
    codec::dag_pb,
};
use tokio::sync::mpsc;

use perennis_net::bitswap::{
    Behaviour, BitswapError, BlockSource, Config, Event, Handle, NoBlocks, SendError,
};

mod abuse;
mod dags;
mod exchange;

/// Generous, as the machine may be busy: nothing waits for it unless something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Blocks in memory, and how often they are read.
#[derive(Clone, Default)]
struct Blocks {
    blocks: Arc<Mutex<HashMap<Cid, Bytes>>>,
    reads: Arc<AtomicU64>,
}

impl Blocks {
    fn of<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Self {
        let all = Self::default();
        all.put(blocks);
        all
    }

    fn put<'a>(&self, blocks: impl IntoIterator<Item = &'a Block>) {
        let blocks = blocks
            .into_iter()
            .map(|block| (*block.cid(), block.bytes().clone()));
        self.blocks.lock().extend(blocks);
    }

    fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

impl BlockSource for Blocks {
    async fn sizes(&self, cids: &[Cid]) -> Vec<Option<usize>> {
        let blocks = self.blocks.lock();
        cids.iter()
            .map(|cid| Some(blocks.get(cid)?.len()))
            .collect()
    }

    async fn blocks(&self, cids: &[Cid]) -> Vec<Option<Bytes>> {
        self.reads.fetch_add(cids.len() as u64, Ordering::Relaxed);
        let blocks = self.blocks.lock();
        cids.iter().map(|cid| blocks.get(cid).cloned()).collect()
    }
}

/// One swarm in a task of its own. It ends with the test's runtime.
struct Node {
    peer: PeerId,
    address: Multiaddr,
    handle: Handle,
    events: mpsc::UnboundedReceiver<Event>,
}

fn test_config() -> Config {
    Config {
        stall: Duration::from_millis(500),
        want_timeout: Duration::from_secs(20),
        ..Config::default()
    }
}

fn new_swarm<B: NetworkBehaviour>(behaviour: B) -> Swarm<B> {
    let key = Keypair::generate_ed25519();
    let transport = MemoryTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(PATIENCE);
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}

/// Listens on a place of its own in memory and connects to `peers`.
async fn listen<B: NetworkBehaviour>(swarm: &mut Swarm<B>, peers: &[&Node]) -> Multiaddr {
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    for peer in peers {
        swarm
            .dial(peer.address.clone().with(Protocol::P2p(peer.peer)))
            .unwrap();
    }
    let mut missing = peers.len();
    while missing > 0 {
        if let SwarmEvent::ConnectionEstablished { .. } = swarm.select_next_some().await {
            missing -= 1;
        }
    }
    address
}

async fn node(source: Blocks, config: Config, peers: &[&Node]) -> Node {
    let behaviour = Behaviour::new(source, config);
    let handle = behaviour.handle();
    let mut swarm = new_swarm(behaviour);
    let peer = *swarm.local_peer_id();
    let address = listen(&mut swarm, peers).await;
    let (tell, events) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(event) = swarm.select_next_some().await {
                drop(tell.send(event));
            }
        }
    });
    Node {
        peer,
        address,
        handle,
        events,
    }
}

fn raw(content: impl Into<Bytes>) -> Block {
    Block::new(Codec::Raw, content).unwrap()
}

/// A file of `leaves` raw leaves of `size` bytes, under nodes of at most 100 links. The root stands last.
fn file(leaves: usize, size: usize) -> Vec<Block> {
    let leaf = |number: usize| {
        let mut content = vec![number as u8; size];
        content[..8].copy_from_slice(&(number as u64).to_le_bytes());
        raw(content)
    };
    let mut all: Vec<Block> = (0..leaves).map(leaf).collect();
    let mut level: Vec<Cid> = all.iter().map(|block| *block.cid()).collect();
    while level.len() > 1 {
        let node = |hashes: &[Cid]| {
            let link = |hash: &Cid| dag_pb::Link {
                hash: *hash,
                name: Some(Vec::new()),
                size_claimed: Some(size as u64),
            };
            let node = dag_pb::Node {
                links: hashes.iter().map(link).collect(),
                data: Some(vec![8, 2]),
            };
            Block::new(Codec::DagPb, dag_pb::encode(&node).unwrap()).unwrap()
        };
        let nodes: Vec<Block> = level.chunks(100).map(node).collect();
        level = nodes.iter().map(|block| *block.cid()).collect();
        all.extend(nodes);
    }
    all
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing hangs")
}
