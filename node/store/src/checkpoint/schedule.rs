//! What an open store knows of its checkpoints: which are there, how much was logged since, and whether another is wanted.
//!
//! It looks at names and the newest header; whether a checkpoint is whole is looked at when it matters. Who writes one holds all of
//! them meanwhile, so that nobody removes or writes another. When one is written is for upkeep to say, and what is in it for the index.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::disk::Disk;
use crate::index::Index;
use crate::kv::{KvError, KvRow};
use crate::location::FileNumber;
use crate::log::Position;
use crate::options::StoreOptions;
use crate::rows::{FileKind, Loss, LossKind, has_lost_groups};
use crate::segment::GROUPS_START;

use super::{CheckpointError, Checkpoints, Header, Kept};

/// Where there is one checkpoint only, another is due after this share of what is logged otherwise.
const SOON: u64 = 16;

/// What is known of the checkpoints of an open store.
#[derive(Debug)]
pub(crate) struct Schedule {
    checkpoints: Checkpoints,
    /// One is due after so many logged bytes.
    bytes: u64,
    /// There was none at the start, and the log alone does not have all rows.
    is_missing: bool,
    /// Upkeep waits for one.
    is_wanted: AtomicBool,
    state: Mutex<ScheduleState>,
}

/// What is known of the newest checkpoints.
#[derive(Debug, Default)]
struct ScheduleState {
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

impl Schedule {
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
            state: Mutex::new(ScheduleState {
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

impl Schedule {
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

    /// Whether one was made due.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    /// There is one that will do.
    pub(crate) fn want_no_more(&self) {
        self.is_wanted.store(false, Ordering::Release);
    }

    /// The group up to which the newest has the log.
    pub(crate) fn newest(&self) -> u64 {
        self.state.lock().newest.unwrap_or(0)
    }

    /// Keeps those that are there from being removed, and others from being written by anybody else, for as long as the answer is held.
    pub(crate) fn hold(&self) -> HeldCheckpoints<'_> {
        HeldCheckpoints {
            schedule: self,
            state: self.state.lock(),
        }
    }
}

/// Checkpoints that stay as they are, but for what is written through this.
pub(crate) struct HeldCheckpoints<'a> {
    schedule: &'a Schedule,
    state: MutexGuard<'a, ScheduleState>,
}

impl HeldCheckpoints<'_> {
    /// Their files.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(crate) fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let checkpoints = &self.schedule.checkpoints;
        let groups = checkpoints.groups()?.into_iter();
        Ok(groups.map(|group| checkpoints.path(group)).collect())
    }

    /// Whether the newest is of this group.
    pub(crate) fn is_newest(&self, group: u64) -> bool {
        self.state.newest == Some(group)
    }

    /// Bytes of the newest.
    pub(crate) fn newest_bytes(&self) -> u64 {
        self.state.newest_bytes
    }

    /// Whether another is due by what was logged: the log is at `group`, and `logged` bytes were added since the store was opened.
    pub(crate) fn is_due(&self, group: u64, logged: u64) -> bool {
        let (state, bytes) = (&self.state, self.schedule.bytes);
        if self.is_newest(group) {
            return false;
        }
        let due = if state.newest.is_some() && !state.has_older {
            bytes / SOON
        } else {
            bytes.max(state.newest_bytes)
        };
        logged.saturating_add_signed(state.logged_bytes) >= due
    }

    /// Writes one, when `logged` bytes were added since the store was opened.
    ///
    /// # Errors
    /// As [`Checkpoints::write`].
    pub(crate) fn write(
        &mut self,
        header: Header,
        rows: impl Iterator<Item = Result<KvRow, KvError>>,
        logged: u64,
    ) -> Result<Kept, CheckpointError> {
        let kept = self.schedule.checkpoints.write(header, rows)?;
        self.schedule.want_no_more();
        *self.state = ScheduleState {
            newest: Some(header.group),
            newest_bytes: kept.file_bytes,
            has_older: kept.older.is_some(),
            logged_bytes: -i64::try_from(logged).unwrap_or(i64::MAX),
            in_both: Some(kept.older.unwrap_or(0)),
        };
        Ok(kept)
    }

    /// The group up to which the log is in two of them that are whole; 0 where it is in none. Reads them where nobody did.
    ///
    /// # Errors
    /// One cannot be read now.
    pub(crate) fn in_both(&mut self) -> Result<u64, CheckpointError> {
        if let Some(group) = self.state.in_both {
            return Ok(group);
        }
        let group = self.schedule.checkpoints.in_both()?.unwrap_or(0);
        self.state.in_both = Some(group);
        Ok(group)
    }
}
