//! The conformance suite of stores, on those of this crate.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use perennis_sdk::{
    store::{BlockStore, Changes, Disk, DiskOptions, Memory, StoreError, row},
    testing::block_store::Place,
};
use perennis_shared::{
    cid::{Block, Cid, Codec},
    error::{ErrorKind, Retryable},
};
use redb::{Database, ReadableDatabase, TableDefinition, WriteTransaction};
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

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const TALLY: TableDefinition<&[u8], &[u8]> = TableDefinition::new("tally");

/// Changes the file behind the store's back.
fn tamper(path: &Path, change: impl FnOnce(&WriteTransaction)) {
    let database = Database::create(path).unwrap();
    let writing = database.begin_write().unwrap();
    change(&writing);
    writing.commit().unwrap();
}

fn set_format(writing: &WriteTransaction, format: u64) {
    let mut meta = writing.open_table(META).unwrap();
    meta.insert("format", format).unwrap();
}

/// Format, number of rows, sum.
fn set_tally(writing: &WriteTransaction, numbers: [u64; 3]) {
    let value: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
    let mut tally = writing.open_table(TALLY).unwrap();
    let stored = row::encode("tally", &value);
    tally.insert(&b"tally"[..], stored.as_ref()).unwrap();
}

fn format_in(path: &Path) -> u64 {
    let database = Database::create(path).unwrap();
    let reading = database.begin_read().unwrap();
    let meta = reading.open_table(META).unwrap();
    meta.get("format").unwrap().unwrap().value()
}

/// A closed file with three rows.
async fn three_rows(place: &InFile) -> PathBuf {
    let store = place.open().await;
    let rows = ["a", "b", "c"].into_iter();
    let changes = rows.fold(Changes::new(), |changes, name| changes.set(name, "value"));
    store.commit(changes).await.unwrap();
    store.path().to_owned()
}

#[tokio::test]
async fn file_of_a_newer_format_is_refused_and_left_alone() {
    let place = InFile::new().await;
    let path = three_rows(&place).await;
    tamper(&path, |writing| {
        set_format(writing, 9);
        set_tally(writing, [9, 3, 0]);
    });
    let error = Disk::open(&path, NO_WAIT).await.err().unwrap();
    assert!(matches!(
        error,
        StoreError::NewerFormat {
            found: 9,
            known: 2,
            ..
        }
    ));
    assert_eq!(error.kind(), ErrorKind::Fatal);
    assert_eq!(format_in(&path), 9);
    // As well where a newer format keeps no such tally.
    tamper(&path, |writing| {
        writing.delete_table(TALLY).unwrap();
    });
    let error = Disk::open(&path, NO_WAIT).await.err().unwrap();
    assert!(matches!(error, StoreError::NewerFormat { found: 9, .. }));
}

#[tokio::test]
async fn store_of_the_first_format_is_taken_over_once_and_refused_by_its_release() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.redb");
    let block = Block::new(Codec::Raw, "kept").unwrap();
    let former: TableDefinition<&str, &[u8]> = TableDefinition::new("state");
    tamper(&path, |writing| {
        let blocks = TableDefinition::<&[u8], &[u8]>::new("blocks");
        let mut blocks = writing.open_table(blocks).unwrap();
        let key = block.cid().to_bytes();
        blocks
            .insert(key.as_slice(), block.bytes().as_ref())
            .unwrap();
        let mut rows = writing.open_table(former).unwrap();
        for (name, value) in [("head/x", &b"\x01\x71"[..]), ("me", b"\xa0"), ("odd", b"")] {
            rows.insert(name, value).unwrap();
        }
        set_format(writing, 1);
    });
    for _ in 0..2 {
        let store = Disk::open(&path, NO_WAIT).await.unwrap();
        assert_eq!(store.block(block.cid()).await.unwrap(), Some(block.clone()));
        assert_eq!(store.state_keys("").await.unwrap(), ["head/x", "me", "odd"]);
        let value = store.state("head/x").await.unwrap().unwrap();
        assert_eq!(value, b"\x01\x71"[..]);
        assert_eq!(store.state("odd").await.unwrap().unwrap(), "");
        assert!(store.check_rows().await.unwrap().is_sound());
    }
    // It opens what has its number or a smaller one.
    assert_eq!(format_in(&path), 2);
    tamper(&path, |writing| {
        assert!(!writing.delete_table(former).unwrap(), "it is gone");
    });
}

