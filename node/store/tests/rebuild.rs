//! A real folder whose index is damaged in any way comes back as it was.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::time::Millis;
use perennis_store::kv::KvBatch;
use perennis_store::{
    Batch, CommitError, LossKind, OpenError, Queue, Store, StoreOptions, StoreState,
};

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 256 << 10,
        reserve_bytes: 0,
        ..StoreOptions::default()
    }
}

fn block(number: u32) -> Block {
    Block::new(Codec::Raw, number.to_le_bytes().repeat(200)).unwrap()
}

const BLOCKS: u32 = 3000;

/// A store with blocks in several segments, of which some were collected and packed, and with rows.
fn filled(dir: &Path) {
    let store = Store::open(dir, &options()).unwrap();
    for first in (0..BLOCKS).step_by(100) {
        let mut batch = Batch::new();
        for number in first..first + 100 {
            batch.put_block(block(number));
            if number % 3 > 0 {
                batch.pin(&number.to_be_bytes(), *block(number).cid());
            }
        }
        batch.put_meta(&first.to_be_bytes(), vec![1; 50]);
        batch.enqueue(
            Queue(9),
            &first.to_be_bytes(),
            Millis(u64::from(first)),
            vec![],
        );
        store.commit(batch).unwrap();
        if first == 1500 {
            store.collect().unwrap().finish().unwrap();
            while !store.compact(90).unwrap().done {}
            store.checkpoint().unwrap();
        }
    }
    store.checkpoint().unwrap();
    let mut batch = Batch::new();
    batch.put_meta(b"last", b"behind the checkpoint".to_vec());
    store.commit(batch).unwrap();
}

fn check(store: &Store) {
    for number in 0..BLOCKS {
        let cid: Cid = *block(number).cid();
        let is_there = number % 3 > 0 || number >= 1600;
        assert_eq!(store.has(&cid).unwrap(), is_there, "{number}");
        if number.is_multiple_of(97) && is_there {
            assert_eq!(store.block(&cid).unwrap().unwrap(), block(number));
        }
    }
    assert_eq!(
        store.meta(b"last").unwrap().unwrap(),
        b"behind the checkpoint"
    );
    assert_eq!(store.queue_len(Queue(9)).unwrap(), BLOCKS as usize / 100);
    assert_eq!(
        store.pins(None, usize::MAX).unwrap().len(),
        BLOCKS as usize / 3 * 2
    );
    assert!(store.losses().unwrap().is_empty());
    assert_eq!(store.state(), StoreState::Writable);
}

fn tables(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir.join("index")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "sst"))
        .collect()
}

#[test]
fn an_index_that_is_gone_or_cannot_be_opened_is_made_anew() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("gone", |dir| fs::remove_dir_all(dir.join("index")).unwrap()),
        ("empty", |dir| {
            fs::remove_dir_all(dir.join("index")).unwrap();
            fs::create_dir(dir.join("index")).unwrap();
        }),
        ("no CURRENT", |dir| {
            fs::remove_file(dir.join("index/CURRENT")).unwrap()
        }),
        ("a table gone", |dir| {
            fs::remove_file(&tables(dir)[0]).unwrap()
        }),
    ];
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    filled(&store);
    let blocks = Store::open(&store, &options()).unwrap().stats().blocks;
    for (what, damage) in damages {
        damage(&store);
        // What an earlier attempt left.
        fs::create_dir_all(store.join("index.new")).unwrap();
        fs::write(store.join("index.new/CURRENT"), "half").unwrap();
        let opened = Store::open(&store, &options()).unwrap();
        assert!(opened.rebuilt().is_some(), "{what}");
        let kinds: Vec<_> = opened
            .found_at_start()
            .iter()
            .map(|loss| loss.kind)
            .collect();
        assert_eq!(kinds, [LossKind::IndexRebuilt], "{what}");
        check(&opened);
        assert_eq!(opened.stats().blocks, blocks, "{what}");
        drop(opened);
        for left in ["index.new", "index.old"] {
            assert!(!store.join(left).exists(), "{what}: {left}");
        }
        let opened = Store::open(&store, &options()).unwrap();
        assert!(opened.rebuilt().is_none(), "{what}");
        check(&opened);
    }
}

