//! What a batch does, seen through the public interface, before and after the store was opened again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::thread;

use bytes::Bytes;
use perennis_shared::cid::{Block, Cid, Codec, HashFn, Multihash};
use perennis_shared::ipns::Name;
use perennis_shared::sign::SigningKey;
use perennis_shared::time::Millis;
use perennis_store::{
    Batch, CommitError, HeadRow, OpenError, Queue, Store, StoreOptions, StoreState,
};

const QUEUE: Queue = Queue(7);

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

fn block(number: usize) -> Block {
    Block::new(
        Codec::Raw,
        format!("block {number} {}", "x".repeat(number * 7 % 3000)).into_bytes(),
    )
    .unwrap()
}

fn name(seed: u8) -> Name {
    Name::from_public_key(&SigningKey::from_seed(&[seed; 32]).public())
}

fn head(sequence: u64, value: &str, until: u64) -> HeadRow {
    HeadRow {
        record: Bytes::from(format!("record {sequence} {value} {until}")),
        value: Bytes::from(value.to_owned()),
        sequence,
        valid_until: Millis(until),
        stored_at: Millis(1),
    }
}

fn put_head(store: &Store, head: HeadRow) -> Result<(), CommitError> {
    let mut batch = Batch::new();
    batch.put_head(name(1), head);
    store.commit(batch).map(drop)
}

#[test]
fn a_block_that_is_its_own_name_is_there_and_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let hash = Multihash::wrap(HashFn::Identity.code(), b"inline").unwrap();
    let cid = Cid::new_v1(Codec::Raw.code(), hash);
    let block = Block::verified(cid, b"inline".to_vec()).unwrap();
    let mut batch = Batch::new();
    batch.put_block(block.clone()).require(cid);
    let commit = store.commit(batch).unwrap();
    assert_eq!((commit.new_blocks, store.stats().blocks), (0, 0));
    assert_eq!(store.cids(None, 9).unwrap(), []);
    assert!(store.has(&cid).unwrap());
    for found in [store.block(&cid), store.block_uncached(&cid)] {
        assert_eq!(found.unwrap(), Some(block.clone()));
    }
}

#[test]
fn blocks_are_read_back_before_and_after_a_restart_and_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let store = open(dir.path());
        for first in (0..300).step_by(50) {
            let mut batch = Batch::new();
            for number in first..first + 50 {
                batch.put_block(block(number));
            }
            let commit = store.commit(batch).unwrap();
            assert_eq!(commit.new_blocks, if round == 0 { 50 } else { 0 });
        }
        for number in 0..300 {
            let wanted = block(number);
            assert_eq!(
                store.block(wanted.cid()).unwrap().unwrap().bytes(),
                wanted.bytes()
            );
        }
        assert_eq!(store.stats().blocks, 300);
        assert!(store.stats().segments > 1);
        assert_eq!(
            store
                .block(block(300).cid())
                .unwrap()
                .map(|block| block.into_parts().0),
            None
        );
        let all = store.cids(None, 1000).unwrap();
        assert_eq!(all.len(), 300);
        assert_eq!(store.cids(Some(&all[9]), 5).unwrap(), all[10..15]);
    }
}

