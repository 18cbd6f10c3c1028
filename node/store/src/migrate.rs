//! Brings a folder of format 1 to the present format.
//!
//! ```text
//! index of format 1 ┐
//! tail of its log   ┴→ rows ─┬→ heads, pins, queues, … ────────────────────────→ new index
//!                            └→ blocks, by multihash → by place → read, verified ┴→ new index, tables of the segments
//! ```
//!
//! Rows come from the index, never from a search of the log; what the log holds behind the index is read from where
//! the index ends, group by group, and what lies behind damage is reported and not applied ([`crate::format1`]). The
//! segments stay where they are, as files of blocks: each gets a [table](crate::block_table) of what is in it, made
//! from the bytes as they were read and verified. Nothing of format 1 is changed or removed here, so a migration that
//! is broken off begins again from the same and comes to the same; tables that an earlier attempt has finished are
//! not computed twice.
//!
//! Memory is bounded whatever the store holds: blocks are put in order, first by multihash, so that the places of one
//! content come together, then by place, so that files are read from front to back, by writing them into an index of
//! their own, the scratch.

mod blocks;
mod loss;
mod rows;
mod sink;
mod target;
mod view;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use perennis_shared::time::Millis;

use self::blocks::Blocks;
pub(crate) use self::loss::MigrationLoss;
use self::rows::Rows;
use self::view::View;
use crate::disk::Disk;
use crate::format1::{Position, Segment, SegmentNumber, Tail, read_tail, row};
use crate::kv::{Kv, KvError};

/// The table of the scratch that holds what the log changes in the index.
const CHANGES: u8 = b'o';

/// What a migration works on.
#[derive(Debug)]
pub(crate) struct Migration<'a> {
    pub(crate) disk: &'a dyn Disk,
    /// The folder of the segments.
    pub(crate) dir: &'a Path,
    /// The index of format 1. It is only read.
    pub(crate) index: &'a dyn Kv,
    /// An empty index for what has to be put in order. It is of no use afterwards.
    pub(crate) scratch: &'a dyn Kv,
    /// The new index, empty.
    pub(crate) target: &'a dyn Kv,
    /// The time for rows about what was found damaged.
    pub(crate) now: Millis,
}

/// How far a migration is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MigrationProgress {
    /// Blocks that were read and verified.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many blocks there are.
    pub of_blocks: u64,
}

/// What a migration made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Migrated {
    /// The last group of format 1.
    pub(crate) last_group: u64,
    /// The highest number of a segment.
    pub(crate) last_segment: SegmentNumber,
    /// Blocks by multihash.
    pub(crate) blocks: u64,
    /// What could not be taken over.
    pub(crate) losses: Vec<MigrationLoss>,
}

/// Why a migration ended early. Nothing was changed; it can be begun again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    /// The disk refuses.
    #[error("a segment of format 1 cannot be read, or its table not be written")]
    Disk(#[from] io::Error),
    /// An index fails.
    #[error("the index failed in the migration from format 1")]
    Index(#[from] KvError),
    /// There are rows, and none that says up to where they are those of the log.
    #[error("the index of format 1 does not say how much of the log is in it")]
    Applied,
}

impl Migration<'_> {
    /// Fills the new index but for the rows that say which store it is and how far its log is applied, and writes the
    /// tables. All of it is durable once the index is flushed.
    ///
    /// # Errors
    /// The disk or an index fails.
    pub(crate) fn run(
        &self,
        progress: &mut dyn FnMut(MigrationProgress),
    ) -> Result<Migrated, MigrateError> {
        let numbers = self.segments()?;
        let view = View::new(self.index, self.scratch, CHANGES);
        let tail = read_tail(self.disk, self.dir, &numbers, self.applied()?, |group| {
            view.apply(group).map_err(MigrateError::from)
        })?;
        let mut blocks = Blocks::new(self, view);
        let set_aside = Rows::new(self.target, view, self.now).convert(&mut blocks)?;
        blocks.sort()?;
        let mut kept = blocks.keep(&numbers, progress)?;
        self.disk.sync_dir(self.dir)?;
        let mut losses = self.losses_of(&tail, &kept.files)?;
        losses.append(&mut kept.losses);
        losses.extend(set_aside);
        let last_segment = kept.files.last().copied().unwrap_or_default();
        Ok(Migrated {
            last_group: tail.last_group,
            last_segment,
            blocks: kept.blocks,
            losses,
        })
    }

    /// The segments that are there, ascending.
    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        let names = self.disk.list(self.dir)?;
        let mut numbers: Vec<_> = names
            .iter()
            .filter_map(|name| SegmentNumber::parse(name))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Up to where the log is in the index. Each write of format 1 said so: where no row does, nothing was written.
    fn applied(&self) -> Result<Position, MigrateError> {
        match self.index.value(&[row::APPLIED])? {
            Some(value) => Position::from_bytes(&value).ok_or(MigrateError::Applied),
            None if self.index.scan(&[], &[u8::MAX], 1)?.is_empty() => Ok(Position::default()),
            None => Err(MigrateError::Applied),
        }
    }

    /// What the end of the log has lost, and files that are none of this store's.
    fn losses_of(
        &self,
        tail: &Tail,
        files: &BTreeSet<SegmentNumber>,
    ) -> io::Result<Vec<MigrationLoss>> {
        let mut losses: Vec<_> = tail.gaps.iter().cloned().map(MigrationLoss::Gap).collect();
        let of_ours = |segment: &SegmentNumber| files.contains(segment);
        let unread = tail.unread.iter().filter(|unread| of_ours(&unread.segment));
        losses.extend(unread.copied().map(MigrationLoss::Unread));
        if let Some(end) = tail.cut {
            losses.push(MigrationLoss::Cut(end));
        }
        for name in self.disk.list(self.dir)? {
            let number = SegmentNumber::parse(&name);
            if name.ends_with(".seg") && !number.as_ref().is_some_and(of_ours) {
                losses.push(MigrationLoss::Stray(name));
            }
        }
        Ok(losses)
    }

    /// Whether a file in which no block lies is a segment of this store all the same, or empty.
    fn is_ours(&self, segment: &Segment) -> io::Result<bool> {
        Ok(segment.has_header()? || segment.written_behind(0)? == 0)
    }
}

#[cfg(test)]
mod tests;
