//! Who is connected, from which address group, and how it does.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use perennis_shared::time::Millis;

use crate::address::{Group, group_of};

/// Addresses kept for one peer.
const ADDRESSES: usize = 16;

/// Peers whose addresses are kept.
const KNOWN: usize = 8_192;

/// Longest name and version of a peer that is kept, in characters.
const AGENT_CHARS: usize = 128;

/// A peer and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The peer.
    pub peer: PeerId,
    /// Its addresses.
    pub addresses: Vec<Multiaddr>,
}

/// A connected peer.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The peer.
    pub peer: PeerId,
    /// The address of its oldest connection.
    pub address: Multiaddr,
    /// Whether it opened that connection.
    pub inbound: bool,
    /// Connections with it.
    pub connections: usize,
    /// The name and version it gives.
    pub agent: Option<String>,
    /// Protocols it speaks.
    pub protocols: Vec<String>,
    /// The last round trip.
    pub latency: Option<Duration>,
    /// When its oldest connection was made.
    pub since: Millis,
}

/// Inbound connections: how many there are, and how fast they come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inbound {
    /// Open now.
    pub open: usize,
    /// Accepted since the start.
    pub accepted: u64,
    /// Accepted in the last minute.
    pub last_minute: u64,
    /// Refused since the start, by a limit or the deny list.
    pub refused: u64,
    /// Idle peers that were disconnected since the start, because newcomers needed their places.
    pub gave_way: u64,
    /// The address groups with most connections now, largest first, at most ten.
    pub groups: Vec<(String, usize)>,
}

/// All peers that are connected, and the addresses of those that were heard of.
#[derive(Default)]
pub(crate) struct Peers {
    connected: HashMap<PeerId, Connected>,
    groups: BTreeMap<Group, usize>,
    open_inbound: usize,
    accepted: u64,
    pub(crate) refused: u64,
    /// Idle peers that were disconnected for newcomers.
    pub(crate) gave_way: u64,
    /// Accepted connections of the last minute: second, count.
    recent: VecDeque<(u64, u64)>,
    addresses: HashMap<PeerId, VecDeque<Multiaddr>>,
    /// Peers with addresses, the one heard of longest ago first.
    heard: VecDeque<PeerId>,
}

struct Connected {
    connections: Vec<Connection>,
    agent: Option<String>,
    protocols: Vec<String>,
    latency: Option<Duration>,
}

struct Connection {
    id: ConnectionId,
    address: Multiaddr,
    inbound: bool,
    group: Option<Group>,
    since: Millis,
}

impl Peers {
    pub(crate) fn opened(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        address: Multiaddr,
        inbound: bool,
        now: Millis,
    ) {
        let group = group_of(&address).filter(|_| inbound);
        if inbound {
            self.open_inbound += 1;
            self.accepted += 1;
            self.count(now);
        }
        if let Some(group) = group {
            *self.groups.entry(group).or_default() += 1;
        }
        let connected = self.connected.entry(peer).or_insert_with(|| Connected {
            connections: Vec::new(),
            agent: None,
            protocols: Vec::new(),
            latency: None,
        });
        connected.connections.push(Connection {
            id,
            address,
            inbound,
            group,
            since: now,
        });
    }

