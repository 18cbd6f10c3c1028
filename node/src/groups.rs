//! Addresses that count as one, and shares of something that all of them need.
//!
//! [`Shares`] has so many places: of connections, or of units of memory. While no more than half of them are taken, anybody may take
//! one; beyond that a group of addresses gets no more while it has its share. So one that takes all it can leaves half for others,
//! and with others around holds no more than its share of what comes free. Must never touch: what the places are for.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// The part of all places that a group has at most, while more than half are taken.
const PART: u64 = 8;

/// Addresses that count as one writer: an IPv4 address, or the first 48 bits of an IPv6 address. An IPv4 address costs money, and its
/// neighbours belong to others. Of IPv6 anybody has 48 bits worth of addresses for nothing, so that narrower groups limit nobody; that
/// a provider's customers may share one is the smaller harm, since it costs them only what strangers may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AddressGroup {
    V4(Ipv4Addr),
    /// The first 48 bits.
    V6([u8; 6]),
}

impl AddressGroup {
    pub(crate) fn of(address: IpAddr) -> AddressGroup {
        match address.to_canonical() {
            IpAddr::V4(v4) => AddressGroup::V4(v4),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, ..] = v6.octets();
                AddressGroup::V6([a, b, c, d, e, f])
            }
        }
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        match self {
            AddressGroup::V4(v4) => v4.octets().to_vec(),
            AddressGroup::V6(prefix) => prefix.to_vec(),
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<AddressGroup> {
        let v4 = <[u8; 4]>::try_from(bytes).map(|octets| AddressGroup::V4(octets.into()));
        v4.or_else(|_| bytes.try_into().map(AddressGroup::V6)).ok()
    }
}

impl fmt::Display for AddressGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressGroup::V4(v4) => v4.fmt(f),
            AddressGroup::V6(prefix) => {
                let mut octets = [0; 16];
                octets[..6].copy_from_slice(prefix);
                write!(f, "{}/48", Ipv6Addr::from(octets))
            }
        }
    }
}

/// Places that groups of addresses share.
pub(crate) struct Shares {
    most: u64,
    /// What a group may have in any case.
    least: u64,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: u64,
    groups: HashMap<AddressGroup, u64>,
}

/// Places that somebody has; they are free again when this is dropped.
pub(crate) struct Share {
    shares: Arc<Shares>,
    group: Option<AddressGroup>,
    places: u64,
}

impl Shares {
    /// So many places, of which a group may have `least` whatever others have.
    pub(crate) fn new(most: u64, least: u64) -> Arc<Shares> {
        Arc::new(Shares {
            most,
            least: least.max(most / PART).max(1),
            taken: Mutex::default(),
        })
    }

    /// No places yet, for somebody of a group; one without a group is limited by none.
    pub(crate) fn none(self: &Arc<Self>, group: Option<AddressGroup>) -> Share {
        Share {
            shares: Arc::clone(self),
            group,
            places: 0,
        }
    }

    /// One place, where there is one for somebody of this group.
    pub(crate) fn one(self: &Arc<Self>, group: Option<AddressGroup>) -> Option<Share> {
        let mut share = self.none(group);
        share.grow(1).then_some(share)
    }

    /// How many places are taken.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> u64 {
        self.taken.lock().all
    }

    /// Of how many groups somebody has a place.
    #[cfg(test)]
    fn groups(&self) -> usize {
        self.taken.lock().groups.len()
    }
}

impl Share {
    /// Takes so many places more; false where there are none for its group.
    pub(crate) fn grow(&mut self, places: u64) -> bool {
        let shares = &self.shares;
        let mut taken = shares.taken.lock();
        let all = taken.all.saturating_add(places);
        let of_group = self.group.and_then(|group| taken.groups.get(&group));
        let of_group = of_group.map_or(places, |held| held.saturating_add(places));
        let is_within_share = self.group.is_none() || of_group <= shares.least;
        if all > shares.most || (all > shares.most / 2 && !is_within_share) {
            return false;
        }
        taken.all = all;
        if let Some(group) = self.group {
            taken.groups.insert(group, of_group);
        }
        self.places += places;
        true
    }

    /// How many it has.
    pub(crate) fn places(&self) -> u64 {
        self.places
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock();
        taken.all -= self.places;
        let Some(group) = self.group else {
            return;
        };
        if let Some(held) = taken.groups.get_mut(&group) {
            *held -= self.places;
            if *held == 0 {
                taken.groups.remove(&group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn group(address: &str) -> AddressGroup {
        AddressGroup::of(address.parse().unwrap())
    }

    #[test]
    fn a_group_is_an_address_of_version_4_or_48_bits_of_version_6() {
        assert_eq!(group("192.0.2.7"), group("::ffff:192.0.2.7"));
        assert_ne!(group("192.0.2.7"), group("192.0.2.8"));
        assert_eq!(group("2001:db8:1:2::3"), group("2001:db8:1:ffff::9"));
        assert_ne!(group("2001:db8:1::"), group("2001:db8:2::"));
        assert_eq!(group("192.0.2.7").to_string(), "192.0.2.7");
        assert_eq!(group("2001:db8:1:2::3").to_string(), "2001:db8:1::/48");
    }

    #[test]
    fn one_group_has_half_and_with_others_around_its_share_of_the_rest() {
        let shares = Shares::new(16, 1);
        let greedy = || shares.one(Some(group("192.0.2.1")));
        let mut held: Vec<Share> = std::iter::from_fn(greedy).collect();
        assert_eq!(held.len(), 8);
        // Others get an eighth each, also while it asks on.
        for last in 2..6 {
            let other = || shares.one(Some(group(&format!("192.0.2.{last}"))));
            let others: Vec<Share> = std::iter::from_fn(other).collect();
            assert_eq!(others.len(), 2);
            held.extend(others);
            assert!(greedy().is_none());
        }
        assert_eq!(shares.taken(), 16);
        assert!(shares.one(None).is_none());
        // What it gives back is not all its own again: it has its share, and no more.
        held.drain(..7);
        held.push(greedy().unwrap());
        assert!(greedy().is_none());
        // One without a group takes what is there.
        held.extend(std::iter::from_fn(|| shares.one(None)));
        assert_eq!(shares.taken(), 16);
        drop(held);
        assert_eq!((shares.taken(), shares.groups()), (0, 0));
    }

    #[test]
    fn a_share_grows_as_far_as_its_group_may_have_in_any_case() {
        let shares = Shares::new(100, 30);
        let mut first = shares.none(Some(group("192.0.2.1")));
        assert!(first.grow(50));
        assert!(!first.grow(1));
        let mut second = shares.none(Some(group("192.0.2.2")));
        assert!(!second.grow(31));
        assert!(second.grow(30));
        assert!(!second.grow(1));
        assert_eq!(
            (first.places(), second.places(), shares.taken()),
            (50, 30, 80)
        );
        drop(first);
        assert!(second.grow(20));
        let none = Shares::new(0, 0);
        assert!(none.one(Some(group("192.0.2.1"))).is_none());
    }
}
