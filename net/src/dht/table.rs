//! The peers of a routing table as others are told of them.
//!
//! libp2p's table belongs to the task that owns the swarm, and looks through its buckets one by one. This is a copy of it
//! that any task reads: each peer with its point and the bytes that stand in an answer. The swarm's task tells of each
//! change as it happens.
//!
//! Must never touch: who is let into a table. That is the worker's.

use std::sync::Arc;

use libp2p::{Multiaddr, PeerId};
use parking_lot::RwLock;
use perennis_shared::wire::kad;

use super::{
    Contact,
    keyspace::{Point, distance, point_of},
};

/// Addresses of a peer that are told. A peer has seldom more, and twenty peers fit into one answer.
const TOLD_ADDRESSES: usize = 12;

/// A peer of the table.
#[derive(Debug)]
pub(super) struct Member {
    point: Point,
    pub(super) contact: Contact,
    /// As it stands in an answer.
    pub(super) told: Vec<u8>,
}

/// The peers of one routing table.
#[derive(Debug, Default)]
pub(super) struct Table {
    members: RwLock<Vec<Arc<Member>>>,
}

impl Table {
    /// Has a peer at these addresses, and no others; one without an address leaves.
    pub(super) fn set(&self, contact: Contact) {
        if contact.addresses.is_empty() {
            self.remove(&contact.peer);
            return;
        }
        let mut members = self.members.write();
        let known = members
            .iter_mut()
            .find(|member| member.contact.peer == contact.peer);
        match known {
            Some(known) if known.contact == contact => {}
            Some(known) => *known = Arc::new(Member::new(contact)),
            None => members.push(Arc::new(Member::new(contact))),
        }
    }

    pub(super) fn remove(&self, peer: &PeerId) {
        let mut members = self.members.write();
        if let Some(at) = members
            .iter()
            .position(|member| member.contact.peer == *peer)
        {
            members.swap_remove(at);
        }
    }

    /// Has these peers and no others.
    pub(super) fn replace(&self, contacts: impl IntoIterator<Item = Contact>) {
        let members = contacts
            .into_iter()
            .map(|contact| Arc::new(Member::new(contact)));
        let members = members.collect();
        *self.members.write() = members;
    }

    pub(super) fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let members = self.members.read();
        let member = members.iter().find(|member| member.contact.peer == *peer);
        member.map_or_else(Vec::new, |member| member.contact.addresses.clone())
    }

    /// The `most` peers closest to a key, nearest first, but not `except`.
    pub(super) fn closest(&self, key: &[u8], most: usize, except: &PeerId) -> Vec<Arc<Member>> {
        let target = point_of(key);
        let members = self.members.read();
        let mut near: Vec<(Point, &Arc<Member>)> = members
            .iter()
            .filter(|member| member.contact.peer != *except)
            .map(|member| (distance(&target, &member.point), member))
            .collect();
        if near.len() > most {
            near.select_nth_unstable_by_key(most, |(distance, _)| *distance);
            near.truncate(most);
        }
        near.sort_unstable_by_key(|(distance, _)| *distance);
        near.into_iter()
            .map(|(_, member)| Arc::clone(member))
            .collect()
    }
}

impl Member {
    fn new(contact: Contact) -> Self {
        let peer = contact.peer.to_bytes();
        let addresses = contact.addresses.iter().take(TOLD_ADDRESSES);
        Self {
            point: point_of(&peer),
            told: kad::contact(&peer, addresses.map(AsRef::as_ref)),
            contact,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;

    use super::*;

    fn contact(port: usize) -> Contact {
        Contact {
            peer: PeerId::random(),
            addresses: vec![format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()],
        }
    }

    fn peers(members: &[Arc<Member>]) -> Vec<PeerId> {
        members.iter().map(|member| member.contact.peer).collect()
    }

    #[test]
    fn the_closest_are_told_and_nobody_of_itself() {
        let table = Table::default();
        let contacts: Vec<Contact> = (1..200).map(contact).collect();
        for contact in &contacts {
            table.set(contact.clone());
        }
        for key in 0..20_u8 {
            let target = point_of(&[key]);
            let by_distance: BTreeMap<Point, PeerId> = contacts
                .iter()
                .map(|contact| {
                    let point = point_of(&contact.peer.to_bytes());
                    (distance(&target, &point), contact.peer)
                })
                .collect();
            let mut wanted = by_distance.into_values();
            let nearest = wanted.next().unwrap();
            let wanted: Vec<PeerId> = wanted.take(20).collect();
            assert_eq!(peers(&table.closest(&[key], 20, &nearest)), wanted);
        }
    }

    #[test]
    fn a_peer_stands_there_once_and_leaves_with_its_last_address() {
        let table = Table::default();
        let (one, other) = (contact(1), contact(2));
        let nobody = PeerId::random();
        table.replace([one.clone(), other.clone()]);
        let mut moved = one.clone();
        moved.addresses = contact(3).addresses;
        table.set(moved.clone());
        assert_eq!(table.closest(b"k", 20, &nobody).len(), 2);
        assert_eq!(table.addresses_of(&one.peer), moved.addresses);
        moved.addresses.clear();
        table.set(moved);
        assert_eq!(peers(&table.closest(b"k", 20, &nobody)), [other.peer]);
        table.remove(&other.peer);
        assert!(table.closest(b"k", 20, &nobody).is_empty());
    }
}