#[test]
fn a_head_never_goes_back_and_an_equivocation_leaves_its_proof() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_head(&store, head(5, "/ipfs/a", 100)).unwrap();
    assert!(matches!(
        put_head(&store, head(4, "/ipfs/b", 900)),
        Err(CommitError::Stale {
            stored: 5,
            offered: 4,
            ..
        })
    ));
    assert!(matches!(
        put_head(&store, head(5, "/ipfs/b", 900)),
        Err(CommitError::Equivocation { sequence: 5, .. })
    ));
    // One that has ended when the other is accepted contradicts it no more; a lower sequence stays refused.
    let later = |sequence, value, until| HeadRow {
        stored_at: Millis(101),
        ..head(sequence, value, until)
    };
    put_head(&store, later(5, "/ipfs/b", 900)).unwrap();
    assert_eq!(
        store.head(&name(1)).unwrap(),
        Some(later(5, "/ipfs/b", 900))
    );
    let refused = put_head(&store, later(4, "/ipfs/a", 900));
    assert!(matches!(refused, Err(CommitError::Stale { .. })));
    // One that has ended itself changes nothing.
    let at_901 = |until| HeadRow {
        stored_at: Millis(901),
        ..head(5, "/ipfs/a", until)
    };
    put_head(&store, at_901(100)).unwrap();
    assert_eq!(
        store.head(&name(1)).unwrap(),
        Some(later(5, "/ipfs/b", 900))
    );
    put_head(&store, at_901(1_000)).unwrap();
    // The same statement again, and one that lasts longer.
    put_head(&store, head(5, "/ipfs/a", 50)).unwrap();
    assert_eq!(
        store.head(&name(1)).unwrap().unwrap().valid_until,
        Millis(1_000)
    );
    put_head(&store, head(5, "/ipfs/a", 1_200)).unwrap();
    put_head(&store, head(6, "/ipfs/c", 150)).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.head(&name(1)).unwrap(), Some(head(6, "/ipfs/c", 150)));
    assert_eq!(
        store.evidence(&name(1)).unwrap(),
        [(5, head(5, "/ipfs/b", 900).record.to_vec())]
    );
    assert_eq!(store.heads(None, 10).unwrap().len(), 1);
    assert_eq!(store.head(&name(2)).unwrap(), None);
}

#[test]
fn a_refused_batch_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put_head(&store, head(5, "/ipfs/a", 100)).unwrap();
    let mut batch = Batch::new();
    batch
        .put_block(block(1))
        .put_meta(b"k", b"v".to_vec())
        .put_head(name(1), head(4, "/ipfs/a", 100));
    assert!(matches!(
        store.commit(batch),
        Err(CommitError::Stale { .. })
    ));
    let mut batch = Batch::new();
    batch
        .put_block(block(2))
        .require(*block(3).cid())
        .require(*block(2).cid());
    match store.commit(batch) {
        Err(CommitError::MissingBlocks(missing)) => assert_eq!(missing, [*block(3).cid()]),
        other => panic!("{other:?}"),
    }
    assert!(!store.has(block(1).cid()).unwrap());
    assert!(!store.has(block(2).cid()).unwrap());
    assert_eq!(store.meta(b"k").unwrap(), None);
}

#[test]
fn a_queue_holds_each_entry_once_and_gives_what_is_due_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = Batch::new();
    batch
        .enqueue(QUEUE, b"late", Millis(30), b"3".to_vec())
        .enqueue(QUEUE, b"soon", Millis(10), b"1".to_vec())
        .enqueue(QUEUE, b"then", Millis(20), b"2".to_vec())
        .enqueue(QUEUE, b"late", Millis(5), b"0".to_vec());
    store.commit(batch).unwrap();
    let keys = |now| -> Vec<String> {
        let rows = store.queue_due(QUEUE, Millis(now), 10).unwrap();
        rows.into_iter()
            .map(|row| String::from_utf8(row.key).unwrap())
            .collect()
    };
    assert_eq!(keys(4), Vec::<String>::new());
    assert_eq!(keys(10), ["late", "soon"]);
    assert_eq!(keys(100), ["late", "soon", "then"]);
    assert_eq!(store.queue_len(QUEUE).unwrap(), 3);

    // An entry that was put in again while its row was worked on stays.
    let mut batch = Batch::new();
    batch
        .enqueue(QUEUE, b"soon", Millis(40), b"4".to_vec())
        .dequeue(QUEUE, b"late", Millis(5));
    store.commit(batch).unwrap();
    let mut batch = Batch::new();
    batch.dequeue(QUEUE, b"soon", Millis(10));
    store.commit(batch).unwrap();
    assert_eq!(keys(100), ["then", "soon"]);
    assert_eq!(store.queue_entry(QUEUE, b"soon").unwrap(), Some(Millis(40)));
    assert_eq!(store.queue_next(QUEUE).unwrap().unwrap().payload, b"2");

    // So does one that would be put off, and none comes in by it.
    let mut batch = Batch::new();
    batch
        .put_off(QUEUE, b"soon", Millis(10), Millis(50), b"5".to_vec())
        .put_off(QUEUE, b"late", Millis(5), Millis(50), b"5".to_vec())
        .put_off(QUEUE, b"then", Millis(20), Millis(60), b"6".to_vec());
    assert_eq!(batch.enqueued().count(), 0);
    store.commit(batch).unwrap();
    assert_eq!(keys(100), ["soon", "then"]);
    assert_eq!(store.queue_entry(QUEUE, b"soon").unwrap(), Some(Millis(40)));
    assert_eq!(store.queue_entry(QUEUE, b"then").unwrap(), Some(Millis(60)));
    assert_eq!(store.queue_next(QUEUE).unwrap().unwrap().payload, b"4");
}

