//! How a peer does, as it is told to who asks.

use libp2p::{Multiaddr, PeerId};

use crate::{
    network::{DhtProtocol, Network},
    peers::Inbound,
};

/// How a peer does.
#[derive(Clone, Debug)]
pub struct NetStatus {
    /// Addresses it listens on.
    pub listening: Vec<Multiaddr>,
    /// Addresses at which others are known to reach it.
    pub external: Vec<Multiaddr>,
    /// Connected peers.
    pub peers: usize,
    /// Connections that others opened.
    pub inbound: Inbound,
    /// Peers in the routing table of each network it takes part in.
    pub routing: Vec<(Network, usize)>,
    /// Which DHT that is.
    pub dht_protocol: DhtProtocol,
    /// Peers that are not spoken to.
    pub banned: Vec<PeerId>,
}
