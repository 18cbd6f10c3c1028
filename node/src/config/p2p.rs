//! The settings `p2p`.

use std::time::Duration;

use perennis_net::dht::DhtProtocol;
use perennis_net::{Bootstrap, DhtMode, Multiaddr, NetLimits, PeerId};

use super::setting::table;
use super::syntax::{
    Choice, DAY, DialFirst, Flag, Listen, MIB, MINUTE, Multiaddrs, Number, Peers, Prefix, SECOND,
    Size, Span, TIB,
};

table! {
    /// The peer-to-peer network.
    pub struct P2pConfig at config.p2p {
        // None is `DEFAULT_P2P_LISTEN` where it is free.
        listen: Option<Vec<Multiaddr>> = None,
            "p2p.listen" as Listen,
            "multiaddrs to listen on for other peers, or none; auto is port 4781 of TCP and QUIC, or a free one when it is taken";
        announce: Vec<Multiaddr> = Vec::new(),
            "p2p.announce" as Multiaddrs,
            "multiaddrs told to other peers beside those that are found out, such as those of a port that is forwarded";
        bootstrap: Bootstrap = Bootstrap::Public,
            "p2p.bootstrap" as DialFirst,
            "peers to dial first: public, none, or multiaddrs that end in a peer id; with none nothing is dialled that was not named";
        dht: DhtMode = DhtMode::Server,
            "p2p.dht" as Choice("is no part in the DHT", &[
                ("server", DhtMode::Server),
                ("client", DhtMode::Client),
                ("off", DhtMode::Off),
            ]),
            "part in the DHT: server answers others, client only asks, off neither";
        dht_protocol: DhtProtocol = DhtProtocol::default(),
            "p2p.dht-protocol" as Prefix,
            "what the names of the DHT's protocols begin with: /ipfs is the DHT of IPFS; another, such as /example, makes a private DHT of the peers that have the same, and /example/kad/1.0.0 may be written for it";
        pubsub: bool = true,
            "p2p.pubsub" as Choice("is neither on nor off", &[("on", true), ("off", false)]),
            "whether records are told and heard by gossip (IPNS over PubSub): on or off";
        pubsub_names: usize = 1_024,
            "p2p.pubsub-names" as Number(1, 100_000),
            "most names followed by gossip, those the operator follows first, 1 to 100,000";
        pubsub_period: Duration = 10 * MINUTE,
            "p2p.pubsub-period" as Span(SECOND, DAY),
            "time in which each record is told of again by gossip, 1s to 1d";
        accelerated: bool = false,
            "p2p.accelerated" as Flag,
            "whether a map of the whole DHT is kept, so that puts need no lookups; looking through the public one takes minutes";
        max_connections: usize = NetLimits::default().connections as usize,
            "p2p.max-connections" as Number(1, 100_000),
            "connections with peers, 1 to 100,000";
        max_inbound: usize = NetLimits::default().inbound as usize,
            "p2p.max-inbound" as Number(0, 100_000),
            "connections that other peers opened, 0 to 100,000";
        max_per_group: usize = NetLimits::default().per_group as usize,
            "p2p.max-per-group" as Number(1, 100_000),
            "connections that peers of one public /24 (IPv4) or /48 (IPv6) opened, 1 to 100,000";
        memory_bytes: u64 = NetLimits::default().process_bytes as u64,
            "p2p.memory" as Size(64 * MIB, TIB),
            "memory of the node, beside http.answer-memory, admission.memory and cache.blocks, above which no further connection is taken, 64MiB to 1TiB";
        deny: Vec<PeerId> = Vec::new(),
            "p2p.deny" as Peers,
            "peer ids that are never spoken to";
        allow: Vec<PeerId> = Vec::new(),
            "p2p.allow" as Peers,
            "peer ids that alone are spoken to; empty lets all";
    }
}

/// What a node listens on when it is told nothing; when it is taken, a free port.
pub const DEFAULT_P2P_LISTEN: &[&str] = &["/ip4/0.0.0.0/tcp/4781", "/ip4/0.0.0.0/udp/4781/quic-v1"];

impl P2pConfig {
    /// Whether records are put to the DHT.
    #[must_use]
    pub fn has_dht(&self) -> bool {
        self.dht != DhtMode::Off
    }
}
