//! The routing tables in the task that owns the swarm: who is let in, and what this peer itself answers.

use std::collections::HashMap;

use libp2p::{
    Multiaddr, PeerId, identify,
    kad::{self, store::RecordStore},
};
use perennis_shared::wire::kad::Question;

use super::{TOLD_ADDRESSES, Worker};
use crate::{
    address::{AddressScope, Group, group_of, scope_of},
    dht::{Answer, DhtCommand, Network},
    peers::Contact,
};

/// Who is in a routing table, by address group.
#[derive(Default)]
pub(super) struct Table {
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
    pub(super) fn obey_dht(&mut self, command: DhtCommand) {
        match command {
            DhtCommand::Answer {
                network,
                question,
                key,
                reply,
            } => drop(reply.send(self.answer(network, question, &key))),
            DhtCommand::Store { key, value } => {
                // Both networks have one store behind them.
                let mut networks = Network::ALL.into_iter();
                let network =
                    networks.find(|network| self.swarm.behaviour_mut().dht(*network).is_some());
                if let Some(dht) =
                    network.and_then(|network| self.swarm.behaviour_mut().dht(network))
                    && let Err(error) = dht.store_mut().put(kad::Record::new(key, value))
                {
                    tracing::debug!(%error, "a record of our own is not stored");
                }
            }
            DhtCommand::Provide { key } => {
                // The routing only answers others with it; telling the closest peers is the caller's work.
                for network in Network::ALL {
                    self.set_provided(network, &key, true);
                }
            }
            DhtCommand::Withdraw { key } => {
                for network in Network::ALL {
                    self.set_provided(network, &key, false);
                }
            }
        }
    }

    fn answer(&mut self, network: Network, question: Question, key: &[u8]) -> Answer {
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
                let stored = dht.store_mut().get(&key);
                answer.record = stored.map(|record| record.value.clone());
            }
            Question::Providers => {
                let stored = dht.store_mut().providers(&key);
                answer.providers = stored
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

    pub(super) fn identified(&mut self, event: identify::Event) {
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

    pub(super) fn leave_table(&mut self, network: Network, peer: &PeerId) {
        self.tables.entry(network).or_default().members.remove(peer);
        if let Some(dht) = self.swarm.behaviour_mut().dht(network) {
            dht.remove_peer(peer);
        }
    }

    pub(super) fn routed(&mut self, network: Network, event: kad::Event) {
        if let kad::Event::RoutingUpdated {
            old_peer: Some(old),
            ..
        } = event
        {
            self.tables.entry(network).or_default().members.remove(&old);
        }
    }
}
