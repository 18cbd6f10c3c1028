//! Syncs that fail, and rows that are set aside, in what comes after them.

use std::io::ErrorKind;

use super::files::told;
use super::newest::{killed_then_started, metas, newest, path, small};
use super::old_index::raw;
use super::{Machine, model, options};
use crate::disk::Disk as _;
use crate::kv::KvBatch;
use crate::testing::{Loss, Power};
use crate::{Batch, keys};

fn with_block_row_set_aside() -> Machine {
    let machine = Machine::new(Power::default(), options());
    let store = machine.open().unwrap();
    store.commit(raw("a block")).unwrap();
    store.checkpoint().unwrap();
    store.commit(small(1, 10)).unwrap();
    let hash = *raw("a block").blocks[0].cid().hash();
    let mut bad = KvBatch::default();
    bad.put(keys::block(&hash), [99, 1, 2]);
    store.inner().shared.index.kv.write(bad).unwrap();
    assert_eq!(store.cids(None, 9).unwrap(), []);
    store.commit(Batch::new()).unwrap();
    assert_eq!(store.damage().unwrap().rows_set_aside, 1);
    drop(store);
    machine
}

#[test]
fn a_block_whose_row_was_set_aside_and_that_is_put_again_is_counted_once() {
    let machine = with_block_row_set_aside();
    let store = machine.open().unwrap();
    store.commit(raw("a block")).unwrap();
    assert_eq!(store.stats().blocks, 1);
}

#[test]
fn a_block_whose_row_was_set_aside_comes_back_with_another_index() {
    for is_in_checkpoint in [false, true] {
        let machine = with_block_row_set_aside();
        if is_in_checkpoint {
            let store = machine.open().unwrap();
            store.checkpoint().unwrap();
        }
        machine.home.remove();
        let store = machine.open().unwrap();
        let [block] = raw("a block").blocks.try_into().unwrap();
        assert_eq!(store.block(block.cid()).unwrap(), Some(block));
        assert_eq!(store.damage().unwrap().rows_set_aside, 0);
        assert_eq!(store.stats().blocks, 1);
    }
}

/// A kill leaves the last group in memory, and the start cannot make it durable: on the disk that lies, a sync after one that failed
/// does not write what that one gave up.
#[test]
fn what_is_acknowledged_behind_a_group_that_could_not_be_made_durable_stays() {
    let mut lost = Vec::new();
    killed_then_started(4, 25, |machine, points| {
        let store = machine.open().unwrap();
        if !metas(&store, 9).contains(&9) {
            lost.push((points, told(&store.losses().unwrap())));
        }
    });
    assert_eq!(lost, []);
}

/// One error, then a restart, a commit and a power cut.
#[test]
fn what_is_acknowledged_after_a_first_group_whose_sync_failed_stays() {
    let mut lost = Vec::new();
    for point in 0..60 {
        let machine = Machine::new(Power::default(), options());
        machine.power.fail_at(point, ErrorKind::Other);
        if let Ok(store) = machine.open() {
            let _ = store.commit(model::batch(1));
        }
        let Ok(store) = machine.open() else { continue };
        if store.commit(model::batch(2)).is_ok() {
            let before = model::seen(&store);
            machine.power.cut();
            drop(store);
            let machine = machine.restart(Loss::Everything, Power::default());
            let store = machine.open().unwrap();
            if model::seen(&store) != before {
                lost.push((point, told(&store.losses().unwrap())));
            }
        }
    }
    assert_eq!(lost, []);
}

/// As above where it is the sync of `NEWEST` at a start that fails.
#[test]
fn a_segment_that_is_gone_is_told_also_where_a_start_could_not_sync() {
    let mut silent = Vec::new();
    killed_then_started(3, 25, |machine, points| {
        machine.disk.remove(&path(newest(&machine))).unwrap();
        // Refusing to begin anew is no silence.
        if let Ok(store) = machine.open()
            && store.losses().unwrap().is_empty()
        {
            silent.push(points);
        }
    });
    assert_eq!(silent, []);
}
