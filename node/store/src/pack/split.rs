//! Which blocks go into which pack.

use std::ops::Range;

use perennis_shared::cid::{Codec, Multihash, multihash_len};

use super::frame::{HEADER_BYTES, TRAILER_BYTES};
use super::{PACK_ENTRIES, Partitions, Tag};
use crate::frame::{align, chunk_count};

/// What a pack has beside its entries: header, trailer, count.
const FIXED_BYTES: u64 = (HEADER_BYTES + TRAILER_BYTES + 4) as u64;
/// Longest varint of a multiformat.
const VARINT_BYTES: u64 = 9;

/// The blocks of one pack, by their place among all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackPlan {
    /// The partitions it covers: no more than its blocks need.
    pub(crate) range: Partitions,
    /// Its blocks.
    pub(crate) entries: Range<usize>,
}

/// The most bytes that a block takes in a pack: body and entry.
///
/// A link is never longer in a footer than in its block: it has a byte before the multihash where a CID has its version, and at
/// most one byte in place of what each format writes around a CID, which is four or more. So the links of a block, under each codec that
/// has any, take at most as many bytes as the block.
pub(crate) fn weight(hash: &Multihash, length: u32, codecs: &[u64]) -> u64 {
    let links: u64 = codecs
        .iter()
        .map(|codec| match Codec::from_code(*codec) {
            Some(Codec::DagPb | Codec::DagCbor | Codec::DagJson) => u64::from(length),
            _ => 0,
        })
        .sum();
    let head = 4 + 1 + multihash_len(hash) + 4 + 4 + 4 * chunk_count(length) + 1;
    align(u64::from(length)) + head as u64 + 2 * VARINT_BYTES * codecs.len() as u64 + links
}

/// Splits blocks, given by tag and weight and sorted by tag, into packs: each in exactly one, in their order, none above
/// `pack_bytes` and [`PACK_ENTRIES`], where no block by itself is.
///
/// The range of partitions that all are in is halved until what is in it fits. What does not fit in a single partition becomes several packs of
/// about one size.
pub(crate) fn split(blocks: &[(Tag, u64)], pack_bytes: u64) -> Vec<PackPlan> {
    let room = pack_bytes.saturating_sub(FIXED_BYTES);
    let mut plans = Vec::new();
    let mut open: Vec<_> = std::iter::once(0..blocks.len()).collect();
    while let Some(entries) = open.pop() {
        let part = &blocks[entries.clone()];
        let (Some((first, _)), Some((last, _))) = (part.first(), part.last()) else {
            continue;
        };
        let range = Partitions::spanning(*first, *last);
        let bytes = part.iter().map(|(_, weight)| weight).sum();
        if part.len() == 1 || fits(part.len(), bytes, room) {
            plans.push(PackPlan { range, entries });
        } else if let Some(middle) = range.middle() {
            let at = entries.start + part.partition_point(|(tag, _)| *tag < middle);
            open.push(at..entries.end);
            open.push(entries.start..at);
        } else {
            let pieces = fill(part, bytes, room).into_iter().map(|piece| PackPlan {
                range,
                entries: entries.start + piece.start..entries.start + piece.end,
            });
            plans.extend(pieces);
        }
    }
    plans
}

fn fits(entries: usize, bytes: u64, room: u64) -> bool {
    entries <= PACK_ENTRIES && bytes <= room
}

/// Cuts the blocks of one partition, of `bytes` together, into pieces that fit, each about as heavy as the others.
fn fill(blocks: &[(Tag, u64)], bytes: u64, room: u64) -> Vec<Range<usize>> {
    let by_count = blocks.len().div_ceil(PACK_ENTRIES) as u64;
    let share = bytes.div_ceil(bytes.div_ceil(room.max(1)).max(by_count));
    let mut pieces = Vec::new();
    let (mut start, mut held) = (0, 0u64);
    for (at, (_, weight)) in blocks.iter().enumerate() {
        if at > start
            && (held >= share || !fits(at + 1 - start, held.saturating_add(*weight), room))
        {
            pieces.push(start..at);
            (start, held) = (at, 0);
        }
        held = held.saturating_add(*weight);
    }
    pieces.push(start..blocks.len());
    pieces
}
