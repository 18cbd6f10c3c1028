//! Files: which block below holds which bytes (UnixFS specification, "File").

use alloc::vec::Vec;
use core::ops::Range;

use crate::{cid::Cid, codec::dag_pb::Link, limits::FILE_BYTES};

/// A file, or a part of one: bytes of its own, and behind them those of the blocks it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where they stand in the block.
    own: Range<usize>,
    /// Each block below, and how many bytes of the file it and what is below it hold.
    below: Vec<(Cid, u64)>,
    /// Whether there is a size for each block.
    has_sizes: bool,
}

/// A block below a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePart {
    /// The block.
    pub cid: Cid,
    /// The bytes that are asked for, counted from the first one that it holds; `None` for all of them. Where they reach its end
    /// the range ends at `u64::MAX`: what it holds is told by itself.
    pub bytes: Option<Range<u64>>,
    /// How many bytes of the file it and what is below it hold, as the block above claims.
    pub size: u64,
}

impl File {
    /// A file of one block.
    pub(super) fn whole(length: usize) -> File {
        File {
            own: 0..length,
            below: Vec::new(),
            has_sizes: true,
        }
    }

    pub(super) fn new(own: Range<usize>, sizes: &[u64], links: &[Link]) -> File {
        let all = sizes.iter().copied().chain(core::iter::repeat(0));
        File {
            own,
            below: links.iter().map(|link| link.hash).zip(all).collect(),
            has_sizes: sizes.len() == links.len(),
        }
    }

    /// Its size in bytes as its writer claims; `None` where that is not said for each block below, or is more than a file can have.
    pub fn size(&self) -> Option<u64> {
        let mut sizes = self.below.iter().map(|(_, size)| *size);
        let sum = sizes.try_fold(self.own.len() as u64, u64::checked_add);
        sum.filter(|sum| self.has_sizes && *sum <= FILE_BYTES)
    }

    /// Where in the block those of its own bytes stand that are wanted, which come before those of the blocks below.
    pub fn own_in(&self, wanted: &Range<u64>) -> Range<usize> {
        let place = |at: u64| {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            self.own.start + at.min(self.own.len())
        };
        let start = place(wanted.start);
        start..place(wanted.end).max(start)
    }

    /// The blocks below, all of them whole.
    pub fn below(&self) -> impl Iterator<Item = &Cid> {
        self.below.iter().map(|(cid, _)| cid)
    }

    /// The blocks below that hold some of these bytes, in their order. Only the first and the last of them can be asked for in part.
    /// All of them, where it is not said how many bytes each holds.
    pub fn parts_in(&self, wanted: &Range<u64>) -> Vec<FilePart> {
        if !self.has_sizes {
            let whole = |(cid, size): &(Cid, u64)| FilePart {
                cid: *cid,
                bytes: None,
                size: *size,
            };
            return self.below.iter().map(whole).collect();
        }
        let mut parts = self.parts_and_empty_in(wanted);
        parts.retain(|part| part.size > 0);
        parts
    }

    /// As [`parts_in`](Self::parts_in), with the blocks between them that are claimed to hold nothing.
    pub fn parts_and_empty_in(&self, wanted: &Range<u64>) -> Vec<FilePart> {
        let mut parts = Vec::new();
        let mut start = self.own.len() as u64;
        for (cid, size) in &self.below {
            let end = start.saturating_add(*size);
            let is_empty_there = *size == 0 && wanted.contains(&start);
            if is_empty_there || wanted.start < end && start < wanted.end && *size > 0 {
                let from = wanted.start.saturating_sub(start);
                let to = if wanted.end >= end {
                    u64::MAX
                } else {
                    wanted.end - start
                };
                let is_whole = from == 0 && to == u64::MAX;
                parts.push(FilePart {
                    cid: *cid,
                    bytes: (!is_whole).then_some(from..to),
                    size: *size,
                });
            }
            start = end;
        }
        parts
    }
}
