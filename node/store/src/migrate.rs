//! Brings a folder of format 1 to the present format.
//!
//! ```text
//! index of format 1 ┐
//! tail of its log   ┴→ rows ─┬→ heads, pins, queues, … ────────────────────────→ new index → checkpoint
//!                            └→ blocks, by multihash → by place → read, verified ┴→ tables of the segments
//! ```
//!
//! Rows come from the index, never from a search of the log; what the log holds behind the index is read from where
//! the index ends, group by group, and what lies behind damage is reported and not applied ([`format1`]). The
//! segments stay where they are, as files of blocks: each gets a [table](crate::block_table) of what is in it, made
//! from the bytes as they were read and verified.
//!
//! Nothing of format 1 is changed before the new index, the tables and a checkpoint are whole and durable. Then `FORMAT`
//! says what the folder is, and the new index takes the place of the old. A migration that is broken off before that
//! begins again from the same and comes to the same, without reading again the files whose tables are there; one that is
//! broken off after it leaves an index that does not know its store, which is made anew from the checkpoint and the tables
//! as any damaged one.
//!
//! Memory is bounded whatever the store holds: blocks are put in order, first by multihash, so that the places of one
//! content come together, then by place, so that files are read from front to back, by filling indexes that are of no
//! use afterwards.

mod blocks;
mod by_hash;
mod by_place;
pub(crate) mod format1;
mod rows;
mod sink;
mod view;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennis_shared::time::Millis;

use self::blocks::{Files, keep_blocks};
use self::by_hash::ByHash;
use self::format1::{Gap, Segment, Tail, Unread, read_tail, row};
use self::rows::convert_rows;
use self::sink::Sink;
use self::view::{LoggedChanges, View};
use crate::checkpoint::{CheckpointError, Checkpoints, Header};
use crate::clock::wall_clock;
use crate::disk::{Disk, is_full};
use crate::format::{self, FORMAT};
use crate::keys;
use crate::kv::{Kv, KvError, KvHome};
use crate::layout::{packs, segments};
use crate::location::{FileNumber, StoreId};
use crate::log::{Position, copy_tail};
use crate::open_error::OpenError;
use crate::options::StoreOptions;
use crate::rebuild::Progress;
use crate::reserve::Reserve;
use crate::rows::{Loss, LossKind, Row as _};

/// Names of the indexes that put rows in order.
const CHANGES: &str = "changes";
const BY_HASH: &str = "hashes";
const BY_PLACE: &str = "places";
/// Numbers of groups from here on are not gone on with: somebody may have put the highest into the log of format 1.
const HIGH_GROUP: u64 = 1 << 62;

/// Makes a folder one of the present format, durably: names the format of a new one, and migrates an older one. Returns what
/// could not be taken over.
///
/// # Errors
/// A later release wrote it, it is no store, or the disk or an index refuses.
pub(crate) fn bring_up(
    dir: &Path,
    options: &StoreOptions,
    disk: &Arc<dyn Disk>,
    home: &dyn KvHome,
    progress: Progress,
) -> Result<Vec<Loss>, OpenError> {
    let failed = |error: io::Error| MigrateError::from(error).at(dir);
    let version = match format::read(disk.as_ref(), dir)? {
        Some(version) => version,
        None if is_format_1(disk.as_ref(), dir).map_err(failed)? => 1,
        None => {
            format::write(disk.as_ref(), dir).map_err(|source| OpenError::NotWritable {
                dir: dir.to_path_buf(),
                source,
            })?;
            FORMAT
        }
    };
    if version == FORMAT {
        return Ok(Vec::new());
    }
    let migration = Migration {
        disk,
        dir,
        home,
        now: wall_clock(),
    };
    let migrated = match migration.run(progress) {
        // It takes about the space of the index: on a full disk the reserve is given up for that.
        Err(error) if error.is_full() => {
            let reserve = Reserve {
                disk: Arc::clone(disk),
                dir: dir.to_path_buf(),
                bytes: options.reserve_bytes,
            };
            reserve.release();
            migration.run(progress)
        }
        migrated => migrated,
    };
    migrated.map_err(|error| error.at(dir))
}

/// Whether a folder without `FORMAT` has segments of format 1, and nothing of a later one.
fn is_format_1(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    let list = |folder: &Path| match disk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names,
    };
    let is_later =
        !list(&dir.join(crate::layout::CHECKPOINTS))?.is_empty() || !list(&packs(dir))?.is_empty();
    let mut has_old = false;
    for number in list(&segments(dir))?
        .iter()
        .filter_map(|name| FileNumber::parse(name))
    {
        if let Some(segment) = Segment::open(disk, &segments(dir), number)? {
            has_old |= segment.has_header()?;
        }
    }
    Ok(has_old && !is_later)
}

