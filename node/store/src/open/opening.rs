//! Opening a store: its index, made anew where it has to be, and the log behind it.
//!
//! The index has to be made anew where its engine finds it damaged or does not find it, where an earlier run has marked it, and
//! where it lacks what it must have: it knows its store from before the first group on, and it is flushed before a
//! checkpoint of it gets its name, so an empty index beside a log and one that is older than a checkpoint are not what was
//! left here. An index that is behind the log in any other way is brought up by the log. One that ends with the process is
//! made anew by each start in the same way, and that is no damage.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use perennis_shared::time::Millis;

use crate::checkpoint::Checkpoints;
use crate::clock::wall_clock;
use crate::disk::Disk;
use crate::group::Op;
use crate::index::Index;
use crate::keys;
use crate::kv::{Kv, KvError, KvHome, Watched};
use crate::layout::{NEWEST, RESERVE, packs, segments};
use crate::location::{FileNumber, StoreId};
use crate::log::{
    Group, GroupFindings, Heard, Known, Log, Newest, Position, Replay, Said, move_torn, replay,
    survey_files,
};
use crate::open_error::OpenError;
use crate::options::StoreOptions;
use crate::pack::{PackName, Packs};
use crate::rebuild::{Progress, RebuildError, RebuildProgress, RebuildStage, Rebuilt, rebuild};
use crate::rows::{FileRow, Loss, LossKind, Row as _, found_at};
use crate::segment::Segment;
use crate::soundness::{check_file, is_needed};

use super::returned::returned;
use super::start;

/// What is opened, and where.
#[derive(Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) options: &'a StoreOptions,
    pub(crate) disk: &'a Arc<dyn Disk>,
    pub(crate) home: &'a Arc<dyn KvHome>,
}

/// An index and a log that fit together.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) index: Index,
    pub(crate) log: Log,
    /// The last group that counts.
    pub(crate) last_group: u64,
    /// Set when the index is found damaged later.
    pub(crate) failed: Arc<AtomicBool>,
    /// What was found lost.
    pub(crate) found: Vec<Loss>,
    /// What is to be written about it.
    pub(crate) owed: Vec<Op>,
    /// Files in use that are not there.
    pub(crate) missing: BTreeSet<FileNumber>,
    /// Segments that are there again after they were missed.
    pub(crate) returned: Vec<Segment>,
    /// Whether a block may be in quarantine.
    pub(crate) has_quarantine: bool,
    /// Whether a name may have a minimum sequence.
    pub(crate) has_min_sequences: bool,
    /// Whether a row may be set aside.
    pub(crate) has_set_aside: bool,
    /// Why the index was made anew, where it was.
    pub(crate) rebuilt: Option<String>,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpeningError {
    #[error("the segments cannot be read")]
    Segments(#[from] io::Error),
    #[error("the index cannot be opened")]
    Index(#[from] KvError),
    #[error("its log and its index are gone")]
    Gone,
    #[error("the index is damaged ({reason}) and cannot be made anew")]
    Rebuild {
        reason: String,
        source: RebuildError,
    },
}

impl OpeningError {
    /// Whether it failed because no space was left.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Index(error) => error.is_full(),
            Self::Rebuild { source, .. } => source.is_full(),
            Self::Segments(_) | Self::Gone => false,
        }
    }

    /// The error of the store in a folder.
    pub(crate) fn at(self, dir: &Path) -> OpenError {
        let dir = dir.to_path_buf();
        match self {
            Self::Index(source) if source.is_full() => OpenError::Full { dir, source },
            Self::Index(source) => OpenError::Index { dir, source },
            Self::Segments(source) => OpenError::Segments { dir, source },
            Self::Gone => OpenError::Gone { dir },
            Self::Rebuild { reason, source } => OpenError::Rebuild {
                dir,
                reason,
                source: Box::new(source),
            },
        }
    }
}

