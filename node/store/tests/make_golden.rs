//! Writes the golden folders of format 1 that `golden/README.md` lists.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "golden/batches.rs"]
mod batches;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use batches::{QUEUE, Shown, batch, blocks, name};
use bytes::Bytes;
use perennis_shared::cid::{Block, Codec, HashFn};
use perennis_shared::time::Millis;
use perennis_store::disk::{Disk, DiskFile, Real};
use perennis_store::kv::Rocks;
use perennis_store::{Batch, CommitError, HeadRow, REFETCH, RocksOptions, Store, StoreOptions};

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 8 << 10,
        reserve_bytes: 4 << 10,
        ..StoreOptions::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &options()).unwrap()
}

fn commit(store: &Store, numbers: impl IntoIterator<Item = u8>) {
    for number in numbers {
        store.commit(batch(number)).unwrap();
    }
}

/// Copies what a store needs; of an open one that is what a kill would leave.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let file = entry.file_name().into_string().unwrap();
        let skipped = ["LOCK", "reserve", "LOG", "IDENTITY"].contains(&file.as_str())
            || file.starts_with("LOG.old")
            || file.starts_with("OPTIONS");
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(file));
        } else if !skipped {
            fs::copy(entry.path(), to.join(file)).unwrap();
        }
    }
}

/// Puts a folder in its place and shows what the release of that time makes of it.
fn keep(folder: &str, from: &Path, told: impl FnOnce(Option<&Store>)) {
    let golden = PathBuf::from("tests/golden").join(folder);
    if golden.exists() {
        fs::remove_dir_all(&golden).unwrap();
    }
    copy(from, &golden);
    let again = tempfile::tempdir().unwrap();
    copy(&golden, &again.path().join("store"));
    let dir = again.path().join("store");
    let opened = std::panic::catch_unwind(|| Store::open(&dir, &options()).unwrap());
    if let Ok(store) = &opened {
        eprintln!("{folder}: {:?}", store.stats());
    } else {
        eprintln!("{folder}: panics");
    }
    told(opened.ok().as_ref());
}

/// Segments by name, with their bytes.
fn segments(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(dir.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    found.sort();
    found
}

fn find(dir: &Path, needle: &[u8]) -> (PathBuf, usize) {
    let found = segments(dir).into_iter().find_map(|(path, bytes)| {
        let at = bytes.windows(needle.len()).position(|part| part == needle)?;
        Some((path, at))
    });
    found.unwrap()
}

fn flip(dir: &Path, needle: &[u8]) {
    let (path, at) = find(dir, needle);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Zeroes all from a place on.
fn cut(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at..].fill(0);
    fs::write(path, bytes).unwrap();
}

/// A store with three batches in the index and what `more` does in the log only, as a kill leaves it.
fn killed(more: impl FnOnce(&Store)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    commit(&open(&live), 1..=3);
    let store = open(&live);
    more(&store);
    copy(&live, &dir.path().join("store"));
    dir
}

#[test]
fn tail() {
    let dir = killed(|store| commit(store, 4..=18));
    let dir = dir.path().join("store");
    assert!(segments(&dir).len() > 2);
    keep("v1-tail", &dir, |store| {
        assert_eq!(Shown::by(store.unwrap()), Shown::of(1..=18));
    });
}

#[test]
fn torn() {
    let dir = killed(|store| commit(store, 4..=18));
    let dir = dir.path().join("store");
    let (path, bytes) = segments(&dir).pop().unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    cut(&path, end - 100);
    keep("v1-torn", &dir, |store| {
        assert_eq!(Shown::by(store.unwrap()), Shown::of(1..=17));
    });
}

#[test]
fn damaged() {
    let dir = killed(|store| commit(store, 4..=18));
    let dir = dir.path().join("store");
    flip(&dir, b"leaf 5, ");
    keep("v1-damaged", &dir, |store| {
        assert_eq!(store.unwrap().stats().lost_groups, 1);
    });
}

/// A disk that, once, does not sync and does not truncate.
#[derive(Clone, Debug, Default)]
struct Faulty(Arc<AtomicBool>);

#[derive(Debug)]
struct FaultyFile(Arc<dyn DiskFile>, Faulty);

impl Disk for Faulty {
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FaultyFile(Real.create(path, bytes)?, self.clone())))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FaultyFile(Real.open(path)?, self.clone())))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        Real.list(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Real.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.link(from, to)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        Real.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Real.sync_dir(dir)
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        if self.1.0.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk does not answer"));
        }
        self.0.sync()
    }
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn truncate(&self, bytes: u64) -> io::Result<()> {
        if self.1.0.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk does not answer"));
        }
        self.0.truncate(bytes)
    }
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.0.reserve(bytes)
    }
}

