//! What a rebuild takes from the index that it replaces.

use std::path::Path;

use perennis_shared::cid::{Block, Codec};

use super::rebuild::{assert_same, rows};
use super::{DIR, Machine, options};
use crate::keys;
use crate::kv::{KvBatch, KvHome as _};
use crate::location::FileNumber;
use crate::testing::Power;
use crate::{Batch, LossKind};

#[test]
fn a_block_that_was_dropped_does_not_come_back_from_an_older_index() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    let blocks = ["dropped", "stays"].map(|text| {
        let block = Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap();
        let mut batch = Batch::new();
        batch.put_block(block.clone());
        if text == "stays" {
            batch.pin(b"pin", *block.cid());
        }
        store.commit(batch).unwrap();
        block
    });
    let mut last = Batch::new();
    last.put_meta(b"last", vec![1; 40]);
    let rows = store.inner().shared.index.applied().unwrap();
    store.commit(last).unwrap();
    drop(store);
    let old = machine.home.used().unwrap().fork();
    let store = machine.open().unwrap();
    store.collect().unwrap().finish().unwrap();
    store.checkpoint().unwrap();
    assert!(!store.has(blocks[0].cid()).unwrap());
    drop(store);
    // A bit of the batch that has rows only: the file does not say all that is in it.
    let damaged = rows.offset as usize + 128 + 32 + 2;
    let path = rows.file.segment_path(&Path::new(DIR).join("segments"));
    assert!(machine.disk.damage(&path, damaged, 1));
    machine.home.put(&old);
    let store = machine.open().unwrap();
    assert!(store.rebuilt().unwrap().contains("older"));
    let kinds = store.found_at_start().iter().map(|loss| loss.kind);
    assert!(
        kinds
            .into_iter()
            .any(|kind| kind == LossKind::DamagedFrames)
    );
    let there = blocks.map(|block| store.has(block.cid()).unwrap());
    assert_eq!(there, [false, true]);
}

/// Flips a bit in the payload of the first batch of the group that begins there.
pub(super) fn damage_batch(machine: &Machine, number: u32, group: u64) {
    let path = FileNumber(number).segment_path(&Path::new(DIR).join("segments"));
    assert!(machine.disk.damage(&path, group as usize + 128 + 32 + 2, 1));
}

pub(super) fn meta(key: u8) -> Batch {
    let mut batch = Batch::new();
    batch.put_meta(&[key], vec![key; 40]);
    batch
}

pub(super) fn raw(text: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put_block(Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap());
    batch
}

#[test]
fn what_the_old_index_knows_of_later_groups_is_counted_once() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(meta(1)).unwrap();
    store.commit(raw("before the checkpoint")).unwrap();
    store.checkpoint().unwrap();
    store
        .commit(raw("behind the checkpoint, and longer"))
        .unwrap();
    let stats = store.stats();
    drop(store);
    let before = rows(&machine);
    damage_batch(&machine, 1, crate::segment::GROUPS_START);
    machine.home.condemn("somebody says so").unwrap();
    let store = machine.open().unwrap();
    assert!(store.rebuilt().is_some());
    assert_eq!(store.stats().blocks, stats.blocks);
    assert_eq!(store.stats().block_bytes, stats.block_bytes);
    drop(store);
    assert_same(&before, &rows(&machine));
}

#[test]
fn blocks_of_later_groups_make_up_for_none_that_are_lost() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(raw("zz lost")).unwrap();
    store.checkpoint().unwrap();
    for number in 0..8 {
        let text = format!("{number}, behind the checkpoint, and longer");
        store.commit(raw(&text)).unwrap();
    }
    drop(store);
    is_told_as_lost(&machine, "zz lost");
}

#[test]
fn blocks_that_a_file_says_by_itself_make_up_for_none_that_are_lost() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(raw("lost")).unwrap();
    store.commit(raw("in a group that is whole")).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    is_told_as_lost(&machine, "lost");
}

/// Damages the first group, whose block the old index does not know either.
fn is_told_as_lost(machine: &Machine, text: &str) {
    damage_batch(machine, 1, crate::segment::GROUPS_START);
    let lost = Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap();
    let kv = machine.home.open().unwrap();
    let mut batch = KvBatch::default();
    batch.delete(keys::block(lost.cid().hash()));
    kv.write(batch).unwrap();
    kv.flush(true).unwrap();
    drop(kv);
    machine.home.condemn("somebody says so").unwrap();
    let store = machine.open().unwrap();
    let kinds: Vec<_> = store
        .found_at_start()
        .iter()
        .map(|loss| loss.kind)
        .collect();
    assert!(!store.has(lost.cid()).unwrap());
    assert_eq!(kinds, [LossKind::DamagedGroup, LossKind::IndexRebuilt]);
}

#[test]
fn an_empty_block_whose_place_is_lost_is_lost() {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(raw("")).unwrap();
    store.commit(raw("another")).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    damage_batch(&machine, 1, crate::segment::GROUPS_START);
    machine.home.remove();
    let store = machine.open().unwrap();
    let lost = Block::new(Codec::Raw, Vec::new()).unwrap();
    assert!(!store.has(lost.cid()).unwrap());
    let kinds: Vec<_> = store
        .found_at_start()
        .iter()
        .map(|loss| loss.kind)
        .collect();
    assert_eq!(kinds, [LossKind::DamagedGroup, LossKind::IndexRebuilt]);
}
