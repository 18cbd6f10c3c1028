//! Blocks, and the files they lie in.

use super::*;

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

#[test]
fn a_fault_of_the_disk_ends_the_migration_and_takes_no_block_with_it() {
    let mut folder = Folder::new();
    folder.commit(&[raw("one")], &[]);
    folder.write();
    folder.disk.set_read_fault(Some(io::ErrorKind::Other));
    assert!(matches!(folder.try_migrate(), Err(MigrateError::Disk(_))));
    folder.disk.set_read_fault(None);
    assert_eq!(folder.migrate().1, []);
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
    let mut table = folder.table(1).unwrap();
    table.entries[0].hash = *two.cid().hash();
    table
        .write(&folder.disk, &Folder::dir(), FileNumber(1))
        .unwrap();
    let (rows, losses) = folder.migrate();
    assert_eq!(losses[0].blocks, 1);
    assert!(!rows.contains_key(&block_row(&one)));
}

#[test]
fn large_blocks_have_a_checksum_for_each_16_kib() {
    let mut folder = Folder::new();
    let blocks = [0, 1, 16 << 10, (16 << 10) + 1, 1 << 20]
        .map(|length| Block::new(Codec::Raw, vec![7; length]).unwrap());
    let made = folder.commit(&blocks, &[]);
    folder.write();
    let (rows, _) = folder.migrate();
    let table = folder.table(1).unwrap();
    assert_eq!(table.entries.len(), blocks.len());
    for ((block, location), entry) in blocks.iter().zip(made.places).zip(table.entries) {
        assert_eq!(rows[&block_row(block)], place(location, &[0x55], block));
        assert_eq!(entry, table_entry(location, &[0x55], block));
    }
}

#[test]
fn many_blocks_in_many_files_are_taken_in_the_order_of_the_files() {
    let mut folder = Folder::new();
    let mut all = Vec::new();
    for number in 2..8 {
        let blocks: Vec<_> = (0..300).map(|at| raw(&format!("{number} {at}"))).collect();
        folder.commit(&blocks, &[put(b"m", b"x")]);
        all.extend(blocks);
        folder.maker.begin(number);
    }
    folder.write();
    let (rows, losses) = folder.migrate();
    assert_eq!(losses, []);
    assert!(all.iter().all(|block| rows.contains_key(&block_row(block))));
    for number in 1..7 {
        let entries = folder.table(number).unwrap().entries;
        assert!(entries.is_sorted_by_key(|entry| entry.offset));
        assert_eq!(entries.len(), 300);
    }
}
