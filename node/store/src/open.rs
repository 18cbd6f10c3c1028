//! Opens a store: takes the lock, brings the folder to the present format, has the index and the log fit together, and writes
//! down what it found out before anybody commits.
//!
//! This is the top of the crate: it calls everything, and nothing calls it. It never looks for damage that the log and the index
//! do not show by themselves; that is for the scrub and for [`crate::verify`].

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;

use crate::checkpoint::Schedule;
use crate::clock::wall_clock;
use crate::commit::Committer;
use crate::disk::{Disk, Real, make_dir};
use crate::format;
use crate::kv::KvHome;
use crate::layout::{self, packs, segments};
use crate::migrate::bring_up;
use crate::open_error::OpenError;
use crate::options::StoreOptions;
use crate::rebuild::RebuildProgress;
use crate::reserve::Reserve;
use crate::rows::{LossKind, found_at};
use crate::shared::Shared;
use crate::store::{Parts, Store};

mod anew;
mod opening;
mod returned;
mod start;

use opening::{Opened, Opening, OpeningError};
use returned::take_blocks;

impl Store {
    /// Opens the store in a folder, making it when it is not there, and replays what a crash left in the log. An index that is
    /// damaged or gone is made anew.
    ///
    /// # Errors
    /// Another process has it open, a later release wrote it, or the disk refuses.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        Self::open_telling(dir, options, &mut |_| {})
    }

    /// As [`Store::open`], and tells how far it is where that takes time.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_telling(
        dir: &Path,
        options: &StoreOptions,
        progress: &mut dyn FnMut(RebuildProgress),
    ) -> Result<Self, OpenError> {
        Self::open_folder(dir, options, false, progress)
    }

    /// As [`Store::open_telling`], and makes the index anew whether or not it is damaged. What an index knows that can be read is
    /// written down first, so that nothing is lost that only it knows.
    ///
    /// # Errors
    /// As [`Store::open`]; also where that cannot be written down. The index stays then.
    pub fn rebuild(
        dir: &Path,
        options: &StoreOptions,
        progress: &mut dyn FnMut(RebuildProgress),
    ) -> Result<Self, OpenError> {
        Self::open_folder(dir, options, true, progress)
    }

    fn open_folder(
        dir: &Path,
        options: &StoreOptions,
        anew: bool,
        progress: &mut dyn FnMut(RebuildProgress),
    ) -> Result<Self, OpenError> {
        let not_writable = |source| OpenError::NotWritable {
            dir: dir.to_path_buf(),
            source,
        };
        let is_gone = lacks_all(dir)?;
        Real.create_dir(dir).map_err(not_writable)?;
        let lock = format::lock(dir)?;
        if is_gone {
            return Err(OpenError::Gone {
                dir: dir.to_path_buf(),
            });
        }
        Real.create_dir(&segments(dir)).map_err(not_writable)?;
        let disk: Arc<dyn Disk> = Arc::new(Real);
        let home = options.index.home(dir);
        let mut losses = bring_up(dir, options, &disk, home.as_ref(), progress)?;
        let open = |lock, progress: &mut dyn FnMut(RebuildProgress)| {
            Self::open_on(
                dir,
                options,
                Arc::clone(&disk),
                home.clone(),
                Some(lock),
                progress,
            )
        };
        let mut store = if anew {
            let held = lock.try_clone().map_err(not_writable)?;
            match open(held, progress) {
                // It was damaged, and that is done.
                Ok(store) if store.rebuilt().is_some() => store,
                opened => {
                    losses.extend(anew::written_down(opened, dir)?);
                    let condemned = home.condemn("somebody has asked for another");
                    condemned.map_err(|source| OpeningError::Index(source).at(dir))?;
                    open(lock, progress).inspect_err(|_| {
                        // The old one is as good as it was, where it still is the one in use.
                        let _ = home.acquit();
                    })?
                }
            }
        } else {
            open(lock, progress)?
        };
        store.found_before(losses);
        Ok(store)
    }

    /// Opens a store on any disk, with an index that lives anywhere.
    ///
    /// # Errors
    /// The disk or the index refuses.
    pub fn open_on(
        dir: &Path,
        options: &StoreOptions,
        disk: Arc<dyn Disk>,
        home: Arc<dyn KvHome>,
        lock: Option<File>,
        progress: &mut dyn FnMut(RebuildProgress),
    ) -> Result<Self, OpenError> {
        let reserve = Reserve {
            disk: Arc::clone(&disk),
            dir: dir.to_path_buf(),
            bytes: options.reserve_bytes,
        };
        let failed = |error: OpeningError| error.at(dir);
        let segments_failed = |source| failed(OpeningError::Segments(source));
        for dir in [segments(dir), packs(dir)] {
            make_dir(disk.as_ref(), &dir).map_err(segments_failed)?;
        }
        let opening = Opening {
            dir,
            options,
            disk: &disk,
            home: &home,
        };
        // It writes a little: on a full disk the reserve is given up for that.
        let opened = match opening.open(progress) {
            Err(error) if error.is_full() => {
                reserve.release();
                opening.open(progress)
            }
            opened => opened,
        };
        let Opened {
            index,
            log,
            last_group,
            failed: index_damaged,
            mut found,
            owed,
            missing,
            returned,
            has_quarantine,
            has_min_sequences,
            has_set_aside,
            rebuilt,
        } = opened.map_err(failed)?;
        let checkpointing = Schedule::open(&disk, dir, &index, options).map_err(segments_failed)?;
        let mut kinds = found.iter().map(|loss| loss.kind);
        if rebuilt.is_some() || kinds.any(|kind| kind == LossKind::DamagedCheckpoint) {
            // A checkpoint may have been found damaged by that.
            checkpointing.want();
        }
        if found.is_empty() {
            found.extend(found_at(wall_clock(), &checkpointing.loss(&index)));
        }
        let shared = Arc::new(Shared {
            index,
            full: AtomicBool::new(reserve.take().is_err()),
            failed: index_damaged,
            stuck: AtomicBool::new(false),
            quarantined: AtomicBool::new(has_quarantine),
            min_sequences: AtomicBool::new(has_min_sequences),
            set_aside: AtomicBool::new(has_set_aside),
            young: Mutex::new(None),
            groups: AtomicU64::new(last_group),
            collected: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            logged_bytes: AtomicU64::new(0),
        });
        let is_begun = shared
            .index
            .is_begun()
            .map_err(|error| failed(error.into()))?;
        let mut committer = Committer {
            log,
            shared: Arc::clone(&shared),
            reserve,
            flush_bytes: options.flush_bytes,
            logged_bytes: 0,
            is_begun,
            collections: 0,
            owed,
            stuck: None,
        };
        // Where it cannot be written now, the first commit tries again.
        let packs = committer
            .settle()
            .and_then(|()| start::take_in_packs(&mut committer, &missing));
        found.extend(found_at(wall_clock(), &packs.unwrap_or_default()));
        found.extend(start::give_up(&mut committer, &missing, wall_clock()));
        let returned = take_blocks(&mut committer, &returned);
        found.extend(found_at(wall_clock(), &returned));
        let parts = Parts {
            dir: dir.to_path_buf(),
            disk,
            committer,
            segment_bytes: options.segment_bytes,
            checkpointing,
            found,
            rebuilt,
            lock,
        };
        Self::begin(parts).map_err(segments_failed)
    }
}

/// Whether a folder names its format and has nothing that a store begins with: neither a log nor an index, nor a checkpoint to make
/// one from. The folder of the log is there before the format is named.
fn lacks_all(dir: &Path) -> Result<bool, OpenError> {
    let is_named = format::read(&Real, dir)?.is_some();
    let folders = [
        segments(dir),
        dir.join(layout::INDEX),
        dir.join(layout::CHECKPOINTS),
    ];
    Ok(is_named && !folders.iter().any(|folder| folder.exists()))
}
