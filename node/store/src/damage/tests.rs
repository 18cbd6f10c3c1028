#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::sign::SigningKey;
use perennis_shared::time::Millis;

use super::*;
use crate::keys::Queue;
use crate::kv::KvBatch;
use crate::{LOST_HEADS, REFETCH, StoreOptions};

const QUEUE: Queue = Queue(7);

fn open(dir: &Path) -> Store {
    let options = StoreOptions {
        segment_bytes: 64 << 10,
        reserve_bytes: 64 << 10,
        ..StoreOptions::default()
    };
    Store::open(dir, &options).unwrap()
}

/// Waits until what was submitted before is done.
fn settle(store: &Store) {
    store.commit(Batch::new()).unwrap();
}

/// Writes over a row of the index, as damage would.
fn damage(store: &Store, key: Vec<u8>) {
    let mut batch = KvBatch::default();
    batch.put(key, [99, 1, 2]);
    store.inner().shared.index.kv.write(batch).unwrap();
}

fn aside(store: &Store) -> Vec<Vec<u8>> {
    let rows = store.rows_set_aside(usize::MAX).unwrap();
    rows.into_iter().map(|row| row.key).collect()
}

#[test]
fn a_row_that_was_set_aside_is_forgotten_when_its_key_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (key, instead) in [(&b"a"[..], None), (&b"b"[..], Some(b"mended".to_vec()))] {
        let mut batch = Batch::new();
        batch.put_meta(key, b"bad".to_vec());
        store.commit(batch).unwrap();
        // Somebody has written it meanwhile.
        store.set_meta_aside(key, b"other".to_vec(), None);
        settle(&store);
        assert_eq!(store.meta(key).unwrap().unwrap(), b"bad");
        store.set_meta_aside(key, b"bad".to_vec(), instead.clone());
        settle(&store);
        assert_eq!(store.meta(key).unwrap(), instead);
    }
    assert_eq!(aside(&store), [b"ma", b"mb"]);
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.damage().unwrap().rows_set_aside, 2);
    let mut batch = Batch::new();
    batch.put_meta(b"a", b"good".to_vec());
    store.commit(batch).unwrap();
    assert_eq!(aside(&store), [b"mb"]);
    store.dismiss_losses().unwrap();
    assert_eq!(store.damage().unwrap(), DamageCounts::default());
}

#[test]
fn heads_and_blocks_whose_rows_are_unreadable_are_looked_for_and_pins_stay_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let block = Block::new(Codec::Raw, b"a block".to_vec()).unwrap();
    let name = Name::from_public_key(&SigningKey::from_seed(&[1; 32]).public());
    let mut batch = Batch::new();
    batch.put_block(block.clone()).pin(b"pin", *block.cid());
    store.commit(batch).unwrap();
    for key in [keys::head(&name), keys::key(keys::PIN, b"pin")] {
        damage(&store, key);
    }
    damage(&store, keys::block(block.cid().hash()));
    assert_eq!(store.head(&name).unwrap(), None);
    assert_eq!(store.pins(None, 10).unwrap(), []);
    assert_eq!(store.cids(None, 10).unwrap(), []);
    settle(&store);
    let counts = store.damage().unwrap();
    assert_eq!(
        (counts.rows_set_aside, counts.lost_heads, counts.refetches),
        (3, 1, 1)
    );
    let lost = store.queue_next(LOST_HEADS).unwrap().unwrap();
    assert_eq!(lost.key, name.as_bytes());
    store.dismiss_losses().unwrap();
    assert_eq!(store.damage().unwrap().rows_set_aside, 3);
    // Pinned and put again.
    let mut batch = Batch::new();
    batch.put_block(block.clone()).pin(b"pin", *block.cid());
    store.commit(batch).unwrap();
    assert_eq!(aside(&store), [keys::head(&name)]);
    assert_eq!(store.pin(b"pin").unwrap(), Some(*block.cid()));
}

#[test]
fn nothing_is_collected_while_a_row_that_keeps_blocks_cannot_be_read() {
    let block = |content: &[u8]| Block::new(Codec::Raw, content.to_vec()).unwrap();
    let (kept, garbage) = (block(b"kept"), block(b"garbage"));
    let quarantined = *block(b"quarantined").cid().hash();
    for key in [keys::key(keys::PIN, b"pin"), keys::quarantine(&quarantined)] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let mut batch = Batch::new();
        batch
            .put_block(kept.clone())
            .pin(b"pin", *kept.cid())
            .put_block(garbage.clone());
        store.commit(batch).unwrap();
        damage(&store, key.clone());
        if key[0] == keys::QUARANTINE {
            assert_eq!(store.quarantine(None, 9).unwrap(), []);
            settle(&store);
        }
        // A pin that is damaged is found by the first, and set aside before the second; so is one that is set aside already.
        for _ in 0..2 {
            let progress = store.collect().unwrap().finish().unwrap();
            assert!(progress.are_rows_unread);
            assert_eq!(progress.dropped_blocks, 0);
            settle(&store);
            assert_eq!(aside(&store), std::slice::from_ref(&key));
        }
        assert_eq!(store.stats().blocks, 2);
        let mut batch = Batch::new();
        match key[0] {
            keys::PIN => batch.pin(b"pin", *kept.cid()),
            _ => batch.put_block(block(b"quarantined")),
        };
        store.commit(batch).unwrap();
        let progress = store.collect().unwrap().finish().unwrap();
        assert!(!progress.are_rows_unread);
        assert!(store.has(kept.cid()).unwrap());
        assert!(!store.has(garbage.cid()).unwrap());
    }
}