#[test]
fn damage_that_is_found_while_it_runs_ends_writing_and_is_repaired_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    filled(&folder);
    for table in tables(&folder) {
        let mut bytes = fs::read(&table).unwrap();
        // All but the end, which is read when it is opened.
        let data = bytes.len() * 3 / 4;
        bytes[..data]
            .iter_mut()
            .step_by(50)
            .for_each(|byte| *byte ^= 0x10);
        fs::write(&table, bytes).unwrap();
    }
    let opened = Store::open(&folder, &options()).unwrap();
    if opened.rebuilt().is_none() {
        let has_failed = (0..BLOCKS).any(|number| opened.has(block(number).cid()).is_err());
        assert!(has_failed);
        assert_eq!(opened.state(), StoreState::Failed);
        let refused = opened.commit(Batch::new()).unwrap_err();
        assert!(matches!(refused, CommitError::Closed), "{refused}");
        assert!(folder.join("index/DAMAGED").exists());
    }
    drop(opened);
    check(&Store::open(&folder, &options()).unwrap());
}

#[test]
fn a_snapshot_can_make_its_index_anew_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    filled(&folder);
    let store = Store::open(&folder, &options()).unwrap();
    let copy = dir.path().join("copy");
    store.snapshot(&copy).unwrap();
    let blocks = store.stats().blocks;
    drop(store);
    check(&Store::open(&copy, &options()).unwrap());
    fs::remove_dir_all(copy.join("index")).unwrap();
    let opened = Store::open(&copy, &options()).unwrap();
    check(&opened);
    assert_eq!(opened.stats().blocks, blocks);
}

#[test]
fn a_store_whose_log_and_index_are_gone_is_never_begun_anew_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    let remove = |names: &[&str]| {
        for name in names {
            fs::remove_dir_all(folder.join(name)).unwrap();
        }
    };
    filled(&folder);
    remove(&["segments", "index"]);
    let store = Store::open(&folder, &options()).unwrap();
    assert!(store.rebuilt().is_some());
    let losses = store.losses().unwrap();
    let is_missing = |loss: &&perennis_store::Loss| loss.kind == LossKind::MissingFile;
    assert!(losses.iter().filter(is_missing).count() > 1, "{losses:?}");
    // What the checkpoint has is there, and what was packed.
    assert!(store.meta(&0u32.to_be_bytes()).unwrap().is_some());
    assert!(store.block(block(1).cid()).unwrap().is_some());
    drop(store);

    remove(&["segments", "index", "checkpoints"]);
    let refused = |what: &str| {
        for _ in 0..2 {
            let error = Store::open(&folder, &options()).unwrap_err();
            assert!(matches!(error, OpenError::Gone { .. }), "{what}: {error}");
        }
    };
    refused("only FORMAT, packs and what else there is");
    fs::create_dir(folder.join("segments")).unwrap();
    refused("packs beside empty folders");
    remove(&["packs"]);
    refused("the reserve beside empty folders");
    fs::remove_dir_all(&folder).unwrap();
    drop(Store::open(&folder, &options()).unwrap());
    // One that was opened and never written to is begun with all it has.
    drop(Store::open(&folder, &options()).unwrap());
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    drop(Store::open(&folder, &options()).unwrap());
}

/// A store with one group of this many blocks, in whose table a bit is flipped after all was brought into the index and into a
/// checkpoint, and a group behind it.
fn with_damaged_table(dir: &Path, blocks: u32) {
    let store = Store::open(dir, &options()).unwrap();
    let mut batch = Batch::new();
    for number in 0..blocks {
        batch.put_block(block(number));
        batch.pin(&number.to_be_bytes(), *block(number).cid());
    }
    batch.put_meta(b"first", b"row".to_vec());
    store.commit(batch).unwrap();
    store.checkpoint().unwrap();
    let mut batch = Batch::new();
    batch.put_block(block(blocks));
    store.commit(batch).unwrap();
    drop(store);
    let segment = dir.join("segments/00000001.seg");
    let mut bytes = fs::read(&segment).unwrap();
    // Behind the headers, the two heads of the group and the head of its batch.
    bytes[4160 + 128 + 32 + 500] ^= 1;
    fs::write(&segment, bytes).unwrap();
}

