//! Stores that are broken off, damaged or odd.

use super::*;

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
