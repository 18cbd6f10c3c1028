#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use perennis_shared::cid::{Block, Codec, HashFn};
use perennis_shared::ipns::Name;
use perennis_shared::sign::SigningKey;

use super::*;
use crate::block_table::{BlockTable, chunk_crcs};
use crate::format1::maker::{Maker, Made, apply, block_key};
use crate::format1::{Change, Location};
use crate::kv::{Durable, KvBatch, Memory};
use crate::testing::{LyingDisk, Power};

const NOW: Millis = Millis(0x0102);

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A folder of format 1 on a disk in memory.
struct Folder {
    disk: LyingDisk,
    index: Memory,
    maker: Maker,
}

impl Folder {
    fn new() -> Self {
        Self {
            disk: LyingDisk::new(&Power::default()),
            index: Memory::open(&Durable::default()),
            maker: Maker::new(),
        }
    }

    /// A group in the log and in the index.
    fn commit(&mut self, blocks: &[Block], changes: &[Change]) -> Made {
        let made = self.maker.commit(blocks, changes);
        apply(&self.index, &made, blocks, changes);
        made
    }

    fn dir() -> PathBuf {
        PathBuf::from("/store/segments")
    }

    fn path(name: &str) -> PathBuf {
        Self::dir().join(name)
    }

    fn write(&self) {
        self.maker.write(&self.disk, &Self::dir());
    }

    fn try_migrate(&self) -> Result<(Map, Migrated), MigrateError> {
        let memory = || Memory::open(&Durable::default());
        let (scratch, target) = (memory(), memory());
        let migration = Migration {
            disk: &self.disk,
            dir: &Self::dir(),
            index: &self.index,
            scratch: &scratch,
            target: &target,
            now: NOW,
        };
        let migrated = migration.run(&mut |_| {})?;
        let rows = target.scan(&[], &[u8::MAX], usize::MAX)?;
        Ok((rows.into_iter().collect(), migrated))
    }

    /// Migrates, and again: the second time comes to the same.
    fn migrate(&self) -> (Map, Migrated) {
        let first = self.try_migrate().unwrap();
        let second = self.try_migrate().unwrap();
        assert_eq!(first.0, second.0);
        assert_eq!(first.1, second.1);
        first
    }

    fn table(&self, number: u32) -> BlockTable {
        let table = BlockTable::read(&self.disk, &Self::dir(), number);
        table.unwrap().unwrap()
    }
}

fn raw(text: &str) -> Block {
    Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap()
}

fn under(block: &Block, codec: u64, is_v0: bool) -> Block {
    Block::hashed(codec, HashFn::Sha2_256, is_v0, block.bytes().clone()).unwrap()
}

fn hash(block: &Block) -> Vec<u8> {
    block.cid().hash().to_bytes()
}

fn place(location: Location, codecs: &[u64], block: &Block) -> Vec<u8> {
    target::place(location, codecs, &chunk_crcs(block.bytes()))
}

fn put(key: &[u8], value: &[u8]) -> Change {
    Change::Put(key.to_vec(), value.to_vec())
}

fn name() -> Name {
    Name::from_public_key(&SigningKey::from_seed(&[1; 32]).public())
}

fn head(sequence: u8) -> Vec<u8> {
    let mut head = vec![1, sequence];
    head.resize(25, 0);
    head.extend_from_slice(b"\x05\0\0\0valuerecord");
    head
}

