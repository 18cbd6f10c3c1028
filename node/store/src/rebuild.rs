//! Makes the index anew.
//!
//! The index is a cache. Its rows come from the newest checkpoint that is whole, at some group G; the places of blocks
//! from what each file says of itself (the batches of a log segment, the footer of a pack, the table beside a segment of
//! format 1), less the copies that the checkpoint knows to be dead. The new index is filled beside the old and takes
//! its place when it is whole. It is as the old one was at G; what the log holds behind that is replayed as at any other
//! start. Where no checkpoint is whole the new index is empty, and all of the log is replayed.
//!
//! A file whose table is damaged does not say where its blocks lie. The index that is replaced may still know: what it has of such
//! a file is taken where the bytes there are the block, as far as the checkpoint reaches. Who asks for another index than one
//! whose rows can be read has them written down in a checkpoint first ([`Store::rebuild`](crate::Store::rebuild)).
//!
//! But for those, bodies are not read, and memory is bounded: files are taken one after the other, and their dead copies come from the
//! checkpoint in the same order. An attempt that is broken off is begun again.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use perennis_shared::cid::Multihash;

use crate::checkpoint::{Checkpoint, CheckpointError, Checkpoints, Header};
use crate::clock::wall_clock;
use crate::disk::{Disk, is_full};
use crate::group::Op;
use crate::index::Losses;
use crate::keys;
use crate::kv::{Kv, KvBatch, KvError, KvHome, KvLoad};
use crate::layout::segments;
use crate::location::{FileNumber, StoreId};
use crate::log::{Files, Known, Position, survey_files};
use crate::rows::{FileRow, Loss, LossKind, Place, Row as _, Seen, SetAside, found_at};

mod counts;
mod dead;
mod old;
mod progress;
mod tables;

pub(crate) use progress::Progress;
pub use progress::{RebuildProgress, RebuildStage};

use counts::recount;
use dead::DeadCopies;
use old::OldPlaces;
use tables::{Folders, read_table};

/// Rows that are written at once.
const BATCH_ROWS: usize = 4096;

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Rebuilt {
    /// The group of the checkpoint; 0 where none was whole.
    pub(crate) group: u64,
    /// What was found damaged meanwhile.
    pub(crate) losses: Vec<Loss>,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    #[error(transparent)]
    Index(#[from] KvError),
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl RebuildError {
    /// Whether it failed because no space was left.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            Self::Index(error) | Self::Checkpoint(CheckpointError::Index(error)) => error.is_full(),
            Self::Disk(error) | Self::Checkpoint(CheckpointError::Disk(error)) => is_full(error),
            Self::Checkpoint(_) => false,
        }
    }
}

/// Makes the index of the store in `dir` anew and puts it in its place.
///
/// # Errors
/// The disk or the index refuses, or a checkpoint cannot be read now and none other is whole. The old index stays.
pub(crate) fn rebuild(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    home: &dyn KvHome,
    progress: Progress,
) -> Result<Rebuilt, RebuildError> {
    let files = survey(disk, dir)?;
    let checkpoints = Checkpoints::new(Arc::clone(disk), dir, files.store);
    let mut losses = Vec::new();
    let mut unreadable = None;
    for group in checkpoints.groups()? {
        let rebuilt = checkpoints
            .open(group)
            .map_err(RebuildError::from)
            .and_then(|checkpoint| {
                from_checkpoint(disk.as_ref(), dir, &checkpoint, home, progress)
            });
        match rebuilt {
            Ok(mut rebuilt) => {
                home.replace()?;
                rebuilt.losses.extend(losses);
                return Ok(rebuilt);
            }
            Err(RebuildError::Checkpoint(error)) if error.is_damage() => losses.push(Loss {
                group,
                ..Loss::new(LossKind::DamagedCheckpoint, FileNumber(0), 0)
            }),
            Err(RebuildError::Checkpoint(error)) => unreadable = Some(error),
            Err(error) => return Err(error),
        }
    }
    match unreadable {
        // What it holds may be nowhere else.
        Some(error) => Err(error.into()),
        None => {
            empty(disk.as_ref(), files.store, home)?;
            Ok(Rebuilt { group: 0, losses })
        }
    }
}