impl Opening<'_> {
    /// Opens the index and replays what the log holds behind it.
    ///
    /// # Errors
    /// The disk or the index refuses.
    pub(crate) fn open(self, progress: Progress) -> Result<Opened, OpeningError> {
        let error = match self.attempt(None, progress) {
            Err(OpeningError::Index(error)) if error.is_damaged() => error,
            opened => return opened,
        };
        let reason = error.to_string();
        // Found again where the attempt is broken off; this is for damage that the next start would have to come across first.
        let _ = self.home.condemn(&reason);
        match rebuild(self.disk, self.dir, self.home.as_ref(), progress) {
            Ok(rebuilt) => self.attempt(Some((reason, rebuilt)), progress),
            Err(source) => Err(OpeningError::Rebuild { reason, source }),
        }
    }

    fn attempt(
        self,
        rebuilt: Option<(String, Rebuilt)>,
        progress: Progress,
    ) -> Result<Opened, OpeningError> {
        let failed = Arc::new(AtomicBool::new(false));
        let kv = self.home.open()?;
        let kv = Watched::new(kv, Arc::clone(self.home), Arc::clone(&failed));
        self.check(&kv, rebuilt.is_some())?;
        let folder = Packs::new(Arc::clone(self.disk), self.dir);
        let index = Index::open(Arc::new(kv), Arc::new(folder))?;
        let now = wall_clock();
        let (log, mut replay) = self.open_log(&index, now, progress)?;
        let missing = self.missing_files(&index)?;
        self.check_files(&index, &missing, &mut replay.losses)?;
        let mut reason = None;
        if let Some((why, rebuilt)) = rebuilt {
            replay.losses.extend(rebuilt.losses);
            // One that is not kept is made anew by each start.
            if self.home.is_kept() {
                replay.losses.push(Loss {
                    group: rebuilt.group,
                    ..Loss::new(LossKind::IndexRebuilt, FileNumber(0), 0)
                });
                reason = Some(why);
            }
        }
        let has_rows = |table| -> Result<bool, KvError> {
            let rows = index.kv.scan(&[table], &keys::end_of(table), 1)?;
            Ok(!rows.is_empty())
        };
        Ok(Opened {
            found: found_at(now, &replay.losses),
            owed: start::owed(&index, &replay, now)?,
            has_quarantine: !replay.damaged.is_empty() || has_rows(keys::QUARANTINE)?,
            has_min_sequences: !replay.min_sequences.is_empty() || has_rows(keys::MIN_SEQUENCE)?,
            has_set_aside: has_rows(keys::SET_ASIDE)?,
            last_group: replay.last_group,
            index,
            log,
            failed,
            missing,
            returned: replay.returned,
            rebuilt: reason,
        })
    }

    /// Whether the index has what it must have.
    fn check(self, kv: &dyn Kv, is_rebuilt: bool) -> Result<(), OpeningError> {
        let id = kv.value(&[keys::STORE])?;
        let store = match id.map(<[u8; 16]>::try_from) {
            None => None,
            Some(Ok(id)) => Some(StoreId(id)),
            Some(Err(_)) => return Err(lacking("it does not know its store")),
        };
        let checkpoints = Checkpoints::new(Arc::clone(self.disk), self.dir, store);
        let newest = checkpoints.newest()?.map(|(header, _)| header.group);
        if store.is_none() {
            let names = self.disk.list(&segments(self.dir))?;
            let has_log = names.iter().any(|name| FileNumber::parse(name).is_some());
            if has_log || newest.is_some() {
                return Err(lacking("it is empty beside a log"));
            }
            if !is_rebuilt && self.was_used()? {
                return Err(OpeningError::Gone);
            }
        }
        let applied = match kv.value(&[keys::APPLIED])? {
            Some(row) => Position::from_bytes(&row)
                .ok_or_else(|| lacking("it does not know how far it is"))?,
            None => Position::START,
        };
        if !is_rebuilt && newest.is_some_and(|newest| newest > applied.group) {
            return Err(lacking("it is older than a checkpoint of it"));
        }
        for (key, row) in kv.scan(&[keys::FILE], &keys::end_of(keys::FILE), usize::MAX)? {
            if keys::number_of(&key).is_none() || FileRow::from_bytes(&row).is_none() {
                return Err(lacking("it does not know its files"));
            }
        }
        Ok(())
    }

    /// Whether something is there that only a store leaves whose index once knew it.
    fn was_used(self) -> io::Result<bool> {
        let packs = self.disk.list(&packs(self.dir))?;
        let has_packs = packs.iter().any(|name| PackName::parse(name).is_some());
        let names_segment = Heard::read(self.disk.as_ref(), self.dir, None)?.is_something();
        // The reserve is there from the first start on. An index that is not kept knows nothing of that either.
        let has_reserve = || self.disk.open(&self.dir.join(RESERVE)).is_ok();
        Ok(has_packs || names_segment || (self.home.is_kept() && has_reserve()))
    }

    /// Replays what a crash left in the log, and opens it to go on.
    fn open_log(
        self,
        index: &Index,
        now: Millis,
        progress: Progress,
    ) -> Result<(Log, Replay), OpeningError> {
        let dir = segments(self.dir);
        let disk = self.disk;
        let store = index.store()?;
        // Without an index, it is the log that says whose it is.
        let applied = index.applied()?;
        let is_settled = self.settle(applied.file)?;
        let mut heard = Heard::read(disk.as_ref(), self.dir, store)?;
        let known = Known {
            store,
            files: index.files(),
            newest: heard.said.map(|said| said.number),
        };
        let mut files = survey_files(disk.as_ref(), &dir, &known)?;
        move_torn(disk.as_ref(), &dir, &mut files);
        let store = match files.store {
            Some(store) => store,
            None => StoreId(disk.entropy()?),
        };
        if known.store.is_none() {
            index.set_store(store)?;
            // From now on an index without it is damaged.
            index.kv.flush(true)?;
        }
        let numbers = files.log.keys().chain(known.files.keys());
        let highest = numbers.max().copied().unwrap_or(FileNumber(0));
        let mut newest = Newest::new(Arc::clone(disk), self.dir, store);
        heard.said = heard.said.filter(|said| said.store == store);
        if let Some(said) = heard.said
            && !said.is_plausible(applied.group, highest)
        {
            newest.forget();
            heard.said = None;
        }
        let mut behind = Behind::of(&files, applied)?;
        let apply = |group: &Group, out: GroupFindings| {
            let ops = start::ops_with(index, &out, now)?;
            index.apply_with(group, &ops, false)?;
            progress(behind.until(group.end));
            Ok::<_, OpeningError>(())
        };
        let mut replay = replay(
            disk.as_ref(),
            &dir,
            applied,
            &files,
            (&heard, &mut newest),
            apply,
        )?;
        let said = heard.said;
        let is_missed = said.is_some_and(|said| said.is_missed(replay.last_group));
        if replay.is_begun && !index.is_begun()? {
            index.note_begun()?;
        }
        let has_row = |said: &Said| known.files.contains_key(&said.number);
        if let Some(said) = &said {
            replay
                .losses
                .extend(said.missed(&files, &replay, has_row(said)));
        }
        if !heard.is_whole() {
            replay
                .losses
                .extend(unknown_end(&replay, said.is_some() || index.is_begun()?));
        }
        replay.returned = returned(index, &files, index.applied()?);
        replay.losses.extend(files.losses);
        replay.losses.extend(index.take_losses());
        // Packs that were replayed took numbers as well.
        let highest = index.files().keys().next_back().copied();
        replay.highest_file = replay.highest_file.max(highest.unwrap_or(FileNumber(0)));
        let log = Log::go_on(
            Arc::clone(disk),
            &dir,
            (store, self.options.segment_bytes),
            &replay,
            files.strays,
            newest,
            is_settled && !is_missed,
        );
        Ok((log, replay))
    }

    /// Has what is read of the log from this segment on come from the disk. False where something of it was in memory only: a segment of
    /// which that is so is not written to again.
    fn settle(self, from: FileNumber) -> io::Result<bool> {
        let disk = self.disk;
        // What it says and is not on the disk was not waited for.
        if let Ok(newest) = disk.open(&self.dir.join(NEWEST)) {
            let _ = newest.settle();
        }
        let dir = segments(self.dir);
        let names = disk.list(&dir)?;
        let numbers = names.iter().filter_map(|name| FileNumber::parse(name));
        let mut is_settled = true;
        for number in numbers.filter(|number| *number >= from) {
            is_settled &= disk.open(&number.segment_path(&dir))?.settle().is_ok();
        }
        Ok(is_settled)
    }

    /// The files that the index, brought up by the log, has in use, and that are not there.
    fn missing_files(self, index: &Index) -> io::Result<BTreeSet<FileNumber>> {
        let mut there = BTreeSet::new();
        for dir in [segments(self.dir), packs(self.dir)] {
            there.extend(self.disk.list(&dir)?);
        }
        let files = index.files().into_iter().filter(|(_, row)| !row.is_dropped);
        let missing = files.filter(|(number, row)| !there.contains(&row.file_name(*number)));
        Ok(missing.map(|(number, _)| number).collect())
    }

    /// Tells which of the other files are not those that the index knows.
    fn check_files(
        self,
        index: &Index,
        missing: &BTreeSet<FileNumber>,
        losses: &mut Vec<Loss>,
    ) -> io::Result<()> {
        let checkpoints = Checkpoints::new(Arc::clone(self.disk), self.dir, None);
        let checkpointed = checkpoints.groups()?.first().copied().unwrap_or(0);
        // Of the last segment the replay has told it.
        let told: BTreeSet<FileNumber> = losses.iter().map(|loss| loss.file).collect();
        for (number, row) in index.files() {
            if !missing.contains(&number)
                && !told.contains(&number)
                && is_needed(&row, checkpointed)
                // What cannot be read now is told by who reads its blocks.
                && let Ok(loss) = check_file(self.disk.as_ref(), self.dir, number, &row)
            {
                losses.extend(loss);
            }
        }
        Ok(())
    }
}

