//! What is known of a network's keyspace, so that one lookup serves many names.
//!
//! A key stands at the SHA-256 of its bytes (Kademlia specification, "Kademlia Keyspace"), and so does a peer at that
//! of its id. A lookup of a point returns the peers closest to it: whoever is closer than the farthest of them is
//! among them. So all peers of every subtree that lies within that distance are known: the subtree is *covered*. The
//! closest peers of any other key in a covered subtree with enough peers are those of the subtree, and need no lookup:
//! whoever shares a longer beginning with the key is closer than anybody who does not.
//!
//! A pure machine: it says where to look next ([`Keyspace::closest`]), and is told what was found
//! ([`Keyspace::learn`]).

use std::collections::BTreeMap;

use perennis_shared::cid::{Codec, cid_of};

use super::{Contact, REPLICAS};

/// Length of a point, in bits.
const BITS: usize = 256;

/// Deepest subtree that is looked for on purpose: 2¹⁶ of them hold 20 peers each in a network of a million.
const DEEPEST: usize = 16;

/// A lookup that finds fewer peers than this has found the whole network.
const ALL_THERE_ARE: usize = REPLICAS * 3 / 4;

/// Lookups after which the peers that are known have to do for one key.
pub(super) const MOST_LOOKUPS: usize = 16;

/// Where a key or a peer stands.
pub type Point = [u8; 32];

/// The point of a key.
#[must_use]
pub fn point_of(key: &[u8]) -> Point {
    let cid = cid_of(Codec::Raw, key);
    let digest = cid.hash().digest();
    std::array::from_fn(|index| digest.get(index).copied().unwrap_or_default())
}

/// The peers of a network that are known, and which parts of its keyspace hold no others.
#[derive(Debug, Default)]
pub(super) struct Keyspace {
    peers: BTreeMap<Point, Contact>,
    /// Beginnings of covered subtrees, none within another.
    covered: Vec<Subtree>,
}

/// All points that begin with the first `bits` bits of `start`; the rest of `start` is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subtree {
    start: Point,
    bits: usize,
}

/// What is known about the peers closest to a point.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Closest {
    /// These are the closest of the network.
    Known(Vec<Contact>),
    /// Look up this key first.
    LookUp(Vec<u8>),
}

impl Keyspace {
    /// The [`REPLICAS`] peers closest to `key`, nearest first, or what to look up to learn more of them.
    pub(super) fn closest(&self, key: &[u8]) -> Closest {
        let point = &point_of(key);
        // The key itself first: what is found there covers most of what is needed.
        if !self.is_covered(point) {
            return Closest::LookUp(key.to_vec());
        }
        let subtree = self.smallest_with_enough(point);
        match self.gap(subtree) {
            Some(gap) => Closest::LookUp(key_within(gap)),
            None => Closest::Known(nearest(point, self.peers_in(subtree))),
        }
    }

    /// Keys to look up at the same time so that the whole keyspace comes to be covered, at most `most`; none when it is.
    pub(super) fn unmapped(&self, most: usize) -> Vec<Vec<u8>> {
        // As deep as lookups have reached here, so that two of them are unlikely to find the same peers.
        let deepest = self.covered.iter().map(|covered| covered.bits).max();
        let deepest = deepest.unwrap_or_default().min(DEEPEST);
        let mut open = vec![Subtree::new(&[0; 32], 0)];
        let mut gaps: Vec<Subtree> = Vec::new();
        while let Some(subtree) = open.pop() {
            if gaps.len() == most {
                break;
            }
            if self.covered.iter().any(|covered| covered.holds(&subtree)) {
                continue;
            }
            let is_empty = !self.covered.iter().any(|covered| subtree.holds(covered));
            if is_empty && subtree.bits >= deepest {
                gaps.push(subtree);
            } else {
                open.extend(subtree.halves().into_iter().rev());
            }
        }
        gaps.into_iter().map(key_within).collect()
    }

    /// How many peers are known.
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// The closest of the peers that are known, whether or not there are others.
    pub(super) fn best(&self, key: &[u8]) -> Vec<Contact> {
        nearest(&point_of(key), self.peers.iter())
    }

    /// The smallest subtree around a point with [`REPLICAS`] known peers, or the whole keyspace.
    fn smallest_with_enough(&self, point: &Point) -> Subtree {
        let has_enough = |bits| {
            self.peers_in(Subtree::new(point, bits))
                .take(REPLICAS)
                .count()
                == REPLICAS
        };
        // Smaller subtrees have fewer peers, so the depth can be searched by halves.
        let (mut enough, mut few) = (0, BITS);
        while few - enough > 1 {
            let middle = usize::midpoint(enough, few);
            if has_enough(middle) {
                enough = middle;
            } else {
                few = middle;
            }
        }
        Subtree::new(point, enough)
    }

