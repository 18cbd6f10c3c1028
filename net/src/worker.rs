//! The task that owns the swarm: it carries out commands and tells what happened. Nothing here waits.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, future::FusedFuture};
use libp2p::{
    Multiaddr, PeerId, Swarm, TransportError,
    core::{ConnectedPoint, transport::ListenerId},
    identify,
    kad::{self, store::RecordStore},
    ping,
    swarm::{
        ConnectionId, DialError, ListenError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use parking_lot::RwLock;
use perennis_rt as rt;
use perennis_shared::wire::kad::Question;
use tokio::sync::{mpsc, oneshot};

use super::{
    address::{AddressScope, Group, group_of, scope_of},
    behaviour::{Behaviour, BehaviourEvent},
    bitswap,
    command::{Answer, Command, Contact},
    config::{Bootstrap, NetConfig, peer_of},
    dht::Network,
    handle::{ConnectError, NetStatus, StartError},
    peers::Peers,
    pubsub::Pubsub,
};

mod topics;

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

pub(super) struct Worker {
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Command>,
    listening: Arc<RwLock<Vec<Multiaddr>>>,
    /// Listeners without an address yet.
    binding: HashSet<ListenerId>,
    connecting: HashMap<PeerId, Vec<oneshot::Sender<Result<(), ConnectError>>>>,
    peers: Peers,
    tables: HashMap<Network, Table>,
    bootstrap: Bootstrap,
    per_group: usize,
    table_per_group: usize,
    banned: HashSet<PeerId>,
    /// `None` when the peer takes no part in pubsub.
    topics: Option<Topics>,
}

/// Who is in a routing table, by address group.
#[derive(Default)]
struct Table {
    members: HashMap<PeerId, Option<Group>>,
}

impl Table {
    fn of_group(&self, group: Group) -> usize {
        let same = self
            .members
            .values()
            .filter(|member| **member == Some(group));
        same.count()
    }
}

impl Worker {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        config: &NetConfig,
        commands: mpsc::Receiver<Command>,
        listening: Arc<RwLock<Vec<Multiaddr>>>,
        topics: Option<Pubsub>,
    ) -> Self {
        Self {
            swarm,
            commands,
            listening,
            binding: HashSet::new(),
            connecting: HashMap::new(),
            peers: Peers::default(),
            tables: HashMap::new(),
            bootstrap: config.bootstrap.clone(),
            per_group: config.limits.per_group as usize,
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

    /// Works until it is stopped or nobody can ask it any more; `beside` ends with it, whatever it holds.
    pub(super) async fn run(mut self, beside: impl Future<Output = ()>) {
        let mut beside = Box::pin(beside.fuse());
        self.upkeep();
        loop {
            // The upkeep is due again after a pause without events too.
            tokio::select! {
                () = &mut beside, if !beside.is_terminated() => {}
                event = self.swarm.select_next_some() => self.happened(event),
                command = self.commands.recv() => match command {
                    Some(Command::Stop { reply }) => {
                        drop((self, beside));
                        let _ = reply.send(());
                        return;
                    }
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = rt::sleep(UPKEEP) => self.upkeep(),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Connect {
                peer,
                addresses,
                reply,
            } => self.connect(peer, addresses, reply),
            Command::Ban { peer, reply } => {
                let is_new = self.swarm.behaviour_mut().denied.block_peer(peer);
                self.banned.insert(peer);
                for network in Network::ALL {
                    self.leave_table(network, &peer);
                }
                let _ = reply.send(is_new);
            }
            Command::Unban { peer, reply } => {
                let was = self.swarm.behaviour_mut().denied.unblock_peer(peer);
                self.banned.remove(&peer);
                let _ = reply.send(was);
            }
            Command::Peers { reply } => drop(reply.send(self.peers.list())),
            Command::Status { reply } => drop(reply.send(self.status())),
            Command::Addresses { peer, reply } => drop(reply.send(self.peers.addresses(&peer))),
            Command::Known {
                network,
                question,
                key,
                reply,
            } => drop(reply.send(self.known(network, question, &key))),
            Command::Keep { key, value } => {
                // Both networks have one store behind them.
                let mut networks = Network::ALL.into_iter();
                let network =
                    networks.find(|network| self.swarm.behaviour_mut().dht(*network).is_some());
                if let Some(dht) =
                    network.and_then(|network| self.swarm.behaviour_mut().dht(network))
                    && let Err(error) = dht.store_mut().put(kad::Record::new(key, value))
                {
                    tracing::debug!(%error, "a record of our own is not kept");
                }
            }
            Command::Provide { key } => {
                // The routing only answers others with it; telling the closest peers is the caller's work.
                for network in Network::ALL {
                    self.set_provided(network, &key, true);
                }
            }
            Command::Withdraw { key } => {
                for network in Network::ALL {
                    self.set_provided(network, &key, false);
                }
            }
            Command::Pubsub(command) => self.obey_pubsub(command),
            Command::Stop { .. } => unreachable!("the loop ends with it"),
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

    fn known(&mut self, network: Network, question: Question, key: &[u8]) -> Answer {
        let own = *self.swarm.local_peer_id();
        let Some(dht) = self.swarm.behaviour_mut().dht(network) else {
            return Answer::default();
        };
        let mut answer = Answer::default();
        let place = kad::KBucketKey::new(key.to_vec());
        let closest = dht.find_closest_local_peers(&place, &own);
        answer.closer = closest
            .map(|peer| Contact {
                peer: peer.node_id,
                addresses: peer.multiaddrs,
            })
            .collect();
        let key = kad::RecordKey::new(&key);
        match question {
            Question::Closest => {}
            Question::Record => {
                let kept = dht.store_mut().get(&key);
                answer.record = kept.map(|record| record.value.clone());
            }
            Question::Providers => {
                let kept = dht.store_mut().providers(&key);
                answer.providers = kept
                    .into_iter()
                    .map(|provider| Contact {
                        peer: provider.provider,
                        addresses: provider.addresses,
                    })
                    .collect();
            }
        }
        answer
    }

    fn set_provided(&mut self, network: Network, key: &[u8], provided: bool) {
        let own = *self.swarm.local_peer_id();
        let Some(dht) = self.swarm.behaviour_mut().dht(network) else {
            return;
        };
        let key = kad::RecordKey::new(&key);
        if provided {
            let record = kad::ProviderRecord::new(key, own, Vec::new());
            // What this peer provides itself is always taken.
            let _ = dht.store_mut().add_provider(record);
        } else {
            dht.store_mut().remove_provider(&key, &own);
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
            }
            SwarmEvent::IncomingConnectionError {
                error: ListenError::Denied { .. },
                ..
            } => {
                self.peers.refused += 1;
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

    fn identified(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else {
            return;
        };
        let protocols = info.protocols.iter().map(ToString::to_string).collect();
        self.peers
            .identified(&peer_id, &info.agent_version, protocols);
        for address in info.listen_addrs.into_iter().take(TOLD_ADDRESSES) {
            let speaks = |network: Network| {
                let protocol = network.protocol();
                info.protocols
                    .iter()
                    .any(|spoken| spoken.as_ref() == protocol)
            };
            let network = match scope_of(&address) {
                AddressScope::Public => Network::Public,
                AddressScope::Private => Network::Lan,
            };
            self.peers.heard_of(peer_id, address.clone());
            if speaks(network) {
                self.join_table(network, peer_id, address);
            }
        }
    }

    /// Lets a peer into a routing table, unless its address group has its share already.
    fn join_table(&mut self, network: Network, peer: PeerId, address: Multiaddr) {
        if self.banned.contains(&peer) {
            return;
        }
        let table = self.tables.entry(network).or_default();
        let group = group_of(&address);
        let is_member = table.members.contains_key(&peer);
        if let Some(group) = group
            && !is_member
            && table.of_group(group) >= self.table_per_group
        {
            tracing::debug!(%peer, %group, "an address group has its share of the routing table");
            return;
        }
        if let Some(dht) = self.swarm.behaviour_mut().dht(network)
            && dht.add_address(&peer, address) != kad::RoutingUpdate::Failed
            && !is_member
        {
            self.tables
                .entry(network)
                .or_default()
                .members
                .insert(peer, group);
        }
    }

    fn leave_table(&mut self, network: Network, peer: &PeerId) {
        self.tables.entry(network).or_default().members.remove(peer);
        if let Some(dht) = self.swarm.behaviour_mut().dht(network) {
            dht.remove_peer(peer);
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

    fn routed(&mut self, network: Network, event: kad::Event) {
        if let kad::Event::RoutingUpdated {
            old_peer: Some(old),
            ..
        } = event
        {
            self.tables.entry(network).or_default().members.remove(&old);
        }
    }

    /// Looks for peers when there are none.
    fn upkeep(&mut self) {
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
