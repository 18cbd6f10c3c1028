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
