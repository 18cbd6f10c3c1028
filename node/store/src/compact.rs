//! Gives back the space of segments that are mostly dead.
//!
//! The blocks of such a segment that are still known are written anew through the one write path; the index is
//! flushed, so that no replay needs the segment any more; its row goes; then the file. A crash at any point leaves
//! either the old place or the new one, and at worst a file that no row knows, which the next run removes.

use std::io;

use perennis_shared::cid::{Block, Cid};

use crate::batch::{Batch, CommitError, Reclaim};
use crate::checkpoint::CheckpointError;
use crate::commit::Work;
use crate::keys;
use crate::kv::KvError;
use crate::log::Groups;
use crate::read::ReadError;
use crate::rows::{FileRow, Place, Row as _};
use crate::segment::{FileNumber, GROUPS_START, Location, Segment};
use crate::store::{Store, is_lost, quarantine};

/// Bytes of blocks that are moved in one commit.
const MOVE_BYTES: usize = 2 << 20;
/// Rows of the index that are looked through at once.
const PAGE_ROWS: usize = 4096;

/// What one step of compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactStep {
    /// Segment files that were removed.
    pub segments: u64,
    /// Blocks that were written anew.
    pub moved_blocks: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Bytes of the files that were removed.
    pub freed_bytes: u64,
    /// Whether no other segment is as dead as was asked for.
    pub done: bool,
}

/// Why a step of compaction, or of garbage collection, ended.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The commit of the step failed.
    #[error("a step of upkeep was not committed")]
    Commit(#[from] CommitError),
    /// A block or the index could not be read.
    #[error("a step of upkeep could not read")]
    Read(#[from] ReadError),
    /// The index failed.
    #[error("the index failed in a step of upkeep")]
    Index(#[from] KvError),
    /// A segment file could not be read or removed.
    #[error("{segment} could not be read or removed")]
    Segment {
        /// The segment.
        segment: FileNumber,
        /// What the system said.
        source: io::Error,
    },
    /// A pinned block is damaged or unreadable, so what it links to is not known and nothing is dropped. It waits in
    /// [`crate::REFETCH`]; put it again, or unpin its root.
    #[error(
        "{cid} is pinned and cannot be read, so nothing is dropped until it was fetched again or its root unpinned"
    )]
    Damaged {
        /// The block.
        cid: Box<Cid>,
    },
    /// A pinned block is not what its codec says, so what it links to is not known and nothing is dropped.
    #[error("{cid} is pinned and its links cannot be read")]
    Links {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong with it.
        source: perennis_shared::codec::CodecError,
    },
    /// A checkpoint could not be written or read.
    #[error("a checkpoint could not be written or read")]
    Checkpoint(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Pins changed faster than they could be followed. Nothing is wrong; try again later.
    #[error("pins change too fast to collect garbage now")]
    Busy,
}

impl From<CheckpointError> for UpkeepError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Index(error) => Self::Index(error),
            error => Self::Checkpoint(Box::new(error)),
        }
    }
}

impl Store {
    /// Rewrites the deadest segment of which at most `live_percent` is alive, and removes its file. Waits for other
    /// upkeep. Call it until the step says that it is done.
    ///
    /// # Errors
    /// The step did not finish; calling again goes on where it stopped.
    pub fn compact(&self, live_percent: u8) -> Result<CompactStep, UpkeepError> {
        let inner = self.inner();
        let _upkeep = inner.upkeep.lock();
        let mut step = self.remove_unknown()?;
        let Some((number, last)) = self.deadest(live_percent) else {
            step.done = true;
            return Ok(step);
        };
        if last {
            // It is still written to: what comes now goes into the next.
            inner.ask(Work::Seal)?;
        }
        self.empty(number, &mut step)?;
        // From here on no replay begins before the moves.
        inner.shared.index.kv.flush(true)?;
        let path = number.segment_path(&inner.segments_dir());
        let failed = |source| UpkeepError::Segment {
            segment: number,
            source,
        };
        let length = inner.disk.open(&path).and_then(|file| file.length());
        inner.shared.index.forget_file(number)?;
        match inner.disk.remove(&path) {
            // It may have been lost before: then that is all there is to do.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        inner.forget_file(number);
        inner.disk.sync_dir(&inner.segments_dir()).map_err(failed)?;
        step.segments += 1;
        step.freed_bytes += length.unwrap_or(0);
        step.done = self.deadest(live_percent).is_none();
        Ok(step)
    }

    /// The segment with the least in it, and whether it is the last.
    fn deadest(&self, live_percent: u8) -> Option<(FileNumber, bool)> {
        let uses = self.inner().file_rows();
        let last = uses.keys().next_back().copied();
        let share = |segment: &FileRow| segment.live_bytes * 100 / segment.used_bytes.max(1);
        let dead = uses.iter().filter(|(number, segment)| {
            let emptied = segment.used_bytes > 0 || Some(**number) != last;
            // The last is worth it only when it is large: it fills up by itself.
            let large =
                Some(**number) != last || segment.used_bytes >= self.inner().segment_bytes / 4;
            emptied && large && share(segment) <= u64::from(live_percent)
        });
        dead.min_by_key(|(_, segment)| share(segment))
            .map(|(number, _)| (*number, Some(*number) == last))
    }

    /// Moves what is alive in a segment.
    fn empty(&self, number: FileNumber, step: &mut CompactStep) -> Result<(), UpkeepError> {
        let inner = self.inner();
        let failed = |source| UpkeepError::Segment {
            segment: number,
            source,
        };
        let salt = inner.file_rows().get(&number).and_then(FileRow::salt);
        let opened = salt.map(|salt| {
            Segment::open(inner.disk.as_ref(), &inner.segments_dir(), number, salt)
        });
        let segment = match opened.transpose() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => opened.map_err(failed)?,
        };
        if let Some(segment) = segment {
            let mut groups = Groups::new(&segment, GROUPS_START, false).map_err(failed)?;
            let mut moving = Moving::default();
            while let Some(found) = groups.next().map_err(failed)? {
                let entries = found.batches.iter().flat_map(|(_, batch)| &batch.entries);
                for entry in entries {
                    let at = entry.location(number);
                    if inner.shared.index.location(&entry.hash)? == Some(at)
                        && let Ok(bytes) = inner.read(at)
                        && let Ok(block) =
                            Block::verified(Cid::new_v1(entry.codec, entry.hash), bytes)
                    {
                        moving.push(at, block);
                        self.move_full(&mut moving, step)?;
                    }
                }
            }
            self.move_all(&mut moving, step)?;
        }
        if inner
            .file_rows()
            .get(&number)
            .is_some_and(|segment| segment.live_bytes > 0)
        {
            // The head of a record is damaged, or the file is gone: the index knows what else should be there.
            self.empty_by_index(number, step)?;
        }
        Ok(())
    }

