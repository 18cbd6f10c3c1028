//! Looks at a store without changing a byte of it: what an operator is told before anything is repaired.
//!
//! The lock is held meanwhile, so that no process opens the store for writing; where one has it open already,
//! [`inspect`] says so and looks no further. The index is opened for reading only, and what the log holds beyond it is
//! not replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use perennis_shared::cid::{Block, Cid};
use perennis_shared::time::Millis;

use crate::checkpoint::Checkpoints;
use crate::damage::DamageCounts;
use crate::disk::{Disk, LookOnly};
use crate::format;
use crate::group::Op;
use crate::keys;
use crate::kv::{IndexOptions, Kv, KvBatch, KvError, Memory};
use crate::layout::{INDEX, packs, segments};
use crate::location::{FileNumber, Location, StoreId};
use crate::log::{Files, Groups, Heard, Known, Position, survey_files};
use crate::open_error::OpenError;
use crate::rows::{FileRow, HeadRow, Loss, Place, QuarantineRow, Quarantined, Row as _, SetAside};

mod store_id;

pub use store_id::store_id;

/// Places in the order of multihashes from which blocks are sampled.
const PLACES: usize = 32;
/// Most heads that are looked at.
const HEADS: usize = 10_000;
/// Most rows and blocks that were set aside and are told of one by one.
const SET_ASIDE: usize = 100;
/// SHA2-256 with 32 bytes: what nearly every stored multihash begins with.
const PREFIX: [u8; 2] = [0x12, 0x20];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The version of the format on the disk.
    pub format: u32,
    /// Which store it is; none where nothing says it yet.
    pub store: Option<StoreId>,
    /// What is wrong with the index, where it cannot be opened or read. The next start makes it anew.
    pub index_damage: Option<String>,
    /// Blocks that the index knows.
    pub blocks: u64,
    /// The last group that was acknowledged, where the log does not have it. The next start tells it as a loss.
    pub missing_group: Option<u64>,
    /// Whether nothing says any more which group was acknowledged last, in a folder that was used. The next start tells it as a loss.
    pub end_is_unknown: bool,
    /// Whether the log has more than the index: the process ended without a clean stop, and the next start brings it there.
    pub index_is_behind: bool,
    /// Files of blocks: segments of the log and packs.
    pub segments: u64,
    /// Those that are in use by the index and are not there.
    pub missing_segments: Vec<FileNumber>,
    /// Blocks that were read and held against their CIDs.
    pub sampled: u64,
    /// Those of them that are not what their CID says, or could not be read.
    pub damaged: Vec<Cid>,
    /// What was found damaged before and is not mended yet.
    pub damage: DamageCounts,
    /// The first of the rows that could not be read and were set aside.
    pub set_aside: Vec<SetAside>,
    /// The first of the blocks that were set aside.
    pub quarantined: Vec<QuarantineRow>,
    /// Losses of acknowledged data that were written down and not dismissed yet.
    pub losses: Vec<Loss>,
    /// Checkpoints from which the index can be made anew, and when the newest was written. They were not read.
    pub checkpoints: u64,
    /// When the newest checkpoint was written.
    pub newest_checkpoint: Option<Millis>,
    /// When the newest of the heads that were looked at was stored.
    pub newest_head: Option<Millis>,
}

/// Looks at the store in `dir` and reads about `sample` of its blocks, from many places. None where there is no store.
///
/// # Errors
/// [`OpenError::Locked`] while a process has it open; a later release wrote it; or its folders or its index cannot be read now. A
/// damaged index is no error.
pub fn inspect(dir: &Path, sample: usize) -> Result<Option<Inspection>, OpenError> {
    let _lock = format::lock_if_there(dir)?;
    let Some(format) = format::read(&LookOnly, dir)? else {
        return Ok(None);
    };
    let mut look = Look {
        dir,
        disk: Arc::new(LookOnly),
        rows: BTreeMap::new(),
        is_begun: false,
        heard: Heard::default(),
        found: Inspection {
            format,
            ..Inspection::default()
        },
    };
    if format < format::FORMAT {
        // It is migrated by the next start.
        return Ok(Some(look.found));
    }
    let unread = |source| OpenError::Segments {
        dir: dir.to_path_buf(),
        source,
    };
    look.at_files().map_err(unread)?;
    let has_index = dir.join(INDEX).exists();
    look.heard = Heard::read(look.disk.as_ref(), dir, look.found.store).map_err(unread)?;
    let has_files = look.found.segments > 0 || look.found.checkpoints > 0;
    if !has_index && !has_files && !look.heard.is_something() {
        // A start that was broken off before anything was stored.
        return Ok(Some(look.found));
    }
    let index = IndexOptions::default().home(dir).open_to_read();
    let failed = |source| OpenError::Index {
        dir: dir.to_path_buf(),
        source,
    };
    match index.and_then(|index| Ok((look.at_index(index.as_ref(), sample)?, index))) {
        Err(error) if error.is_damaged() => {
            look.found.index_damage = Some(error.to_string());
            // What it has of damage is nothing without the index.
            drop(look.at_log(Position::START).map_err(unread)?);
        }
        Err(source) => return Err(failed(source)),
        Ok((applied, index)) => {
            let ahead = look.at_log(applied).map_err(unread)?;
            look.at_damage(index.as_ref(), ahead).map_err(failed)?;
        }
    }
    Ok(Some(look.found))
}

