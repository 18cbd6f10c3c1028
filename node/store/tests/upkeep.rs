//! Garbage collection, compaction, scrub and snapshots on the real disk and RocksDB.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::{Value, dag_cbor};
use perennis_store::{
    Batch, CommitError, REFETCH, ReadError, SnapshotError, Store, StoreOptions, UpkeepError,
};

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 64 << 10,
        reserve_bytes: 64 << 10,
        ..StoreOptions::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, &options()).unwrap()
}

fn leaf(number: usize) -> Block {
    let text = format!("leaf {number} {}", "x".repeat(number * 13 % 2000));
    Block::new(Codec::Raw, text.into_bytes()).unwrap()
}

fn node(links: &[Cid]) -> Block {
    let links = links.iter().copied().map(Value::Link).collect();
    let bytes = dag_cbor::encode(&Value::List(links)).unwrap();
    Block::new(Codec::DagCbor, bytes).unwrap()
}

/// Puts leaves and a root over them, pinned under `key`; returns the root and the leaves.
fn publish(store: &Store, key: &[u8], leaves: impl Iterator<Item = usize>) -> (Cid, Vec<Cid>) {
    let mut batch = Batch::new();
    let leaves: Vec<Block> = leaves.map(leaf).collect();
    let cids: Vec<Cid> = leaves.iter().map(|leaf| *leaf.cid()).collect();
    let inner = node(&cids);
    let root = node(&[*inner.cid()]);
    let root_cid = *root.cid();
    for block in leaves.into_iter().chain([inner, root]) {
        batch.put_block(block);
    }
    batch.pin(key, root_cid);
    store.commit(batch).unwrap();
    (root_cid, cids)
}

/// Compacts until nothing is left to do. Returns how many bytes were freed.
fn compact_all(store: &Store) -> u64 {
    let mut freed = 0;
    loop {
        let step = store.compact(80).unwrap();
        freed += step.freed_bytes;
        if step.done {
            return freed;
        }
    }
}

/// Compacts, and removes the segments that two checkpoints allow to go.
fn free_all(store: &Store) -> u64 {
    let mut freed = compact_all(store);
    for number in [1, 2_u8] {
        let mut batch = Batch::new();
        batch.put_meta(b"checkpoint", [number]);
        store.commit(batch).unwrap();
        store.checkpoint().unwrap();
        freed += compact_all(store);
    }
    freed
}

/// The files that hold blocks.
fn block_files(dir: &Path) -> Vec<PathBuf> {
    let folders = ["segments", "packs"].map(|folder| fs::read_dir(dir.join(folder)).unwrap());
    let files = folders.into_iter().flatten();
    files.map(|file| file.unwrap().path()).collect()
}

fn bytes_on_disk(dir: &Path) -> u64 {
    let files = block_files(dir);
    files
        .iter()
        .map(|path| path.metadata().unwrap().blocks() * 512)
        .sum()
}

#[test]
fn what_no_pin_reaches_is_dropped_and_its_space_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (_, kept) = publish(&store, b"a", 0..50);
    let (_, shared) = publish(&store, b"b", 40..300);
    let mut batch = Batch::new();
    batch.unpin(b"b");
    store.commit(batch).unwrap();
    let before = bytes_on_disk(dir.path());
    let progress = store.collect().unwrap().finish().unwrap();
    assert_eq!(progress.marked_blocks, 52);
    assert_eq!(progress.dropped_blocks, 250 + 2);
    assert_eq!(store.stats().blocks, 52);
    assert!(store.block(&shared[100]).unwrap().is_none());
    assert!(free_all(&store) > 0);
    assert!(bytes_on_disk(dir.path()) < before / 2);
    drop(store);
    let store = open(dir.path());
    for cid in kept {
        assert!(store.block(&cid).unwrap().is_some());
    }
    assert_eq!(store.stats().blocks, 52);
}

