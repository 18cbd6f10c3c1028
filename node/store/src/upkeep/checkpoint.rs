//! When a checkpoint is written, and which segments it allows to go.
//!
//! The caller has the time and the thread: it asks [`Store::checkpoint_due`] now and then and calls [`Store::checkpoint`]. One
//! is due when as much was logged as the last one has bytes, so that checkpoints never cost more than the log itself.

use std::sync::atomic::Ordering;

use crate::batch::{Batch, Reclaim};
use crate::checkpoint::{Header, Schedule, ScheduleState};
use crate::clock::wall_clock;
use crate::keys;
use crate::kv::{KvError, KvSnapshot};
use crate::location::StoreId;
use crate::log::Position;
use crate::store::{Store, StoreState};

use super::UpkeepError;

/// Where there is one checkpoint only, another is due after this share of what is logged otherwise.
const SOON: u64 = 16;

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
        let inner = self.inner();
        let Schedule {
            bytes,
            is_wanted,
            state,
            ..
        } = &inner.checkpointing;
        if is_wanted.load(Ordering::Acquire) {
            return true;
        }
        let state = state.lock();
        if state.newest == Some(inner.shared.groups.load(Ordering::Acquire)) {
            return false;
        }
        let logged = state.logged(inner.shared.logged_bytes.load(Ordering::Relaxed));
        let due = if state.newest.is_some() && !state.has_older {
            *bytes / SOON
        } else {
            (*bytes).max(state.newest_bytes)
        };
        logged >= due
    }

    /// Writes all rows but the places of blocks, as they are now, into a file from which the index can be made anew. Commits go
    /// on meanwhile; memory is bounded.
    ///
    /// # Errors
    /// The index or the disk fails. What was there before stays; calling again begins again.
    pub fn checkpoint(&self) -> Result<CheckpointStep, UpkeepError> {
        let inner = self.inner();
        let Schedule {
            checkpoints,
            is_wanted,
            state,
            ..
        } = &inner.checkpointing;
        // Held by who writes one: a second waits, and then finds that there is one.
        let mut state = state.lock();
        let is_newest = state.newest == Some(inner.shared.groups.load(Ordering::Acquire));
        if is_newest && is_wanted.load(Ordering::Acquire) {
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
        if state.newest == Some(header.group) {
            is_wanted.store(false, Ordering::Release);
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
        let kept = checkpoints.write(header, rows)?;
        is_wanted.store(false, Ordering::Release);
        *state = ScheduleState {
            newest: Some(header.group),
            newest_bytes: kept.file_bytes,
            has_older: kept.older.is_some(),
            logged_bytes: -i64::try_from(logged).unwrap_or(i64::MAX),
            in_both: Some(kept.older.unwrap_or(0)),
        };
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
        let Schedule {
            checkpoints, state, ..
        } = &self.inner().checkpointing;
        let mut state = state.lock();
        if let Some(group) = state.in_both {
            return Ok(group);
        }
        let group = checkpoints.in_both()?.unwrap_or(0);
        state.in_both = Some(group);
        Ok(group)
    }

    /// Makes a checkpoint due where that is worth it: segments with this many bytes could go after it, and it would be no
    /// larger than they are; or the disk is full.
    pub(crate) fn want_checkpoint(&self, waiting_bytes: u64) {
        let Schedule {
            is_wanted, state, ..
        } = &self.inner().checkpointing;
        let is_worth_it = waiting_bytes >= state.lock().newest_bytes;
        if is_worth_it || self.state() == StoreState::Full {
            is_wanted.store(true, Ordering::Release);
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