    /// Takes in the peers that a lookup of `key` found, with this peer left out.
    pub(super) fn learn(&mut self, key: &[u8], found: Vec<Contact>) {
        let target = point_of(key);
        let mut points: Vec<Point> = Vec::with_capacity(found.len());
        for contact in found {
            let point = point_of(&contact.peer.to_bytes());
            points.push(point);
            self.peers.insert(point, contact);
        }
        // Far fewer than asked for are all there are. A few may be missing because they did not answer.
        let bits = if points.len() < ALL_THERE_ARE {
            0
        } else {
            let farthest = points.iter().map(|point| distance(point, &target)).max();
            farthest.map_or(BITS, |farthest| leading_zeros(&farthest) + 1)
        };
        self.cover(Subtree::new(&target, bits));
    }

    fn cover(&mut self, subtree: Subtree) {
        if self.covered.iter().any(|covered| covered.holds(&subtree)) {
            return;
        }
        self.covered.retain(|covered| !subtree.holds(covered));
        // Two halves are one whole.
        let Some(sibling) = subtree.sibling() else {
            self.covered.push(subtree);
            return;
        };
        if self.covered.contains(&sibling) {
            self.covered.retain(|covered| *covered != sibling);
            self.cover(Subtree::new(&subtree.start, subtree.bits - 1));
        } else {
            self.covered.push(subtree);
        }
    }

    fn is_covered(&self, point: &Point) -> bool {
        let leaf = Subtree::new(point, BITS);
        self.covered.iter().any(|covered| covered.holds(&leaf))
    }

    /// The largest part of a subtree that is not covered, leftmost first; `None` when all of it is.
    fn gap(&self, subtree: Subtree) -> Option<Subtree> {
        if self.covered.iter().any(|covered| covered.holds(&subtree)) {
            return None;
        }
        if !self.covered.iter().any(|covered| subtree.holds(covered)) {
            return Some(subtree);
        }
        let [left, right] = subtree.halves();
        self.gap(left).or_else(|| self.gap(right))
    }

    fn peers_in(&self, subtree: Subtree) -> impl Iterator<Item = (&Point, &Contact)> {
        self.peers.range(subtree.start..=subtree.end())
    }
}

fn nearest<'a>(
    point: &Point,
    peers: impl Iterator<Item = (&'a Point, &'a Contact)>,
) -> Vec<Contact> {
    let mut ranked: Vec<(Point, &Contact)> = peers
        .map(|(at, contact)| (distance(at, point), contact))
        .collect();
    ranked.sort_unstable_by_key(|(distance, _)| *distance);
    ranked.truncate(REPLICAS);
    let contacts = ranked.into_iter().map(|(_, contact)| contact.clone());
    contacts.collect()
}

impl Subtree {
    fn new(point: &Point, bits: usize) -> Self {
        let mut start = *point;
        mask(&mut start, bits, 0);
        Self { start, bits }
    }

    fn end(&self) -> Point {
        let mut end = self.start;
        mask(&mut end, self.bits, 0xff);
        end
    }

    fn holds(&self, other: &Subtree) -> bool {
        self.bits <= other.bits && Subtree::new(&other.start, self.bits) == *self
    }

    fn sibling(&self) -> Option<Subtree> {
        let last = self.bits.checked_sub(1)?;
        let mut start = self.start;
        start[last / 8] ^= 0x80 >> (last % 8);
        Some(Subtree {
            start,
            bits: self.bits,
        })
    }

    fn halves(&self) -> [Subtree; 2] {
        let left = Subtree {
            start: self.start,
            bits: self.bits + 1,
        };
        let right = left.sibling().unwrap_or(left);
        [left, right]
    }
}

/// A key whose point lies within a subtree, or within the first [`DEEPEST`] bits of it.
fn key_within(subtree: Subtree) -> Vec<u8> {
    let wanted = Subtree::new(&subtree.start, subtree.bits.min(DEEPEST));
    let within = |number: &u64| {
        let point = point_of(&number.to_be_bytes());
        Subtree::new(&point, wanted.bits) == wanted
    };
    // Each try has one chance in 2¹⁶ at worst.
    let number = (0..u64::MAX).find(within).unwrap_or_default();
    number.to_be_bytes().to_vec()
}

/// How far two points are from each other.
pub(super) fn distance(a: &Point, b: &Point) -> Point {
    std::array::from_fn(|index| a[index] ^ b[index])
}

fn leading_zeros(point: &Point) -> usize {
    let whole = point.iter().take_while(|byte| **byte == 0).count();
    match point.get(whole) {
        Some(byte) => whole * 8 + byte.leading_zeros() as usize,
        None => BITS,
    }
}

