#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use perennis_shared::cid::{Block, Codec};

use super::*;
use crate::{Batch, StoreOptions};

fn open(dir: &Path) -> Store {
    let options = StoreOptions {
        segment_bytes: 64 << 10,
        reserve_bytes: 64 << 10,
        ..StoreOptions::default()
    };
    Store::open(dir, &options).unwrap()
}

fn put(store: &Store, text: &str) -> Block {
    let block = Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap();
    let mut batch = Batch::new();
    batch
        .put_block(block.clone())
        .pin(text.as_bytes(), *block.cid());
    store.commit(batch).unwrap();
    block
}

#[test]
fn a_segment_that_is_written_to_again_is_not_shared_whatever_lies_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (home, copy) = (dir.path().join("store"), dir.path().join("copy"));
    drop(open(&home));
    // What a crash leaves that comes while a segment is made.
    fs::write(segments(&home).join("00000002.seg"), [0; 64]).unwrap();
    let store = open(&home);
    put(&store, "before");
    // Its number is passed over when the next file gets one.
    assert_eq!(store.inner().ask(Work::Number).unwrap(), FileNumber(3));
    store.snapshot(&copy).unwrap();
    let segment = segments(&copy).join("00000001.seg");
    let bytes = fs::read(&segment).unwrap();
    drop(store);
    let store = open(&home);
    put(&store, "after");
    assert!(
        fs::read(&segment).unwrap() == bytes,
        "the snapshot has changed"
    );
    drop(store);
    let copied = open(&copy);
    assert_eq!(copied.pins(None, 9).unwrap().len(), 1);
}

#[test]
fn packs_that_only_wait_to_be_removed_are_in_it_for_an_index_that_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (home, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let store = open(&home);
    let texts: Vec<String> = (0..40).map(|n| format!("block {n} ").repeat(500)).collect();
    let pin = |text: &str| text.as_bytes()[..9].to_vec();
    for text in &texts {
        let block = Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap();
        let mut batch = Batch::new();
        batch.put_block(block.clone()).pin(&pin(text), *block.cid());
        store.commit(batch).unwrap();
    }
    let pack = || {
        store.collect().unwrap().finish().unwrap();
        while !store.compact(70).unwrap().done {}
    };
    pack();
    let mut batch = Batch::new();
    for text in texts
        .iter()
        .step_by(2)
        .chain(texts.iter().skip(1).step_by(4))
    {
        batch.unpin(&pin(text));
    }
    store.commit(batch).unwrap();
    pack();
    let rows = store.inner().file_rows();
    let waits = |row: &&crate::rows::FileRow| row.is_dropped && row.pack_name().is_some();
    assert!(rows.values().any(|row| waits(&row)));
    store.snapshot(&copy).unwrap();
    fs::remove_dir_all(copy.join("index")).unwrap();
    let copied = open(&copy);
    assert!(copied.rebuilt().is_some());
    assert_eq!(copied.losses().unwrap(), []);
    assert_eq!(
        copied.pins(None, 99).unwrap(),
        store.pins(None, 99).unwrap()
    );
}