/// What is migrated, and where.
struct Migration<'a> {
    disk: &'a Arc<dyn Disk>,
    /// The folder of the store.
    dir: &'a Path,
    home: &'a dyn KvHome,
    /// The time for rows about what was found damaged.
    now: Millis,
}

/// Why a migration ended early. Nothing of format 1 was changed; it is begun again by the next start.
#[derive(Debug, thiserror::Error)]
enum MigrateError {
    /// The disk refuses.
    #[error("the segments of format 1 cannot be read, or what they become cannot be written")]
    Disk(#[from] io::Error),
    /// An index fails.
    #[error("the index failed in the migration from format 1")]
    Index(#[from] KvError),
    /// The checkpoint could not be written.
    #[error("the checkpoint of what format 1 held cannot be written")]
    Checkpoint(#[from] CheckpointError),
    /// There are rows, and none that says up to where they are those of the log.
    #[error(
        "the index of format 1 does not say how much of the log is in it; without the folder index all is taken from the log"
    )]
    Applied,
}

impl MigrateError {
    /// Whether it failed because no space was left.
    fn is_full(&self) -> bool {
        match self {
            Self::Index(error) | Self::Checkpoint(CheckpointError::Index(error)) => error.is_full(),
            Self::Disk(error) | Self::Checkpoint(CheckpointError::Disk(error)) => is_full(error),
            Self::Checkpoint(_) | Self::Applied => false,
        }
    }

    /// The error of the store in a folder.
    fn at(self, dir: &Path) -> OpenError {
        let dir = dir.to_path_buf();
        match self {
            Self::Index(source) if source.is_full() => OpenError::Full { dir, source },
            Self::Disk(source) if is_full(&source) => OpenError::Full {
                dir,
                source: source.into(),
            },
            source => OpenError::Migration {
                dir,
                source: Box::new(source),
            },
        }
    }
}

impl Migration<'_> {
    /// Migrates the folder, durably. Returns what could not be taken over.
    ///
    /// # Errors
    /// The disk or an index fails.
    fn run(&self, progress: Progress) -> Result<Vec<Loss>, MigrateError> {
        let store = StoreId(self.disk.entropy()?);
        let losses = self.fill(store, progress)?;
        self.home.remove_scratch(BY_PLACE)?;
        // From here on it is a store of the present format, whose index is not in its place yet. Where it does not get there,
        // the store is opened without an index and makes it anew. There is no way back: the old one may be gone.
        format::write(self.disk.as_ref(), self.dir)?;
        let _ = self.home.replace();
        Ok(losses)
    }

    /// Writes the tables, the new index and a checkpoint of it.
    fn fill(&self, store: StoreId, progress: Progress) -> Result<Vec<Loss>, MigrateError> {
        let numbers = self.segments()?;
        let index = self.home.read()?;
        let mut target = Sink::new(self.home.begin()?);
        let mut by_hash = ByHash::new(self.home.begin_scratch(BY_HASH)?);
        let mut changes = LoggedChanges::new(self.home.begin_scratch(CHANGES)?);
        let tail = read_tail(
            self.disk.as_ref(),
            &self.dir(),
            &numbers,
            applied(index.as_deref())?,
            |group| changes.apply(group).map_err(MigrateError::from),
        )?;
        let changes = changes.finish()?;
        self.convert(
            index.as_deref(),
            changes.as_ref(),
            &mut by_hash,
            &mut target,
        )?;
        // Each of them takes about the space of the index, and is of no use any more.
        drop((index, changes));
        self.home.remove_scratch(CHANGES)?;
        let mut files = Files::new(self);
        let by_place = by_hash.sort(self, &mut files, &mut target)?;
        self.home.remove_scratch(BY_HASH)?;
        let kept = keep_blocks(
            self,
            files,
            by_place.as_ref(),
            &numbers,
            &mut target,
            progress,
        )?;
        self.disk.sync_dir(&self.dir())?;
        let mut losses = self.losses_of(&tail, &kept.files)?;
        losses.extend(kept.losses);
        let told = losses
            .iter()
            .filter(|loss| loss.kind.is_of_acknowledged_data());
        for (number, loss) in (1..).zip(told) {
            target.put(keys::loss(number), loss.to_bytes())?;
        }
        let last_group = tail.last_group;
        let applied = Position {
            // The log goes on behind the files that are there.
            file: kept.files.last().copied().unwrap_or(FileNumber(0)),
            offset: 0,
            group: if last_group < HIGH_GROUP {
                last_group
            } else {
                1
            },
        };
        target.put(vec![keys::TOTAL], kept.blocks.to_le_bytes().to_vec())?;
        target.put(vec![keys::STORE], store.0.to_vec())?;
        target.put(vec![keys::APPLIED], applied.to_bytes())?;
        self.checkpoint(target.finish()?.as_ref(), store, applied)?;
        Ok(losses)
    }