#[tokio::test]
async fn blocks_of_a_release_that_kept_no_hashes_are_found_under_every_cid() {
    let place = InFile::new().await;
    let store = place.open().await;
    let path = store.path().to_owned();
    let block = Block::new(Codec::DagCbor, vec![0xa0]).unwrap();
    store
        .commit(Changes::new().put([block.clone()]))
        .await
        .unwrap();
    drop(store);
    let hashes = TableDefinition::<&[u8], &[u8]>::new("hashes");
    tamper(&path, |writing| {
        assert!(writing.delete_table(hashes).unwrap(), "it was there");
    });
    let other = Cid::new_v1(Codec::Raw.code(), *block.cid().hash());
    let store = place.open().await;
    let found = store.block(&other).await.unwrap().unwrap();
    assert_eq!((found.cid(), found.bytes()), (&other, block.bytes()));
    assert_eq!(store.block(block.cid()).await.unwrap(), Some(block.clone()));
    assert_eq!(store.cids(None, 9).await.unwrap(), [*block.cid()]);
    store.commit(Changes::new().delete([other])).await.unwrap();
    assert_eq!(store.cids(None, 9).await.unwrap(), []);
}

#[tokio::test]
async fn changed_row_is_told_and_the_others_are_read() {
    let place = InFile::new().await;
    let path = three_rows(&place).await;
    tamper(&path, |writing| {
        let mut rows = writing.open_table(ROWS).unwrap();
        let of_another = row::encode("a", b"value");
        rows.insert(&b"b"[..], of_another.as_ref()).unwrap();
    });
    for _ in 0..2 {
        let store = Disk::open(&path, NO_WAIT).await.unwrap();
        let error = store.state("b").await.unwrap_err();
        assert!(matches!(&error, StoreError::CorruptRow { key, .. } if key == "b"));
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(store.state("a").await.unwrap().unwrap(), "value");
        assert_eq!(store.state("never").await.unwrap(), None);
        let check = store.check_rows().await.unwrap();
        assert_eq!((check.damaged.len(), check.missing), (1, 0));
        assert_eq!(check.damaged[0].name, "b");
    }
    // Written anew it is sound, and nothing is missed.
    let store = Disk::open(&path, NO_WAIT).await.unwrap();
    store.commit(Changes::new().set("b", "new")).await.unwrap();
    drop(store);
    let store = Disk::open(&path, NO_WAIT).await.unwrap();
    assert!(store.check_rows().await.unwrap().is_sound());
}

#[tokio::test]
async fn row_that_is_gone_is_missed_until_that_is_accepted() {
    let place = InFile::new().await;
    let path = three_rows(&place).await;
    tamper(&path, |writing| {
        let mut rows = writing.open_table(ROWS).unwrap();
        rows.remove(&b"c"[..]).unwrap();
    });
    for more in ["d", "e"] {
        let store = Disk::open(&path, NO_WAIT).await.unwrap();
        assert_eq!(store.check_rows().await.unwrap().missing, 1);
        // Nobody can say any more that a row was never there.
        let error = store.state("c").await.unwrap_err();
        assert!(matches!(error, StoreError::LostRows { rows: 1 }));
        assert_eq!(store.state("a").await.unwrap().unwrap(), "value");
        store
            .commit(Changes::new().set(more, "value"))
            .await
            .unwrap();
    }
    let store = Disk::open(&path, NO_WAIT).await.unwrap();
    store.commit(Changes::new().settle()).await.unwrap();
    assert_eq!(store.state("c").await.unwrap(), None);
    drop(store);
    let store = Disk::open(&path, NO_WAIT).await.unwrap();
    assert!(store.check_rows().await.unwrap().is_sound());
}