fn kinds(store: &Store) -> Vec<LossKind> {
    let losses = store.found_at_start().iter();
    losses.map(|loss| loss.kind).collect()
}

fn check_all(store: &Store, blocks: u32) {
    for number in 0..=blocks {
        let found = store.block(block(number).cid()).unwrap();
        assert_eq!(found.unwrap().bytes(), block(number).bytes(), "{number}");
    }
    assert_eq!(store.stats().blocks, u64::from(blocks) + 1);
    assert_eq!(store.meta(b"first").unwrap().unwrap(), b"row");
    assert_eq!(store.quarantine(None, 9).unwrap(), []);
}

const GROUP: u32 = 300;

#[test]
fn another_index_that_is_asked_for_has_all_that_only_the_present_one_knows() {
    for loses_checkpoints in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        with_damaged_table(dir.path(), GROUP);
        if loses_checkpoints {
            fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
        }
        check_all(&Store::open(dir.path(), &options()).unwrap(), GROUP);
        for _ in 0..2 {
            let store = Store::rebuild(dir.path(), &options(), &mut |_| {}).unwrap();
            assert!(store.rebuilt().is_some());
            let both = [LossKind::DamagedFrames, LossKind::IndexRebuilt];
            assert_eq!(kinds(&store), both);
            check_all(&store, GROUP);
        }
        let store = Store::open(dir.path(), &options()).unwrap();
        assert_eq!(kinds(&store), []);
        check_all(&store, GROUP);
    }
}

#[test]
fn what_a_condemned_index_says_of_a_damaged_file_is_taken_where_it_is_so() {
    let dir = tempfile::tempdir().unwrap();
    with_damaged_table(dir.path(), GROUP);
    let segment = dir.path().join("segments/00000001.seg");
    fs::write(dir.path().join("index/DAMAGED"), "somebody says so").unwrap();
    let store = Store::open(dir.path(), &options()).unwrap();
    let both = [LossKind::DamagedFrames, LossKind::IndexRebuilt];
    assert_eq!(kinds(&store), both);
    check_all(&store, GROUP);
    drop(store);

    // One of the bodies is another now.
    let mut bytes = fs::read(&segment).unwrap();
    let body = block(7).bytes().to_vec();
    let at = bytes.windows(body.len()).position(|part| part == body);
    bytes[at.unwrap()] ^= 1;
    fs::write(&segment, bytes).unwrap();
    fs::write(dir.path().join("index/DAMAGED"), "somebody says so").unwrap();
    let store = Store::open(dir.path(), &options()).unwrap();
    let both = [LossKind::DamagedGroup, LossKind::IndexRebuilt];
    assert_eq!(kinds(&store), both);
    assert_eq!(store.block(block(7).cid()).unwrap(), None);
    assert!(store.block(block(8).cid()).unwrap().is_some());
    assert_eq!(store.stats().blocks, u64::from(GROUP));
}

#[test]
fn without_an_index_the_blocks_of_a_damaged_table_are_counted_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    with_damaged_table(dir.path(), GROUP);
    for has_checkpoints in [true, false] {
        fs::remove_dir_all(dir.path().join("index")).unwrap();
        if !has_checkpoints {
            fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
        }
        let store = Store::open(dir.path(), &options()).unwrap();
        let lost = store.found_at_start().iter();
        let lost: Vec<_> = lost.filter(|loss| loss.blocks > 0).collect();
        assert_eq!(lost.len(), 1, "{lost:?}");
        let (kind, blocks) = (lost[0].kind, lost[0].blocks);
        assert_eq!((kind, blocks), (LossKind::DamagedGroup, GROUP.into()));
        assert_eq!(store.stats().blocks, 1);
    }
}

