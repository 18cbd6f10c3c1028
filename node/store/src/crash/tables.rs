//! What a rebuild takes from the files of blocks, which say what is in them, and what it tells where one does not say it any more.

use std::ops::Range;
use std::path::Path;

use super::files::told;
use super::model::batch;
use super::newest::{kinds, path};
use super::old_index::{damage_batch, meta, raw};
use super::put_back::packed;
use super::rebuild::rows;
use super::{DIR, Machine, migrate, options};
use crate::block_table::BlockTable;
use crate::disk::Disk as _;
use crate::layout::segments;
use crate::location::FileNumber;
use crate::rows::{FileKind, FileRow};
use crate::segment::GROUPS_START;
use crate::testing::{Loss, Power};
use crate::{Batch, LossKind, Store};

/// A machine whose store has one group and a checkpoint of it and was closed, and where the group ends.
fn of_one_group(batch: Batch) -> (Machine, u64) {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(batch).unwrap();
    store.checkpoint().unwrap();
    let end = store.inner().shared.index.applied().unwrap().offset;
    (machine, end)
}

/// Fills a part of a file with one byte, loses the index, and opens the store without it.
fn opened_after_filling(machine: &Machine, path: &Path, part: Range<u64>, with: u8) -> Store {
    let file = machine.disk.open(path).unwrap();
    let bytes = vec![with; (part.end - part.start) as usize];
    file.write_at(&bytes, part.start).unwrap();
    machine.home.remove();
    let store = machine.open().unwrap();
    assert!(store.rebuilt().is_some());
    store
}

/// The first file of this kind that has blocks.
fn file_of(store: &Store, kind: FileKind) -> (FileNumber, FileRow) {
    let mut files = store.inner().file_rows().into_iter();
    let file = files.find(|(_, row)| row.kind == kind && row.live_bytes > 0);
    file.unwrap()
}

#[test]
fn a_segment_without_anything_that_can_be_read_is_told() {
    let rebuilt = (0, LossKind::IndexRebuilt, 0);
    // Random bytes are seen where they are. Zeros are what nobody wrote, and the blocks are missed.
    for (with, offset) in [(0xa5, GROUPS_START), (0, 0)] {
        let (machine, end) = of_one_group(batch(1));
        let store = opened_after_filling(&machine, &path(1), GROUPS_START..end, with);
        let unreadable = (1, LossKind::UnreadableTable, offset);
        // Nothing is written any more where the last group was.
        let behind = (1, LossKind::LogBehindIndex, end);
        let behind = (with == 0).then_some(behind).into_iter();
        let found: Vec<_> = behind.chain([unreadable, rebuilt]).collect();
        assert_eq!(told(store.found_at_start()), found);
        assert!(told(&store.losses().unwrap()).contains(&unreadable));
        assert_eq!(store.stats().blocks, 0);
    }
    // The rows are in the checkpoint.
    let (machine, end) = of_one_group(meta(1));
    let store = opened_after_filling(&machine, &path(1), GROUPS_START..end, 0xa5);
    let damaged = (1, LossKind::DamagedFrames, GROUPS_START);
    assert_eq!(told(store.found_at_start()), [damaged, rebuilt]);
    assert!(store.meta(&[1]).unwrap().is_some());
}

#[test]
fn a_pack_whose_footer_cannot_be_read_is_told() {
    let machine = packed();
    let store = machine.open().unwrap();
    let (number, row) = file_of(&store, FileKind::Pack);
    drop(store);
    let pack = row.path(number, Path::new(DIR));
    let end = machine.disk.bytes(&pack).unwrap().len() as u64;
    let store = opened_after_filling(&machine, &pack, end - 60..end, 0xa5);
    let unreadable = (number.0, LossKind::UnreadableTable, 0);
    assert_eq!(told(&store.losses().unwrap()), [unreadable]);
}

#[test]
fn a_segment_of_format_1_whose_table_cannot_be_read_is_told() {
    let machine = migrate::folder().machine();
    let store = migrate::open(&machine).unwrap();
    let (number, _) = file_of(&store, FileKind::Format1);
    store.dismiss_losses().unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let table = BlockTable::path(&segments(Path::new(DIR)), number);
    let store = opened_after_filling(&machine, &table, 0..8, 0xa5);
    let unreadable = (number.0, LossKind::UnreadableTable, 0);
    assert_eq!(told(&store.losses().unwrap()), [unreadable]);
}

/// As a disk leaves it that did not let it be cut off either.
#[test]
fn what_a_failed_group_left_behind_those_of_a_checkpoint_is_not_taken() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(raw("stays")).unwrap();
    let end = store.inner().shared.index.applied().unwrap().offset;
    // Where it does not fail.
    let other = machine.copy(Loss::Nothing, Power::default());
    let other_store = other.open().unwrap();
    other_store.commit(raw("failed")).unwrap();
    let left = other.disk.bytes(&path(1)).unwrap();

    let next = machine.power.points();
    machine.power.fail_at(next, std::io::ErrorKind::Other);
    store.commit(raw("failed")).unwrap_err();
    let file = machine.disk.open(&path(1)).unwrap();
    file.write_at(&left[end as usize..], end).unwrap();
    store.commit(raw("next")).unwrap();
    store.checkpoint().unwrap();
    let failed = *raw("failed").blocks[0].cid();
    assert!(!store.has(&failed).unwrap());
    drop(store);
    let before = rows(&machine);
    machine.home.remove();
    let store = machine.open().unwrap();
    assert_eq!(kinds(&store), [LossKind::IndexRebuilt]);
    assert!(!store.has(&failed).unwrap());
    drop(store);
    assert_eq!(rows(&machine), before);
}

#[test]
fn a_group_behind_a_checkpoint_that_is_damaged_is_told_once() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(raw("in the checkpoint")).unwrap();
    store.checkpoint().unwrap();
    let end = store.inner().shared.index.applied().unwrap().offset;
    store.commit(raw("behind it")).unwrap();
    drop(store);
    damage_batch(&machine, 1, end);
    machine.home.remove();
    let store = machine.open().unwrap();
    let both = [LossKind::DamagedGroup, LossKind::IndexRebuilt];
    assert_eq!(kinds(&store), both);
}