struct Look<'a> {
    dir: &'a Path,
    disk: Arc<dyn Disk>,
    rows: BTreeMap<FileNumber, FileRow>,
    /// Whether the index says that something was acknowledged.
    is_begun: bool,
    /// What is said of the end of the log.
    heard: Heard,
    found: Inspection,
}

impl Look<'_> {
    /// The names of the files of blocks, and the newest checkpoint's header.
    fn at_files(&mut self) -> io::Result<()> {
        self.found.store = store_id(self.dir)?;
        self.found.segments = self.file_names()?.len() as u64;
        let checkpoints = Checkpoints::new(Arc::clone(&self.disk), self.dir, None);
        self.found.checkpoints = checkpoints.groups()?.len() as u64;
        let newest = checkpoints.newest()?;
        self.found.newest_checkpoint = newest.map(|(header, _)| header.written_at);
        Ok(())
    }

    fn file_names(&self) -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for (dir, kind) in [(segments(self.dir), ".seg"), (packs(self.dir), ".pack")] {
            match self.disk.list(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                found => names.extend(found?.into_iter().filter(|name| name.ends_with(kind))),
            }
        }
        Ok(names)
    }

    /// What the index says, and how far it is.
    fn at_index(&mut self, index: &dyn Kv, sample: usize) -> Result<Position, KvError> {
        if let Some(total) = index.value(&[keys::TOTAL])? {
            self.found.blocks = total.try_into().map_or(0, u64::from_le_bytes);
        }
        let heads = index.scan(&[keys::HEAD], &keys::end_of(keys::HEAD), HEADS)?;
        let heads = heads.iter().filter_map(|(_, row)| HeadRow::from_bytes(row));
        self.found.newest_head = heads.map(|head| head.stored_at).max();
        let rows = index.scan(&[keys::FILE], &keys::end_of(keys::FILE), usize::MAX)?;
        let rows = rows.into_iter();
        self.rows = rows
            .filter_map(|(key, row)| keys::number_of(&key).zip(FileRow::from_bytes(&row)))
            .collect();
        let there = self.file_names()?;
        let missing = self
            .rows
            .iter()
            .filter(|(number, row)| !row.is_dropped && !there.contains(&row.file_name(**number)));
        self.found.missing_segments = missing.map(|(number, _)| *number).collect();
        self.at_blocks(index, sample)?;
        self.is_begun = index.value(&[keys::BEGUN])?.is_some();
        let applied = index.value(&[keys::APPLIED])?;
        let applied = applied.and_then(|row| Position::from_bytes(&row));
        Ok(applied.unwrap_or(Position::START))
    }

    /// What is known of damage, by the index and by what the log has ahead of it.
    fn at_damage(&mut self, index: &dyn Kv, ahead: KvBatch) -> Result<(), KvError> {
        let known = Memory::default();
        for prefix in DamageCounts::prefixes() {
            let rows = index.scan(&prefix, &keys::end_of_prefix(&prefix), usize::MAX)?;
            let rows = rows.into_iter().map(|(key, row)| (key, Some(row)));
            known.write(KvBatch {
                rows: rows.collect(),
            })?;
        }
        known.write(ahead)?;
        let first = |table, limit| known.scan(&[table], &keys::end_of(table), limit);
        self.found.damage = DamageCounts::of(&known)?;
        let aside = first(keys::SET_ASIDE, SET_ASIDE)?;
        let aside = aside.iter().map(|(key, row)| SetAside::from_row(key, row));
        self.found.set_aside = aside.collect();
        let blocks = first(keys::QUARANTINE, SET_ASIDE)?;
        let blocks = blocks.iter().filter_map(|(key, row)| {
            let row = Quarantined::from_bytes(row)?;
            Some(QuarantineRow::new(keys::hash_of(key)?, row))
        });
        self.found.quarantined = blocks.collect();
        let losses = first(keys::LOSS, usize::MAX)?;
        let losses = losses.iter().filter_map(|(_, row)| Loss::from_bytes(row));
        self.found.losses = losses.collect();
        Ok(())
    }

    /// What the log has that the index does not know. Returns what that says of damage.
    fn at_log(&mut self, applied: Position) -> io::Result<KvBatch> {
        let said = self.heard.said;
        let known = Known {
            store: self.found.store,
            files: self.rows.clone(),
            newest: said.map(|said| said.number),
        };
        let files = match survey_files(self.disk.as_ref(), &segments(self.dir), &known) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Files::default(),
            files => files?,
        };
        let mut last = applied.group;
        let mut ahead = KvBatch::default();
        let prefixes = DamageCounts::prefixes();
        let is_of_damage = |key: &[u8]| prefixes.iter().any(|prefix| key.starts_with(prefix));
        for (number, file) in files.log.range(applied.file..) {
            let mut groups = Groups::new(&file.segment, applied.start_in(*number), false)?;
            while let Some(group) = groups.next()? {
                last = last.max(group.group);
                self.found.index_is_behind = true;
                let ops = group.batches.into_iter().flat_map(|(_, batch)| batch.ops);
                ahead.rows.extend(ops.filter_map(|op| match op {
                    Op::Put(key, row) if is_of_damage(&key) => Some((key, Some(row))),
                    Op::Delete(key) if is_of_damage(&key) => Some((key, None)),
                    _ => None,
                }));
            }
        }
        self.found.end_is_unknown = !self.heard.is_whole()
            && (said.is_some() || self.is_begun || applied.offset > 0 || last > 1);
        if let Some(said) = said.filter(|said| said.is_missed(last)) {
            let is_known = self.rows.contains_key(&said.number);
            if !is_known && !files.log.contains_key(&said.number) {
                self.found.missing_segments.push(said.number);
            }
            self.found.missing_group = Some(said.group);
        }
        Ok(ahead)
    }

    fn at_blocks(&mut self, index: &dyn Kv, sample: usize) -> Result<(), KvError> {
        let each = (sample / PLACES).max(1);
        let mut seen = BTreeSet::new();
        for place in 0..PLACES {
            let mut from = keys::key(keys::BLOCK, &PREFIX);
            from.push(u8::try_from(place * 256 / PLACES).unwrap_or(u8::MAX));
            for (key, value) in index.scan(&from, &keys::end_of(keys::BLOCK), each)? {
                let located = keys::hash_of(&key).zip(Place::from_bytes(&value));
                if let Some((hash, place)) = located
                    && seen.insert(key)
                {
                    self.found.sampled += 1;
                    let codec = place.codecs.first().copied().unwrap_or(0x55);
                    let cid = Cid::new_v1(codec, hash);
                    if !self.is_sound(&cid, place.location) {
                        self.found.damaged.push(cid);
                    }
                }
            }
        }
        Ok(())
    }

    fn is_sound(&self, cid: &Cid, at: Location) -> bool {
        let read = || -> io::Result<Vec<u8>> {
            let row = self.rows.get(&at.file).ok_or(io::ErrorKind::NotFound)?;
            let file = self.disk.open(&row.path(at.file, self.dir))?;
            at.read_from(file.as_ref())
        };
        read().is_ok_and(|bytes| Block::verified(*cid, bytes).is_ok())
    }
}

