//! The walk towards a key in one network: whom to ask next, and when it is over.
//!
//! A pure machine (Kademlia specification, "Iterative lookups"): the nearest peers are asked, each answer names nearer
//! ones, and the walk ends when the [`REPLICAS`] nearest have answered. A peer that is slow frees its place for the next
//! one and may still answer; one that failed is as if it had never been heard of.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use libp2p::PeerId;

use crate::dht::{
    Contact, REPLICAS,
    keyspace::{Point, distance, point_of},
};

/// Peers that are asked at once, as in the Go implementation.
const PARALLEL: usize = 10;

/// Silence after which a peer is slow.
const SLOW: Duration = Duration::from_secs(1);

/// Peers that a walk remembers: those of a hundred answers. The farthest give way.
const REMEMBERED: usize = 2_000;

/// How far a walk has come.
#[derive(Debug)]
pub(super) struct Walk {
    target: Point,
    own: PeerId,
    /// By distance.
    candidates: BTreeMap<Point, Candidate>,
    /// They are not taken in again.
    failed: HashSet<PeerId>,
}

#[derive(Debug)]
struct Candidate {
    contact: Contact,
    state: CandidateState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CandidateState {
    Heard,
    Asked { since: Duration },
    Slow,
    Answered,
}

impl Walk {
    /// A walk of the peer `own` towards `key`, from the peers it knows.
    pub(super) fn new(own: PeerId, key: &[u8], known: Vec<Contact>) -> Self {
        let mut walk = Self {
            target: point_of(key),
            own,
            candidates: BTreeMap::new(),
            failed: HashSet::new(),
        };
        walk.hear(known);
        walk
    }

    /// The next peer to ask, if one may be asked now.
    pub(super) fn next(&mut self, now: Duration) -> Option<Contact> {
        let under_way = self
            .candidates
            .values_mut()
            .filter_map(|candidate| match &mut candidate.state {
                CandidateState::Asked { since } if now.saturating_sub(*since) >= SLOW => {
                    candidate.state = CandidateState::Slow;
                    None
                }
                CandidateState::Asked { .. } => Some(()),
                _ => None,
            })
            .count();
        if under_way >= PARALLEL {
            return None;
        }
        let next = self
            .candidates
            .values_mut()
            .filter(|candidate| candidate.state != CandidateState::Slow)
            .take(REPLICAS)
            .find(|candidate| candidate.state == CandidateState::Heard)?;
        next.state = CandidateState::Asked { since: now };
        Some(next.contact.clone())
    }

    /// Takes in what a peer answered: the peers it knows to be closer.
    pub(super) fn answered(&mut self, peer: &PeerId, closer: Vec<Contact>) {
        if let Some(candidate) = self.candidates.get_mut(&self.place_of(peer)) {
            candidate.state = CandidateState::Answered;
        }
        self.hear(closer);
    }

    /// A peer did not answer.
    pub(super) fn failed(&mut self, peer: &PeerId) {
        self.candidates.remove(&self.place_of(peer));
        self.failed.insert(*peer);
    }

    /// Whether nobody is left to be asked or waited for.
    pub(super) fn is_over(&self) -> bool {
        let mut nearest = self.states().take(REPLICAS);
        nearest.all(|state| state == CandidateState::Answered)
    }

    /// Whether all but slow peers have answered.
    pub(super) fn is_waiting_for_slow_ones(&self) -> bool {
        let is_open = |state| matches!(state, CandidateState::Heard | CandidateState::Asked { .. });
        let quick = self.states().filter(|state| *state != CandidateState::Slow);
        !quick.take(REPLICAS).any(is_open)
    }

    /// The peers closest to the key of those that answered, nearest first, at most [`REPLICAS`].
    pub(super) fn closest(&self) -> Vec<Contact> {
        let answered = self.candidates.values();
        let answered = answered.filter(|candidate| candidate.state == CandidateState::Answered);
        let contacts = answered.map(|candidate| candidate.contact.clone());
        contacts.take(REPLICAS).collect()
    }

    /// The distances of the peers that are nearest, whether they have answered or not, nearest first, with the peers.
    pub(super) fn heard(&self) -> impl Iterator<Item = (&Point, &Contact)> {
        let candidates = self.candidates.iter().take(REPLICAS);
        candidates.map(|(distance, candidate)| (distance, &candidate.contact))
    }

