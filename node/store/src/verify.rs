//! Reads all of a store and says what is wrong with it, without changing a byte.
//!
//! Every header, every frame and every body of the log is read past the page cache and checked; every checkpoint; every
//! row of the index, and for each block the bytes at its place against its hash. Memory is bounded: findings are handed
//! on as they come up.
//!
//! What the log holds beyond the index is not held against it: the next start brings it there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use perennis_shared::cid::Cid;

use crate::checkpoint::Checkpoints;
use crate::disk::{Disk, LookOnly};
use crate::format;
use crate::keys;
use crate::kv::{IndexOptions, Kv, KvError};
use crate::layout::{INDEX, STORED};
use crate::location::{FileNumber, StoreId};
use crate::log::{Heard, Position};
use crate::open_error::OpenError;
use crate::rows::{FileRow, Row as _};

mod log;
mod packs;
mod rows;
mod tables;
#[cfg(test)]
mod tests;

pub(crate) use rows::wrong_with;

/// What was read, and how much of it was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Files that hold blocks.
    pub files: u64,
    /// Groups of the log.
    pub groups: u64,
    /// Bodies of blocks in files, also those that are not needed any more.
    pub bodies: u64,
    /// Their bytes.
    pub body_bytes: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Rows of the index.
    pub rows: u64,
    /// Blocks whose bytes were held against their hash.
    pub blocks: u64,
    /// How much was found wrong.
    pub findings: u64,
    /// How much of that takes something away that was acknowledged.
    pub losses: u64,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// What is being read.
    pub stage: VerifyStage,
    /// How much of it was read.
    pub done: u64,
    /// How much there is.
    pub of: u64,
}

/// What is read, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerifyStage {
    /// Segments of the log; counted in files.
    Files,
    /// Packs; counted in files.
    Packs,
    /// Checkpoints; counted in files.
    Checkpoints,
    /// The index, and the bytes of each block in it; counted in blocks.
    Index,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Where: a file, and for some the offset in it, or a row of the index.
    pub place: String,
    /// The block that it concerns, where it is one.
    pub block: Option<Cid>,
    /// What exactly is wrong.
    pub detail: String,
}

/// What a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FindingKind {
    /// The index cannot be opened or read. The next start makes it anew.
    Index,
    /// A row of the index cannot be read, or contradicts another.
    Row,
    /// The bytes at the place of a block are not the block.
    Block,
    /// A file that is in use is not there.
    MissingFile,
    /// A file that is none of this store's.
    StrayFile,
    /// A header is damaged. What is in the file can be read all the same, unless another finding says that it cannot.
    Header,
    /// Frames of the log are damaged.
    Frames,
    /// Which group was acknowledged last is not known.
    UnknownEnd,
    /// A group of the log is not whole.
    Group,
    /// Groups that were acknowledged are not in the log.
    MissingGroups,
    /// A body that is damaged and that no row needs.
    DeadBody,
    /// Bytes behind the end of the log, as a write leaves that was cut off. The next start moves them away.
    Tail,
    /// A pack is damaged.
    Pack,
    /// The table of a segment of format 1 is damaged.
    Table,
    /// A checkpoint is damaged.
    Checkpoint,
    /// A file could not be read now.
    Unreadable,
}

impl FindingKind {
    /// Whether something that was acknowledged is gone by it, as far as it can be told: copies may be had from others.
    #[must_use]
    pub fn is_loss(self) -> bool {
        match self {
            Self::Block
            | Self::MissingFile
            | Self::MissingGroups
            | Self::Group
            | Self::Unreadable => true,
            Self::Index
            | Self::Row
            | Self::StrayFile
            | Self::Header
            | Self::Frames
            | Self::UnknownEnd
            | Self::DeadBody
            | Self::Tail
            | Self::Pack
            | Self::Table
            | Self::Checkpoint => false,
        }
    }

    /// The word for it in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Row => "row",
            Self::Block => "block",
            Self::MissingFile => "missing_file",
            Self::StrayFile => "stray_file",
            Self::Header => "header",
            Self::Frames => "frames",
            Self::Group => "group",
            Self::UnknownEnd => "unknown_end",
            Self::MissingGroups => "missing_groups",
            Self::DeadBody => "dead_body",
            Self::Tail => "tail",
            Self::Pack => "pack",
            Self::Table => "table",
            Self::Checkpoint => "checkpoint",
            Self::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.detail)
    }
}

/// What is told while a store is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifyEvent {
    /// How far it is.
    Progress(VerifyProgress),
    /// Something is wrong.
    Found(Finding),
}

/// Reads the whole store in `dir` and tells what is wrong with it. None where there is no store.
///
/// # Errors
/// [`OpenError::Locked`] while a process has it open; a later release wrote it; or its folder cannot be listed. What can
/// be read of a damaged store is read, and is no error.
pub fn verify(
    dir: &Path,
    tell: &mut dyn FnMut(VerifyEvent),
) -> Result<Option<Verification>, OpenError> {
    let _lock = format::lock_if_there(dir)?;
    match format::read(&LookOnly, dir)? {
        None => return Ok(None),
        Some(found) if found < format::FORMAT => {
            return Err(OpenError::OlderFormat {
                dir: dir.to_path_buf(),
                found,
                known: format::FORMAT,
            });
        }
        Some(_) => {}
    }
    let disk: Arc<dyn Disk> = Arc::new(LookOnly);
    // Where that cannot be read, it is told with the rest.
    let was_used = Heard::read(disk.as_ref(), dir, None).map_or(true, |heard| heard.is_something());
    if !dir.join(INDEX).exists() && is_empty(dir, &disk) && !was_used {
        // A start that was broken off before anything was stored.
        return Ok(Some(Verification::default()));
    }
    let index = IndexOptions::default().home(dir).open_to_read();
    verify_on(dir, &disk, index, tell)
        .map(Some)
        .map_err(|source| OpenError::Segments {
            dir: dir.to_path_buf(),
            source,
        })
}

