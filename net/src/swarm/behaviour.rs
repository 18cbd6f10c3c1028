//! What a swarm speaks, composed: the gates, what libp2p has, and what this crate has. A protocol that is added through
//! the door is no part of it.

use std::{num::NonZeroUsize, time::Duration};

use libp2p::{
    StreamProtocol, allow_block_list, autonat, connection_limits, identify,
    identity::Keypair,
    kad, ping, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};

use super::dial_back;
use crate::{
    bitswap,
    blocks::Erased,
    config::{DhtMode, NetConfig, NetLimits},
    dht::Network,
    memory_limit, protocol,
    pubsub::{Gossip, gossip},
};

/// The routing table of one network. It asks, so that it has peers, and answers nobody: nothing is kept in its store.
pub(super) type RoutingTable = kad::Behaviour<kad::store::MemoryStore>;

/// What is spoken with other peers.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // The gates first: a connection they refuse is never seen by the rest.
    pub(super) denied: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(super) allowed: Toggle<allow_block_list::Behaviour<allow_block_list::AllowedPeers>>,
    limits: connection_limits::Behaviour,
    memory: memory_limit::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) identify: identify::Behaviour,
    relay: relay::client::Behaviour,
    autonat: autonat::v2::client::Behaviour,
    autonat_server: dial_back::Behaviour,
    pub(super) public_dht: Toggle<RoutingTable>,
    pub(super) lan_dht: Toggle<RoutingTable>,
    pub(super) pubsub: Toggle<Gossip>,
    pub(super) bitswap: bitswap::Behaviour<Erased>,
    pub(super) streams: protocol::Behaviour,
}

impl Behaviour {
    pub(super) fn new(
        config: &NetConfig,
        key: &Keypair,
        relay: relay::client::Behaviour,
        streams: protocol::Behaviour,
    ) -> Self {
        let mut denied = allow_block_list::Behaviour::default();
        for peer in &config.deny {
            denied.block_peer(*peer);
        }
        let allowed = (!config.allow.is_empty()).then(|| {
            let mut list = allow_block_list::Behaviour::default();
            for peer in &config.allow {
                list.allow_peer(*peer);
            }
            list
        });
        Self {
            denied,
            allowed: allowed.into(),
            limits: limits(&config.limits),
            memory: memory_limit::Behaviour::new(config.limits.process_bytes),
            ping: ping::Behaviour::new(ping::Config::new()),
            identify: identify::Behaviour::new(
                identify::Config::new("ipfs/0.1.0".to_owned(), key.public())
                    .with_agent_version(config.agent.clone())
                    .with_push_listen_addr_updates(true),
            ),
            relay,
            autonat: autonat::v2::client::Behaviour::default(),
            autonat_server: dial_back::Behaviour::default(),
            public_dht: dht(config, key, Network::Public).into(),
            lan_dht: dht(config, key, Network::Lan).into(),
            pubsub: config.pubsub.is_some().then(|| gossip(key)).into(),
            bitswap: bitswap::Behaviour::new(
                Erased(config.blocks.clone()),
                bitswap::Config::default(),
            ),
            streams,
        }
    }

    /// The routing of one network; `None` when the peer takes no part.
    pub(super) fn dht(&mut self, network: Network) -> Option<&mut RoutingTable> {
        match network {
            Network::Public => self.public_dht.as_mut(),
            Network::Lan => self.lan_dht.as_mut(),
        }
    }
}

fn limits(limits: &NetLimits) -> connection_limits::Behaviour {
    connection_limits::Behaviour::new(
        connection_limits::ConnectionLimits::default()
            .with_max_pending_incoming(Some(limits.pending_inbound))
            .with_max_pending_outgoing(Some(limits.pending_outbound))
            .with_max_established_incoming(Some(limits.inbound))
            .with_max_established(Some(limits.connections))
            .with_max_established_per_peer(Some(limits.per_peer)),
    )
}

fn dht(config: &NetConfig, key: &Keypair, network: Network) -> Option<RoutingTable> {
    if config.dht == DhtMode::Off {
        return None;
    }
    let protocol = StreamProtocol::try_from_owned(config.dht_protocol.name(network));
    let mut kademlia = kad::Config::new(protocol.expect("its name begins with a slash"));
    kademlia
        // As the Go implementation: ten questions at once, answers within ten seconds.
        .set_parallelism(NonZeroUsize::new(10).expect("ten is not zero"))
        .set_query_timeout(Duration::from_secs(60))
        .set_substreams_timeout(Duration::from_secs(10))
        // The worker decides who is let into the table.
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        // Peers without the best record are told; the caller does it, under its own deadline.
        .set_caching(kad::Caching::Enabled { max_peers: 20 })
        // The republisher of the node knows what is due; nothing is put again behind its back.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None);
    let peer = key.public().to_peer_id();
    let nothing = kad::store::MemoryStore::new(peer);
    let mut behaviour = kad::Behaviour::with_config(peer, nothing, kademlia);
    // A server of the DHT is one by the protocols that it accepts (`dht::Server`).
    behaviour.set_mode(Some(kad::Mode::Client));
    Some(behaviour)
}
