#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::ipns::Name;
use perennis_shared::sign::SigningKey;

use super::format1::Format1Change;
use super::format1::maker::{Made, Maker, apply, block_key};
use super::*;
use crate::block_table::{BlockTable, TableEntry};
use crate::frame::chunk_crcs;
use crate::kv::KvBatch;
use crate::location::Location;
use crate::rows::{FileKind, FileRow, PinRow, Quarantined, SetAside, write_due, write_payload};
use crate::testing::{Durable, LyingDisk, MortalHome, MortalKv, Power};

const NOW: Millis = Millis(0x0102);
const DIR: &str = "/store";

mod blocks;
mod rows;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A folder of format 1 on a disk in memory.
struct Folder {
    disk: LyingDisk,
    index: Durable,
    maker: Maker,
}

impl Folder {
    fn new() -> Self {
        Self {
            disk: LyingDisk::new(&Power::default()),
            index: Durable::default(),
            maker: Maker::new(),
        }
    }

    /// A group in the log and in the index.
    fn commit(&mut self, blocks: &[Block], changes: &[Format1Change]) -> Made {
        let made = self.maker.commit(blocks, changes);
        apply(
            &MortalKv::open(&self.index, &Power::default()),
            &made,
            blocks,
            changes,
        );
        made
    }

    fn put(&self, rows: &[(&[u8], &[u8])]) {
        let mut batch = KvBatch::default();
        for (key, value) in rows {
            batch.put(*key, *value);
        }
        MortalKv::open(&self.index, &Power::default())
            .write(batch)
            .unwrap();
    }

    fn dir() -> PathBuf {
        segments(Path::new(DIR))
    }

    fn path(name: &str) -> PathBuf {
        Self::dir().join(name)
    }

    fn write(&self) {
        self.maker.write(&self.disk, &Self::dir());
    }

    fn try_migrate(&self) -> Result<(Map, Vec<Loss>), MigrateError> {
        let home = MortalHome::new(&Power::default());
        home.put(&self.index);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let migration = Migration {
            disk: &disk,
            dir: Path::new(DIR),
            home: &home,
            now: NOW,
        };
        let losses = migration.run(&mut |_| {})?;
        let format = disk
            .open(&Path::new(DIR).join("FORMAT"))?
            .read_vec_at(17, 0)?;
        assert_eq!(format, b"perennis-store 2\n");
        let new = MortalKv::open(&home.used().unwrap(), &Power::default());
        let mut rows: Map = new.scan(&[], &[u8::MAX], usize::MAX)?.into_iter().collect();
        assert_eq!(rows.remove([keys::STORE].as_slice()).unwrap().len(), 16);
        Ok((rows, losses))
    }

    /// Migrates, and again: the second time comes to the same.
    fn migrate(&self) -> (Map, Vec<Loss>) {
        let first = self.try_migrate().unwrap();
        let second = self.try_migrate().unwrap();
        assert_eq!(first, second);
        first
    }

    fn table(&self, number: u32) -> Option<BlockTable> {
        BlockTable::read(&self.disk, &Self::dir(), FileNumber(number)).unwrap()
    }
}

fn raw(text: &str) -> Block {
    Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap()
}

fn under(block: &Block, codec: u64, is_v0: bool) -> Block {
    let hash = *block.cid().hash();
    let cid = if is_v0 {
        Cid::new_v0(hash).unwrap()
    } else {
        Cid::new_v1(codec, hash)
    };
    Block::verified(cid, block.bytes().clone()).unwrap()
}

fn block_row(block: &Block) -> Vec<u8> {
    keys::block(block.cid().hash())
}

/// The entry of a block in the queue of those that are to be fetched again.
fn entry(block: &Block) -> Vec<u8> {
    block.cid().hash().to_bytes()
}

fn table_entry(location: Location, codecs: &[u64], block: &Block) -> TableEntry {
    TableEntry {
        hash: *block.cid().hash(),
        offset: location.offset,
        length: location.length,
        crcs: chunk_crcs(block.bytes()),
        codecs: codecs.to_vec(),
    }
}

fn place(location: Location, codecs: &[u64], block: &Block) -> Vec<u8> {
    table_entry(location, codecs, block)
        .place(location.file)
        .to_bytes()
}

fn file(is_dropped: bool, live_bytes: u64, used_bytes: u64) -> Vec<u8> {
    let row = FileRow {
        kind: FileKind::Format1,
        is_dropped,
        id: [0; 32],
        live_bytes,
        used_bytes,
        body_bytes: 0,
        first_group: 0,
        last_group: 0,
    };
    row.to_bytes()
}

fn quarantined(at: Millis, location: Option<Location>, codecs: &[u64], reason: &str) -> Vec<u8> {
    let nowhere = Location {
        file: FileNumber(0),
        offset: 0,
        length: 0,
    };
    let row = Quarantined {
        at,
        location: location.unwrap_or(nowhere),
        tag: 0,
        codecs: codecs.to_vec(),
        reason: reason.to_owned(),
    };
    row.to_bytes()
}

fn put(key: &[u8], value: &[u8]) -> Format1Change {
    Format1Change::Put(key.to_vec(), value.to_vec())
}

fn name() -> Name {
    Name::from_public_key(&SigningKey::from_seed(&[1; 32]).public())
}

/// The same bytes in both formats.
fn head(sequence: u8) -> Vec<u8> {
    let mut head = vec![1, sequence];
    head.resize(25, 0);
    head.extend_from_slice(b"\x05\0\0\0valuerecord");
    head
}

fn loss(kind: LossKind, file: u32, offset: u64) -> Loss {
    Loss {
        found: NOW,
        ..Loss::new(kind, FileNumber(file), offset)
    }
}

