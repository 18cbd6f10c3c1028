//! The node as a peer: its libp2p side, what it keeps for others, and what it hears of the names it keeps.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use perennis_net::bitswap::BlockSource;
use perennis_net::{
    AcceptError, Blocks, Handler, Keypair, Multiaddr, Net, NetConfig, NetLimits, Protocol,
    PubsubConfig, Registration, StartError, TransportError,
};
use perennis_rt as rt;
use perennis_shared::cid::{Block, Cid};
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, Record};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config::{Config, DEFAULT_P2P_LISTEN};
use crate::demand::SharedDemand;
use crate::ingest::Ingest;
use crate::shutdown::Stop;
use crate::storage::{DhtRows, HeldBlocks, Storage};

/// Time between two sweeps of what has expired.
const SWEEP: Duration = Duration::from_secs(3_600);

/// A peer, where it keeps what others put to it, and what it accepts from them.
pub(crate) struct Swarm {
    pub(crate) net: Net,
    rows: Arc<DhtRows>,
    offered: Option<mpsc::Receiver<(Name, Record)>>,
    /// A protocol ends with its registration, so they are kept for as long as the node runs.
    registrations: Vec<Registration>,
}

impl Swarm {
    /// Starts the peer: listens and dials. The record of `canary` is not kept for others.
    pub(crate) async fn start(
        config: &Config,
        identity: Keypair,
        canary: Name,
        storage: Storage,
        held: Arc<dyn HeldBlocks>,
        demand: SharedDemand,
    ) -> Result<Swarm, StartError> {
        let blocks = Blocks::new(ServedBlocks(held));
        let (rows, offered) = DhtRows::new(storage, demand, canary);
        let net = match &config.p2p.listen {
            Some(listen) => start(config, identity, &rows, &blocks, listen.clone()).await?,
            None => {
                let addresses = |texts: &[&str]| -> Vec<Multiaddr> {
                    texts.iter().filter_map(|text| text.parse().ok()).collect()
                };
                let usual = addresses(DEFAULT_P2P_LISTEN);
                match start(config, identity.clone(), &rows, &blocks, usual).await {
                    // Nobody chose this port: a free one is as good.
                    Err(StartError::Listen {
                        address,
                        source: TransportError::Other(source),
                    }) => {
                        tracing::warn!(%address, %source, "the usual port is taken; set p2p.listen to choose one");
                        let free = addresses(&["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"]);
                        start(config, identity, &rows, &blocks, free).await?
                    }
                    other => other?,
                }
            }
        };
        Ok(Swarm {
            net,
            rows,
            offered: Some(offered),
            registrations: Vec::new(),
        })
    }

    /// Keeps what others put here, sweeps out what has expired, and takes in records of names that are kept.
    pub(crate) fn work(
        &mut self,
        tasks: &mut JoinSet<()>,
        ingest: &Arc<Ingest>,
        stop: &impl Fn() -> Stop,
    ) {
        let rows = Arc::clone(&self.rows);
        tasks.spawn_blocking(move || rows.write());
        tasks.spawn(sweep(Arc::clone(&self.rows), stop()));
        if let Some(offered) = self.offered.take() {
            tasks.spawn(take_in(Arc::clone(ingest), offered, stop()));
        }
    }

    /// Has a handler answer the streams that other peers open for a protocol, until the node stops.
    pub(crate) fn accept(
        &mut self,
        protocol: Protocol,
        handler: impl Handler,
    ) -> Result<(), AcceptError> {
        self.registrations.push(self.net.accept(protocol, handler)?);
        Ok(())
    }

    /// Leaves the network and finishes what is being written.
    pub(crate) async fn stop(&self) {
        self.net.stop().await;
        self.rows.close();
    }
}

impl Drop for Swarm {
    /// The thread that writes must not outlive the node, however it ends.
    fn drop(&mut self) {
        self.rows.close();
    }
}

async fn start(
    config: &Config,
    identity: Keypair,
    rows: &Arc<DhtRows>,
    blocks: &Blocks,
    listen: Vec<Multiaddr>,
) -> Result<Net, StartError> {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let process_bytes = usize::try_from(config.process_memory_bytes()).unwrap_or(usize::MAX);
    let config = &config.p2p;
    let limits = NetLimits {
        connections: count(config.max_connections),
        inbound: count(config.max_inbound),
        per_group: count(config.max_per_group),
        process_bytes,
        ..NetLimits::default()
    };
    let peer = NetConfig {
        listen,
        announce: config.announce.clone(),
        bootstrap: config.bootstrap.clone(),
        dht: config.dht,
        dht_protocol: config.dht_protocol.clone(),
        pubsub: config.pubsub.then_some(PubsubConfig {
            names: config.pubsub_names,
        }),
        blocks: blocks.clone(),
        limits,
        deny: config.deny.iter().copied().collect::<HashSet<_>>(),
        allow: config.allow.iter().copied().collect::<HashSet<_>>(),
        ..NetConfig::new(identity, rows.clone())
    };
    Net::start(peer).await
}

/// What is held, as bitswap serves it. A block that cannot be read is one that is not here.
struct ServedBlocks(Arc<dyn HeldBlocks>);

impl BlockSource for ServedBlocks {
    async fn sizes(&self, cids: &[Cid]) -> Vec<Option<usize>> {
        let sizes = self.0.sizes(cids).await.into_iter();
        sizes.map(|size| size.ok().flatten()).collect()
    }

    async fn blocks(&self, cids: &[Cid]) -> Vec<Option<Bytes>> {
        let blocks = self.0.blocks(cids).await.into_iter();
        let bytes = |block: Block| block.bytes().clone();
        blocks
            .map(|block| block.ok().flatten().map(bytes))
            .collect()
    }
}

async fn sweep(rows: Arc<DhtRows>, mut stop: Stop) {
    let mut place = None;
    loop {
        let rows = Arc::clone(&rows);
        let from = place.take();
        place = rt::blocking(move || rows.sweep(from)).await.unwrap_or(None);
        let pause = if place.is_some() {
            Duration::from_millis(50)
        } else {
            SWEEP
        };
        if stop.or(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Records that the DHT has for names that are kept here go through the write door like any other. They were verified when
/// they came.
async fn take_in(ingest: Arc<Ingest>, mut offered: mpsc::Receiver<(Name, Record)>, mut stop: Stop) {
    while let Some(Some((name, record))) = stop.or(offered.recv()).await {
        if let Err(error) = ingest.put_verified("dht", &name, record).await {
            tracing::debug!(%name, error = %chain(&error), "a record from the DHT is not taken");
        }
    }
}
