//! The conformance suite of stores, on those of this crate.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use perennis_sdk::{
    error::{ErrorKind, Retryable},
    store::{BlockStore, Changes, Disk, DiskOptions, Memory, StoreError},
    testing::block_store::Place,
};
use perennis_shared::cid::{Block, Codec};
use tempfile::TempDir;

/// A store in memory; its contents live as long as the place.
struct InMemory(Memory);

impl Place for InMemory {
    type Store = Memory;

    async fn new() -> Self {
        Self(Memory::new())
    }

    async fn open(&self) -> Memory {
        self.0.clone()
    }
}

/// A store in a file of a folder that goes with the place.
struct InFile(TempDir);

impl Place for InFile {
    type Store = Disk;

    async fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open(&self) -> Disk {
        let path = self.0.path().join("made/on/the/way/client.redb");
        Disk::open(path, DiskOptions::default()).await.unwrap()
    }
}

mod memory {
    use super::InMemory;

    perennis_sdk::block_store_suite!(
        #[tokio::test]
        InMemory
    );
}

mod disk {
    use super::InFile;

    perennis_sdk::block_store_suite!(
        #[tokio::test]
        InFile
    );
}

const NO_WAIT: DiskOptions = DiskOptions {
    lock_wait: Duration::ZERO,
    cache_bytes: 1 << 20,
};

#[tokio::test]
async fn second_opener_of_a_file_is_told_that_it_is_in_use() {
    let place = InFile::new().await;
    let first = place.open().await;
    let error = Disk::open(first.path(), NO_WAIT).await.err().unwrap();
    assert!(matches!(&error, StoreError::Locked { place } if place.contains("client.redb")));
    assert_eq!(error.kind(), ErrorKind::Retry);
}

#[tokio::test]
async fn second_opener_waits_for_the_first_to_finish() {
    let place = InFile::new().await;
    let first = place.open().await;
    let path = first.path().to_owned();
    let second = tokio::spawn(Disk::open(path, DiskOptions::default()));
    tokio::task::yield_now().await;
    drop(first);
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn file_of_a_newer_format_is_refused_and_left_alone() {
    let place = InFile::new().await;
    let path = place.open().await.path().to_owned();
    {
        let database = redb::Database::create(&path).unwrap();
        let writing = database.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        writing
            .open_table(meta)
            .unwrap()
            .insert("format", 9)
            .unwrap();
        writing.commit().unwrap();
    }
    let error = Disk::open(&path, NO_WAIT).await.err().unwrap();
    assert!(matches!(
        error,
        StoreError::NewerFormat {
            found: 9,
            known: 1,
            ..
        }
    ));
    assert_eq!(error.kind(), ErrorKind::Fatal);
}

#[tokio::test]
async fn damaged_block_never_reaches_the_caller() {
    let place = InFile::new().await;
    let block = Block::new(Codec::Raw, "sound").unwrap();
    let store = place.open().await;
    store
        .commit(Changes::new().put([block.clone()]))
        .await
        .unwrap();
    let path = store.path().to_owned();
    drop(store);
    {
        let database = redb::Database::create(&path).unwrap();
        let writing = database.begin_write().unwrap();
        let blocks = redb::TableDefinition::<&[u8], &[u8]>::new("blocks");
        let key = block.cid().to_bytes();
        writing
            .open_table(blocks)
            .unwrap()
            .insert(key.as_slice(), b"rotten".as_slice())
            .unwrap();
        writing.commit().unwrap();
    }
    let error = place.open().await.block(block.cid()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { cid, .. } if **cid == *block.cid()));
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn sound_copy_replaces_a_damaged_one() {
    let place = InFile::new().await;
    let store = place.open().await;
    let block = Block::new(Codec::Raw, "sound").unwrap();
    let changes = || Changes::new().put([block.clone()]).delete([*block.cid()]);
    store.commit(changes()).await.unwrap();
    store.commit(changes()).await.unwrap();
    assert_eq!(store.block(block.cid()).await.unwrap(), Some(block.clone()));
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.redb");
    std::fs::write(
        &path,
        "somebody's notes, longer than any header would have to be",
    )
    .unwrap();
    let error = Disk::open(&path, NO_WAIT).await.err().unwrap();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .starts_with("somebody's notes")
    );
}

#[tokio::test]
async fn folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let path = folder.path().join("file/client.redb");
    let error = Disk::open(&path, NO_WAIT).await.err().unwrap();
    assert!(matches!(&error, StoreError::Open { place, .. } if place.contains("file/client")));
}