#[test]
fn a_publish_during_a_collection_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    publish(&store, b"kept", 0..20);
    let (_, garbage) = publish(&store, b"gone", 20..60);
    let mut batch = Batch::new();
    batch.unpin(b"gone");
    store.commit(batch).unwrap();
    // Everything is marked, nothing is dropped yet.
    let mut collection = store.collect().unwrap();
    while collection.step(1).unwrap().marked_blocks < 22 {}
    // One block comes again, one is required, and a new root reaches a third through a block that was stored.
    let over = node(&garbage[10..12]);
    let over_cid = *over.cid();
    let mut batch = Batch::new();
    batch
        .put_block(leaf(20))
        .require(garbage[5])
        .put_block(over);
    batch.pin(b"late", over_cid);
    store.commit(batch).unwrap();
    let progress = collection.finish().unwrap();
    for cid in [garbage[0], garbage[5], garbage[10], garbage[11], over_cid] {
        assert!(store.block(&cid).unwrap().is_some(), "{cid}");
    }
    assert!(progress.dropped_blocks > 30);
    assert!(store.block(&garbage[20]).unwrap().is_none());
}

#[test]
fn publishes_and_collections_and_compactions_at_once_lose_nothing_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let upkeep = scope.spawn(|| {
            let mut rounds = 0;
            while !stop.load(Ordering::Relaxed) || rounds == 0 {
                match store.collect().unwrap().finish() {
                    Ok(_) | Err(UpkeepError::Busy) => {}
                    Err(error) => panic!("{error:?}"),
                }
                compact_all(&store);
                rounds += 1;
            }
        });
        let writers: Vec<_> = (0..4usize)
            .map(|writer| {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..25usize {
                        // Each round takes up again what the one before last has let go.
                        let first = writer * 1000 + round % 3 * 10;
                        let key = [b'w', u8::try_from(writer).unwrap()];
                        let (root, leaves) = publish(store, &key, first..first + 30);
                        for cid in leaves.iter().chain([&root]) {
                            assert!(store.block(cid).unwrap().is_some(), "{writer} {round}");
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        upkeep.join().unwrap();
    });
    store.collect().unwrap().finish().unwrap();
    assert_eq!(store.stats().blocks, 4 * 32);
    compact_all(&store);
    drop(store);
    assert_eq!(open(dir.path()).stats().blocks, 4 * 32);
}

#[test]
fn a_block_that_was_collected_under_a_batch_is_reported_missing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = Batch::new();
    batch.put_block(leaf(1));
    store.commit(batch).unwrap();
    store.collect().unwrap().finish().unwrap();
    let mut batch = Batch::new();
    batch.require(*leaf(1).cid());
    let error = store.commit(batch).unwrap_err();
    assert!(matches!(error, CommitError::MissingBlocks(cids) if cids == [*leaf(1).cid()]));
}

/// Flips a bit of a block's bytes in the file they lie in.
fn damage(dir: &Path, block: &Block) {
    for path in block_files(dir) {
        let bytes = fs::read(&path).unwrap();
        let needle = block.bytes();
        if let Some(at) = bytes.windows(needle.len()).position(|part| part == needle) {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
            return;
        }
    }
    panic!("the block is in no file");
}

#[test]
fn the_scrub_finds_damage_remembers_its_place_and_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    publish(&store, b"all", 100..300);
    damage(dir.path(), &leaf(150));
    let mut found = Vec::new();
    let mut checked = 0;
    let first = store.scrub(50_000).unwrap();
    assert!(!first.round_done && first.checked_bytes >= 50_000 && first.checked_blocks < 150);
    found.extend(first.damaged);
    checked += first.checked_blocks;
    drop(store);
    let store = open(dir.path());
    loop {
        let step = store.scrub(50_000).unwrap();
        checked += step.checked_blocks;
        assert_eq!(step.round_blocks, checked);
        found.extend(step.damaged);
        if step.round_done {
            break;
        }
    }
    assert_eq!(checked, 202);
    assert_eq!(found, [*leaf(150).cid()]);
    // The rest goes on being served, and the pinned root stops garbage collection only where links are unknown.
    assert!(store.block(leaf(150).cid()).unwrap().is_none());
    assert!(store.queue_next(REFETCH).unwrap().is_some());
    assert_eq!(store.scrub(u64::MAX).unwrap().checked_blocks, 201);
    store.collect().unwrap().finish().unwrap();
    let mut batch = Batch::new();
    batch.put_block(leaf(150));
    store.commit(batch).unwrap();
    assert!(store.quarantine(None, 9).unwrap().is_empty());
}

/// Puts garbage of an owner.
fn litter(store: &Store, owner: &[u8], number: usize) -> Cid {
    let mut batch = Batch::new();
    batch.owner(owner).put_block(leaf(number));
    store.commit(batch).unwrap();
    *leaf(number).cid()
}