#[test]
fn a_block_that_is_put_again_has_the_codecs_and_the_owner_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let block = Block::new(Codec::DagCbor, vec![0x80]).unwrap();
    let hash = *block.cid().hash();
    let raw = Block::verified(Cid::new_v1(Codec::Raw.code(), hash), vec![0x80]).unwrap();
    let mut batch = Batch::new();
    batch
        .owner(b"somebody")
        .put_block(block.clone())
        .put_block(raw.clone());
    store.commit(batch).unwrap();
    let before = store.inner().shared.index.place(&hash).unwrap().unwrap();
    store.set_aside(&hash, before.location, &std::io::Error::other("why"));
    settle(&store);
    let row = store.quarantined(&hash).unwrap().unwrap();
    assert_eq!(row.codecs, [Codec::DagCbor.code(), Codec::Raw.code()]);
    assert_eq!(
        store.queue_next(REFETCH).unwrap().unwrap().key,
        hash.to_bytes()
    );
    let mut batch = Batch::new();
    batch.put_block(raw);
    store.commit(batch).unwrap();
    assert_eq!(store.quarantined(&hash).unwrap(), None);
    let after = store.inner().shared.index.place(&hash).unwrap().unwrap();
    assert_eq!(after.tag, before.tag);
    let codecs: std::collections::BTreeSet<_> = after.codecs.iter().collect();
    assert_eq!(codecs, before.codecs.iter().collect());
}

#[test]
fn an_entry_of_a_queue_with_one_damaged_row_goes_on_and_goes_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let due = |store: &Store| -> Vec<(Vec<u8>, Millis, Vec<u8>)> {
        // What is left behind is taken away when it is seen.
        for _ in 0..2 {
            store.queue_due(QUEUE, Millis(100), 10).unwrap();
            settle(store);
        }
        let rows = store.queue_due(QUEUE, Millis(100), 10).unwrap();
        rows.into_iter()
            .map(|row| (row.key, row.due, row.payload))
            .collect()
    };
    let enqueue = |store: &Store, key: &[u8], at: u64| {
        let mut batch = Batch::new();
        batch.enqueue(QUEUE, key, Millis(at), b"payload".to_vec());
        store.commit(batch).unwrap();
    };
    let dequeue = |store: &Store, key: &[u8], at: u64| {
        let mut batch = Batch::new();
        batch.dequeue(QUEUE, key, Millis(at));
        store.commit(batch).unwrap();
    };
    // By time: it stays, without what was kept with it.
    enqueue(&store, b"a", 5);
    damage(&store, keys::queue_row(QUEUE, Millis(5), b"a"));
    assert_eq!(due(&store), [(b"a".to_vec(), Millis(5), Vec::new())]);
    dequeue(&store, b"a", 5);
    assert_eq!(due(&store), []);
    // By key: it is taken out by its time, or put in again.
    for key in [b"b", b"c"] {
        enqueue(&store, key, 6);
        damage(&store, keys::queue_key(QUEUE, key));
        assert_eq!(store.queue_entry(QUEUE, key).unwrap(), None);
    }
    settle(&store);
    dequeue(&store, b"b", 6);
    enqueue(&store, b"c", 7);
    assert_eq!(
        due(&store),
        [(b"c".to_vec(), Millis(7), b"payload".to_vec())]
    );
    assert_eq!(store.queue_len(QUEUE).unwrap(), 1);
}

#[test]
fn blocks_are_looked_at_again_behind_rows_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let block = |number: u8| Block::new(Codec::DagCbor, vec![0x18, number]).unwrap();
    let mut batch = Batch::new();
    for number in 30..40 {
        batch.put_block(block(number));
    }
    store.commit(batch).unwrap();
    let mut rows = Vec::new();
    for number in 30..40 {
        let hash = *block(number).cid().hash();
        let place = store.inner().shared.index.place(&hash).unwrap().unwrap();
        store.set_aside(&hash, place.location, &std::io::Error::other("why"));
        rows.push(keys::quarantine(&hash));
    }
    settle(&store);
    assert_eq!(store.damage().unwrap().quarantined_blocks, 10);
    rows.sort_unstable();
    // The first two pages, and one of the third.
    for key in &rows[..7] {
        damage(&store, key.clone());
    }
    let (mut stored, mut after) = (0, None);
    loop {
        let looked = store.look_again(after.as_ref(), 3).unwrap();
        stored += looked.stored;
        match looked.last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    assert_eq!(stored, 3);
    assert_eq!(store.stats().blocks, 3);
    assert_eq!(store.damage().unwrap().quarantined_blocks, 7);
}