    fn states(&self) -> impl Iterator<Item = CandidateState> {
        self.candidates.values().map(|candidate| candidate.state)
    }

    fn hear(&mut self, contacts: Vec<Contact>) {
        for contact in contacts {
            if contact.peer == self.own || self.failed.contains(&contact.peer) {
                continue;
            }
            let place = self.place_of(&contact.peer);
            let known = self.candidates.entry(place).or_insert(Candidate {
                contact: Contact {
                    peer: contact.peer,
                    addresses: Vec::new(),
                },
                state: CandidateState::Heard,
            });
            if known.contact.addresses.is_empty() {
                known.contact.addresses = contact.addresses;
            }
        }
        while self.candidates.len() > REMEMBERED {
            self.candidates.pop_last();
        }
    }

    fn place_of(&self, peer: &PeerId) -> Point {
        distance(&point_of(&peer.to_bytes()), &self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::keyspace::network;

    const START: Duration = Duration::ZERO;

    /// The peers in the order of their distance to a key.
    fn ranked(peers: u32, key: &[u8]) -> Vec<Contact> {
        let mut ranked = network(peers);
        let target = point_of(key);
        ranked.sort_by_key(|contact| distance(&point_of(&contact.peer.to_bytes()), &target));
        ranked
    }

    fn walk(known: &[Contact]) -> Walk {
        Walk::new(PeerId::random(), b"key", known.to_vec())
    }

    #[test]
    fn it_ends_with_the_closest_of_the_network() {
        let all = ranked(300, b"key");
        let mut walk = walk(&all[280..]);
        let mut asked = 0;
        while !walk.is_over() {
            let contact = walk.next(START).expect("somebody is left to be asked");
            asked += 1;
            // Whoever is asked knows the twenty that are just nearer.
            let place = all.iter().position(|one| *one == contact).unwrap_or(0);
            let closer = all[place.saturating_sub(20)..place].to_vec();
            walk.answered(&contact.peer, closer);
        }
        assert_eq!(walk.closest(), all[..20]);
        assert!(asked < 60, "{asked}");
    }

    #[test]
    fn so_many_are_asked_at_once_and_no_more() {
        let mut walk = walk(&ranked(40, b"key"));
        let first: Vec<_> = std::iter::from_fn(|| walk.next(START)).collect();
        assert_eq!(first.len(), PARALLEL);
        walk.answered(&first[3].peer, Vec::new());
        assert!(walk.next(START).is_some());
        assert!(walk.next(START).is_none());
    }

    #[test]
    fn slow_peers_give_way_and_still_count() {
        let all = ranked(40, b"key");
        let mut walk = walk(&all);
        let slow: Vec<_> = std::iter::from_fn(|| walk.next(START)).collect();
        let mut others = Vec::new();
        while let Some(contact) = walk.next(SLOW) {
            walk.answered(&contact.peer, Vec::new());
            others.push(contact);
        }
        assert_eq!(others, all[PARALLEL..PARALLEL + REPLICAS]);
        assert!(walk.is_waiting_for_slow_ones() && !walk.is_over());
        for peer in &slow {
            walk.answered(&peer.peer, Vec::new());
        }
        assert!(walk.is_over());
        assert_eq!(walk.closest(), all[..REPLICAS]);
    }

    #[test]
    fn the_failed_are_replaced_and_never_come_back() {
        let all = ranked(30, b"key");
        let mut walk = walk(&all);
        for dead in &all[..5] {
            let asked = walk.next(START).expect("somebody is left to be asked");
            assert_eq!(asked, *dead);
            walk.failed(&dead.peer);
        }
        while let Some(contact) = walk.next(START) {
            walk.answered(&contact.peer, all[..5].to_vec());
        }
        assert!(walk.is_over());
        assert_eq!(walk.closest(), all[5..25]);
    }

    #[test]
    fn memory_is_bounded_whatever_is_told() {
        let mut walk = walk(&ranked(20, b"key"));
        walk.hear(network(3_000));
        assert_eq!(walk.candidates.len(), REMEMBERED);
    }
}
