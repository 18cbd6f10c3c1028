//! A store whose index is held in memory: each start makes it anew from what is on the disk, shows all of it, and tells nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use perennis_shared::cid::{Block, Codec};
use perennis_store::{
    Batch, IndexEngine, IndexOptions, OpenError, SnapshotError, Store, StoreOptions,
};

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 16 << 10,
        reserve_bytes: 4 << 10,
        checkpoint_bytes: 16 << 10,
        index: IndexOptions::on(IndexEngine::Memory),
        ..StoreOptions::default()
    }
}

/// Opens the store in a folder, and sees that nothing is told of that.
fn open(dir: &Path) -> Store {
    let store = Store::open(dir, &options()).unwrap();
    assert_eq!(store.found_at_start(), []);
    assert_eq!(store.rebuilt(), None);
    assert_eq!(store.losses().unwrap(), []);
    store
}

fn block(number: u8) -> Block {
    Block::new(Codec::Raw, vec![number; 700]).unwrap()
}

fn commit(store: &Store, number: u8) {
    let mut batch = Batch::new();
    batch.put_block(block(number));
    batch.pin(&[number], *block(number).cid());
    batch.put_meta(&[number], vec![number; 9]);
    store.commit(batch).unwrap();
}

fn keep_up(store: &Store) {
    store.collect().unwrap().finish().unwrap();
    while !store.compact(100).unwrap().done {}
    store.checkpoint().unwrap();
}

#[test]
fn a_store_that_was_begun_and_has_nothing_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        assert_eq!(open(dir.path()).stats().blocks, 0);
    }
    commit(&open(dir.path()), 1);
    assert_eq!(open(dir.path()).stats().blocks, 1);
}

#[test]
fn all_that_was_acknowledged_is_there_after_each_start() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..6 {
        let store = open(dir.path());
        for number in 0..round * 20 {
            let is_kept = number % 5 != 0;
            let stored = store.block(block(number).cid()).unwrap();
            assert_eq!(stored.is_some(), is_kept, "{round}: {number}");
            let meta = store.meta(&[number]).unwrap();
            assert_eq!(meta.unwrap(), [number; 9], "{round}: {number}");
        }
        assert_eq!(store.stats().blocks, u64::from(round) * 16);
        for number in round * 20..(round + 1) * 20 {
            commit(&store, number);
        }
        let mut batch = Batch::new();
        for number in (round * 20..(round + 1) * 20).step_by(5) {
            batch.unpin(&[number]);
        }
        store.commit(batch).unwrap();
        if round % 2 == 0 {
            keep_up(&store);
            keep_up(&store);
        } else {
            store.collect().unwrap().finish().unwrap();
        }
    }
}

#[test]
fn an_index_that_is_asked_for_is_made_and_nothing_is_told_either() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit(&store, 1);
    keep_up(&store);
    drop(store);
    let store = Store::rebuild(dir.path(), &options(), &mut |_| {}).unwrap();
    assert_eq!((store.found_at_start(), store.rebuilt()), (&[][..], None));
    assert!(store.block(block(1).cid()).unwrap().is_some());
}

#[test]
fn what_takes_an_index_on_the_disk_is_refused_with_the_reason() {
    let [dir, old] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let store = open(dir.path());
    commit(&store, 1);
    let refused = store.snapshot(&dir.path().join("copy")).unwrap_err();
    let SnapshotError::Index(error) = refused else {
        panic!("{refused}");
    };
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("in memory"), "{reason}");
    // A folder of format 1, the rows of which are in its index.
    copy(Path::new("tests/golden/v1"), old.path());
    let refused = Store::open(old.path(), &options()).unwrap_err();
    assert!(matches!(refused, OpenError::Migration { .. }), "{refused}");
    assert!(told(&refused).contains("in memory only"), "{refused:?}");
    let format = std::fs::read_to_string(old.path().join("FORMAT")).unwrap();
    assert_eq!(format, "perennis-store 1\n");
}

/// Without an engine for it, what an index on the disk says is not looked at, and that is told.
#[cfg(not(feature = "rocksdb"))]
#[test]
fn who_looks_at_a_folder_is_told_what_was_not_looked_at() {
    use perennis_store::{FindingKind, VerifyEvent, inspect, verify};

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit(&store, 1);
    drop(store);
    let refused = inspect(dir.path(), 10).unwrap_err();
    assert!(told(&refused).contains("`rocksdb`"), "{refused:?}");
    let mut found = Vec::new();
    let sum = verify(dir.path(), &mut |event| {
        if let VerifyEvent::Found(finding) = event {
            found.push(finding);
        }
    });
    let sum = sum.unwrap().unwrap();
    assert_eq!((sum.groups, sum.bodies, sum.losses), (1, 1, 0));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, FindingKind::Index);
    assert!(found[0].detail.contains("`rocksdb`"), "{}", found[0]);
}

/// What an error says, with what caused it.
fn told(error: &dyn std::error::Error) -> String {
    let source = error.source().map(told).unwrap_or_default();
    format!("{error}: {source}")
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}
