//! When a checkpoint is written, and which segments it allows to go.
//!
//! The caller has the time and the thread: it asks [`Store::checkpoint_due`] now and then and calls [`Store::checkpoint`]. One
//! is due when as much was logged as the last one has bytes, so that checkpoints never cost more than the log itself.

use std::sync::atomic::Ordering;

use crate::batch::{Batch, Reclaim};
use crate::checkpoint::Header;
use crate::clock::wall_clock;
use crate::keys;
use crate::kv::{KvError, KvSnapshot};
use crate::location::StoreId;
use crate::log::Position;
use crate::store::{Store, StoreState};

use super::UpkeepError;

/// What one checkpoint was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointStep {
    /// The group up to which the log is in it.
    pub group: u64,
    /// Bytes of its file; 0 where there was one of this group already.
    pub file_bytes: u64,
    /// Checkpoints that were found damaged and removed.
    pub damaged: u64,
}

impl Store {
    /// Whether [`Store::checkpoint`] should be called.
    #[must_use]
    pub fn checkpoint_due(&self) -> bool {
        let (shared, schedule) = (&self.inner().shared, &self.inner().checkpointing);
        schedule.is_wanted()
            || schedule.hold().is_due(
                shared.groups.load(Ordering::Acquire),
                shared.logged_bytes.load(Ordering::Relaxed),
            )
    }

    /// Writes all rows but the places of blocks, as they are now, into a file from which the index can be made anew. Commits go
    /// on meanwhile; memory is bounded.
    ///
    /// # Errors
    /// The index or the disk fails. What was there before stays; calling again begins again.
    pub fn checkpoint(&self) -> Result<CheckpointStep, UpkeepError> {
        let inner = self.inner();
        let schedule = &inner.checkpointing;
        // A second that is to be written waits, and then finds that there is one.
        let mut held = schedule.hold();
        let is_newest = held.is_newest(inner.shared.groups.load(Ordering::Acquire));
        if is_newest && schedule.is_wanted() {
            // Segments wait for two checkpoints that are newer than they, and nothing was logged since the last.
            self.commit(Batch::reclaiming(Reclaim::Mark))?;
        }
        let index = &inner.shared.index;
        // Before the snapshot: what comes after it counts for the next.
        let logged = inner.shared.logged_bytes.load(Ordering::Relaxed);
        let snapshot = index.kv.snapshot()?;
        let Some(header) = header(snapshot.as_ref())? else {
            return Ok(CheckpointStep {
                group: 0,
                file_bytes: 0,
                damaged: 0,
            });
        };
        if held.is_newest(header.group) {
            schedule.want_no_more();
            return Ok(CheckpointStep {
                group: header.group,
                file_bytes: 0,
                damaged: 0,
            });
        }
        // No index is older than a checkpoint of it, unless it was damaged: that is how such damage is found.
        index.kv.flush(true)?;
        let before = snapshot.rows(&[0], &[keys::BLOCK]);
        let (behind, end) = (keys::end_of(keys::BLOCK), [u8::MAX]);
        let rows = before.chain(snapshot.rows(&behind, &end));
        let kept = held.write(header, rows, logged)?;
        Ok(CheckpointStep {
            group: header.group,
            file_bytes: kept.file_bytes,
            damaged: kept.damaged.len() as u64,
        })
    }

    /// The group up to which the log is in two checkpoints that are whole. Segments that end there, and in which no block
    /// lies any more, can go; where that is not enough, a checkpoint is due from now on.
    ///
    /// # Errors
    /// A checkpoint cannot be read now.
    pub(crate) fn removable_until(&self) -> Result<u64, UpkeepError> {
        Ok(self.inner().checkpointing.hold().in_both()?)
    }

    /// Makes a checkpoint due where that is worth it: segments with this many bytes could go after it, and it would be no
    /// larger than they are; or the disk is full.
    pub(crate) fn want_checkpoint(&self, waiting_bytes: u64) {
        let schedule = &self.inner().checkpointing;
        let is_worth_it = waiting_bytes >= schedule.hold().newest_bytes();
        if is_worth_it || self.state() == StoreState::Full {
            schedule.want();
        }
    }
}

/// Of what a checkpoint of this snapshot would be; none where nothing was ever stored.
fn header(snapshot: &dyn KvSnapshot) -> Result<Option<Header>, KvError> {
    let store = snapshot.value(&[keys::STORE])?;
    let applied = snapshot.value(&[keys::APPLIED])?;
    let (Some(store), Some(applied)) = (store, applied) else {
        return Ok(None);
    };
    let store = store.try_into().ok().map(StoreId);
    let at = Position::from_bytes(&applied);
    let (Some(store), Some(at)) = (store, at) else {
        return Err(KvError::Damaged {
            reason: "it does not know its store, or how far it is".into(),
        });
    };
    Ok(Some(Header::new(store, at, wall_clock())))
}