#[cfg(all(test, feature = "rocksdb"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;
    use std::time::SystemTime;

    use perennis_shared::cid::Codec;

    use super::*;
    use crate::{Batch, Store, StoreOptions};

    fn files(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                let metadata = fs::metadata(&path).unwrap();
                found.insert(path, (metadata.len(), metadata.modified().unwrap()));
            }
        }
        found
    }

    /// What somebody finds who comes when a process was killed.
    fn copy(from: &Path, to: &Path) {
        fs::remove_dir_all(to).unwrap();
        for path in files(from).into_keys() {
            let copy = to.join(path.strip_prefix(from).unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(&path, copy).unwrap();
        }
    }

    fn filled(dir: &Path) -> Vec<Block> {
        let store = Store::open(dir, &StoreOptions::default()).unwrap();
        let blocks: Vec<Block> = (0..200_u32)
            .map(|number| Block::new(Codec::Raw, number.to_le_bytes().repeat(100)).unwrap())
            .collect();
        let mut batch = Batch::new();
        for block in &blocks {
            batch.put_block(block.clone());
        }
        store.commit(batch).unwrap();
        blocks
    }

    #[test]
    fn a_sound_store_is_seen_as_such_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(inspect(dir.path(), 100).unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let blocks = filled(dir.path());
        let before = files(dir.path());
        let found = inspect(dir.path(), 1_000).unwrap().unwrap();
        assert_eq!(files(dir.path()), before);
        assert_eq!(found.blocks, blocks.len() as u64);
        assert_eq!((found.segments, found.format), (1, format::FORMAT));
        assert!(found.sampled >= 16, "{found:?}");
        assert!(found.damaged.is_empty() && found.missing_segments.is_empty());
    }

    #[test]
    fn damage_is_seen_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let segment = fs::read_dir(segments(dir.path()))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let mut bytes = fs::read(&segment).unwrap();
        bytes[200..].fill(0xff);
        fs::write(&segment, bytes).unwrap();
        let found = inspect(dir.path(), 1_000).unwrap().unwrap();
        assert_eq!(found.damaged.len() as u64, found.sampled);
        assert_eq!(found.damage, DamageCounts::default());
        fs::remove_file(&segment).unwrap();
        let found = inspect(dir.path(), 1_000).unwrap().unwrap();
        assert_eq!(found.missing_segments, [FileNumber(1)]);
        fs::remove_dir(segments(dir.path())).unwrap();
        let found = inspect(dir.path(), 1_000).unwrap().unwrap();
        assert_eq!(found.missing_segments, [FileNumber(1)]);
    }

    #[test]
    fn what_a_process_left_that_was_killed_is_told() {
        let [dir, killed, fresh, begun] = [(); 4].map(|()| tempfile::tempdir().unwrap());
        filled(dir.path());
        let found = inspect(dir.path(), 10).unwrap().unwrap();
        assert!(!found.index_is_behind);
        let store = Store::open(dir.path(), &StoreOptions::default()).unwrap();
        let mut batch = Batch::new();
        batch.put_meta(b"acknowledged", b"last".to_vec());
        store.commit(batch).unwrap();
        copy(dir.path(), killed.path());
        drop(store);
        let found = inspect(killed.path(), 10).unwrap().unwrap();
        assert!(found.index_is_behind && found.missing_segments.is_empty());
        assert_eq!(found.missing_group, None);
        // A file of another store is no part of the log.
        let other = fs::read(FileNumber(1).segment_path(&segments(killed.path()))).unwrap();
        filled(fresh.path());
        let stray = FileNumber(9).segment_path(&segments(fresh.path()));
        fs::write(stray, other).unwrap();
        assert!(!inspect(fresh.path(), 10).unwrap().unwrap().index_is_behind);
        // The index has nothing on the disk of the first segment, and the segment is gone.
        let begun = begun.path();
        let store = Store::open(begun, &StoreOptions::default()).unwrap();
        let mut batch = Batch::new();
        batch.put_meta(b"acknowledged", b"first".to_vec());
        store.commit(batch).unwrap();
        copy(begun, killed.path());
        drop(store);
        fs::remove_file(FileNumber(1).segment_path(&segments(killed.path()))).unwrap();
        let found = inspect(killed.path(), 10).unwrap().unwrap();
        assert_eq!(found.missing_segments, [FileNumber(1)]);
        assert_eq!(found.missing_group, Some(1));
    }

    #[test]
    fn a_damaged_index_and_what_it_can_be_made_of_are_told() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let store = Store::open(dir.path(), &StoreOptions::default()).unwrap();
        store.checkpoint().unwrap();
        drop(store);
        let found = inspect(dir.path(), 10).unwrap().unwrap();
        assert_eq!((found.checkpoints, found.index_damage), (1, None));
        assert!(found.newest_checkpoint.is_some());
        fs::remove_file(dir.path().join("index/CURRENT")).unwrap();
        let found = inspect(dir.path(), 10).unwrap().unwrap();
        assert!(found.index_damage.is_some());
        assert_eq!((found.checkpoints, found.segments, found.blocks), (1, 1, 0));
        fs::remove_dir_all(dir.path().join(INDEX)).unwrap();
        assert!(
            inspect(dir.path(), 10)
                .unwrap()
                .unwrap()
                .index_damage
                .is_some()
        );
    }

    #[test]
    fn a_store_in_use_or_of_a_newer_format_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &StoreOptions::default()).unwrap();
        let refused = inspect(dir.path(), 10).unwrap_err();
        assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
        drop(store);
        fs::write(dir.path().join("FORMAT"), "perennis-store 99\n").unwrap();
        let refused = inspect(dir.path(), 10).unwrap_err();
        assert!(
            matches!(refused, OpenError::NewerFormat { .. }),
            "{refused}"
        );
    }
}
