//! The scrub: looks at every file and reads every block again and again, so that damage is found while there is still another copy.
//!
//! The caller throttles: a step reads about as many bytes as it is given. A round looks at the files first, then reads the blocks; its
//! place among these is kept in the store, so that a restart goes on where it was. A block that is damaged is set aside as in any read
//! and waits in [`crate::REFETCH`]; what is wrong with a file is written down as a loss.

use std::io;
use std::ops::Bound::{Excluded, Unbounded};

use perennis_shared::cid::{Cid, Multihash};

use crate::batch::{Batch, Reclaim, RowChange};
use crate::clock::wall_clock;
use crate::disk::is_lost;
use crate::keys;
use crate::location::{FileNumber, Location};
use crate::read::ReadError;
use crate::rows::{FileRow, Loss, LossKind, Place, Row as _, read_location};
use crate::segment::Segment;
use crate::soundness::{check_file, check_frames, is_needed};
use crate::store::Store;
use crate::upkeep::UpkeepError;

/// Most blocks of one step.
const STEP_ROWS: usize = 4096;

/// What a step of the scrub found, and how far the round is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubStep {
    /// Blocks that were read.
    pub checked_blocks: u64,
    /// Their bytes, and those of the frames of the log that were looked at.
    pub checked_bytes: u64,
    /// Blocks whose bytes are damaged. They are set aside.
    pub damaged: Vec<Cid>,
    /// Blocks that the disk did not give out. They stay and are read again in the next round.
    pub unreadable: Vec<Cid>,
    /// What is wrong with files. It was written down.
    pub files: Vec<Loss>,
    /// Blocks that were read in this round, steps before this one included.
    pub round_blocks: u64,
    /// Whether this step ended the round. The next begins a new one.
    pub round_done: bool,
}

impl Store {
    /// Looks at the next files, and where none is left in this round, reads the next blocks, of about `bytes` bytes together but at
    /// least one, and checks them.
    ///
    /// # Errors
    /// The index fails, or the place could not be kept: the same blocks are read again then.
    pub fn scrub(&self, bytes: u64) -> Result<ScrubStep, UpkeepError> {
        let kv = &self.inner().shared.index.kv;
        let place = kv.value(&[keys::UPKEEP])?;
        let (before, after) = place.as_deref().and_then(read_place).unwrap_or((0, &[]));
        let mut step = ScrubStep::default();
        if after.is_empty() && !self.scrub_files(bytes, &mut step)? {
            return Ok(step);
        }
        let from = if after.is_empty() {
            vec![keys::BLOCK]
        } else {
            keys::after(keys::key(keys::BLOCK, after))
        };
        let mut rows = kv.scan(&from, &keys::end_of(keys::BLOCK), STEP_ROWS)?;
        let found = rows.len();
        let mut sum = 0;
        let length = |value: &[u8]| read_location(value).map_or(0, |at| u64::from(at.length));
        rows.truncate(
            rows.iter()
                .take_while(|(_, value)| {
                    let before = sum;
                    sum += length(value);
                    before < bytes.max(1)
                })
                .count(),
        );
        step.round_done = found < STEP_ROWS && rows.len() == found;
        let last = rows.last().map(|(key, _)| key[1..].to_vec());
        // In the order of the disk, not of the index.
        let mut blocks: Vec<(Location, Cid)> = rows
            .iter()
            .filter_map(|(key, value)| Some(block_of(keys::hash_of(key)?, value)))
            .flatten()
            .collect();
        blocks.sort_unstable_by_key(|(at, _)| *at);
        for (at, cid) in blocks {
            match self.block(&cid) {
                Ok(_) => {}
                Err(ReadError::Corrupt { .. }) => step.damaged.push(cid),
                Err(ReadError::Disk { .. }) => step.unreadable.push(cid),
                Err(error) => return Err(error.into()),
            }
            step.checked_blocks += 1;
            step.checked_bytes += u64::from(at.length);
        }
        step.round_blocks = before + step.checked_blocks;
        let next = match last.filter(|_| !step.round_done) {
            Some(last) => write_place(step.round_blocks, &last),
            None => write_place(0, &[]),
        };
        if place.as_deref() != Some(next.as_slice()) {
            let mut batch = Batch::new();
            batch.rows.push(RowChange::Put(vec![keys::UPKEEP], next));
            self.commit(batch)?;
        }
        Ok(step)
    }

    /// Looks at the next files, about so many bytes of them, and writes down what is wrong. False where files are left.
    fn scrub_files(&self, bytes: u64, step: &mut ScrubStep) -> Result<bool, UpkeepError> {
        let inner = self.inner();
        let rows = inner.file_rows();
        let checkpointed = inner.checkpointing.newest();
        let mut last = inner.scrubbed_file.lock();
        let left = rows.range((last.map_or(Unbounded, Excluded), Unbounded));
        let mut is_done = true;
        for (number, row) in left.filter(|(_, row)| is_needed(row, checkpointed)) {
            if step.checked_bytes >= bytes.max(1) {
                is_done = false;
                break;
            }
            *last = Some(*number);
            let loss = match self.look_at(*number, row) {
                Err(error) if is_lost(&error) => Some(Loss::new(LossKind::ShortFile, *number, 0)),
                // What cannot be read now is looked at again in the next round.
                Err(_) => None,
                Ok((loss, read)) => {
                    step.checked_bytes += read;
                    loss
                }
            };
            step.files.extend(loss);
        }
        if is_done {
            *last = None;
            inner.checkpointing.check();
        }
        // Compaction may have emptied and removed one meanwhile.
        step.files.retain(|loss| self.is_in_use(loss.file));
        let files = step.files.iter();
        let frames = files.filter(|loss| loss.kind == LossKind::DamagedFrames);
        let mut damaged = inner.damaged_files.lock();
        damaged.extend(frames.map(|loss| loss.file));
        drop((damaged, last));
        if !step.files.is_empty() {
            let now = wall_clock();
            step.files.iter_mut().for_each(|loss| loss.found = now);
            self.commit(Batch::reclaiming(Reclaim::Lose(step.files.clone())))?;
        }
        Ok(is_done)
    }

    /// What is wrong with a file apart from its blocks, and about how many bytes were read for that.
    fn look_at(&self, number: FileNumber, row: &FileRow) -> io::Result<(Option<Loss>, u64)> {
        let inner = self.inner();
        let loss = check_file(inner.disk.as_ref(), &inner.dir, number, row)?;
        match row.salt().filter(|_| loss.is_none()) {
            None => Ok((loss, 0)),
            Some(salt) => {
                let dir = inner.segments_dir();
                let segment = Segment::open(inner.disk.as_ref(), &dir, number, salt)?;
                check_frames(&segment, row)
            }
        }
    }

    fn is_in_use(&self, file: FileNumber) -> bool {
        let row = self.inner().shared.index.file(file);
        row.is_some_and(|row| !row.is_dropped)
    }
}

/// Where a block lies, and a CID of it.
fn block_of(hash: Multihash, value: &[u8]) -> Option<(Location, Cid)> {
    let place = Place::from_bytes(value)?;
    let codec = place.codecs.first().copied()?;
    Some((place.location, Cid::new_v1(codec, hash)))
}

fn write_place(blocks: u64, hash: &[u8]) -> Vec<u8> {
    [&blocks.to_le_bytes(), hash].concat()
}

fn read_place(value: &[u8]) -> Option<(u64, &[u8])> {
    let (blocks, hash) = value.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*blocks), hash))
}