/// Looks at the segments, and whose they are. Where all checkpoints are of one store, segments of others, however many somebody has put
/// there, count for nothing beside its own. Where it has none of its own, most of them say it; where there are none, whatever the
/// checkpoints say is all there is.
fn survey(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Files, RebuildError> {
    let checkpoints = Checkpoints::new(Arc::clone(disk), dir, None);
    let groups = checkpoints.groups()?.into_iter();
    let headers = groups.filter_map(|group| checkpoints.header(group).ok());
    let mut stores: Vec<_> = headers.map(|(header, _)| header.store).collect();
    stores.dedup();
    if let [store] = stores.as_slice() {
        let known = Known {
            store: Some(StoreId(*store)),
            ..Known::default()
        };
        let files = survey_files(disk.as_ref(), &segments(dir), &known)?;
        if !files.log.is_empty() {
            return Ok(files);
        }
    }
    Ok(survey_files(
        disk.as_ref(),
        &segments(dir),
        &Known::default(),
    )?)
}

/// Puts an empty index in the place of the old one.
fn empty(disk: &dyn Disk, store: Option<StoreId>, home: &dyn KvHome) -> Result<(), RebuildError> {
    let store = match store {
        Some(store) => store,
        None => StoreId(disk.entropy()?),
    };
    let load = home.begin()?;
    let mut batch = KvBatch::default();
    batch.put([keys::STORE], store.0);
    load.write(batch)?;
    drop(load.finish()?);
    Ok(home.replace()?)
}

/// Fills an index from a checkpoint and the files that it knows.
fn from_checkpoint(
    disk: &dyn Disk,
    dir: &Path,
    checkpoint: &Checkpoint,
    home: &dyn KvHome,
    progress: Progress,
) -> Result<Rebuilt, RebuildError> {
    let mut filling = Filling {
        checkpoint,
        load: home.begin()?,
        files: BTreeMap::new(),
        doubtful: BTreeMap::new(),
        counts_fit: true,
        losses: Vec::new(),
        progress,
    };
    filling.take_rows()?;
    filling.take_places(&Folders::of(disk, dir))?;
    filling.finish(disk, dir, home)
}

/// What a file lacks of its blocks that are alive, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lacking {
    bytes: u64,
    /// At most: one that was stored again elsewhere may be among them.
    blocks: u64,
}

/// An index while it is filled.
struct Filling<'a> {
    checkpoint: &'a Checkpoint,
    load: Box<dyn KvLoad>,
    /// What the checkpoint says of the files.
    files: BTreeMap<FileNumber, FileRow>,
    /// Those that do not say where all of their blocks lie.
    doubtful: BTreeMap<FileNumber, Lacking>,
    /// Whether what it counts in them was found.
    counts_fit: bool,
    losses: Vec<Loss>,
    progress: Progress<'a>,
}