#[test]
fn many_writers_share_syncs_and_every_answer_is_true() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    thread::scope(|scope| {
        for writer in 0..16_usize {
            let store = store.clone();
            scope.spawn(move || {
                for number in 0..20 {
                    let mut batch = Batch::new();
                    let block = block(1000 * writer + number);
                    batch
                        .pin(format!("{writer}/{number}").as_bytes(), *block.cid())
                        .put_block(block);
                    store.commit(batch).unwrap();
                }
            });
        }
    });
    let stats = store.stats();
    assert_eq!((stats.blocks, stats.batches), (320, 320));
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.pins(None, 1000).unwrap().len(), 320);
    assert_eq!(store.stats().blocks, 320);
    assert_eq!(store.state(), StoreState::Writable);
}

/// Without an index on the disk the start reads the block, and finds it first.
#[cfg(feature = "rocksdb")]
#[test]
fn a_damaged_block_is_set_aside_and_healed_by_a_new_copy() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = block(100);
    {
        let store = open(dir.path());
        let mut batch = Batch::new();
        batch.put_block(wanted.clone());
        store.commit(batch).unwrap();
    }
    let segment = dir.path().join("segments/00000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes
        .windows(9)
        .position(|window| window == b"block 100")
        .unwrap();
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let store = open(dir.path());
    assert!(store.block(wanted.cid()).is_err());
    // The commit that sets it aside comes before this one.
    store.commit(Batch::new()).unwrap();
    assert!(!store.has(wanted.cid()).unwrap());
    assert_eq!(store.quarantine(None, 10).unwrap()[0].cid, *wanted.cid());
    assert_eq!(store.queue_len(perennis_store::REFETCH).unwrap(), 1);

    let mut batch = Batch::new();
    batch.put_block(wanted.clone());
    store.commit(batch).unwrap();
    assert_eq!(
        store.block(wanted.cid()).unwrap().unwrap().bytes(),
        wanted.bytes()
    );
    assert!(store.quarantine(None, 10).unwrap().is_empty());
}

#[test]
fn a_folder_that_is_in_use_newer_or_not_writable_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(
        Store::open(dir.path(), &options()),
        Err(OpenError::Locked { .. })
    ));
    drop(store);
    std::fs::write(dir.path().join("FORMAT"), "perennis-store 9\n").unwrap();
    assert!(matches!(
        Store::open(dir.path(), &options()),
        Err(OpenError::NewerFormat { found: 9, .. })
    ));
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(
        Store::open(&file.join("below"), &options()),
        Err(OpenError::NotWritable { .. })
    ));
}

#[test]
fn a_folder_that_is_away_for_a_while_costs_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (dir, aside) = (place.path().join("store"), place.path().join("aside"));
    let store = Store::open(&dir, &StoreOptions::default()).unwrap();
    let commit = |number: u8| {
        let mut batch = Batch::new();
        batch.put_meta(&[number], [number]);
        store.commit(batch)
    };
    commit(1).unwrap();
    std::fs::rename(&dir, &aside).unwrap();
    commit(2).unwrap_err();
    commit(3).unwrap_err();
    std::fs::rename(&aside, &dir).unwrap();
    commit(4).unwrap();
    // Nothing of it was missing.
    assert_eq!(store.losses().unwrap(), []);
    let shown: Vec<_> = (1..=4_u8)
        .filter(|number| store.meta(&[*number]).unwrap().is_some())
        .collect();
    assert_eq!(shown, [1, 4]);
}