    pub(crate) fn closed(&mut self, peer: &PeerId, id: ConnectionId) {
        let Some(connected) = self.connected.get_mut(peer) else {
            return;
        };
        let Some(index) = connected.connections.iter().position(|open| open.id == id) else {
            return;
        };
        let closed = connected.connections.remove(index);
        if connected.connections.is_empty() {
            self.connected.remove(peer);
        }
        if closed.inbound {
            self.open_inbound -= 1;
        }
        if let Some(group) = closed.group
            && let Some(count) = self.groups.get_mut(&group)
        {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(&group);
            }
        }
    }

    pub(crate) fn identified(&mut self, peer: &PeerId, agent: &str, protocols: Vec<String>) {
        if let Some(connected) = self.connected.get_mut(peer) {
            connected.agent = Some(
                agent
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(AGENT_CHARS)
                    .collect(),
            );
            connected.protocols = protocols;
        }
    }

    pub(crate) fn answered(&mut self, peer: &PeerId, latency: Duration) {
        if let Some(connected) = self.connected.get_mut(peer) {
            connected.latency = Some(latency);
        }
    }

    /// Remembers where a peer can be reached.
    pub(crate) fn heard_of(&mut self, peer: PeerId, address: Multiaddr) {
        let known = self.addresses.entry(peer).or_default();
        if known.is_empty() {
            self.heard.push_back(peer);
        }
        if known.contains(&address) {
            return;
        }
        if known.len() == ADDRESSES {
            known.pop_front();
        }
        known.push_back(address);
        if self.heard.len() > KNOWN
            && let Some(oldest) = self.heard.pop_front()
        {
            self.addresses.remove(&oldest);
        }
    }

    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let known = self.addresses.get(peer);
        let mut addresses: Vec<Multiaddr> = known.into_iter().flatten().cloned().collect();
        let open = self
            .connected
            .get(peer)
            .into_iter()
            .flat_map(|peer| &peer.connections);
        for connection in open.filter(|connection| !connection.inbound) {
            if !addresses.contains(&connection.address) {
                addresses.push(connection.address.clone());
            }
        }
        addresses
    }

    /// Addresses of the peers that were heard of last, each with its peer.
    pub(crate) fn lately_heard(&self, most: usize) -> Vec<Multiaddr> {
        let last = self.heard.iter().rev().take(most);
        last.filter_map(|peer| {
            let address = self.addresses.get(peer)?.back()?.clone();
            address.with_p2p(*peer).ok()
        })
        .collect()
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains_key(peer)
    }

    pub(crate) fn len(&self) -> usize {
        self.connected.len()
    }

    /// Connections that others opened and that are open.
    pub(crate) fn open_inbound(&self) -> usize {
        self.open_inbound
    }

    /// Peers that have opened all their connections themselves, the last of them so long ago; who came first is first.
    pub(crate) fn inbound_older_than(&self, age: Duration, now: Millis) -> Vec<PeerId> {
        let since = |(peer, connected): (&PeerId, &Connected)| {
            let all_inbound = connected.connections.iter().all(|open| open.inbound);
            let last = connected.connections.last()?.since;
            (all_inbound && last + age <= now).then_some((last, *peer))
        };
        let mut old: Vec<(Millis, PeerId)> = self.connected.iter().filter_map(since).collect();
        old.sort_unstable();
        old.into_iter().map(|(_, peer)| peer).collect()
    }

    /// Inbound connections from the group of an address; `None` when its group does not count.
    pub(crate) fn of_group(&self, address: &Multiaddr) -> Option<usize> {
        let group = group_of(address)?;
        Some(self.groups.get(&group).copied().unwrap_or_default())
    }

    /// The groups that a peer is connected from, or was reached in.
    pub(crate) fn groups_of(&self, peer: &PeerId) -> BTreeSet<Group> {
        let open = self.connected.get(peer).into_iter();
        let open = open.flat_map(|peer| &peer.connections);
        open.filter_map(|open| group_of(&open.address)).collect()
    }

    pub(crate) fn list(&self) -> Vec<PeerInfo> {
        let info = |(peer, connected): (&PeerId, &Connected)| {
            let oldest = connected.connections.first()?;
            Some(PeerInfo {
                peer: *peer,
                address: oldest.address.clone(),
                inbound: oldest.inbound,
                connections: connected.connections.len(),
                agent: connected.agent.clone(),
                protocols: connected.protocols.clone(),
                latency: connected.latency,
                since: oldest.since,
            })
        };
        let mut list: Vec<PeerInfo> = self.connected.iter().filter_map(info).collect();
        list.sort_by_key(|info| (info.since, info.peer));
        list
    }

    pub(crate) fn inbound(&self, now: Millis) -> Inbound {
        let oldest = (now.0 / 1_000).saturating_sub(59);
        let recent = self.recent.iter().filter(|(second, _)| *second >= oldest);
        let mut groups: Vec<(String, usize)> = self
            .groups
            .iter()
            .map(|(group, count)| (group.to_string(), *count))
            .collect();
        groups.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        groups.truncate(10);
        Inbound {
            open: self.open_inbound,
            accepted: self.accepted,
            last_minute: recent.map(|(_, count)| count).sum(),
            refused: self.refused,
            gave_way: self.gave_way,
            groups,
        }
    }

    fn count(&mut self, now: Millis) {
        let second = now.0 / 1_000;
        match self.recent.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => self.recent.push_back((second, 1)),
        }
        while self.recent.len() > 60 {
            self.recent.pop_front();
        }
    }
}
