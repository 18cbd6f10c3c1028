//! When a checkpoint is written, and which segments it allows to go.
//!
//! The caller has the time and the thread: it asks [`Store::checkpoint_due`] now and then and calls [`Store::checkpoint`]. One
//! is due when as much was logged as the last one has bytes, so that checkpoints never cost more than the log itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::batch::{Batch, Reclaim};
use crate::checkpoint::{Checkpoints, Header};
use crate::clock::wall_clock;
use crate::compact::UpkeepError;
use crate::disk::Disk;
use crate::index::Index;
use crate::keys;
use crate::kv::{KvError, KvSnapshot};
use crate::location::{FileNumber, StoreId};
use crate::log::Position;
use crate::options::StoreOptions;
use crate::rows::{FileKind, Loss, LossKind, has_lost_groups};
use crate::segment::GROUPS_START;
use crate::store::{Store, StoreState};

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

/// What is known of the checkpoints of an open store.
#[derive(Debug)]
pub(crate) struct Checkpointing {
    checkpoints: Checkpoints,
    bytes: u64,
    /// There was none at the start, and the log alone does not have all rows.
    is_missing: bool,
    /// Upkeep waits for one.
    is_wanted: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest.
    newest: Option<u64>,
    newest_bytes: u64,
    /// Whether there is another before it.
    has_older: bool,
    /// What the log held behind the newest when the store was opened, less what was logged since.
    logged_bytes: i64,
    /// The group up to which two checkpoints, read and found whole, have the log; none where nobody looked.
    in_both: Option<u64>,
}

impl Checkpointing {
    /// Looks at the names and the newest header. Whether they are whole is looked at when it matters.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        index: &Index,
        options: &StoreOptions,
    ) -> io::Result<Self> {
        let store = index.store().ok().flatten();
        let checkpoints = Checkpoints::new(Arc::clone(disk), dir, store);
        let newest = checkpoints.newest()?;
        let (from, newest_bytes) = newest.map_or((Position::START, 0), |(header, bytes)| {
            (header.position(), bytes)
        });
        let logged = index
            .files()
            .into_iter()
            .filter(|(_, row)| row.kind == FileKind::Log);
        let logged: u64 = logged
            .filter(|(number, _)| *number >= from.file)
            .map(|(number, row)| {
                let before = if number == from.file {
                    from.offset.saturating_sub(GROUPS_START)
                } else {
                    0
                };
                row.used_bytes.saturating_sub(before)
            })
            .sum();
        let has_older = checkpoints.groups()?.len() > 1;
        let is_missing = newest.is_none() && needs_one(index);
        Ok(Self {
            checkpoints,
            bytes: options.checkpoint_bytes,
            is_missing,
            is_wanted: AtomicBool::new(is_missing),
            state: Mutex::new(State {
                newest: newest.map(|(header, _)| header.group),
                newest_bytes,
                has_older,
                logged_bytes: i64::try_from(logged).unwrap_or(i64::MAX),
                in_both: None,
            }),
        })
    }
}

/// Whether rows are in no segment any more: the first of them are gone, or were never in one.
fn needs_one(index: &Index) -> bool {
    let files = index.files();
    let first = files.values().next();
    first.is_some_and(|row| row.kind != FileKind::Log || row.first_group > 1)
}

impl Checkpointing {
    /// Reads those that are there, and makes one due where one of them is damaged. What cannot be read now says nothing.
    pub(crate) fn check(&self) {
        // Nobody removes them meanwhile.
        let _held = self.state.lock();
        let groups = self.checkpoints.groups().unwrap_or_default();
        let mut opened = groups.iter().map(|group| self.checkpoints.open(*group));
        if opened.any(|opened| opened.is_err_and(|error| error.is_damage())) {
            self.want();
        }
    }

    /// What is told where there was none at the start. Where groups are lost, that says it.
    pub(crate) fn loss(&self, index: &Index) -> Option<Loss> {
        let is_told = self.is_missing && !has_lost_groups(&index.losses());
        is_told.then(|| Loss::new(LossKind::DamagedCheckpoint, FileNumber(0), 0))
    }

    /// Makes one due.
    pub(crate) fn want(&self) {
        self.is_wanted.store(true, Ordering::Release);
    }

    /// The group up to which the newest has the log.
    pub(crate) fn newest(&self) -> u64 {
        self.state.lock().newest.unwrap_or(0)
    }

    /// Keeps those that are there from being removed, and others from being written, for as long as the answer is held.
    pub(crate) fn hold(&self) -> HeldCheckpoints<'_> {
        HeldCheckpoints {
            checkpoints: &self.checkpoints,
            _state: self.state.lock(),
        }
    }
}

/// Checkpoints that stay as they are.
pub(crate) struct HeldCheckpoints<'a> {
    checkpoints: &'a Checkpoints,
    _state: MutexGuard<'a, State>,
}

impl HeldCheckpoints<'_> {
    /// Their files.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(crate) fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let groups = self.checkpoints.groups()?.into_iter();
        Ok(groups.map(|group| self.checkpoints.path(group)).collect())
    }
}

impl Store {
    /// Whether [`Store::checkpoint`] should be called.
    #[must_use]
    pub fn checkpoint_due(&self) -> bool {
        let inner = self.inner();
        let Checkpointing {
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
        let Checkpointing {
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
        *state = State {
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
        let Checkpointing {
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
        let Checkpointing {
            is_wanted, state, ..
        } = &self.inner().checkpointing;
        let is_worth_it = waiting_bytes >= state.lock().newest_bytes;
        if is_worth_it || self.state() == StoreState::Full {
            is_wanted.store(true, Ordering::Release);
        }
    }
}

impl State {
    /// What was logged since the newest, of which `logged` since the store was opened.
    fn logged(&self, logged: u64) -> u64 {
        logged.saturating_add_signed(self.logged_bytes)
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