#[test]
fn a_damaged_pinned_block_keeps_what_may_hang_below_it_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (root, leaves) = publish(&store, b"all", 0..10);
    let owner = root.hash().to_bytes();
    let (mine, theirs) = (litter(&store, &owner, 50), litter(&store, b"other", 51));
    let nobodys = litter(&store, b"", 52);
    let shared = litter(&store, b"other", 53);
    litter(&store, b"third", 53);
    let inner = node(&leaves);
    damage(dir.path(), &inner);
    assert!(matches!(
        store.block(inner.cid()),
        Err(ReadError::Corrupt { .. })
    ));
    for dropped in [1, 0] {
        let mut collection = store.collect().unwrap();
        while !collection.step(7).unwrap().done {}
        let progress = collection.step(1).unwrap();
        assert_eq!((progress.dropped_blocks, progress.held_back), (dropped, 1));
        assert_eq!(collection.held_back_by(), [*inner.cid()]);
    }
    assert!(!store.has(&theirs).unwrap());
    for cid in leaves.iter().chain([&mine, &nobodys, &shared, &root]) {
        assert!(store.has(cid).unwrap());
    }
    let mut batch = Batch::new();
    batch.put_block(inner);
    store.commit(batch).unwrap();
    let progress = store.collect().unwrap().finish().unwrap();
    assert_eq!((progress.dropped_blocks, progress.held_back), (3, 0));
    assert!(store.block(&root).unwrap().is_some());
    assert!(leaves.iter().all(|leaf| store.has(leaf).unwrap()));
}

#[test]
fn a_pack_knows_what_hangs_below_a_block_that_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (root, leaves) = publish(&store, b"all", 0..150);
    publish(&store, b"next", 400..460);
    store.collect().unwrap().finish().unwrap();
    free_all(&store);
    assert!(fs::read_dir(dir.path().join("packs")).unwrap().count() > 0);
    let mine = litter(&store, &root.hash().to_bytes(), 399);
    let inner = node(&leaves);
    damage(dir.path(), &inner);
    // Nobody has read it: its links are in the footer. Then it is set aside.
    for _ in 0..2 {
        let progress = store.collect().unwrap().finish().unwrap();
        assert_eq!(progress.held_back, 0);
        assert!(leaves.iter().all(|leaf| store.has(leaf).unwrap()));
        let damaged = store.block(inner.cid());
        assert!(matches!(damaged, Err(ReadError::Corrupt { .. }) | Ok(None)));
    }
    assert!(!store.has(&mine).unwrap());
    assert_eq!(store.quarantine(None, 9).unwrap().len(), 1);
}

#[test]
fn a_block_that_is_not_what_its_codec_says_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes = b"no dag-cbor".to_vec();
    let digest = *Block::new(Codec::Raw, bytes.clone()).unwrap().cid().hash();
    let unclear = Block::verified(Cid::new_v1(Codec::DagCbor.code(), digest), bytes).unwrap();
    let mut batch = Batch::new();
    batch
        .put_block(unclear.clone())
        .pin(b"unclear", *unclear.cid());
    batch.put_block(leaf(1));
    store.commit(batch).unwrap();
    let progress = store.collect().unwrap().finish().unwrap();
    assert_eq!((progress.unclear_blocks, progress.dropped_blocks), (1, 1));
    assert!(store.has(unclear.cid()).unwrap());
}

#[test]
fn damaged_and_vanished_files_are_compacted_without_losing_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    publish(&store, b"gone", 140..180);
    let (_, kept) = publish(&store, b"kept", 105..120);
    publish(&store, b"next", 400..460);
    let mut batch = Batch::new();
    batch.unpin(b"gone");
    store.commit(batch).unwrap();
    damage(dir.path(), &leaf(110));
    store.collect().unwrap().finish().unwrap();
    assert!(store.compact(80).unwrap().packs > 0);
    compact_all(&store);
    for cid in &kept {
        let stored = store.block(cid).unwrap().is_some();
        assert_eq!(stored, *cid != *leaf(110).cid());
    }
    assert_eq!(store.quarantine(None, 9).unwrap().len(), 1);
    // A file that is gone takes its blocks with it, and nothing else.
    let first = fs::read_dir(dir.path().join("packs")).unwrap().next();
    fs::remove_file(first.unwrap().unwrap().path()).unwrap();
    drop(store);
    let store = open(dir.path());
    while !store.scrub(u64::MAX).unwrap().round_done {}
    compact_all(&store);
    let left = store.cids(None, 1000).unwrap();
    assert!(left.iter().all(|cid| store.block(cid).unwrap().is_some()));
    let set_aside = store.quarantine(None, 1000).unwrap().len();
    assert!(set_aside > 1);
    assert_eq!(left.len() + set_aside, 17 + 62);
}

