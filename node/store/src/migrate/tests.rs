#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod odd_stores;

use std::collections::BTreeMap;
use std::path::PathBuf;

use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::ipns::Name;
use perennis_shared::sign::SigningKey;

use super::*;
use crate::block_table::{BlockTable, TableEntry};
use crate::format1::Change;
use crate::format1::maker::{Made, Maker, apply, block_key};
use crate::frame::chunk_crcs;
use crate::kv::{Durable, KvBatch, Memory};
use crate::rows::{FileKind, FileRow, PinRow, Quarantined, SetAside, write_due, write_payload};
use crate::segment::Location;
use crate::testing::{LyingDisk, MortalHome, Power};

const NOW: Millis = Millis(0x0102);
const DIR: &str = "/store";

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
    fn commit(&mut self, blocks: &[Block], changes: &[Change]) -> Made {
        let made = self.maker.commit(blocks, changes);
        apply(&Memory::open(&self.index), &made, blocks, changes);
        made
    }

    fn put(&self, rows: &[(&[u8], &[u8])]) {
        let mut batch = KvBatch::default();
        for (key, value) in rows {
            batch.put(*key, *value);
        }
        Memory::open(&self.index).write(batch).unwrap();
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
        let new = Memory::open(&home.used().unwrap());
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

fn put(key: &[u8], value: &[u8]) -> Change {
    Change::Put(key.to_vec(), value.to_vec())
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
fn rows_of_every_table_are_taken_over_as_they_are_now() {
    let mut folder = Folder::new();
    let root = raw("root");
    let head_key = keys::head(&name());
    let evidence_key = keys::evidence(&name(), 7);
    let pin_key = b"ppin".to_vec();
    let queue = row::queue_row(3, Millis(9), b"entry");
    let by_key = row::queue_key(3, b"entry");
    folder.commit(
        std::slice::from_ref(&root),
        &[
            put(&head_key, &head(1)),
            put(&evidence_key, b"record"),
            put(&pin_key, &root.cid().to_bytes()),
            put(&queue, b"payload"),
            put(&by_key, &9_u64.to_le_bytes()),
            put(b"mfacts", b"\x07bytes of the caller's"),
            put(b"u", b"place of the scrub"),
        ],
    );
    folder.write();
    let (rows, losses) = folder.migrate();
    let location = Location {
        file: FileNumber(1),
        offset: 64 + 20 + 36,
        length: 4,
    };
    let written = folder.maker.segments[0].1.len() as u64;
    let pin = PinRow {
        root: *root.cid(),
        tag: 0,
    };
    let applied = Position {
        file: FileNumber(1),
        offset: 0,
        group: 1,
    };
    let wanted = [
        (block_row(&root), place(location, &[0x55], &root)),
        (head_key, head(1)),
        (evidence_key, b"\x01record".to_vec()),
        (pin_key, pin.to_bytes()),
        (queue, write_payload(b"payload")),
        (by_key, write_due(Millis(9))),
        (b"mfacts".to_vec(), b"\x07bytes of the caller's".to_vec()),
        (keys::file(FileNumber(1)), file(false, 4, written)),
        (vec![keys::TOTAL], 1_u64.to_le_bytes().to_vec()),
        (vec![keys::APPLIED], applied.to_bytes()),
    ];
    assert_eq!(rows, Map::from(wanted));
    assert_eq!(losses, []);
    let entries = folder.table(1).unwrap().entries;
    assert_eq!(entries, [table_entry(location, &[0x55], &root)]);
    // All rows but those of blocks are in a checkpoint.
    let disk: Arc<dyn Disk> = Arc::new(folder.disk.clone());
    let checkpoints = Checkpoints::new(disk, Path::new(DIR), None);
    let checkpoint = checkpoints.open(1).unwrap();
    assert_eq!(checkpoint.header.position(), applied);
    let mut kept = Map::new();
    for chunk in checkpoint.chunks() {
        for (key, value) in chunk.unwrap().rows() {
            kept.insert(key.to_vec(), value.to_vec());
        }
    }
    kept.remove([keys::STORE].as_slice());
    let mut wanted = rows;
    wanted.retain(|key, _| key[0] != keys::BLOCK);
    assert_eq!(kept, wanted);
}

#[test]
fn what_the_index_had_not_yet_is_applied_over_it() {
    let mut folder = Folder::new();
    let blocks = ["one", "two", "three", "four"].map(raw);
    folder.commit(&blocks[..2], &[put(b"ma", b"1"), put(b"mb", b"1")]);
    let changes = [put(b"ma", b"2"), Change::Delete(b"mb".to_vec())];
    folder.maker.commit(&blocks[2..3], &changes);
    folder.maker.fail(&blocks[3..], &[put(b"mfailed", b"x")]);
    folder.maker.begin(2);
    // Moved by a compaction, and dropped by a collection.
    let forget = Change::Forget(blocks[1].cid().to_bytes());
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
fn the_same_bytes_under_several_cids_become_one_block() {
    let mut folder = Folder::new();
    let block = raw("shared bytes");
    let copies = [under(&block, 0x71, false), under(&block, 0x70, true)];
    let first = folder.commit(&copies, &[]);
    folder.maker.begin(2);
    let second = folder.commit(
        &[under(&block, 0x70, false), block.clone()],
        &[put(b"m", b"x")],
    );
    folder.write();
    let codecs = [0x55, 0x70, 0x71];
    let (rows, losses) = folder.migrate();
    assert_eq!(losses, []);
    assert_eq!(rows[[keys::TOTAL].as_slice()], 1_u64.to_le_bytes());
    let key = block_row(&block);
    assert_eq!(rows[&key], place(first.places[0], &codecs, &block));
    assert_eq!(folder.table(1).unwrap().entries[0].codecs, codecs);
    // Where nothing is alive there is no table, and the file may go.
    let used = folder.maker.segments[1].1.len() as u64;
    assert_eq!(rows[&keys::file(FileNumber(2))], file(true, 0, used));
    assert_eq!(folder.table(2), None);
    // Each place that is damaged gives way to the next.
    let places = [first.places.clone(), second.places].concat();
    for (at, location) in places.iter().enumerate() {
        let path = location.file.segment_path(&Folder::dir());
        assert!(folder.disk.damage(&path, location.offset as usize + 3, 4));
        // The tables of an attempt before this one know the place as whole.
        let _ = folder
            .disk
            .remove(&BlockTable::path(&Folder::dir(), location.file));
        let (rows, losses) = folder.migrate();
        if let Some(next) = places.get(at + 1) {
            assert_eq!(rows[&key], place(*next, &codecs, &block));
            assert_eq!(losses, []);
            continue;
        }
        assert!(!rows.contains_key(&key));
        let lost = Loss {
            blocks: 1,
            ..loss(LossKind::DamagedBlocks, 1, 0)
        };
        assert_eq!(losses, std::slice::from_ref(&lost));
        assert_eq!(rows[&keys::loss(1)], lost.to_bytes());
        let row = &rows[&keys::quarantine(block.cid().hash())];
        let reason = "the content does not match its CID";
        assert_eq!(
            *row,
            quarantined(NOW, Some(first.places[0]), &codecs, reason)
        );
        assert_eq!(
            rows[&row::queue_row(0, NOW, &entry(&block))],
            write_payload(&[])
        );
        assert_eq!(rows[&row::queue_key(0, &entry(&block))], write_due(NOW));
    }
}

#[test]
fn a_block_in_quarantine_stays_there_unless_it_is_there_under_another_cid() {
    let mut folder = Folder::new();
    let (lost, healed) = (raw("lost"), raw("healed"));
    let key = |block: &Block| [b"x".as_slice(), &block.cid().to_bytes()].concat();
    let queue = |block: &Block, due| row::queue_row(0, Millis(due), &block.cid().to_bytes());
    let by_key = |block: &Block| row::queue_key(0, &block.cid().to_bytes());
    let value = b"\x07\0\0\0\0\0\0\0why";
    let lost_v0 = under(&lost, 0x70, true);
    folder.commit(
        &[under(&healed, 0x71, false)],
        &[
            put(&key(&lost_v0), value),
            put(&key(&lost), value),
            put(&key(&healed), value),
            // Both of one content wait, each for its time.
            put(&queue(&lost_v0, 9), b""),
            put(&by_key(&lost_v0), &9_u64.to_le_bytes()),
            put(&queue(&lost, 8), b""),
            put(&by_key(&lost), &8_u64.to_le_bytes()),
        ],
    );
    folder.write();
    let (rows, losses) = folder.migrate();
    assert_eq!(losses, []);
    assert_eq!(rows[[keys::TOTAL].as_slice()], 1_u64.to_le_bytes());
    let wanted = quarantined(Millis(7), None, &[0x55, 0x70], "why");
    assert_eq!(rows[&keys::quarantine(lost.cid().hash())], wanted);
    assert!(!rows.contains_key(&keys::quarantine(healed.cid().hash())));
    assert!(rows.contains_key(&block_row(&healed)));
    let queued: Vec<_> = rows
        .keys()
        .filter(|key| matches!(key[0], b'q' | b'k'))
        .collect();
    let wanted = [
        row::queue_key(0, &entry(&lost)),
        row::queue_row(0, Millis(8), &entry(&lost)),
    ];
    assert_eq!(queued, wanted.iter().collect::<Vec<_>>());
    assert_eq!(rows[&wanted[0]], write_due(Millis(8)));
}

#[test]
fn rows_that_cannot_be_read_are_set_aside_and_the_rest_goes_on() {
    let mut folder = Folder::new();
    let block = raw("block");
    let cid = block.cid().to_bytes();
    let bad: [(Vec<u8>, &[u8]); 14] = [
        (b"".to_vec(), b"v"),
        (b"?key".to_vec(), b"v"),
        (b"bno cid".to_vec(), &[0; 12]),
        (
            block_key(&under(&block, 0x71, false).cid().to_bytes()),
            &[0; 11],
        ),
        (b"xno cid".to_vec(), &[0; 8]),
        ([b"x", cid.as_slice()].concat(), &[0; 7]),
        (b"hno name".to_vec(), b""),
        (keys::head(&name()), b"\x02"),
        (b"eno name and sequence".to_vec(), b""),
        (b"ppin".to_vec(), b"no cid"),
        (b"q".to_vec(), b""),
        (row::queue_row(0, Millis(1), b"no cid"), b""),
        (b"k".to_vec(), b""),
        (b"k\x03entry".to_vec(), b"no time"),
    ];
    let changes: Vec<_> = bad.iter().map(|(key, value)| put(key, value)).collect();
    folder.commit(std::slice::from_ref(&block), &changes);
    folder.write();
    let (rows, losses) = folder.migrate();
    assert_eq!(losses, []);
    assert!(rows.contains_key(&block_row(&block)));
    for (key, value) in &bad {
        let row = SetAside::from_row(&keys::set_aside(key), &rows[&keys::set_aside(key)]);
        assert_eq!(
            (row.key.as_slice(), row.value.as_slice()),
            (key.as_slice(), *value)
        );
        assert_eq!(row.at, NOW);
        assert!(row.reason.len() > 8);
        assert!(!rows.contains_key(key));
    }
    assert_eq!(
        rows.keys().filter(|key| key[0] == keys::SET_ASIDE).count(),
        bad.len()
    );
}

#[test]
fn entries_of_queues_with_one_row_of_two_are_mended() {
    let mut folder = Folder::new();
    let queue = |due: u64, entry: &[u8]| row::queue_row(3, Millis(due), entry);
    let by_key = |entry: &[u8]| row::queue_key(3, entry);
    let time = |due: u64| due.to_le_bytes();
    folder.commit(
        &[],
        &[
            // Whole; put in again with the old row left; without the one or the other; with one that names nothing.
            put(&queue(1, b"whole"), b"a"),
            put(&by_key(b"whole"), &time(1)),
            put(&queue(2, b"again"), b"old"),
            put(&queue(3, b"again"), b"new"),
            put(&by_key(b"again"), &time(3)),
            put(&queue(4, b"nameless"), b"first"),
            put(&queue(5, b"nameless"), b"second"),
            put(&by_key(b"empty"), &time(6)),
            put(&queue(7, b"elsewhere"), b"b"),
            put(&by_key(b"elsewhere"), &time(8)),
        ],
    );
    folder.write();
    let (rows, _) = folder.migrate();
    let shown: Vec<_> = rows
        .iter()
        .filter(|(key, _)| matches!(key[0], b'q' | b'k'))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let mut wanted = Vec::new();
    for (entry, due, payload) in [
        (b"whole".as_slice(), 1, b"a".as_slice()),
        (b"again", 3, b"new"),
        (b"nameless", 4, b"first"),
        (b"elsewhere", 7, b"b"),
    ] {
        wanted.push((by_key(entry), write_due(Millis(due))));
        wanted.push((queue(due, entry), write_payload(payload)));
    }
    wanted.sort();
    assert_eq!(shown, wanted);
    let aside: Vec<_> = rows
        .keys()
        .filter(|key| key[0] == keys::SET_ASIDE)
        .collect();
    let mut wanted = [
        queue(2, b"again"),
        queue(5, b"nameless"),
        by_key(b"empty"),
        by_key(b"elsewhere"),
    ]
    .map(|key| keys::set_aside(&key));
    wanted.sort();
    assert_eq!(aside, wanted.iter().collect::<Vec<_>>());
}

#[test]
fn every_flipped_bit_of_a_segment_takes_one_block_at_most_and_is_told() {
    let mut folder = Folder::new();
    let blocks = ["one", "two", ""].map(raw);
    folder.commit(&blocks, &[put(b"ma", b"1")]);
    folder.write();
    let (whole, _) = folder.migrate();
    let path = Folder::path("00000001.seg");
    for at in 0..folder.maker.segments[0].1.len() {
        folder
            .disk
            .remove(&BlockTable::path(&Folder::dir(), FileNumber(1)))
            .unwrap();
        assert!(folder.disk.damage(&path, at, 1 << (at % 8)));
        let (rows, losses) = folder.migrate();
        match losses.as_slice() {
            // Heads of records, ends of groups: nobody reads them again.
            [] => assert_eq!(rows, whole, "{at}"),
            [loss] => {
                assert_eq!((loss.kind, loss.blocks), (LossKind::DamagedBlocks, 1));
                let count = |table| rows.keys().filter(|key| key[0] == table).count();
                assert_eq!([b'b', b'x', b'q', b'k'].map(count), [2, 1, 1, 1]);
            }
            other => panic!("{at}: {other:?}"),
        }
        assert!(folder.disk.damage(&path, at, 1 << (at % 8)));
    }
}

#[test]
fn files_that_are_gone_cut_off_or_strangers_take_only_their_own_blocks() {
    let mut folder = Folder::new();
    folder.commit(&[raw("one")], &[]);
    folder.maker.begin(2);
    folder.commit(&[raw("two"), raw("three")], &[]);
    folder.maker.begin(3);
    folder.commit(&[raw("four")], &[]);
    let end = folder.commit(&[raw("five")], &[]).end;
    folder.maker.segments.remove(1);
    folder.write();
    let file = folder.disk.open(&Folder::path("00000003.seg")).unwrap();
    file.truncate(end.offset - 100).unwrap();
    // A segment of another store, of which the name is not what its header says, and things that are nothing.
    let copy = folder
        .disk
        .create(&Folder::path("ffffffff.seg"), 0)
        .unwrap();
    copy.write_at(&folder.maker.segments[0].1, 0).unwrap();
    folder
        .disk
        .create(&Folder::path("0000000A.seg"), 10)
        .unwrap();
    folder.disk.create(&Folder::path("notes"), 10).unwrap();
    // One that was begun and not written to.
    folder
        .disk
        .create(&Folder::path("00000004.seg"), 100)
        .unwrap();
    let (rows, losses) = folder.migrate();
    let wanted = [
        Loss {
            group: end.group,
            ..loss(LossKind::LogBehindIndex, 3, end.offset)
        },
        Loss {
            blocks: 2,
            ..loss(LossKind::MissingFile, 2, 0)
        },
        Loss {
            blocks: 1,
            ..loss(LossKind::DamagedBlocks, 3, 0)
        },
    ];
    assert_eq!(losses, wanted);
    let files: Vec<_> = rows.keys().filter(|key| key[0] == keys::FILE).collect();
    let wanted = [1, 3, 4].map(|number| keys::file(FileNumber(number)));
    assert_eq!(files, wanted.iter().collect::<Vec<_>>());
    let applied = Position::from_bytes(&rows[[keys::APPLIED].as_slice()]).unwrap();
    assert_eq!(applied.file, FileNumber(4));
}