    /// As [`Store::empty`], by looking through the whole index. Damaged blocks are set aside.
    fn empty_by_index(
        &self,
        number: FileNumber,
        step: &mut CompactStep,
    ) -> Result<(), UpkeepError> {
        let inner = self.inner();
        let mut from = vec![keys::BLOCK];
        let mut moving = Moving::default();
        loop {
            let rows = inner
                .shared
                .index
                .kv
                .scan(&from, &keys::end_of(keys::BLOCK), PAGE_ROWS)?;
            let Some((last, _)) = rows.last() else { break };
            from = keys::after(last.clone());
            for (key, value) in &rows {
                let place = Place::from_bytes(value).filter(|place| place.location.file == number);
                let (Some(place), Some(hash)) = (place, keys::hash_of(key)) else {
                    continue;
                };
                let at = place.location;
                let cid = Cid::new_v1(place.codecs.first().copied().unwrap_or(0x55), hash);
                match inner.read(at).map(|bytes| Block::verified(cid, bytes)) {
                    Ok(Ok(block)) => {
                        moving.push(at, block);
                        self.move_full(&mut moving, step)?;
                    }
                    Ok(Err(damage)) => {
                        self.commit(quarantine(&hash, at, &damage))?;
                    }
                    Err(damage) if is_lost(&damage) => {
                        self.commit(quarantine(&hash, at, &damage))?;
                    }
                    // That may pass: the segment stays.
                    Err(source) => {
                        return Err(UpkeepError::Segment {
                            segment: number,
                            source,
                        });
                    }
                }
            }
        }
        self.move_all(&mut moving, step)
    }

    fn move_full(&self, moving: &mut Moving, step: &mut CompactStep) -> Result<(), UpkeepError> {
        if moving.bytes >= MOVE_BYTES {
            self.move_all(moving, step)?;
        }
        Ok(())
    }

    fn move_all(&self, moving: &mut Moving, step: &mut CompactStep) -> Result<(), UpkeepError> {
        let Moving { blocks, bytes } = std::mem::take(moving);
        if !blocks.is_empty() {
            step.moved_bytes += bytes as u64;
            step.moved_blocks += self
                .commit(Batch::reclaiming(Reclaim::Move(blocks)))?
                .reclaimed_blocks;
        }
        Ok(())
    }

    /// Removes files that no row knows: those of a compaction that ended early, and of groups that failed.
    fn remove_unknown(&self) -> Result<CompactStep, UpkeepError> {
        let inner = self.inner();
        let uses = inner.file_rows();
        let mut step = CompactStep::default();
        // The last that has a row, and those behind it, may be in the making.
        let Some(last) = uses.keys().next_back().copied() else {
            return Ok(step);
        };
        let failed = |source| UpkeepError::Segment {
            segment: last,
            source,
        };
        let names = inner.disk.list(&inner.segments_dir()).map_err(failed)?;
        for number in names.iter().filter_map(|name| FileNumber::parse(name)) {
            if number < last && !uses.contains_key(&number) {
                let path = number.segment_path(&inner.segments_dir());
                let length = inner.disk.open(&path).and_then(|file| file.length());
                inner
                    .disk
                    .remove(&path)
                    .map_err(|source| UpkeepError::Segment {
                        segment: number,
                        source,
                    })?;
                step.segments += 1;
                step.freed_bytes += length.unwrap_or(0);
            }
        }
        Ok(step)
    }
}

/// Blocks on their way.
#[derive(Default)]
struct Moving {
    blocks: Vec<(Location, Block)>,
    bytes: usize,
}

impl Moving {
    fn push(&mut self, at: Location, block: Block) {
        self.bytes += block.bytes().len();
        self.blocks.push((at, block));
    }
}
