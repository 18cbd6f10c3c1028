//! The routing tables in the task that owns the swarm: who is let in, and that whoever answers others hears of it.

use std::collections::{BTreeSet, HashMap};

use libp2p::{Multiaddr, PeerId, identify, kad};

use super::{TOLD_ADDRESSES, Worker};
use crate::{
    address::{AddressScope, Group, group_of, scope_of},
    dht::Network,
    peers::Contact,
};

/// Who is in a routing table, by address group. A peer counts for the groups that it says it is in, and for those that it is
/// connected from: what it says may be anything, and of where it is, it can say nothing.
#[derive(Default)]
pub(super) struct Table {
    members: HashMap<PeerId, BTreeSet<Group>>,
}

impl Table {
    /// Whether a peer is in it.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.members.contains_key(peer)
    }

    /// The groups of a peer, with those of one address more; none where another peer may not be in one of them.
    fn groups_with(
        &self,
        peer: &PeerId,
        more: BTreeSet<Group>,
        most: usize,
    ) -> Result<BTreeSet<Group>, Group> {
        let mut groups = self.members.get(peer).cloned().unwrap_or_default();
        for group in more {
            let others = self.members.iter().filter(|(other, _)| *other != peer);
            let same = others.filter(|(_, groups)| groups.contains(&group));
            if !groups.contains(&group) && same.count() >= most {
                return Err(group);
            }
            groups.insert(group);
        }
        Ok(groups)
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
        let mut groups = self.peers.groups_of(&peer);
        groups.extend(group_of(&address));
        let groups = match table.groups_with(&peer, groups, self.table_per_group) {
            Ok(groups) => groups,
            Err(group) => {
                tracing::debug!(%peer, %group, "an address group has its share of the routing table");
                return;
            }
        };
        if let Some(dht) = self.swarm.behaviour_mut().dht(network)
            && dht.add_address(&peer, address) != kad::RoutingUpdate::Failed
        {
            let table = self.tables.entry(network).or_default();
            table.members.insert(peer, groups);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_peer_counts_where_it_says_it_is_and_where_it_is_connected_from() {
        let group = |address: &str| group_of(&address.parse().unwrap()).unwrap();
        let here = group("/ip4/8.8.8.1/tcp/1");
        let said = |number: u8| group(&format!("/ip4/9.9.{number}.1/tcp/1"));
        let mut table = Table::default();
        // All of them are one machine, whatever they say.
        for number in 0..9 {
            let peer = PeerId::random();
            let groups = table.groups_with(&peer, BTreeSet::from([here, said(number)]), 3);
            match groups {
                Ok(groups) => drop(table.members.insert(peer, groups)),
                Err(full) => assert_eq!(full, here),
            }
        }
        assert_eq!(table.members.len(), 3);
        // One that is in it may say more, but no group beyond its share.
        let peer = *table.members.keys().next().unwrap();
        let more = table.groups_with(&peer, BTreeSet::from([here, said(77)]), 3);
        assert_eq!(more.map(|groups| groups.len()), Ok(3));
        let other = PeerId::random();
        assert_eq!(
            table.groups_with(&other, BTreeSet::from([said(0)]), 1),
            Err(said(0))
        );
    }
}