#[test]
fn a_snapshot_opens_as_the_store_of_its_moment_and_shares_its_segments() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("snapshots").join("first");
    fs::create_dir(dir.path().join("snapshots")).unwrap();
    let store = open(&dir.path().join("store"));
    let mut before = Vec::new();
    for part in 0..5usize {
        let key = [b'b', u8::try_from(part).unwrap()];
        before.extend(publish(&store, &key, part * 40..part * 40 + 40).1);
    }
    let snapshot = store.snapshot(&copy).unwrap();
    assert!(snapshot.linked_segments > 0 && snapshot.linked_segments == snapshot.segments - 1);
    let (_, after) = publish(&store, b"after", 1000..1100);
    let other = open(&copy);
    assert_eq!(other.stats().blocks, 210);
    assert!(!other.has(&after[0]).unwrap());
    // Both go on writing, and neither sees the other.
    let (_, theirs) = publish(&other, b"theirs", 2000..2200);
    let mut batch = Batch::new();
    for part in 0..5u8 {
        batch.unpin(&[b'b', part]);
    }
    store.commit(batch).unwrap();
    store.collect().unwrap().finish().unwrap();
    compact_all(&store);
    assert!(!store.has(&theirs[0]).unwrap());
    drop((store, other));
    let (store, other) = (open(&dir.path().join("store")), open(&copy));
    for cid in before.iter().chain(&theirs) {
        assert!(other.block(cid).unwrap().is_some());
    }
    for cid in &after {
        assert!(store.block(cid).unwrap().is_some());
    }
    assert_eq!(store.stats().blocks, 102);
}

#[test]
fn a_snapshot_does_not_overwrite_and_leaves_nothing_half() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    publish(&store, b"all", 0..10);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    assert!(matches!(
        store.snapshot(&copy),
        Err(SnapshotError::Exists { .. })
    ));
    fs::remove_dir(&copy).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let below = dir.path().join("file").join("copy");
    assert!(matches!(
        store.snapshot(&below),
        Err(SnapshotError::Disk { .. })
    ));
    // What an earlier attempt left is no hindrance.
    fs::create_dir_all(dir.path().join("copy.partial").join("index")).unwrap();
    store.snapshot(&copy).unwrap();
    assert!(!dir.path().join("copy.partial").exists());
    assert_eq!(open(&copy).stats().blocks, 12);
}

/// What in a folder others than its owner may read or change. RocksDB makes its own files as the umask says, in a folder that is shut.
fn open_to_others(dir: &Path, found: &mut Vec<String>) {
    let mode = fs::metadata(dir).unwrap().permissions().mode();
    if mode & 0o077 != 0 {
        found.push(format!("{} {mode:o}", dir.display()));
    }
    if dir.is_dir() && !dir.ends_with("index") {
        for entry in fs::read_dir(dir).unwrap() {
            open_to_others(&entry.unwrap().path(), found);
        }
    }
}

#[test]
fn everything_is_its_owners_only_from_the_moment_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (place, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let store = open(&place);
    publish(&store, b"kept", 0..100);
    store.collect().unwrap().finish().unwrap();
    publish(&store, b"more", 100..200);
    free_all(&store);
    assert!(fs::read_dir(place.join("packs")).unwrap().next().is_some());
    assert!(fs::read_dir(place.join("checkpoints")).unwrap().count() > 1);
    store.snapshot(&copy).unwrap();
    drop(store);
    // Bytes behind the log are moved to a folder of their own; an index that is gone is made anew.
    let segments = fs::read_dir(place.join("segments")).unwrap();
    let last = segments.map(|segment| segment.unwrap().path()).max();
    let last = fs::OpenOptions::new().append(true).open(last.unwrap());
    std::io::Write::write_all(&mut last.unwrap(), &[7; 64]).unwrap();
    fs::remove_dir_all(place.join("index")).unwrap();
    drop(open(&place));
    assert!(fs::read_dir(place.join("lost")).unwrap().next().is_some());
    drop(open(&copy));
    let mut found = Vec::new();
    open_to_others(&place, &mut found);
    open_to_others(&copy, &mut found);
    assert!(found.is_empty(), "{found:#?}");
}
