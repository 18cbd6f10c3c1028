//! What an open store knows of its checkpoints: which are there, how much was logged since, and whether another is wanted.
//!
//! It looks at names and the newest header; whether a checkpoint is whole is looked at when it matters. Who writes one holds the
//! state meanwhile, so that nobody removes or writes another.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::disk::Disk;
use crate::index::Index;
use crate::location::FileNumber;
use crate::log::Position;
use crate::options::StoreOptions;
use crate::rows::{FileKind, Loss, LossKind, has_lost_groups};
use crate::segment::GROUPS_START;

use super::Checkpoints;

/// What is known of the checkpoints of an open store.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) checkpoints: Checkpoints,
    /// One is due after so many logged bytes.
    pub(crate) bytes: u64,
    /// There was none at the start, and the log alone does not have all rows.
    is_missing: bool,
    /// Upkeep waits for one.
    pub(crate) is_wanted: AtomicBool,
    pub(crate) state: Mutex<ScheduleState>,
}

/// What is known of the newest checkpoints.
#[derive(Debug, Default)]
pub(crate) struct ScheduleState {
    /// The newest.
    pub(crate) newest: Option<u64>,
    pub(crate) newest_bytes: u64,
    /// Whether there is another before it.
    pub(crate) has_older: bool,
    /// What the log held behind the newest when the store was opened, less what was logged since.
    pub(crate) logged_bytes: i64,
    /// The group up to which two checkpoints, read and found whole, have the log; none where nobody looked.
    pub(crate) in_both: Option<u64>,
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
    _state: MutexGuard<'a, ScheduleState>,
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

impl ScheduleState {
    /// What was logged since the newest, of which `logged` since the store was opened.
    pub(crate) fn logged(&self, logged: u64) -> u64 {
        logged.saturating_add_signed(self.logged_bytes)
    }
}