/// Sets all bits from `bits` on to those of `with`.
fn mask(point: &mut Point, bits: usize, with: u8) {
    for (index, byte) in point.iter_mut().enumerate() {
        let keep = bits.saturating_sub(index * 8).min(8);
        let kept = if keep == 0 { 0 } else { 0xff_u8 << (8 - keep) };
        *byte = (*byte & kept) | (with & !kept);
    }
}

/// So many peers, always the same.
#[cfg(test)]
pub(super) fn network(peers: u32) -> Vec<Contact> {
    let contact = |number: u32| {
        let digest = [&[0x12, 0x20][..], &point_of(&number.to_be_bytes())].concat();
        Contact {
            peer: libp2p::PeerId::from_bytes(&digest).expect("it is a multihash"),
            addresses: Vec::new(),
        }
    };
    (0..peers).map(contact).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// What a lookup in the whole network answers.
    fn look_up(network: &[Contact], key: &[u8]) -> Vec<Contact> {
        nearest_of(network, &point_of(key))
    }

    fn nearest_of(network: &[Contact], point: &Point) -> Vec<Contact> {
        let mut ranked = network.to_vec();
        ranked.sort_by_key(|contact| distance(&point_of(&contact.peer.to_bytes()), point));
        ranked.truncate(REPLICAS);
        ranked
    }

    /// Serves all keys, in the order of the keyspace; returns the lookups it took.
    fn serve(network: &[Contact], keys: u32) -> usize {
        let mut keys: Vec<Vec<u8>> = (0..keys).map(|key| format!("/ipns/{key}").into()).collect();
        keys.sort_by_key(|key| point_of(key));
        let mut keyspace = Keyspace::default();
        let mut lookups = 0;
        for key in keys {
            let closest = loop {
                match keyspace.closest(&key) {
                    Closest::Known(closest) => break closest,
                    Closest::LookUp(key) => {
                        lookups += 1;
                        keyspace.learn(&key, look_up(network, &key));
                    }
                }
            };
            assert_eq!(closest, nearest_of(network, &point_of(&key)));
        }
        lookups
    }

    #[test]
    fn the_closest_are_those_of_the_whole_network() {
        for peers in [1, 19, 20, 21, 60, 700] {
            let network = network(peers);
            let lookups = serve(&network, 300);
            // A lookup covers at least ten peers or so.
            assert!(
                lookups <= 4 + peers as usize / 4,
                "{peers} peers took {lookups} lookups"
            );
        }
    }

    #[test]
    fn many_names_share_lookups() {
        let network = network(20);
        let lookups = serve(&network, 2_000);
        assert!(lookups <= 4, "{lookups}");
    }

    #[test]
    fn a_map_of_the_whole_network_has_everybody_and_needs_no_lookup() {
        for peers in [1, 20, 500, 3_000] {
            let network = network(peers);
            let mut keyspace = Keyspace::default();
            let mut lookups = 0;
            loop {
                let keys = keyspace.unmapped(16);
                if keys.is_empty() {
                    break;
                }
                lookups += keys.len();
                for key in keys {
                    keyspace.learn(&key, look_up(&network, &key));
                }
            }
            assert_eq!(keyspace.len(), peers as usize);
            assert!(
                lookups <= 1 + peers as usize / 3,
                "{peers} peers took {lookups} lookups"
            );
            for key in 0..100_u32 {
                let key = key.to_be_bytes();
                let nearest = nearest_of(&network, &point_of(&key));
                assert_eq!(keyspace.closest(&key), Closest::Known(nearest));
            }
        }
    }

    #[test]
    fn a_lookup_in_which_a_peer_did_not_answer_is_not_the_whole_network() {
        let network = network(40);
        let mut keyspace = Keyspace::default();
        let mut found = look_up(&network, b"key");
        found.pop();
        keyspace.learn(b"key", found);
        assert!(!keyspace.unmapped(16).is_empty());
    }

    #[test]
    fn an_empty_network_is_known_after_one_lookup() {
        let mut keyspace = Keyspace::default();
        let Closest::LookUp(key) = keyspace.closest(b"key") else {
            panic!("nothing is known yet");
        };
        keyspace.learn(&key, Vec::new());
        assert_eq!(keyspace.closest(b"key"), Closest::Known(Vec::new()));
    }

    #[test]
    fn subtrees_split_and_join() {
        let whole = Subtree::new(&[0; 32], 0);
        let [left, right] = whole.halves();
        assert_eq!(left.sibling(), Some(right));
        assert_eq!(left.end(), {
            let mut end = [0xff; 32];
            end[0] = 0x7f;
            end
        });
        assert!(whole.holds(&left) && !left.holds(&right) && !left.holds(&whole));
        assert_eq!(whole.sibling(), None);
        let mut keyspace = Keyspace::default();
        keyspace.cover(left);
        assert_eq!(keyspace.gap(whole), Some(right));
        keyspace.cover(right);
        assert_eq!(keyspace.covered, [whole]);
    }
}
