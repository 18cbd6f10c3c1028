//! Looks at a store without changing a byte of it: what an operator is told before anything is repaired.
//!
//! The lock is held meanwhile, so that no process opens the store for writing; where one has it open already,
//! [`inspect`] says so and looks no further. The index is opened for reading only, and what the log holds beyond it is
//! not replayed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use perennis_shared::cid::{Block, Cid};
use perennis_shared::time::Millis;

use crate::damage::DamageCounts;
use crate::disk::{Disk as _, Real};
use crate::format;
use crate::keys;
use crate::kv::{Kv, KvError, Rocks, RocksOptions};
use crate::rows::{FileRow, HeadRow, Loss, Place, QuarantineRow, Quarantined, Row as _, SetAside};
use crate::segment::{FileNumber, Location};
use crate::store::{OpenError, segments};

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
    /// Blocks that the index knows.
    pub blocks: u64,
    /// Segment files.
    pub segments: u64,
    /// Segments that hold blocks by the index and are not there as files.
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
    /// When the newest of the heads that were looked at was stored.
    pub newest_head: Option<Millis>,
}

/// Looks at the store in `dir` and reads about `sample` of its blocks, from many places. None where there is no store.
///
/// # Errors
/// [`OpenError::Locked`] while a process has it open; a later release wrote it; or the index cannot be read.
pub fn inspect(dir: &Path, sample: usize) -> Result<Option<Inspection>, OpenError> {
    let _lock = lock(dir)?;
    let Some(version) = format::read(dir)? else {
        return Ok(None);
    };
    if version < format::FORMAT || !dir.join("index").join("CURRENT").exists() {
        // It is migrated by the next start; or a start was broken off before anything was stored.
        let format = version;
        return Ok(Some(Inspection {
            format,
            ..Inspection::default()
        }));
    }
    let index_failed = |source| OpenError::Index {
        dir: dir.to_path_buf(),
        source,
    };
    let index = Rocks::open_to_read(&dir.join("index"), &RocksOptions::default());
    let index: Arc<dyn Kv> = Arc::new(index.map_err(index_failed)?);
    let mut found = Inspection {
        format: version,
        ..Inspection::default()
    };
    look_at_index(index.as_ref(), &mut found).map_err(index_failed)?;
    look_at_segments(dir, index.as_ref(), &mut found).map_err(index_failed)?;
    look_at_blocks(dir, index.as_ref(), sample, &mut found).map_err(index_failed)?;
    Ok(Some(found))
}

/// Takes the lock where its file is; makes none.
pub(crate) fn lock(dir: &Path) -> Result<Option<File>, OpenError> {
    let refused = |source: io::Error| OpenError::NotWritable {
        dir: dir.to_path_buf(),
        source,
    };
    let file = match File::open(dir.join("LOCK")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            dir: dir.to_path_buf(),
        }),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}

fn look_at_index(index: &dyn Kv, found: &mut Inspection) -> Result<(), KvError> {
    if let Some(total) = index.value(&[keys::TOTAL])? {
        found.blocks = total.try_into().map_or(0, u64::from_le_bytes);
    }
    found.damage = DamageCounts::of(index)?;
    let (from, to) = ([keys::SET_ASIDE], keys::end_of(keys::SET_ASIDE));
    let aside = index.scan(&from, &to, SET_ASIDE)?;
    found.set_aside = aside
        .iter()
        .map(|(key, row)| SetAside::from_row(key, row))
        .collect();
    let (from, to) = ([keys::QUARANTINE], keys::end_of(keys::QUARANTINE));
    let blocks = index.scan(&from, &to, SET_ASIDE)?;
    let blocks = blocks.iter().filter_map(|(key, row)| {
        let row = Quarantined::from_bytes(row)?;
        Some(QuarantineRow::new(keys::hash_of(key)?, row))
    });
    found.quarantined = blocks.collect();
    let losses = index.scan(&[keys::LOSS], &keys::end_of(keys::LOSS), usize::MAX)?;
    found.losses = losses
        .iter()
        .filter_map(|(_, row)| Loss::from_bytes(row))
        .collect();
    let heads = index.scan(&[keys::HEAD], &keys::end_of(keys::HEAD), HEADS)?;
    let heads = heads.iter().filter_map(|(_, row)| HeadRow::from_bytes(row));
    found.newest_head = heads.map(|head| head.stored_at).max();
    Ok(())
}

fn look_at_segments(dir: &Path, index: &dyn Kv, found: &mut Inspection) -> Result<(), KvError> {
    let names = Real.list(&segments(dir))?;
    let files: Vec<FileNumber> = names
        .iter()
        .filter_map(|name| FileNumber::parse(name))
        .collect();
    found.segments = files.len() as u64;
    let rows = index.scan(&[keys::FILE], &keys::end_of(keys::FILE), usize::MAX)?;
    for (key, value) in rows {
        let row = keys::number_of(&key).zip(FileRow::from_bytes(&value));
        if let Some((number, row)) = row
            && row.live_bytes > 0
            && !files.contains(&number)
        {
            found.missing_segments.push(number);
        }
    }
    Ok(())
}

fn look_at_blocks(
    dir: &Path,
    index: &dyn Kv,
    sample: usize,
    found: &mut Inspection,
) -> Result<(), KvError> {
    let each = (sample / PLACES).max(1);
    let mut seen = std::collections::BTreeSet::new();
    for place in 0..PLACES {
        let mut from = keys::key(keys::BLOCK, &PREFIX);
        from.push(u8::try_from(place * 256 / PLACES).unwrap_or(u8::MAX));
        for (key, value) in index.scan(&from, &keys::end_of(keys::BLOCK), each)? {
            let located = keys::hash_of(&key).zip(Place::from_bytes(&value));
            if let Some((hash, place)) = located
                && seen.insert(key)
            {
                found.sampled += 1;
                let codec = place.codecs.first().copied().unwrap_or(0x55);
                let cid = Cid::new_v1(codec, hash);
                if !is_sound(dir, &cid, place.location) {
                    found.damaged.push(cid);
                }
            }
        }
    }
    Ok(())
}

fn is_sound(dir: &Path, cid: &Cid, location: Location) -> bool {
    let read = || -> io::Result<Vec<u8>> {
        let path = location.file.segment_path(&segments(dir));
        // What a location claims is held against the file before memory is taken for it.
        let end = u64::from(location.offset) + u64::from(location.length);
        if fs::metadata(&path)?.len() < end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; location.length as usize];
        std::os::unix::fs::FileExt::read_exact_at(
            &File::open(path)?,
            &mut bytes,
            u64::from(location.offset),
        )?;
        Ok(bytes)
    };
    read().is_ok_and(|bytes| Block::verified(*cid, bytes).is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeMap;
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
