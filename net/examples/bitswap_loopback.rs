//! How fast a DAG goes from one process to another: memory to memory, TCP on loopback, noise and yamux.
//!
//! `cargo run --release -p perennis-net --example bitswap_loopback [MiB] [ROUNDS] [LEAF_KiB]` starts itself
//! a second time as the server, fetches a file of raw leaves under DAG-PB in each round over a new connection, and
//! says for each how long it took, and what both processes held at most.

use std::{
    collections::HashMap,
    error::Error,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, multiaddr::Protocol, noise, swarm::SwarmEvent, tcp,
    yamux,
};
use perennis_net::bitswap::{Behaviour, BlockSource, Config, NoBlocks};
use perennis_sdk::{
    exchange::{DagLimits, Held, Sink, fetch_dag},
    store::StoreError,
};
use perennis_shared::{
    cid::{Block, Cid, Codec, parse_cid},
    codec::dag_pb,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let number = |at: usize, otherwise: usize| -> usize {
        arguments
            .get(at)
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    if arguments.first().is_some_and(|first| first == "serve") {
        return runtime.block_on(serve(number(1, 64) << 20, number(2, 256) << 10));
    }
    let (size, rounds, leaf) = (number(0, 64), number(1, 5), number(2, 256));
    let mut server = Command::new(std::env::current_exe()?)
        .args(["serve", &size.to_string(), &leaf.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(server.stdout.take().ok_or("a pipe was asked for")?).lines();
    let mut line = || {
        lines
            .next()
            .ok_or("the server has ended")?
            .map_err(Box::<dyn Error + Send + Sync>::from)
    };
    let (address, root) = (line()?.parse()?, parse_cid(&line()?)?);
    let outcome = runtime.block_on(rounds_of(rounds, address, root));
    drop(server.stdin.take());
    say(&format!("server: {}", line()?))?;
    server.wait()?;
    outcome
}

async fn rounds_of(rounds: usize, address: Multiaddr, root: Cid) -> Outcome<()> {
    let Some(Protocol::P2p(peer)) = address.iter().last() else {
        return Err("an address names its peer".into());
    };
    let mut rates = Vec::new();
    for round in 1..=rounds {
        let (rate, blocks) = fetch(peer, &address, root).await?;
        say(&format!("round {round}: {blocks} blocks, {rate:.0} MB/s"))?;
        rates.push(rate);
    }
    rates.sort_by(f64::total_cmp);
    say(&format!("median {:.0} MB/s", rates[rates.len() / 2]))?;
    say(&format!("client: {}", memory()))
}

async fn fetch(peer: PeerId, address: &Multiaddr, root: Cid) -> Outcome<(f64, u64)> {
    let behaviour = Behaviour::new(NoBlocks, Config::default());
    let handle = behaviour.handle();
    let mut swarm = swarm(behaviour)?;
    swarm.dial(address.clone())?;
    while !matches!(
        swarm.select_next_some().await,
        SwarmEvent::ConnectionEstablished { .. }
    ) {}
    let driven = tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let start = Instant::now();
    let session = handle.session(&[peer]);
    let limits = DagLimits::default();
    let done = fetch_dag(&session, &[root], &Dropped, limits, |_| ()).await?;
    let took = start.elapsed();
    driven.abort();
    Ok((done.bytes as f64 / took.as_secs_f64() / 1e6, done.blocks))
}

async fn serve(size: usize, leaf: usize) -> Outcome<()> {
    let (blocks, root) = file(size / leaf, leaf)?;
    let mut swarm = swarm(Behaviour::new(
        InMemory(Arc::new(blocks)),
        Config::default(),
    ))?;
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address.with(Protocol::P2p(*swarm.local_peer_id()));
        }
    };
    say(&address.to_string())?;
    say(&root.to_string())?;
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
    tokio::select! {
        _ = ended => say(&memory()),
        never = async { loop { swarm.select_next_some().await; } } => never,
    }
}

fn swarm<S: BlockSource>(behaviour: Behaviour<S>) -> Outcome<Swarm<Behaviour<S>>> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            yamux::Config::default,
        )?
        .with_behaviour(|_| behaviour)?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(60)))
        .build())
}

type Blocks = HashMap<Cid, Bytes>;

struct InMemory(Arc<Blocks>);

impl BlockSource for InMemory {
    async fn sizes(&self, cids: &[Cid]) -> Vec<Option<usize>> {
        cids.iter()
            .map(|cid| Some(self.0.get(cid)?.len()))
            .collect()
    }

    async fn blocks(&self, cids: &[Cid]) -> Vec<Option<Bytes>> {
        cids.iter().map(|cid| self.0.get(cid).cloned()).collect()
    }
}

/// Counts as kept, and takes no memory.
struct Dropped;

impl Sink for Dropped {
    async fn held(&self, cids: &[Cid]) -> Result<Vec<Held>, StoreError> {
        Ok(vec![Held::Absent; cids.len()])
    }

    async fn keep(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        drop(blocks);
        Ok(())
    }
}

/// A file of different leaves, 174 under each node, as other software writes it.
fn file(leaves: usize, size: usize) -> Outcome<(Blocks, Cid)> {
    let mut blocks = Blocks::new();
    let mut add = |block: Block| {
        let (cid, bytes) = block.into_parts();
        blocks.insert(cid, bytes);
        cid
    };
    let mut level = Vec::with_capacity(leaves);
    for number in 0..leaves {
        let mut content = vec![number as u8; size];
        content[..8].copy_from_slice(&(number as u64).to_le_bytes());
        level.push(add(Block::new(Codec::Raw, content)?));
    }
    while level.len() > 1 {
        let mut nodes = Vec::new();
        for hashes in level.chunks(174) {
            let link = |hash: &Cid| dag_pb::Link {
                hash: *hash,
                name: Some(Vec::new()),
                size_claimed: Some(size as u64),
            };
            let node = dag_pb::Node {
                links: hashes.iter().map(link).collect(),
                data: Some(vec![8, 2]),
            };
            nodes.push(add(Block::new(Codec::DagPb, dag_pb::encode(&node)?)?));
        }
        level = nodes;
    }
    Ok((blocks, level[0]))
}

/// What this process has held at most, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    peak.map_or_else(
        || "memory is not known".to_owned(),
        |line| line.split_whitespace().collect::<Vec<_>>().join(" "),
    )
}

fn say(line: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
