//! Sharded directories (UnixFS specification, "HAMT-sharded directories").

use alloc::{format, vec::Vec};

use super::{
    hash::murmur3_x64_64,
    link_name::{find, name_of},
};
use crate::{cid::Cid, codec::dag_pb::Link};

/// The only hash of names there is: murmur3-x64-64.
const MURMUR3: u64 = 0x22;

/// Most children of a shard, as other software agrees.
const FANOUT: u64 = 1_024;

/// A directory in many blocks, or a part of one. Each link's name begins with the number of its place; with nothing behind
/// that it leads to a shard below, else to an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Bits of the hash that each level takes.
    bits: u32,
    /// Digits of the number of a place.
    digits: usize,
    links: Vec<Link>,
}

/// Where a name stands in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardEntry<'a> {
    /// The entry itself.
    Entry(&'a Cid),
    /// It can only be in this shard, one level below.
    Below(&'a Cid),
}

impl Shard {
    /// `None` for another hash than ours, and for a number of children that is no power of two from 8 to 1,024.
    pub(super) fn new(hash_type: u64, fanout: u64, links: Vec<Link>) -> Option<Shard> {
        let is_known = hash_type == MURMUR3 && fanout.is_power_of_two();
        (is_known && (8..=FANOUT).contains(&fanout)).then(|| Shard {
            bits: fanout.trailing_zeros(),
            digits: format!("{:X}", fanout - 1).len(),
            links,
        })
    }

    /// Finds a name; `level` is how many shards lie above this one. `None` where there is no such name.
    pub fn find(&self, name: &[u8], level: u32) -> Option<ShardEntry<'_>> {
        let taken = self.bits.checked_mul(level.checked_add(1)?)?;
        let shift = u64::BITS.checked_sub(taken)?;
        let place = murmur3_x64_64(name) >> shift & ((1 << self.bits) - 1);
        let mut wanted = format!("{place:0digits$X}", digits = self.digits).into_bytes();
        if let Some(below) = find(&self.links, &wanted) {
            return Some(ShardEntry::Below(below));
        }
        wanted.extend_from_slice(name);
        find(&self.links, &wanted).map(ShardEntry::Entry)
    }

    /// The shards one level below, in the order of the block.
    pub fn below(&self) -> impl Iterator<Item = &Cid> {
        let links = self.links.iter();
        links
            .filter(|link| name_of(link).len() == self.digits)
            .map(|link| &link.hash)
    }

    /// The names of the entries of this block, and the links they stand for, in the order of the block.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &Link)> {
        self.links.iter().filter_map(|link| {
            let name = name_of(link).get(self.digits..)?;
            (!name.is_empty()).then_some((name, link))
        })
    }
}
