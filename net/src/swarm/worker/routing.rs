//! The routing tables in the task that owns the swarm: who is let in, and that whoever answers others hears of it.

use std::collections::HashMap;

use libp2p::{Multiaddr, PeerId, identify, kad};

use super::{TOLD_ADDRESSES, Worker};
use crate::{
    address::{AddressScope, Group, group_of, scope_of},
    dht::Network,
    peers::Contact,
};

/// Who is in a routing table, by address group.
#[derive(Default)]
pub(super) struct Table {
    members: HashMap<PeerId, Option<Group>>,
}

impl Table {
    /// Whether a peer is in it.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.members.contains_key(peer)
    }

    fn of_group(&self, group: Group) -> usize {
        let same = self
            .members
            .values()
            .filter(|member| **member == Some(group));
        same.count()
    }
}

impl Worker {
    pub(super) fn identified(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else {
            return;
        };
        let protocols = info.protocols.iter().map(ToString::to_string).collect();
        self.peers
            .identified(&peer_id, &info.agent_version, protocols);
        let spoken = Network::ALL.map(|network| {
            let protocol = self.dht_protocol.name(network);
            let mut spoken = info.protocols.iter();
            (network, spoken.any(|spoken| spoken.as_ref() == protocol))
        });
        for address in info.listen_addrs.into_iter().take(TOLD_ADDRESSES) {
            let network = match scope_of(&address) {
                AddressScope::Public => Network::Public,
                AddressScope::Private => Network::Lan,
            };
            self.peers.heard_of(peer_id, address.clone());
            if spoken.contains(&(network, true)) {
                self.join_table(network, peer_id, address);
            }
        }
        self.tell_tables(&peer_id);
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

    pub(super) fn leave_table(&mut self, network: Network, peer: &PeerId) {
        self.tables.entry(network).or_default().members.remove(peer);
        if let Some(dht) = self.swarm.behaviour_mut().dht(network) {
            dht.remove_peer(peer);
        }
        self.local.tell_gone(network, peer);
    }

    pub(super) fn routed(&mut self, network: Network, event: kad::Event) {
        let kad::Event::RoutingUpdated { peer, old_peer, .. } = event else {
            return;
        };
        if let Some(old) = old_peer {
            self.tables.entry(network).or_default().members.remove(&old);
            self.local.tell_gone(network, &old);
        }
        self.tell_tables(&peer);
    }

    /// Tells where a peer stands in the routing tables now, or that it does not.
    pub(super) fn tell_tables(&mut self, peer: &PeerId) {
        for network in Network::ALL {
            let Some(dht) = self.swarm.behaviour_mut().dht(network) else {
                continue;
            };
            let bucket = dht.kbucket(*peer);
            let place = bucket.as_ref().and_then(|bucket| {
                let mut entries = bucket.iter();
                entries.find(|entry| entry.node.key.preimage() == peer)
            });
            let contact = Contact {
                peer: *peer,
                addresses: place.map_or_else(Vec::new, |place| addresses_of(place.node.value)),
            };
            self.local.tell_peer(network, contact);
        }
    }

    /// The same of all peers at once: what nobody was told of is found here.
    pub(super) fn tell_whole_tables(&mut self) {
        for network in Network::ALL {
            let Some(dht) = self.swarm.behaviour_mut().dht(network) else {
                continue;
            };
            let mut contacts = Vec::new();
            for bucket in dht.kbuckets() {
                contacts.extend(bucket.iter().map(|entry| Contact {
                    peer: *entry.node.key.preimage(),
                    addresses: addresses_of(entry.node.value),
                }));
            }
            self.local.tell_all(network, contacts);
        }
    }
}

fn addresses_of(known: &kad::Addresses) -> Vec<Multiaddr> {
    known.iter().cloned().collect()
}