#[test]
fn failed() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    commit(&open(&live), 1..=3);
    let disk = Faulty::default();
    let index = Rocks::open(&live.join("index"), &RocksOptions::default()).unwrap();
    let store = Store::open_on(&live, &options(), Arc::new(disk.clone()), Arc::new(index), None);
    let store = store.unwrap();
    commit(&store, 4..=4);
    disk.0.store(true, Ordering::SeqCst);
    assert!(matches!(
        store.commit(batch(5)),
        Err(CommitError::Disk(_))
    ));
    disk.0.store(false, Ordering::SeqCst);
    commit(&store, 6..=7);
    copy(&live, &dir.path().join("store"));
    find(&dir.path().join("store"), b"leaf 5, ");
    keep("v1-failed", &dir.path().join("store"), |store| {
        assert_eq!(Shown::by(store.unwrap()), Shown::of([1, 2, 3, 4, 6, 7]));
        assert_eq!(store.unwrap().stats().lost_groups, 0);
    });
}

/// What a publisher would store: the bytes of a group that takes a name away.
fn forged(group: u64, previous: u64) -> Vec<u8> {
    let mut key = vec![b'h'];
    key.extend_from_slice(name(0).as_bytes());
    let mut body = previous.to_le_bytes().to_vec();
    body.extend_from_slice(&0u32.to_le_bytes());
    body.extend_from_slice(&1u32.to_le_bytes());
    body.push(2);
    body.extend_from_slice(&(key.len() as u16).to_le_bytes());
    body.extend_from_slice(&key);
    let mut record = vec![2, 0, 0, 0];
    record.extend_from_slice(&(body.len() as u32).to_le_bytes());
    record.extend_from_slice(&group.to_le_bytes());
    let sum = crc32fast::hash(&[record.as_slice(), &body].concat());
    record.extend_from_slice(&sum.to_le_bytes());
    record.extend_from_slice(&body);
    record
}

fn forged_block(group: u64, previous: u64) -> Block {
    let mut bytes = b"a block of somebody else's ".to_vec();
    bytes.extend_from_slice(&forged(group, previous));
    bytes.extend_from_slice(&b" and more".repeat(20));
    Block::new(Codec::Raw, bytes).unwrap()
}

fn put(store: &Store, block: Block) {
    let mut batch = Batch::new();
    batch.put_block(block);
    store.commit(batch).unwrap();
}

#[test]
fn forged_group() {
    // Groups 1 to 3 are in the index, 4 is whole, 5 holds the block, 6 follows it.
    let dir = killed(|store| {
        commit(store, 4..=4);
        put(store, forged_block(5, 4));
        commit(store, 5..=5);
    });
    let dir = dir.path().join("store");
    flip(&dir, b"a block of somebody");
    keep("v1-forged", &dir, |store| {
        assert_eq!(store.unwrap().head(&name(0)).unwrap(), None, "the name is gone");
    });
}

#[test]
fn forged_and_torn() {
    let dir = killed(|store| {
        commit(store, 4..=4);
        put(store, forged_block(u64::MAX, 4));
    });
    let dir = dir.path().join("store");
    let (path, at) = find(&dir, b" and more and more and more");
    cut(&path, at + 9);
    keep("v1-forged-torn", &dir, |store| {
        assert!(store.is_none(), "every start panics");
    });
}

fn under(block: &Block, codec: u64, hash: HashFn, is_v0: bool) -> Block {
    Block::hashed(codec, hash, is_v0, block.bytes().clone()).unwrap()
}