impl Filling<'_> {
    /// Takes over the rows of the checkpoint.
    fn take_rows(&mut self) -> Result<(), RebuildError> {
        let mut done = 0;
        for chunk in self.checkpoint.chunks() {
            let mut batch = KvBatch::default();
            for (key, value) in chunk?.rows() {
                if key.first() == Some(&keys::FILE) && !self.take_file(key, value) {
                    // An index that does not know its files is not opened: it goes without this one.
                    let why = "it cannot be read, and the index had to be made anew";
                    let row = SetAside::to_row(wall_clock(), why, value);
                    batch.put(keys::set_aside(key), row);
                    continue;
                }
                batch.put(key, value);
            }
            done += batch.rows.len() as u64;
            self.load.write(batch)?;
            self.tell(RebuildStage::Checkpoint, done, self.checkpoint.summary.rows);
        }
        let Header {
            store,
            group,
            file,
            offset,
            ..
        } = self.checkpoint.header;
        let applied = Position {
            file: FileNumber(file),
            offset,
            group,
        };
        let mut batch = KvBatch::default();
        batch.put([keys::STORE], store);
        batch.put([keys::APPLIED], applied.to_bytes());
        Ok(self.load.write(batch)?)
    }

    /// False where the row is none.
    fn take_file(&mut self, key: &[u8], value: &[u8]) -> bool {
        let number = keys::number_of(key);
        let Some((number, row)) = number.zip(FileRow::from_bytes(value)) else {
            self.lose_table(number.unwrap_or(FileNumber(0)));
            return false;
        };
        self.files.insert(number, row);
        true
    }

    fn lose_table(&mut self, number: FileNumber) {
        self.losses
            .push(Loss::new(LossKind::UnreadableTable, number, 0));
    }

    /// Finds the places of the blocks in the files.
    fn take_places(&mut self, folders: &Folders) -> Result<(), RebuildError> {
        let mut dead = DeadCopies::new(self.checkpoint);
        let files: Vec<_> = self
            .files
            .iter()
            .map(|(number, row)| (*number, *row))
            .collect();
        let of = files.len() as u64;
        for (done, (number, row)) in files.into_iter().enumerate() {
            self.tell(RebuildStage::Files, done as u64, of);
            // Also where no bytes are alive: a block can be empty.
            if !row.is_dropped {
                let dead = dead.of(number)?;
                self.take_file_places(folders, (number, row), &dead)?;
            }
        }
        self.tell(RebuildStage::Files, of, of);
        Ok(())
    }

    fn take_file_places(
        &mut self,
        folders: &Folders,
        (number, row): (FileNumber, FileRow),
        dead: &HashSet<Multihash>,
    ) -> Result<(), RebuildError> {
        let known = self.losses.len();
        let mut batch = KvBatch::default();
        let mut written = Ok(());
        let mut bytes = 0;
        let mut dead_seen = 0;
        let table = read_table(folders, number, &row, &mut |hash, place| {
            if dead.contains(hash) {
                dead_seen += 1;
                return;
            }
            if written.is_err() {
                return;
            }
            bytes += u64::from(place.location.length);
            batch.put(keys::block(hash), place.to_bytes());
            if batch.rows.len() >= BATCH_ROWS {
                written = self.load.write(std::mem::take(&mut batch));
            }
        })?;
        written?;
        self.load.write(batch)?;
        self.counts_fit &= bytes == row.live_bytes;
        match table {
            // Not there: the log behind the checkpoint may say that it is not needed any more.
            None => return Ok(()),
            Some(losses) if losses.is_empty() && bytes < row.live_bytes => self.lose_table(number),
            Some(losses) => self.losses.extend(losses),
        }
        if self.losses.len() > known {
            let lost = self.losses[known..].iter().map(|loss| loss.blocks);
            let lacking = Lacking {
                bytes: row.live_bytes.saturating_sub(bytes),
                blocks: lost
                    .sum::<u64>()
                    .saturating_sub(dead.len() as u64 - dead_seen),
            };
            self.doubtful.insert(number, lacking);
        }
        Ok(())
    }

    fn finish(
        mut self,
        disk: &dyn Disk,
        dir: &Path,
        home: &dyn KvHome,
    ) -> Result<Rebuilt, RebuildError> {
        (self.progress)(RebuildProgress::new(RebuildStage::Order, 0, 1));
        let index = self.load.finish()?;
        take_seen(self.checkpoint, index.as_ref())?;
        if !self.doubtful.is_empty()
            && let Ok(Some(old)) = home.read_condemned()
        {
            let rows = self.doubtful.keys();
            let rows = rows.filter_map(|number| Some((*number, *self.files.get(number)?)));
            let places = OldPlaces::of(disk, dir, rows);
            for (number, taken) in places.take(old.as_ref(), index.as_ref())? {
                self.counts_fit &= taken.blocks == 0;
                if let Some(lacking) = self.doubtful.get_mut(&number) {
                    lacking.bytes = lacking.bytes.saturating_sub(taken.bytes);
                    lacking.blocks = lacking.blocks.saturating_sub(taken.blocks);
                }
            }
        }
        for loss in &mut self.losses {
            if self.doubtful.get(&loss.file) == Some(&Lacking::default()) {
                // The rows are in the checkpoint, and its blocks are all there.
                *loss = Loss::new(LossKind::DamagedFrames, loss.file, loss.offset);
            }
        }
        self.counts_fit &= !lift_set_aside(index.as_ref())?;
        if !self.counts_fit {
            recount(index.as_ref(), self.files)?;
        }
        // Once it is in its place, nobody finds them again.
        let mut ops = Vec::new();
        Losses::read(index.as_ref())?.note(found_at(wall_clock(), &self.losses), &mut ops);
        let mut batch = KvBatch::default();
        for op in ops {
            if let Op::Put(key, row) = op {
                batch.put(key, row);
            }
        }
        index.write(batch)?;
        index.flush(true)?;
        (self.progress)(RebuildProgress::new(RebuildStage::Order, 1, 1));
        Ok(Rebuilt {
            group: self.checkpoint.header.group,
            losses: self.losses,
        })
    }

    fn tell(&mut self, stage: RebuildStage, done: u64, of: u64) {
        (self.progress)(RebuildProgress::new(stage, done, of));
    }
}

/// Forgets what a checkpoint has of rows of blocks that were set aside, where the files say where the blocks lie. Returns whether there
/// were any: the checkpoint does not count them.
fn lift_set_aside(index: &dyn Kv) -> Result<bool, KvError> {
    let from = keys::set_aside(&[keys::BLOCK]);
    let mut batch = KvBatch::default();
    for (key, _) in index.scan(&from, &keys::end_of_prefix(&from), usize::MAX)? {
        let row = index.value(&key[1..])?;
        if row.is_some_and(|row| Place::from_bytes(&row).is_some()) {
            batch.delete(key);
        }
    }
    let are_there = !batch.rows.is_empty();
    index.write(batch)?;
    Ok(are_there)
}

/// Takes over as what blocks were seen since their file was written.
fn take_seen(checkpoint: &Checkpoint, index: &dyn Kv) -> Result<(), RebuildError> {
    for chunk in checkpoint.chunks() {
        let chunk = chunk?;
        let mut batch = KvBatch::default();
        for (key, value) in chunk.rows() {
            match key {
                [keys::SEEN, hash @ ..] => {
                    let key = keys::key(keys::BLOCK, hash);
                    let place = index.value(&key)?.and_then(|row| Place::from_bytes(&row));
                    if let (Some(place), Some(seen)) = (place, Seen::from_bytes(value)) {
                        let Seen { tag, codecs } = seen;
                        let place = Place {
                            tag,
                            codecs,
                            ..place
                        };
                        batch.put(key, place.to_bytes());
                    }
                }
                // Tables come in their order.
                [table, ..] if *table > keys::SEEN => return Ok(index.write(batch)?),
                _ => {}
            }
        }
        index.write(batch)?;
    }
    Ok(())
}
