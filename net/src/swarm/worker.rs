//! The task that owns the swarm: it carries out commands and tells what happened. Nothing here waits.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, TransportError,
    core::{ConnectedPoint, transport::ListenerId},
    ping,
    swarm::{
        ConnectionId, DialError, ListenError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use parking_lot::RwLock;
use perennis_rt as rt;
use tokio::sync::{mpsc, oneshot};

use super::behaviour::{Behaviour, BehaviourEvent};
use crate::{
    bitswap,
    command::SwarmCommand,
    config::{Bootstrap, NetConfig, peer_of},
    dht::{DhtProtocol, Local, Network},
    error::{ConnectError, StartError},
    peers::Peers,
    protocol::{Registration, Serving},
    pubsub::{Pubsub, PubsubCommand},
    status::NetStatus,
};

mod newcomers;
mod routing;
mod topics;

use routing::Table;
use topics::Topics;

/// How often lost peers are looked for, and bootstrap peers dialled while nobody is connected.
const UPKEEP: Duration = Duration::from_secs(30);

/// Dials at one upkeep while nobody is connected.
const UPKEEP_DIALS: usize = 8;

/// Addresses taken from one message of a peer.
const TOLD_ADDRESSES: usize = 32;

/// Blocks that nobody asked for, after which a peer is let go.
const UNREQUESTED: u64 = 1_024;

/// How long the start waits for an address to be bound.
const BINDING: Duration = Duration::from_secs(5);

/// The commands that come to the worker.
pub(super) struct Received {
    pub(super) swarm: mpsc::Receiver<SwarmCommand>,
    pub(super) pubsub: mpsc::Receiver<PubsubCommand>,
}

pub(super) struct Worker {
    swarm: Swarm<Behaviour>,
    received: Received,
    listening: Arc<RwLock<Vec<Multiaddr>>>,
    /// Listeners without an address yet.
    binding: HashSet<ListenerId>,
    connecting: HashMap<PeerId, Vec<oneshot::Sender<Result<(), ConnectError>>>>,
    peers: Peers,
    tables: HashMap<Network, Table>,
    /// What others are answered from: it is told of each change of the routing tables.
    local: Arc<Local>,
    dht_protocol: DhtProtocol,
    bootstrap: Bootstrap,
    per_group: usize,
    most_inbound: usize,
    /// How old a connection is before it gives way to newcomers.
    grace: Duration,
    table_per_group: usize,
    banned: HashSet<PeerId>,
    /// `None` when the peer takes no part in pubsub.
    topics: Option<Topics>,
}

impl Worker {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        config: &NetConfig,
        received: Received,
        listening: Arc<RwLock<Vec<Multiaddr>>>,
        local: Arc<Local>,
        topics: Option<Pubsub>,
    ) -> Self {
        local.tell_external(swarm.external_addresses().cloned().collect());
        Self {
            swarm,
            received,
            listening,
            binding: HashSet::new(),
            connecting: HashMap::new(),
            peers: Peers::default(),
            tables: HashMap::new(),
            local,
            dht_protocol: config.dht_protocol.clone(),
            bootstrap: config.bootstrap.clone(),
            per_group: config.limits.per_group as usize,
            most_inbound: config.limits.inbound as usize,
            grace: config.limits.grace,
            table_per_group: config.limits.table_per_group,
            banned: config.deny.clone(),
            topics: topics.map(Topics::new),
        }
    }

    /// Listens, and waits until each address is bound.
    pub(super) async fn listen(mut self, addresses: &[Multiaddr]) -> Result<Self, StartError> {
        for address in addresses {
            let failed = |source| StartError::Listen {
                address: address.clone(),
                source,
            };
            let listener = self.swarm.listen_on(address.clone()).map_err(failed)?;
            self.binding.insert(listener);
        }
        let mut failure = None;
        let binding = async {
            while !self.binding.is_empty() && failure.is_none() {
                match self.swarm.select_next_some().await {
                    SwarmEvent::ListenerClosed {
                        addresses,
                        reason: Err(source),
                        ..
                    } => {
                        failure = Some(StartError::Listen {
                            address: addresses.first().cloned().unwrap_or_else(Multiaddr::empty),
                            source: TransportError::Other(source),
                        });
                    }
                    event => self.happened(event),
                }
            }
        };
        // An interface without addresses is no failure: they come when it has some.
        let _ = rt::timeout(BINDING, binding).await;
        failure.map_or(Ok(self), Err)
    }

    /// Works until it is stopped or nobody can ask it any more. `registrations` end with it, and who stops it waits until no
    /// stream is being served.
    pub(super) async fn run(mut self, serving: Serving, registrations: Vec<Registration>) {
        self.upkeep();
        loop {
            // The upkeep is due again after a pause without events too.
            tokio::select! {
                event = self.swarm.select_next_some() => self.happened(event),
                command = self.received.swarm.recv() => match command {
                    Some(SwarmCommand::Stop { reply }) => {
                        drop((self, registrations));
                        serving.ended().await;
                        let _ = reply.send(());
                        return;
                    }
                    Some(command) => self.obey(command),
                    None => return,
                },
                Some(command) = self.received.pubsub.recv() => self.obey_pubsub(command),
                () = rt::sleep(UPKEEP) => self.upkeep(),
            }
        }
    }

    fn obey(&mut self, command: SwarmCommand) {
        match command {
            SwarmCommand::Connect {
                peer,
                addresses,
                reply,
            } => self.connect(peer, addresses, reply),
            SwarmCommand::Ban { peer, reply } => {
                let is_new = self.swarm.behaviour_mut().denied.block_peer(peer);
                self.banned.insert(peer);
                for network in Network::ALL {
                    self.leave_table(network, &peer);
                }
                let _ = reply.send(is_new);
            }
            SwarmCommand::Unban { peer, reply } => {
                let was = self.swarm.behaviour_mut().denied.unblock_peer(peer);
                self.banned.remove(&peer);
                let _ = reply.send(was);
            }
            SwarmCommand::Peers { reply } => drop(reply.send(self.peers.list())),
            SwarmCommand::Status { reply } => drop(reply.send(self.status())),
            SwarmCommand::Addresses { peer, reply } => {
                drop(reply.send(self.peers.addresses(&peer)))
            }
            SwarmCommand::Stop { .. } => unreachable!("the loop ends with it"),
        }
    }

    fn connect(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<(), ConnectError>>,
    ) {
        if peer == *self.swarm.local_peer_id() {
            let _ = reply.send(Err(ConnectError::Own));
            return;
        }
        if self.peers.is_connected(&peer) {
            let _ = reply.send(Ok(()));
            return;
        }
        let mut known = self.peers.addresses(&peer);
        known.retain(|address| !addresses.contains(address));
        let addresses: Vec<Multiaddr> = addresses.into_iter().chain(known).collect();
        let dial = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour()
            .build();
        match self.swarm.dial(dial) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {
                self.connecting.entry(peer).or_default().push(reply);
            }
            Err(error) => drop(reply.send(Err(ConnectError::of_dial(peer, &Arc::new(error))))),
        }
    }

    fn status(&mut self) -> NetStatus {
        let mut routing = Vec::new();
        for network in Network::ALL {
            if let Some(dht) = self.swarm.behaviour_mut().dht(network) {
                routing.push((
                    network,
                    dht.kbuckets().map(|bucket| bucket.num_entries()).sum(),
                ));
            }
        }
        let mut banned: Vec<PeerId> = self.banned.iter().copied().collect();
        banned.sort_unstable();
        NetStatus {
            listening: self.listening.read().clone(),
            external: self.swarm.external_addresses().cloned().collect(),
            peers: self.peers.len(),
            inbound: self.peers.inbound(rt::now()),
            routing,
            dht_protocol: self.dht_protocol.clone(),
            banned,
        }
    }

    fn happened(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.identified(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.pinged(event),
            SwarmEvent::Behaviour(BehaviourEvent::PublicDht(event)) => {
                self.routed(Network::Public, event);
            }
            SwarmEvent::Behaviour(BehaviourEvent::LanDht(event)) => {
                self.routed(Network::Lan, event);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Pubsub(event)) => self.gossiped(event),
            SwarmEvent::Behaviour(BehaviourEvent::Bitswap(event)) => self.misbehaved(&event),
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                self.binding.remove(&listener_id);
                let mut listening = self.listening.write();
                if !listening.contains(&address) {
                    listening.push(address);
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.write().retain(|known| *known != address);
            }
            SwarmEvent::ListenerClosed {
                addresses, reason, ..
            } => {
                self.listening
                    .write()
                    .retain(|known| !addresses.contains(known));
                if let Err(error) = reason {
                    tracing::warn!(?addresses, %error, "listening ended");
                }
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                ..
            } => {
                self.peers.closed(&peer_id, connection_id);
                if !self.peers.is_connected(&peer_id) {
                    self.left_topics(peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => {
                self.not_connected(peer, error);
                // An address that failed may have left the routing tables.
                self.tell_tables(&peer);
            }
            SwarmEvent::IncomingConnectionError {
                error: ListenError::Denied { .. },
                ..
            } => {
                self.peers.refused += 1;
            }
            SwarmEvent::ExternalAddrConfirmed { .. } | SwarmEvent::ExternalAddrExpired { .. } => {
                let addresses = self.swarm.external_addresses().cloned();
                self.local.tell_external(addresses.collect());
            }
            SwarmEvent::NewExternalAddrOfPeer { peer_id, address } => {
                self.peers.heard_of(peer_id, address);
            }
            _ => {}
        }
    }

    fn connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let address = endpoint.get_remote_address().clone();
        let inbound = endpoint.is_listener();
        if inbound
            && self
                .peers
                .of_group(&address)
                .is_some_and(|open| open >= self.per_group)
        {
            self.peers.refused += 1;
            self.swarm.close_connection(id);
        }
        self.peers.opened(peer, id, address, inbound, rt::now());
        if inbound {
            self.make_room();
        }
        for waiting in self.connecting.remove(&peer).into_iter().flatten() {
            let _ = waiting.send(Ok(()));
        }
    }

    fn not_connected(&mut self, peer: PeerId, error: DialError) {
        // A refusal of our own, or a dial that another one was faster than, says nothing about the peer.
        if matches!(error, DialError::DialPeerConditionFalse(_)) || self.peers.is_connected(&peer) {
            return;
        }
        tracing::debug!(%peer, %error, "a peer could not be dialled");
        if matches!(
            error,
            DialError::Transport(_) | DialError::WrongPeerId { .. }
        ) {
            for network in Network::ALL {
                self.leave_table(network, &peer);
            }
        }
        let error = Arc::new(error);
        for waiting in self.connecting.remove(&peer).into_iter().flatten() {
            let _ = waiting.send(Err(ConnectError::of_dial(peer, &error)));
        }
    }

    fn pinged(&mut self, event: ping::Event) {
        match event.result {
            Ok(latency) => self.peers.answered(&event.peer, latency),
            Err(ping::Failure::Unsupported) => {}
            // It is open and dead: better closed, so that it is dialled anew.
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "a connection is not healthy");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    /// A peer that goes on sending what nobody asked for, or what is no message, is let go.
    fn misbehaved(&mut self, event: &bitswap::Event) {
        tracing::debug!(?event, "a peer broke a rule of bitswap");
        let peer = match event {
            bitswap::Event::Garbage { peer, .. } => *peer,
            bitswap::Event::Unrequested { peer, blocks } if *blocks >= UNREQUESTED => *peer,
            _ => return,
        };
        // It may be gone already.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    /// Looks for peers when there are none.
    fn upkeep(&mut self) {
        self.tell_whole_tables();
        if self.peers.len() > 0 {
            return;
        }
        let mut dials = self.bootstrap.addresses();
        dials.extend(self.peers.lately_heard(UPKEEP_DIALS));
        for address in dials {
            let Some(peer) = peer_of(&address) else {
                continue;
            };
            let dial = DialOpts::peer_id(peer)
                .condition(PeerCondition::DisconnectedAndNotDialing)
                .addresses(vec![address])
                .build();
            if let Err(error) = self.swarm.dial(dial) {
                tracing::debug!(%peer, %error, "a bootstrap peer is not dialled");
            }
        }
    }
}
