//! What a peer is told at its start.

use std::{collections::HashSet, str::FromStr, sync::Arc, time::Duration};

use libp2p::{Multiaddr, PeerId, identity::Keypair, multiaddr};

use crate::{
    blocks::Blocks,
    dht::{DhtProtocol, DhtStore},
    pubsub::PubsubConfig,
};

/// Peers that introduce newcomers to the public network, run by those who maintain IPFS.
pub const PUBLIC_BOOTSTRAP: &[&str] = &[
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
    "/dnsaddr/va1.bootstrap.libp2p.io/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8",
    "/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
];

/// What a peer is told at its start.
pub struct NetConfig {
    /// Its key. The peer id is made of the public one.
    pub identity: Keypair,
    /// Addresses to listen on. With none it only dials.
    pub listen: Vec<Multiaddr>,
    /// Addresses to tell others, beside those that are found out.
    pub announce: Vec<Multiaddr>,
    /// Whom to dial first.
    pub bootstrap: Bootstrap,
    /// Its part in the DHT.
    pub dht: DhtMode,
    /// Which DHT that is. Another one than the default is a private one, of the peers that have the same.
    pub dht_protocol: DhtProtocol,
    /// Whether records are told and heard by gossip, and of how many names; `None` takes no part.
    pub pubsub: Option<PubsubConfig>,
    /// Where records and providers that others put here are kept.
    pub store: Arc<dyn DhtStore>,
    /// The blocks it serves.
    pub blocks: Blocks,
    /// How long a caller waits until there is a connection, or a stream. 15 seconds unless it is set.
    pub dial: Duration,
    /// How much of this machine others may take.
    pub limits: NetLimits,
    /// Peers that are never spoken to.
    pub deny: HashSet<PeerId>,
    /// When not empty, the only peers that are spoken to.
    pub allow: HashSet<PeerId>,
    /// Name and version told to others.
    pub agent: String,
}

impl NetConfig {
    /// A peer that dials only whom it is told to, and listens nowhere.
    #[must_use]
    pub fn new(identity: Keypair, store: Arc<dyn DhtStore>) -> Self {
        Self {
            identity,
            listen: Vec::new(),
            announce: Vec::new(),
            bootstrap: Bootstrap::None,
            dht: DhtMode::Client,
            dht_protocol: DhtProtocol::default(),
            pubsub: None,
            store,
            blocks: Blocks::none(),
            dial: Duration::from_secs(15),
            limits: NetLimits::default(),
            deny: HashSet::new(),
            allow: HashSet::new(),
            agent: concat!("perennis/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// The Ed25519 key pair of a 32-byte seed, for [`NetConfig::identity`].
#[must_use]
pub fn identity_of(seed: &[u8; 32]) -> Keypair {
    // Its bytes are erased by the call.
    let mut copy = *seed;
    Keypair::ed25519_from_bytes(&mut copy).expect("any 32 bytes are an Ed25519 seed")
}

/// Whom a peer dials first, and again when it has lost everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// Nobody: nothing is dialled that was not named.
    None,
    /// [`PUBLIC_BOOTSTRAP`].
    Public,
    /// These peers.
    Peers(Vec<Multiaddr>),
}

impl Bootstrap {
    /// The addresses to dial, each ending in a peer id.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        match self {
            Self::None => Vec::new(),
            Self::Public => PUBLIC_BOOTSTRAP
                .iter()
                .filter_map(|address| Multiaddr::from_str(address).ok())
                .collect(),
            Self::Peers(addresses) => addresses.clone(),
        }
    }
}

/// The part of a peer in the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhtMode {
    /// Asks, and answers others.
    Server,
    /// Asks only.
    Client,
    /// Takes no part.
    Off,
}

impl FromStr for DhtMode {
    type Err = UnknownDhtMode;

    fn from_str(text: &str) -> Result<Self, UnknownDhtMode> {
        match text {
            "server" => Ok(Self::Server),
            "client" => Ok(Self::Client),
            "off" => Ok(Self::Off),
            _ => Err(UnknownDhtMode),
        }
    }
}

/// A text that names no [`DhtMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected server, client or off")]
pub struct UnknownDhtMode;

/// How much of this machine others may take.
#[derive(Clone, Debug)]
pub struct NetLimits {
    /// Connections, from outside and to outside together.
    pub connections: u32,
    /// Connections that others opened.
    pub inbound: u32,
    /// Connections that others are opening and that are not encrypted yet.
    pub pending_inbound: u32,
    /// Dials at once.
    pub pending_outbound: u32,
    /// Connections with one peer.
    pub per_peer: u32,
    /// Connections that others opened from one address group: a /24 of IPv4, a /48 of IPv6. Loopback and private
    /// addresses are not counted.
    pub per_group: u32,
    /// Memory that the process holds, in bytes, above which no connection is taken. Pages of files do not count.
    pub process_bytes: usize,
    /// Peers of one address group in the routing table of the public network.
    pub table_per_group: usize,
    /// How long a connection without streams is kept.
    pub idle: Duration,
    /// How long a connection that another opened is kept when newcomers need its place and it is not used.
    pub grace: Duration,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            connections: 2_000,
            inbound: 1_200,
            pending_inbound: 128,
            pending_outbound: 256,
            per_peer: 4,
            per_group: 32,
            process_bytes: 1 << 30,
            table_per_group: 3,
            idle: Duration::from_secs(120),
            grace: Duration::from_secs(20),
        }
    }
}

/// The peer id at the end of an address.
#[must_use]
pub fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(multiaddr::Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}