/// What is told where nothing says which group was acknowledged last.
fn unknown_end(replay: &Replay, is_begun: bool) -> Option<Loss> {
    (is_begun || replay.is_begun).then(|| Loss {
        group: replay.last_group,
        ..Loss::new(LossKind::UnknownEnd, replay.highest_file, 0)
    })
}

fn lacking(reason: &str) -> OpeningError {
    KvError::Damaged {
        reason: reason.to_owned(),
    }
    .into()
}

/// How much of the log is behind a place.
struct Behind {
    /// Of each file how many bytes of the log there are before it.
    before: BTreeMap<FileNumber, u64>,
    bytes: u64,
}

impl Behind {
    fn of(files: &crate::log::Files, applied: Position) -> io::Result<Self> {
        let mut behind = Self {
            before: BTreeMap::new(),
            bytes: 0,
        };
        for (number, file) in files.log.range(applied.file..) {
            behind.before.insert(*number, behind.bytes);
            behind.bytes += file.segment.file.length()?;
        }
        Ok(behind)
    }

    fn until(&mut self, end: Position) -> RebuildProgress {
        let before = self.before.get(&end.file).copied().unwrap_or_default();
        let done = (before + end.offset).min(self.bytes);
        RebuildProgress::new(RebuildStage::Log, done, self.bytes)
    }
}