    fn convert(
        &self,
        index: Option<&dyn Kv>,
        changes: &dyn Kv,
        by_hash: &mut ByHash,
        target: &mut Sink,
    ) -> Result<(), KvError> {
        let index = index.map(|index| index.snapshot()).transpose()?;
        let changes = changes.snapshot()?;
        let view = View::new(index.as_deref(), changes.as_ref());
        convert_rows(&view, by_hash, target, self.now)
    }

    /// All rows are in a checkpoint before the index of format 1 goes: no log has them.
    fn checkpoint(&self, index: &dyn Kv, store: StoreId, at: Position) -> Result<(), MigrateError> {
        let checkpoints = Checkpoints::new(Arc::clone(self.disk), self.dir, Some(store));
        let snapshot = index.snapshot()?;
        let before = snapshot.rows(&[0], &[keys::BLOCK]);
        let (behind, end) = (keys::end_of(keys::BLOCK), [u8::MAX]);
        let rows = before.chain(snapshot.rows(&behind, &end));
        checkpoints.write(Header::new(store, at, self.now), rows)?;
        // What the new index and the checkpoints are in has its name before `FORMAT` says so.
        self.disk.sync_dir(self.dir)?;
        Ok(())
    }

    /// The folder of the segments.
    fn dir(&self) -> PathBuf {
        segments(self.dir)
    }

    /// The segments that are there, ascending.
    fn segments(&self) -> io::Result<Vec<FileNumber>> {
        let names = self.disk.list(&self.dir())?;
        let mut numbers: Vec<_> = names
            .iter()
            .filter_map(|name| FileNumber::parse(name))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn open(&self, number: FileNumber) -> io::Result<Option<Segment>> {
        Segment::open(self.disk.as_ref(), &self.dir(), number)
    }

    /// What the end of the log has lost. Files that are none of this store's are told by every start.
    fn losses_of(&self, tail: &Tail, files: &BTreeSet<FileNumber>) -> io::Result<Vec<Loss>> {
        let mut losses = Vec::new();
        for gap in &tail.gaps {
            losses.push(self.loss_of_gap(gap, tail.cut, files)?);
        }
        for unread in tail
            .unread
            .iter()
            .filter(|unread| files.contains(&unread.file))
        {
            let kind = if unread.is_torn {
                LossKind::TornGroup
            } else {
                LossKind::Migration
            };
            losses.push(Loss {
                group: tail.last_group.saturating_add(1),
                moved_bytes: self.copy(unread)?,
                ..self.loss(kind, unread.file, unread.offset)
            });
        }
        if let Some(cut) = tail.cut {
            losses.push(Loss {
                group: cut.group,
                ..self.loss(LossKind::LogBehindIndex, cut.file, cut.offset)
            });
        }
        Ok(losses)
    }

    fn loss_of_gap(
        &self,
        gap: &Gap,
        cut: Option<Position>,
        files: &BTreeSet<FileNumber>,
    ) -> io::Result<Loss> {
        let mut unread = gap
            .unread
            .iter()
            .filter(|unread| files.contains(&unread.file));
        let (mut file, mut offset) = cut.map_or((FileNumber(0), 0), |cut| (cut.file, cut.offset));
        let mut moved_bytes = 0;
        if let Some(first) = unread.next() {
            (file, offset) = (first.file, first.offset);
            moved_bytes += self.copy(first)?;
        }
        for other in unread {
            moved_bytes += self.copy(other)?;
        }
        Ok(Loss {
            group: gap.until,
            moved_bytes,
            ..self.loss(LossKind::MissingGroups, file, offset)
        })
    }

    /// Keeps what could not be read: its segment goes once its blocks are packed.
    fn copy(&self, unread: &Unread) -> io::Result<u64> {
        let Some(segment) = self.open(unread.file)? else {
            return Ok(0);
        };
        let file = (unread.file, segment.file.as_ref());
        copy_tail(self.disk.as_ref(), &self.dir(), file, unread.offset)
    }

    fn loss(&self, kind: LossKind, file: FileNumber, offset: u64) -> Loss {
        Loss {
            found: self.now,
            ..Loss::new(kind, file, offset)
        }
    }
}

/// Up to where the log is in the index. Each write of format 1 said so: where no row does, nothing was written.
fn applied(index: Option<&dyn Kv>) -> Result<Position, MigrateError> {
    let Some(index) = index else {
        return Ok(Position::START);
    };
    match index.value(&[row::APPLIED])? {
        Some(value) => row::read_position(&value).ok_or(MigrateError::Applied),
        None if index.scan(&[], &[u8::MAX], 1)?.is_empty() => Ok(Position::START),
        None => Err(MigrateError::Applied),
    }
}

#[cfg(test)]
mod tests;