/// A store with a pinned block, a checkpoint, and a group behind that; the row of the pin cannot be read any more.
fn with_unreadable_pin(dir: &Path) {
    let store = Store::open(dir, &options()).unwrap();
    let mut batch = Batch::new();
    batch.put_block(block(1));
    batch.pin(b"owner", *block(1).cid());
    store.commit(batch).unwrap();
    store.checkpoint().unwrap();
    // There is something that the checkpoint does not have.
    let mut batch = Batch::new();
    batch.put_meta(b"behind it", b"row".to_vec());
    store.commit(batch).unwrap();
    drop(store);
    // As damage that has the right checksums, or a fault of ours, leaves it.
    let kv = options().index.home(dir).open().unwrap();
    let pins = kv.scan(b"p", b"q", 10).unwrap();
    assert_eq!(pins.len(), 1);
    let mut change = KvBatch::default();
    change.put(pins[0].0.clone(), b"not a row".to_vec());
    kv.write(change).unwrap();
    kv.flush(true).unwrap();
}

#[test]
fn an_index_with_a_row_that_cannot_be_read_is_not_written_down() {
    let dir = tempfile::tempdir().unwrap();
    with_unreadable_pin(dir.path());
    let store = Store::rebuild(dir.path(), &options(), &mut |_| {}).unwrap();
    let found = store.pins(None, 10).unwrap();
    assert_eq!(found.len(), 1);
    assert!(store.block(block(1).cid()).unwrap().is_some());
}

#[test]
fn an_index_that_lacks_a_row_which_was_set_aside_is_not_written_down_and_another_has_it() {
    let dir = tempfile::tempdir().unwrap();
    with_unreadable_pin(dir.path());
    let store = Store::open(dir.path(), &options()).unwrap();
    assert_eq!(store.pins(None, 10).unwrap(), []);
    // It is set aside without waiting: the next commit comes behind that.
    store.commit(Batch::new()).unwrap();
    assert_eq!(store.damage().unwrap().rows_set_aside, 1);
    drop(store);
    // The one that is there has the row.
    let checkpoints = || -> Vec<_> {
        let entries = fs::read_dir(dir.path().join("checkpoints")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let before = checkpoints();
    assert_eq!(before.len(), 1);
    let store = Store::rebuild(dir.path(), &options(), &mut |_| {}).unwrap();
    assert!(store.rebuilt().is_some());
    assert_eq!(checkpoints(), before);
    assert_eq!(store.damage().unwrap().rows_set_aside, 0);
    assert_eq!(store.pins(None, 10).unwrap().len(), 1);
}

#[test]
fn what_the_first_start_of_a_rebuild_finds_is_told_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), &options()).unwrap();
    let mut batch = Batch::new();
    batch.put_block(block(1));
    store.commit(batch).unwrap();
    drop(store);
    // Bytes behind the last group are moved by the start that finds them, so that no other does.
    let path = dir.path().join("segments/00000001.seg");
    let mut segment = fs::File::options().append(true).open(path).unwrap();
    segment.write_all(b"no group").unwrap();
    let store = Store::rebuild(dir.path(), &options(), &mut |_| {}).unwrap();
    assert_eq!(kinds(&store), [LossKind::TornGroup, LossKind::IndexRebuilt]);
    assert_eq!(store.found_at_start()[0].moved_bytes, 8);
    drop(store);
    let store = Store::open(dir.path(), &options()).unwrap();
    assert_eq!(kinds(&store), []);
}

#[test]
fn groups_that_are_cut_from_a_snapshot_are_missed_also_without_its_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), &options()).unwrap();
    for number in 0..3 {
        let mut batch = Batch::new();
        batch.put_block(block(number));
        store.commit(batch).unwrap();
    }
    let group = store.stats().group;
    let copy = dir.path().join("copy");
    store.snapshot(&copy).unwrap();
    drop(store);
    fs::remove_dir_all(copy.join("index")).unwrap();
    let path = copy.join("segments/00000001.seg");
    let segment = fs::File::options().write(true).open(path).unwrap();
    // All behind the headers.
    segment.set_len(4160).unwrap();
    let store = Store::open(&copy, &options()).unwrap();
    let found = store.found_at_start().iter();
    let missing: Vec<_> = found
        .filter(|loss| loss.kind == LossKind::MissingGroups)
        .map(|loss| loss.group)
        .collect();
    assert_eq!(missing, [group]);
}