fn is_empty(dir: &Path, disk: &Arc<dyn Disk>) -> bool {
    let has_files = |folder: &str| {
        disk.list(&dir.join(folder))
            .is_ok_and(|names| !names.is_empty())
    };
    !STORED.into_iter().any(has_files)
}

/// As [`verify`], on any disk and with any index.
pub(crate) fn verify_on(
    dir: &Path,
    disk: &Arc<dyn Disk>,
    index: Result<Arc<dyn Kv>, KvError>,
    tell: &mut dyn FnMut(VerifyEvent),
) -> std::io::Result<Verification> {
    let mut verifier = Verifier {
        dir,
        disk,
        store: None,
        applied: Position::START,
        is_begun: false,
        files: BTreeMap::new(),
        dropped: BTreeSet::new(),
        sum: Verification::default(),
        tell,
    };
    let index = index.and_then(|index| {
        verifier.read_small_rows(index.as_ref())?;
        Ok(index)
    });
    let index = index.map_err(|error| verifier.found_index(&error)).ok();
    let snapshot = index.as_ref().and_then(|index| {
        let snapshot = index.snapshot();
        snapshot.map_err(|error| verifier.found_index(&error)).ok()
    });
    verifier.check_files(snapshot.as_deref())?;
    verifier.check_tables(snapshot.as_deref())?;
    verifier.check_packs()?;
    verifier.check_checkpoints()?;
    if let Some(snapshot) = snapshot {
        verifier.check_rows(snapshot.as_ref());
    }
    Ok(verifier.sum)
}

struct Verifier<'a> {
    dir: &'a Path,
    disk: &'a Arc<dyn Disk>,
    /// As the index has them; without one, what the files say is believed.
    store: Option<StoreId>,
    applied: Position,
    is_begun: bool,
    files: BTreeMap<FileNumber, FileRow>,
    /// Files that the log behind the index drops.
    dropped: BTreeSet<FileNumber>,
    sum: Verification,
    tell: &'a mut dyn FnMut(VerifyEvent),
}

impl Verifier<'_> {
    fn read_small_rows(&mut self, index: &dyn Kv) -> Result<(), KvError> {
        let store = index.value(&[keys::STORE])?;
        self.store = store.and_then(|row| row.try_into().ok()).map(StoreId);
        self.is_begun = index.value(&[keys::BEGUN])?.is_some();
        if let Some(row) = index.value(&[keys::APPLIED])? {
            match Position::from_bytes(&row) {
                Some(applied) => self.applied = applied,
                None => self.found_row(&[keys::APPLIED], "it cannot be read"),
            }
        }
        for (key, row) in index.scan(&[keys::FILE], &keys::end_of(keys::FILE), usize::MAX)? {
            if let (Some(number), Some(row)) = (keys::number_of(&key), FileRow::from_bytes(&row)) {
                self.files.insert(number, row);
            }
        }
        Ok(())
    }

    fn check_checkpoints(&mut self) -> std::io::Result<()> {
        let checkpoints = Checkpoints::new(Arc::clone(self.disk), self.dir, self.store);
        let groups = checkpoints.groups()?;
        for (done, group) in groups.iter().enumerate() {
            self.progress(VerifyStage::Checkpoints, done, groups.len());
            self.sum.checkpoints += 1;
            if let Err(error) = checkpoints.open(*group) {
                let kind = if error.is_damage() {
                    FindingKind::Checkpoint
                } else {
                    FindingKind::Unreadable
                };
                self.found(kind, format!("checkpoint {group:016x}"), chain(&error));
            }
        }
        if let Some(newest) = groups.first()
            && !self.files.is_empty()
            && *newest > self.applied.group
        {
            let detail = format!(
                "it is at group {}, older than a checkpoint of it",
                self.applied.group
            );
            self.found(FindingKind::Index, INDEX.into(), detail);
        }
        self.progress(VerifyStage::Checkpoints, groups.len(), groups.len());
        Ok(())
    }

    fn progress(&mut self, stage: VerifyStage, done: usize, of: usize) {
        let (done, of) = (done as u64, of as u64);
        (self.tell)(VerifyEvent::Progress(VerifyProgress { stage, done, of }));
    }

    fn found(&mut self, kind: FindingKind, place: String, detail: String) {
        self.found_of(kind, place, None, detail);
    }

    fn found_of(&mut self, kind: FindingKind, place: String, block: Option<Cid>, detail: String) {
        self.sum.findings += 1;
        self.sum.losses += u64::from(kind.is_loss());
        (self.tell)(VerifyEvent::Found(Finding {
            kind,
            place,
            block,
            detail,
        }));
    }

    fn found_index(&mut self, error: &KvError) {
        self.found(FindingKind::Index, INDEX.into(), chain(error));
    }

    fn found_row(&mut self, key: &[u8], detail: &str) {
        let key: String = key
            .iter()
            .flat_map(|byte| byte.escape_ascii())
            .map(char::from)
            .collect();
        self.found(FindingKind::Row, format!("row {key}"), detail.to_owned());
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A cause that is shown by what it caused is not said twice.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