#[test]
fn codecs() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let store = open(&live);
    // DAG-PB without links and data, and a larger block.
    let [small, large, _] = blocks(1);
    for (block, is_v0) in [(&small, true), (&small, false), (&large, false)] {
        put(&store, under(block, 0x70, HashFn::Sha2_256, is_v0));
    }
    put(&store, under(&large, 0x71, HashFn::Sha2_256, false));
    let mut batch = Batch::new();
    batch.pin(b"v0", *under(&small, 0x70, HashFn::Sha2_256, true).cid());
    store.commit(batch).unwrap();
    drop(store);
    let store = open(&live);
    put(&store, small.clone());
    put(&store, large.clone());
    put(&store, under(&small, 0x55, HashFn::Sha2_512, false));
    put(&store, under(&small, 0x55, HashFn::Blake3, false));
    put(&store, under(&small, 0x1234_5678, HashFn::Blake3, false));
    put(&store, Block::new(Codec::Raw, Vec::new()).unwrap());
    let many: Vec<u8> = (0..40_000_u32).flat_map(|n| n.to_le_bytes()).take(40_000).collect();
    put(&store, Block::new(Codec::Raw, many).unwrap());
    copy(&live, &dir.path().join("store"));
    keep("v1-codecs", &dir.path().join("store"), |store| {
        assert_eq!(store.unwrap().stats().blocks, 11);
    });
}

#[test]
fn quarantined() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    commit(&open(&live), 1..=4);
    flip(&live, b"leaf 2, ");
    flip(&live, b"leaf 3, ");
    let store = open(&live);
    for number in [2, 3] {
        store.block(blocks(number)[1].cid()).unwrap_err();
    }
    // One of the two is put again.
    commit(&store, 5..=5);
    put(&store, blocks(3)[1].clone());
    drop(store);
    keep("v1-quarantined", &live, |store| {
        let rows = store.unwrap().quarantine(None, 9).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].cid, *blocks(2)[1].cid());
        assert_eq!(store.unwrap().queue_len(REFETCH).unwrap(), 2);
    });
}

#[test]
fn compacted() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let store = open(&live);
    commit(&store, 1..=12);
    store.collect().unwrap().finish().unwrap();
    while !store.compact(60).unwrap().done {}
    commit(&store, 13..=13);
    copy(&live, &dir.path().join("store"));
    let dir = dir.path().join("store");
    let first = &segments(&dir)[0].0;
    assert!(!first.ends_with("00000001.seg"), "{first:?}");
    keep("v1-compacted", &dir, |store| {
        let mut shown = Shown::of(1..=13);
        shown.blocks = Shown::of(9..=13).blocks;
        assert_eq!(Shown::by(store.unwrap()), shown);
    });
}

#[test]
fn rows() {
    let dir = killed(|store| {
        let equivocate = |store: &Store, number: u8| {
            let mut batch = Batch::new();
            let head = HeadRow {
                record: Bytes::from(format!("other record {number}")),
                value: Bytes::from_static(b"/ipfs/other"),
                ..batches::head(number)
            };
            batch.put_head(name(number % 3), head);
            assert!(matches!(
                store.commit(batch),
                Err(CommitError::Equivocation { .. })
            ));
        };
        equivocate(store, 3);
        commit(store, 4..=6);
        equivocate(store, 6);
        let mut batch = Batch::new();
        batch.delete_head(&name(1)).unpin(&[b'p', 1]);
        batch.delete_meta(&[b'm', 3]);
        batch.enqueue(QUEUE, b"late", Millis(7), Vec::new());
        batch.pin_ahead(b"ahead", *blocks(19)[2].cid());
        store.commit(batch).unwrap();
        let mut batch = Batch::new();
        batch.enqueue(QUEUE, b"late", Millis(u64::MAX), b"again".to_vec());
        store.commit(batch).unwrap();
    });
    let dir = dir.path().join("store");
    keep("v1-rows", &dir, |store| {
        let store = store.unwrap();
        assert_eq!(store.evidence(&name(0)).unwrap().len(), 2);
        assert_eq!(store.head(&name(1)).unwrap(), None);
        assert_eq!(store.queue_entry(QUEUE, b"late").unwrap(), Some(Millis(u64::MAX)));
    });
}
