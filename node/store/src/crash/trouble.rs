//! What comes while the index has failed or the disk is full, and files that somebody or something left in the log's folder.

use std::io::ErrorKind;
use std::path::Path;

use super::model::blocks;
use super::{DIR, Machine};
use crate::disk::Disk as _;
use crate::segment::{FileNumber, GROUPS_START};
use crate::testing::{Loss, Power};
use crate::{Batch, CommitError, StoreState};

#[test]
fn a_collection_that_begins_beside_a_failed_index_keeps_what_the_index_did_not_take() {
    let mut tried = 0;
    for point in 0..8 {
        let machine = Machine::new(Power::default());
        let store = machine.open().unwrap();
        let [block, ..] = blocks(1);
        let mut batch = Batch::new();
        batch.put_block(block.clone());
        store.commit(batch).unwrap();
        let next = machine.power.points() + point;
        machine.power.fail_at(next, ErrorKind::Other);
        let mut batch = Batch::new();
        batch.require(*block.cid()).pin(b"key", *block.cid());
        let pinned = store.commit(batch);
        if !matches!(pinned, Err(CommitError::Index(_))) {
            continue;
        }
        assert_eq!(store.state(), StoreState::Failed);
        tried += 1;
        // It does not see the pin, which comes into the index with its first commit.
        let _ = store.collect().unwrap().finish();
        store.commit(Batch::new()).unwrap();
        assert_eq!(store.pin(b"key").unwrap(), Some(*block.cid()));
        assert_eq!(store.block(block.cid()).unwrap(), Some(block), "{point}");
    }
    assert!(tried > 0);
}

#[test]
fn letting_go_of_what_is_not_there_takes_no_space() {
    let machine = Machine::new(Power::default());
    let store = machine.open().unwrap();
    let [block, ..] = blocks(1);
    let mut batch = Batch::new();
    batch.put_block(block.clone()).pin(b"key", *block.cid());
    let before = store.commit(batch).unwrap().group;
    for _ in 0..3 {
        let mut batch = Batch::new();
        batch.unpin(b"nobody's").delete_meta(b"nothing");
        batch.delete_head(&super::model::name());
        assert_eq!(store.commit(batch).unwrap().group, before);
    }
    let mut batch = Batch::new();
    batch.pin(b"other", *block.cid()).unpin(b"other");
    batch.unpin(b"key");
    assert_eq!(store.commit(batch).unwrap().group, before + 1);
    assert!(store.pins(None, 9).unwrap().is_empty());
}

#[test]
fn a_segment_that_lost_all_that_it_begins_with_is_told() {
    let machine = Machine::new(Power::default());
    let store = machine.open().unwrap();
    let mut batch = Batch::new();
    batch.put_meta(b"key", vec![7; 6000]);
    store.commit(batch).unwrap();
    machine.power.cut();
    drop(store);
    let machine = machine.restart(Loss::Everything, Power::default());
    let path = FileNumber(1).segment_path(&Path::new(DIR).join("segments"));
    let file = machine.disk.open(&path).unwrap();
    file.write_at(&[0; GROUPS_START as usize + 4096], 0)
        .unwrap();
    let store = machine.open().unwrap();
    assert_eq!(store.meta(b"key").unwrap(), None);
    assert_eq!(store.found_at_start().len(), 1);
}