#[test]
fn rows_of_every_table_are_taken_over_as_they_are_now() {
    let mut folder = Folder::new();
    let root = raw("root");
    let (head_key, evidence_key) = (
        target::key(b'h', name().as_bytes()),
        [b"e", name().as_bytes(), &7_u64.to_be_bytes()].concat(),
    );
    let pin_key = b"ppin".to_vec();
    let queue = row::queue_row(3, Millis(9), b"entry");
    let by_key = row::queue_key(3, b"entry");
    folder.commit(
        &[root.clone()],
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
    let (rows, migrated) = folder.migrate();
    let location = Location {
        segment: SegmentNumber(1),
        offset: 64 + 20 + 36,
        length: 4,
    };
    let written = folder.maker.segments[0].1.len() as u64;
    let wanted = [
        (target::key(b'b', &hash(&root)), place(location, &[0x55], &root)),
        (head_key, head(1)),
        (evidence_key, b"\x01record".to_vec()),
        (pin_key, target::pin(&root.cid().to_bytes())),
        (queue, b"\x01payload".to_vec()),
        (by_key, b"\x01\x09\0\0\0\0\0\0\0".to_vec()),
        (b"mfacts".to_vec(), b"\x07bytes of the caller's".to_vec()),
        (b"s\0\0\0\x01".to_vec(), target::file(false, 4, written)),
        (b"t".to_vec(), 1_u64.to_le_bytes().to_vec()),
    ];
    assert_eq!(rows, Map::from(wanted));
    assert_eq!(
        migrated,
        Migrated {
            last_group: 1,
            last_segment: SegmentNumber(1),
            blocks: 1,
            losses: vec![],
        }
    );
    let [entry] = folder.table(1).entries.try_into().unwrap();
    assert_eq!((entry.hash, entry.offset, entry.length), (hash(&root), 120, 4));
    assert_eq!(entry.crcs, chunk_crcs(b"root"));
    assert_eq!(entry.codecs, [0x55]);
}

#[test]
fn what_the_index_had_not_yet_is_applied_over_it() {
    let mut folder = Folder::new();
    let blocks = ["one", "two", "three", "four"].map(raw);
    folder.commit(&blocks[..2], &[put(b"ma", b"1"), put(b"mb", b"1")]);
    folder.maker.commit(&blocks[2..3], &[put(b"ma", b"2"), Change::Delete(b"mb".to_vec())]);
    folder.maker.fail(&blocks[3..], &[put(b"mfailed", b"x")]);
    folder.maker.begin(2);
    // Moved by a compaction, and dropped by a collection.
    let moved = folder.maker.commit(&blocks[..1], &[Change::Forget(blocks[1].cid().to_bytes())]);
    folder.write();
    let (rows, migrated) = folder.migrate();
    assert_eq!(migrated.last_group, 4);
    assert_eq!(migrated.losses, []);
    assert_eq!(migrated.blocks, 2);
    assert_eq!(rows[b"ma".as_slice()], b"2");
    for gone in [b"mb".as_slice(), b"mfailed"] {
        assert!(!rows.contains_key(gone));
    }
    let key = |block: &Block| target::key(b'b', &hash(block));
    assert_eq!(rows[&key(&blocks[0])], place(moved.places[0], &[0x55], &blocks[0]));
    assert!(rows.contains_key(&key(&blocks[2])));
    assert!(!rows.contains_key(&key(&blocks[1])) && !rows.contains_key(&key(&blocks[3])));
}

#[test]
fn the_same_bytes_under_several_cids_become_one_block() {
    let mut folder = Folder::new();
    let block = raw("shared bytes");
    let copies = [under(&block, 0x71, false), under(&block, 0x70, true)];
    let first = folder.commit(&copies, &[]);
    folder.maker.begin(2);
    let second = folder.commit(&[under(&block, 0x70, false), block.clone()], &[]);
    folder.write();
    let key = target::key(b'b', &hash(&block));
    let codecs = [0x55, 0x70, 0x71];
    let (rows, migrated) = folder.migrate();
    assert_eq!((migrated.blocks, migrated.losses.len()), (1, 0));
    assert_eq!(rows[&key], place(first.places[0], &codecs, &block));
    assert_eq!(folder.table(1).entries[0].codecs, codecs);
    // Where nothing is alive there is no table, and the file may go.
    let written = folder.maker.segments[1].1.iter().rposition(|byte| *byte != 0);
    let row = target::file(true, 0, written.unwrap() as u64 + 1);
    assert_eq!(rows[b"s\0\0\0\x02".as_slice()], row);
    assert!(BlockTable::read(&folder.disk, &Folder::dir(), 2).unwrap().is_none());
    // Each place that is damaged gives way to the next.
    let places = [first.places, second.places].concat();
    for (at, location) in places.iter().enumerate() {
        let path = Folder::path(&location.segment.to_string());
        assert!(folder.disk.damage(&path, location.offset as usize + 3, 4));
        // The tables of an attempt before this one know the place as whole.
        let _ = folder.disk.remove(&BlockTable::path(&Folder::dir(), location.segment.0));
        let (rows, migrated) = folder.migrate();
        match places.get(at + 1) {
            Some(next) => {
                assert_eq!(rows[&key], place(*next, &codecs, &block));
                assert_eq!(migrated.losses, []);
            }
            None => {
                assert!(!rows.contains_key(&key));
                let lost = MigrationLoss::Damaged {
                    segment: SegmentNumber(2),
                    blocks: 1,
                };
                assert_eq!(migrated.losses, [lost]);
                let row = &rows[&target::key(b'x', &hash(&block))];
                let reason = "the content does not match its CID";
                assert_eq!(*row, target::quarantined(NOW, &codecs, reason));
                let entry = block.cid().to_bytes();
                assert_eq!(rows[&row::queue_row(0, NOW, &entry)], [1]);
                assert_eq!(rows[&row::queue_key(0, &entry)], b"\x01\x02\x01\0\0\0\0\0\0");
            }
        }
    }
}

#[test]
fn a_block_in_quarantine_stays_there_unless_it_is_there_under_another_cid() {
    let mut folder = Folder::new();
    let (lost, healed) = (raw("lost"), raw("healed"));
    let row = |block: &Block| [b"x".as_slice(), &block.cid().to_bytes()].concat();
    let value = b"\x07\0\0\0\0\0\0\0why";
    folder.commit(
        &[under(&healed, 0x71, false)],
        &[
            put(&row(&under(&lost, 0x70, true)), value),
            put(&row(&lost), value),
            put(&row(&healed), value),
        ],
    );
    folder.write();
    let (rows, migrated) = folder.migrate();
    assert_eq!((migrated.blocks, migrated.losses.len()), (1, 0));
    let wanted = target::quarantined(Millis(7), &[0x55, 0x70], "why");
    assert_eq!(rows[&target::key(b'x', &hash(&lost))], wanted);
    assert!(!rows.contains_key(&target::key(b'x', &hash(&healed))));
    assert!(rows.contains_key(&target::key(b'b', &hash(&healed))));
}

#[test]
fn rows_that_cannot_be_read_are_set_aside_and_the_rest_goes_on() {
    let mut folder = Folder::new();
    let block = raw("block");
    let cid = block.cid().to_bytes();
    let bad: [(Vec<u8>, &[u8]); 12] = [
        (b"".to_vec(), b"v"),
        (b"?key".to_vec(), b"v"),
        (b"bno cid".to_vec(), &[0; 12]),
        (block_key(&under(&block, 0x71, false).cid().to_bytes()), &[0; 11]),
        (b"xno cid".to_vec(), &[0; 8]),
        ([b"x", cid.as_slice()].concat(), &[0; 7]),
        (b"hno name".to_vec(), b""),
        (target::key(b'h', name().as_bytes()), b"\x02"),
        (b"eno name and sequence".to_vec(), b""),
        (b"ppin".to_vec(), b"no cid"),
        (b"q".to_vec(), b""),
        (b"k\x03entry".to_vec(), b"no time"),
    ];
    let changes: Vec<_> = bad.iter().map(|(key, value)| put(key, value)).collect();
    folder.commit(&[block.clone()], &changes);
    folder.write();
    let (rows, migrated) = folder.migrate();
    assert_eq!(migrated.blocks, 1);
    assert_eq!(migrated.losses, [MigrationLoss::Rows { rows: 12 }]);
    for (key, value) in &bad {
        let row = &rows[&target::key(b'z', key)];
        assert!(row.ends_with(value), "{key:?}");
        let length = usize::from(row[9]);
        assert!(std::str::from_utf8(&row[11..11 + length]).unwrap().len() > 8);
        assert!(!rows.contains_key(key));
    }
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
    let (rows, migrated) = folder.migrate();
    assert_eq!(migrated.losses, [MigrationLoss::QueueEntries { entries: 4 }]);
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
        wanted.push((by_key(entry), target::plain(&time(due))));
        wanted.push((queue(due, entry), target::plain(payload)));
    }
    wanted.sort();
    assert_eq!(shown, wanted);
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
        folder.disk.remove(&BlockTable::path(&Folder::dir(), 1)).unwrap();
        assert!(folder.disk.damage(&path, at, 1 << (at % 8)));
        let (rows, migrated) = folder.migrate();
        match migrated.losses.as_slice() {
            // Heads of records, ends of groups: nobody reads them again.
            [] => assert_eq!(rows, whole, "{at}"),
            [MigrationLoss::Damaged { blocks: 1, .. }] => {
                assert_eq!(migrated.blocks, 2);
                assert_eq!(rows.keys().filter(|key| key[0] == b'x').count(), 1);
                assert_eq!(rows.keys().filter(|key| key[0] == b'q').count(), 1);
            }
            other => panic!("{at}: {other:?}"),
        }
        assert!(folder.disk.damage(&path, at, 1 << (at % 8)));
    }
}