#[tokio::test]
async fn row_of_an_earlier_time_is_missed() {
    let place = InFile::new().await;
    let path = three_rows(&place).await;
    tamper(&path, |writing| {
        let mut rows = writing.open_table(ROWS).unwrap();
        let former = row::encode("a", b"former");
        rows.insert(&b"a"[..], former.as_ref()).unwrap();
    });
    let store = Disk::open(&path, NO_WAIT).await.unwrap();
    assert_eq!(store.check_rows().await.unwrap().missing, 1);
}

#[tokio::test]
async fn row_whose_name_is_damaged_is_told_under_both_names() {
    let place = InFile::new().await;
    let path = three_rows(&place).await;
    tamper(&path, |writing| {
        let mut rows = writing.open_table(ROWS).unwrap();
        let stored = row::encode("b", b"value");
        rows.remove(&b"b"[..]).unwrap();
        rows.insert(&b"\xe2"[..], stored.as_ref()).unwrap();
    });
    let store = Disk::open(&path, NO_WAIT).await.unwrap();
    assert_eq!(store.state_keys("").await.unwrap(), ["a", "c"]);
    let error = store.state("b").await.unwrap_err();
    assert!(matches!(&error, StoreError::CorruptRow { key, .. } if key == "b"));
    assert_eq!(store.state("never").await.unwrap(), None);
    assert_eq!(store.check_rows().await.unwrap().damaged.len(), 1);
    // No name of text could clear it.
    store.commit(Changes::new().settle()).await.unwrap();
    assert!(store.check_rows().await.unwrap().is_sound());
    drop(store);
    let store = Disk::open(&path, NO_WAIT).await.unwrap();
    assert_eq!(store.state("b").await.unwrap(), None);
}

#[tokio::test]
async fn damaged_tally_and_format_are_mended() {
    let place = InFile::new().await;
    let path = three_rows(&place).await;
    let damages: [fn(&WriteTransaction); 5] = [
        |writing| set_format(writing, 1),
        |writing| set_format(writing, 77),
        |writing| {
            writing.delete_table(META).unwrap();
        },
        |writing| {
            writing.delete_table(TALLY).unwrap();
        },
        |writing| {
            let mut tally = writing.open_table(TALLY).unwrap();
            tally.insert(&b"tally"[..], &b"rotten"[..]).unwrap();
        },
    ];
    for damage in damages {
        tamper(&path, damage);
        let store = Disk::open(&path, NO_WAIT).await.unwrap();
        assert_eq!(store.state("a").await.unwrap().unwrap(), "value");
        assert!(store.check_rows().await.unwrap().is_sound());
        drop(store);
        assert_eq!(format_in(&path), 2);
    }
    // With the tally mended, what goes is missed again.
    tamper(&path, |writing| {
        let mut rows = writing.open_table(ROWS).unwrap();
        rows.remove(&b"c"[..]).unwrap();
    });
    let store = Disk::open(&path, NO_WAIT).await.unwrap();
    assert_eq!(store.check_rows().await.unwrap().missing, 1);
}

#[tokio::test]
async fn file_without_one_of_its_tables_is_damaged_and_no_new_one() {
    let place = InFile::new().await;
    let path = three_rows(&place).await;
    for table in ["rows", "blocks"] {
        let table = TableDefinition::<&[u8], &[u8]>::new(table);
        tamper(&path, |writing| {
            assert!(writing.delete_table(table).unwrap());
        });
        let error = Disk::open(&path, NO_WAIT).await.err().unwrap();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        tamper(&path, |writing| {
            writing.open_table(table).unwrap();
        });
    }
}

#[tokio::test]
async fn file_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = InFile::new().await;
    let path = place.open().await.path().to_owned();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
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