#[test]
fn what_the_index_had_not_yet_is_applied_over_it() {
    let mut folder = Folder::new();
    let blocks = ["one", "two", "three", "four"].map(raw);
    folder.commit(&blocks[..2], &[put(b"ma", b"1"), put(b"mb", b"1")]);
    let changes = [put(b"ma", b"2"), Format1Change::Delete(b"mb".to_vec())];
    folder.maker.commit(&blocks[2..3], &changes);
    folder.maker.fail(&blocks[3..], &[put(b"mfailed", b"x")]);
    folder.maker.begin(2);
    // Moved by a compaction, and dropped by a collection.
    let forget = Format1Change::Forget(blocks[1].cid().to_bytes());
    let moved = folder.maker.commit(&blocks[..1], &[forget]);
    folder.write();
    let (rows, losses) = folder.migrate();
    assert_eq!(losses, []);
    assert_eq!(rows[[keys::TOTAL].as_slice()], 2_u64.to_le_bytes());
    assert_eq!(rows[b"ma".as_slice()], b"2");
    for gone in [b"mb".as_slice(), b"mfailed"] {
        assert!(!rows.contains_key(gone));
    }
    let row = place(moved.places[0], &[0x55], &blocks[0]);
    assert_eq!(rows[&block_row(&blocks[0])], row);
    assert!(rows.contains_key(&block_row(&blocks[2])));
    assert!(!rows.contains_key(&block_row(&blocks[1])));
    assert!(!rows.contains_key(&block_row(&blocks[3])));
    let applied = Position::from_bytes(&rows[[keys::APPLIED].as_slice()]).unwrap();
    assert_eq!((applied.file, applied.group), (FileNumber(2), 4));
}

#[test]
fn damage_in_the_log_behind_the_index_is_told_and_kept() {
    let mut folder = Folder::new();
    folder.commit(&[raw("one")], &[]);
    let lost = folder.maker.commit(&[raw("two")], &[put(b"ma", b"2")]);
    folder.maker.commit(&[raw("three")], &[put(b"ma", b"3")]);
    folder.maker.begin(2);
    folder.maker.commit(&[raw("four")], &[put(b"mb", b"4")]);
    let last = folder.maker.commit(&[raw("five")], &[put(b"mb", b"5")]);
    let whole = folder.maker.segments.clone();
    folder.maker.segments[0].1[lost.start + 57] ^= 1;
    folder.write();
    let (rows, losses) = folder.migrate();
    assert!(!rows.contains_key(b"ma".as_slice()));
    assert_eq!(rows[b"mb".as_slice()], b"5");
    let bytes = &folder.maker.segments[0].1[lost.start..];
    let gap = Loss {
        group: 3,
        moved_bytes: bytes.len() as u64,
        ..loss(LossKind::MissingGroups, 1, lost.start as u64)
    };
    assert_eq!(losses, std::slice::from_ref(&gap));
    assert_eq!(rows[&keys::loss(1)], gap.to_bytes());
    let path = format!("{DIR}/lost/00000001-{:08x}.bytes", lost.start);
    let kept = folder.disk.open(Path::new(&path)).unwrap();
    assert_eq!(kept.read_vec_at(bytes.len(), 0).unwrap(), bytes);
    // Of the last group nobody knows whether it was acknowledged, unless another follows it.
    for (start, kind) in [(last.start, LossKind::TornGroup), (64, LossKind::Migration)] {
        folder.maker.segments.clone_from(&whole);
        folder.maker.segments[1].1[start + 57] ^= 1;
        folder.write();
        let (rows, losses) = folder.migrate();
        let told: Vec<_> = losses.iter().map(|loss| (loss.kind, loss.offset)).collect();
        assert_eq!(told, [(kind, start as u64)]);
        let is_noted = rows.contains_key(&keys::loss(1));
        assert_eq!(is_noted, kind == LossKind::Migration);
        assert_eq!(rows[b"ma".as_slice()], b"3");
    }
}

#[test]
fn a_store_without_an_index_is_read_from_its_log_and_a_damaged_one_is_refused() {
    let mut folder = Folder::new();
    folder.maker.commit(&[raw("one")], &[put(b"ma", b"1")]);
    folder.maker.commit(&[raw("two")], &[put(b"ma", b"2")]);
    folder.write();
    let (rows, losses) = folder.migrate();
    assert_eq!(losses, []);
    assert_eq!(rows[[keys::TOTAL].as_slice()], 2_u64.to_le_bytes());
    assert_eq!(rows[b"ma".as_slice()], b"2");
    folder.put(&[(b"ma", b"1")]);
    assert!(matches!(folder.try_migrate(), Err(MigrateError::Applied)));
    folder.put(&[(b"a", b"damaged")]);
    assert!(matches!(folder.try_migrate(), Err(MigrateError::Applied)));
}

#[test]
fn a_folder_with_nothing_in_it_and_the_highest_group_are_nothing_special() {
    let mut folder = Folder::new();
    folder.maker.segments.clear();
    folder.write();
    let (rows, losses) = folder.migrate();
    assert_eq!((rows.len(), losses.len()), (2, 0));
    // Somebody made an earlier release believe that this group exists.
    let applied = [
        &1_u32.to_le_bytes()[..],
        &64_u64.to_le_bytes(),
        &[u8::MAX; 8],
    ]
    .concat();
    folder.put(&[(b"a", &applied)]);
    let (rows, _) = folder.migrate();
    let applied = Position::from_bytes(&rows[[keys::APPLIED].as_slice()]).unwrap();
    assert_eq!(applied.group, 1);
}