#[test]
fn files_that_are_gone_cut_off_or_strangers_are_told() {
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
    let copy = folder.disk.create(&Folder::path("ffffffff.seg"), 0).unwrap();
    copy.write_at(&folder.maker.segments[0].1, 0).unwrap();
    folder.disk.create(&Folder::path("0000000A.seg"), 10).unwrap();
    folder.disk.create(&Folder::path("notes"), 10).unwrap();
    // One that was begun and not written to.
    folder.disk.create(&Folder::path("00000004.seg"), 100).unwrap();
    let (rows, migrated) = folder.migrate();
    assert_eq!(migrated.blocks, 2);
    assert_eq!(migrated.last_segment, SegmentNumber(4));
    let mut losses = migrated.losses;
    losses.sort_by_key(ToString::to_string);
    let wanted = [
        MigrationLoss::Cut(end),
        MigrationLoss::Damaged {
            segment: SegmentNumber(3),
            blocks: 1,
        },
        MigrationLoss::MissingFile {
            segment: SegmentNumber(2),
            blocks: 2,
        },
        MigrationLoss::Stray("0000000A.seg".into()),
        MigrationLoss::Stray("ffffffff.seg".into()),
    ];
    for loss in &wanted {
        assert!(losses.contains(loss), "{loss:?} of {losses:?}");
    }
    assert_eq!(losses.len(), wanted.len());
    let files: Vec<_> = rows.keys().filter(|key| key[0] == b's').collect();
    assert_eq!(files, [b"s\0\0\0\x01", b"s\0\0\0\x03", b"s\0\0\0\x04"]);
}

#[test]
fn damage_in_the_log_behind_the_index_is_told() {
    let mut folder = Folder::new();
    folder.commit(&[raw("one")], &[]);
    let lost = folder.maker.commit(&[raw("two")], &[put(b"ma", b"2")]);
    folder.maker.commit(&[raw("three")], &[put(b"ma", b"3")]);
    folder.maker.begin(2);
    folder.maker.commit(&[raw("four")], &[put(b"mb", b"4")]);
    folder.maker.segments[0].1[lost.start + 60] ^= 1;
    folder.write();
    let (rows, migrated) = folder.migrate();
    assert_eq!(migrated.blocks, 2);
    assert!(!rows.contains_key(b"ma".as_slice()));
    assert_eq!(rows[b"mb".as_slice()], b"4");
    let [MigrationLoss::Gap(gap)] = migrated.losses.as_slice() else {
        panic!("{:?}", migrated.losses);
    };
    assert_eq!((gap.after, gap.until), (1, 3));
    assert_eq!(gap.unread[0].offset, lost.start as u64);
    assert!(migrated.losses[0].to_string().starts_with(
        "groups 2 to 3 were acknowledged and cannot be read; see "
    ));
}

#[test]
fn a_store_without_an_index_is_read_from_its_log_and_a_damaged_one_is_refused() {
    let mut folder = Folder::new();
    folder.maker.commit(&[raw("one")], &[put(b"ma", b"1")]);
    folder.maker.commit(&[raw("two")], &[put(b"ma", b"2")]);
    folder.write();
    let (rows, migrated) = folder.migrate();
    assert_eq!((migrated.blocks, migrated.losses.len()), (2, 0));
    assert_eq!(rows[b"ma".as_slice()], b"2");
    let mut batch = KvBatch::default();
    batch.put(b"ma", b"1");
    folder.index.write(batch).unwrap();
    assert!(matches!(folder.try_migrate(), Err(MigrateError::Applied)));
    let mut batch = KvBatch::default();
    batch.put(b"a", b"damaged");
    folder.index.write(batch).unwrap();
    assert!(matches!(folder.try_migrate(), Err(MigrateError::Applied)));
}

#[test]
fn a_fault_of_the_disk_ends_the_migration_and_takes_no_block_with_it() {
    let mut folder = Folder::new();
    folder.commit(&[raw("one")], &[]);
    folder.write();
    folder.disk.set_read_fault(Some(io::ErrorKind::Other));
    assert!(matches!(folder.try_migrate(), Err(MigrateError::Disk(_))));
    folder.disk.set_read_fault(None);
    assert_eq!(folder.migrate().1.blocks, 1);
}

#[test]
fn tables_of_an_attempt_before_are_used_where_they_fit() {
    let mut folder = Folder::new();
    let (one, two) = (raw("one"), raw("two"));
    let made = folder.commit(&[one.clone(), two.clone()], &[]);
    folder.write();
    let (whole, _) = folder.migrate();
    // Nothing is read again: damage that came since is for the scrub to find.
    let path = Folder::path("00000001.seg");
    assert!(folder.disk.damage(&path, made.places[0].offset as usize, 1));
    assert_eq!(folder.migrate().0, whole);
    // A table that says something else counts for nothing.
    let mut table = folder.table(1);
    table.entries[0].hash = hash(&two);
    table.write(&folder.disk, &Folder::dir(), 1).unwrap();
    assert_eq!(folder.migrate().1.blocks, 1);
}

#[test]
fn large_blocks_have_a_checksum_for_each_16_kib() {
    let mut folder = Folder::new();
    let blocks = [0, 1, 16 << 10, (16 << 10) + 1, 1 << 20]
        .map(|length| Block::new(Codec::Raw, vec![7; length]).unwrap());
    let made = folder.commit(&blocks, &[]);
    folder.write();
    let (rows, _) = folder.migrate();
    let table = folder.table(1);
    for ((block, location), entry) in blocks.iter().zip(made.places).zip(table.entries) {
        let key = target::key(b'b', &hash(block));
        assert_eq!(rows[&key], place(location, &[0x55], block));
        assert_eq!(entry.crcs.len(), block.bytes().len().div_ceil(16 << 10).max(1));
    }
}
