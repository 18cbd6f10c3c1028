//! What every [`BlockStore`] must do, as one suite.
//!
//! An implementation describes how it is opened in a [`Place`] and lists the suite with
//! [`block_store_suite!`](crate::block_store_suite), naming the attribute of its test runner:
//!
//! ```text
//! perennis_sdk::block_store_suite!(#[tokio::test] MyPlace);
//! ```
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;

use bytes::Bytes;
use futures_util::future::join_all;
use perennis_shared::cid::{Block, Cid, Codec, cid_of};

use crate::store::{BlockStore, Changes};

/// Somewhere a store of one kind lives.
pub trait Place: Sized {
    /// The kind of store.
    type Store: BlockStore;

    /// A new, empty place that no other test uses.
    fn new() -> impl Future<Output = Self>;

    /// Opens the store of this place. Called again once the former handle is dropped; what was committed
    /// must be there.
    fn open(&self) -> impl Future<Output = Self::Store>;
}

/// Writes the suite out as tests: `block_store_suite!(#[tokio::test] MyPlace);`
#[macro_export]
macro_rules! block_store_suite {
    ($(#[$attribute:meta])* $place:ty) => {
        $crate::block_store_suite!(@each [$(#[$attribute])*] $place;
            absent_is_none
            committed_block_is_read_back
            every_codec_and_size_is_read_back
            several_blocks_are_read_in_the_order_asked_for
            committed_row_is_read_back
            empty_and_odd_rows_are_kept
            commit_applies_all_parts
            put_wins_over_delete_in_one_commit
            deleting_what_is_absent_is_fine
            later_row_of_one_name_counts
            putting_twice_keeps_one
            a_block_is_found_under_every_cid_of_its_multihash
            a_block_is_dropped_under_every_cid_of_its_multihash
            keys_are_listed_by_prefix_in_order
            cids_are_paged_in_order
            everything_survives_reopening
            overlapping_commits_all_land
            large_commit_lands
            rows_that_were_committed_are_sound
        );
    };
    (@each $attributes:tt $place:ty; $($name:ident)*) => {
        $($crate::block_store_suite!(@one $attributes $place; $name);)*
    };
    (@one [$(#[$attribute:meta])*] $place:ty; $name:ident) => {
        $(#[$attribute])*
        async fn $name() {
            let place = <$place as $crate::testing::block_store::Place>::new().await;
            $crate::testing::block_store::$name(&place).await;
        }
    };
}

/// Nothing is found in an empty store.
pub async fn absent_is_none<P: Place>(place: &P) {
    let store = place.open().await;
    let block = raw(b"nowhere");
    assert!(store.block(block.cid()).await.unwrap().is_none());
    assert!(!store.has(block.cid()).await.unwrap());
    assert!(store.state("nowhere").await.unwrap().is_none());
    assert!(store.state_keys("").await.unwrap().is_empty());
    assert!(store.cids(None, 10).await.unwrap().is_empty());
}

/// A block comes back as it went in.
pub async fn committed_block_is_read_back<P: Place>(place: &P) {
    let store = place.open().await;
    let block = raw(b"hello");
    store
        .commit(Changes::new().put([block.clone()]))
        .await
        .unwrap();
    assert!(store.has(block.cid()).await.unwrap());
    expect_block(&store, &block).await;
}

/// No codec and no size is special: empty, one byte, the largest.
pub async fn every_codec_and_size_is_read_back<P: Place>(place: &P) {
    let store = place.open().await;
    let largest = vec![7; perennis_shared::limits::BLOCK_BYTES];
    let blocks = [
        raw(b""),
        raw(b"x"),
        Block::new(Codec::DagCbor, vec![0xa0]).unwrap(),
        Block::new(Codec::DagPb, Vec::new()).unwrap(),
        Block::new(Codec::Raw, largest).unwrap(),
    ];
    store
        .commit(Changes::new().put(blocks.clone()))
        .await
        .unwrap();
    for block in &blocks {
        expect_block(&store, block).await;
    }
}

/// Many at once are the same as one by one, absent and repeated ones included.
pub async fn several_blocks_are_read_in_the_order_asked_for<P: Place>(place: &P) {
    let store = place.open().await;
    let (a, b, absent) = (raw(b"a"), raw(b"b"), raw(b"absent"));
    store
        .commit(Changes::new().put([a.clone(), b.clone()]))
        .await
        .unwrap();
    let cids = [*b.cid(), *absent.cid(), *a.cid(), *b.cid()];
    let found = store.blocks(&cids).await.unwrap();
    assert_eq!(found, [Some(b.clone()), None, Some(a), Some(b)]);
    assert!(store.blocks(&[]).await.unwrap().is_empty());
}

/// A row comes back as it went in, is replaced, and is cleared.
pub async fn committed_row_is_read_back<P: Place>(place: &P) {
    let store = place.open().await;
    store
        .commit(Changes::new().set("name", "one"))
        .await
        .unwrap();
    assert_eq!(store.state("name").await.unwrap().unwrap(), "one");
    store
        .commit(Changes::new().set("name", "two"))
        .await
        .unwrap();
    assert_eq!(store.state("name").await.unwrap().unwrap(), "two");
    store.commit(Changes::new().clear("name")).await.unwrap();
    assert!(store.state("name").await.unwrap().is_none());
}

/// An empty value is not an absent one, and any text is a name.
pub async fn empty_and_odd_rows_are_kept<P: Place>(place: &P) {
    let store = place.open().await;
    for key in ["", "a/b", "ключ", "a\u{0}b", "\u{10ffff}"] {
        store
            .commit(Changes::new().set(key, Bytes::new()))
            .await
            .unwrap();
        assert_eq!(
            store.state(key).await.unwrap(),
            Some(Bytes::new()),
            "{key:?}"
        );
    }
    assert_eq!(store.state_keys("").await.unwrap().len(), 5);
}

/// One commit carries blocks, deletions and rows.
pub async fn commit_applies_all_parts<P: Place>(place: &P) {
    let store = place.open().await;
    let (old, new) = (raw(b"old"), raw(b"new"));
    let before = Changes::new()
        .put([old.clone()])
        .set("stays", "s")
        .set("goes", "g");
    store.commit(before).await.unwrap();
    let changes = Changes::new()
        .put([new.clone()])
        .delete([*old.cid()])
        .set("comes", "c")
        .clear("goes");
    store.commit(changes).await.unwrap();
    assert!(!store.has(old.cid()).await.unwrap());
    expect_block(&store, &new).await;
    assert_eq!(store.state_keys("").await.unwrap(), ["comes", "stays"]);
}

/// A block both dropped and kept stays, whether it was there before or not.
pub async fn put_wins_over_delete_in_one_commit<P: Place>(place: &P) {
    let store = place.open().await;
    let block = raw(b"both");
    for _ in 0..2 {
        let changes = Changes::new().put([block.clone()]).delete([*block.cid()]);
        store.commit(changes).await.unwrap();
        expect_block(&store, &block).await;
    }
}

/// Dropping and clearing what is not there changes nothing.
pub async fn deleting_what_is_absent_is_fine<P: Place>(place: &P) {
    let store = place.open().await;
    let changes = Changes::new()
        .delete([*raw(b"absent").cid()])
        .clear("absent");
    store.commit(changes).await.unwrap();
    store.commit(Changes::new()).await.unwrap();
}

/// Rows are applied in their order.
pub async fn later_row_of_one_name_counts<P: Place>(place: &P) {
    let store = place.open().await;
    let changes = Changes::new()
        .set("a", "1")
        .set("a", "2")
        .set("b", "1")
        .clear("b");
    store.commit(changes).await.unwrap();
    assert_eq!(store.state("a").await.unwrap().unwrap(), "2");
    assert!(store.state("b").await.unwrap().is_none());
}

/// The same block twice is one block.
pub async fn putting_twice_keeps_one<P: Place>(place: &P) {
    let store = place.open().await;
    let block = raw(b"twice");
    let changes = Changes::new().put([block.clone(), block.clone()]);
    store.commit(changes.clone()).await.unwrap();
    store.commit(changes).await.unwrap();
    assert_eq!(store.cids(None, 10).await.unwrap(), [*block.cid()]);
}

/// Version and codec are the asker's: a block of a directory is found as the leaf that somebody takes it for.
pub async fn a_block_is_found_under_every_cid_of_its_multihash<P: Place>(place: &P) {
    let store = place.open().await;
    for (number, put) in spellings(b"first").into_iter().enumerate() {
        let content = format!("content {number}");
        let cids = spellings(content.as_bytes());
        let block = Block::verified(cids[number], content.clone().into_bytes()).unwrap();
        store
            .commit(Changes::new().put([block.clone()]))
            .await
            .unwrap();
        for cid in &cids {
            assert!(store.has(cid).await.unwrap(), "{put} as {cid}");
            let found = store.block(cid).await.unwrap().unwrap();
            assert_eq!((found.cid(), found.bytes()), (cid, block.bytes()));
        }
        let all = store.blocks(&cids).await.unwrap();
        let all: Vec<Cid> = all
            .iter()
            .map(|block| *block.as_ref().unwrap().cid())
            .collect();
        assert_eq!(all, cids);
        // It is one block, under the CID that it came with first.
        let again = cids.iter().map(|cid| block.named(cid).unwrap());
        store.commit(Changes::new().put(again)).await.unwrap();
    }
    let listed = store.cids(None, 100).await.unwrap();
    assert_eq!(listed.len(), spellings(b"").len());
    for (number, cid) in listed.iter().enumerate() {
        let put = (0..listed.len()).find(|number| {
            let content = format!("content {number}");
            spellings(content.as_bytes())[*number] == *cid
        });
        assert!(put.is_some(), "{number}: {cid}");
    }
    // Other content is not found.
    for cid in spellings(b"nowhere") {
        assert!(!store.has(&cid).await.unwrap());
        assert_eq!(store.block(&cid).await.unwrap(), None);
    }
    drop(store);
    let store = place.open().await;
    for cid in spellings(b"content 0") {
        assert!(store.has(&cid).await.unwrap());
    }
}

/// Whoever drops a block names it as they know it.
pub async fn a_block_is_dropped_under_every_cid_of_its_multihash<P: Place>(place: &P) {
    let store = place.open().await;
    let cids = spellings(b"gone");
    for dropped in &cids {
        let block = Block::verified(cids[0], b"gone".to_vec()).unwrap();
        store.commit(Changes::new().put([block])).await.unwrap();
        store
            .commit(Changes::new().delete([*dropped]))
            .await
            .unwrap();
        for cid in &cids {
            assert!(!store.has(cid).await.unwrap(), "{dropped}: {cid}");
        }
        assert_eq!(store.cids(None, 10).await.unwrap(), []);
    }
    // Dropped under one and put under another in one commit, it stays, and once.
    for put in &cids {
        let block = Block::verified(*put, b"gone".to_vec()).unwrap();
        let changes = Changes::new().put([block]).delete(cids.clone());
        store.commit(changes).await.unwrap();
        assert!(store.has(&cids[0]).await.unwrap());
        assert_eq!(store.cids(None, 10).await.unwrap().len(), 1);
    }
}

/// CIDs of one multihash: of version 0, and of version 1 with codecs that are read, and with one that is not.
fn spellings(content: &[u8]) -> Vec<Cid> {
    let hash = *cid_of(Codec::Raw, content).hash();
    let codecs = [Codec::DagPb, Codec::Raw, Codec::DagCbor].map(Codec::code);
    let of_codec = |code| Cid::new_v1(code, hash);
    let version_0 = Cid::new_v0(hash).unwrap();
    [version_0]
        .into_iter()
        .chain(codecs.map(of_codec))
        .chain([of_codec(0x90)])
        .collect()
}

/// A prefix selects exactly the names that begin with it.
pub async fn keys_are_listed_by_prefix_in_order<P: Place>(place: &P) {
    let store = place.open().await;
    let keys = ["b", "a/2", "a/10", "a", "a0", "a/1", "ab/1", "a/\u{10ffff}"];
    let changes = keys
        .iter()
        .fold(Changes::new(), |changes, key| changes.set(*key, "x"));
    store.commit(changes).await.unwrap();
    let listed = store.state_keys("a/").await.unwrap();
    assert_eq!(listed, ["a/1", "a/10", "a/2", "a/\u{10ffff}"]);
    assert_eq!(store.state_keys("").await.unwrap().len(), keys.len());
    assert!(store.state_keys("c").await.unwrap().is_empty());
}

/// Pages neither repeat nor skip, and follow the binary form of CIDs.
pub async fn cids_are_paged_in_order<P: Place>(place: &P) {
    let store = place.open().await;
    let blocks: Vec<Block> = (0_u32..57).map(|n| raw(&n.to_be_bytes())).collect();
    store
        .commit(Changes::new().put(blocks.clone()))
        .await
        .unwrap();
    let mut expected: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    expected.sort_by_key(Cid::to_bytes);
    let mut listed: Vec<Cid> = Vec::new();
    loop {
        let page = store.cids(listed.last(), 10).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 10);
        listed.extend(page);
    }
    assert_eq!(listed, expected);
    assert!(store.cids(None, 0).await.unwrap().is_empty());
}

/// What was committed is there after the last handle was dropped.
pub async fn everything_survives_reopening<P: Place>(place: &P) {
    let (kept, dropped) = (raw(b"kept"), raw(b"dropped"));
    let store = place.open().await;
    let changes = Changes::new()
        .put([kept.clone(), dropped.clone()])
        .set("row", "value");
    store.commit(changes).await.unwrap();
    drop(store);

    let store = place.open().await;
    expect_block(&store, &kept).await;
    assert_eq!(store.state("row").await.unwrap().unwrap(), "value");
    let changes = Changes::new().delete([*dropped.cid()]).clear("row");
    store.commit(changes).await.unwrap();
    drop(store);

    let store = place.open().await;
    expect_block(&store, &kept).await;
    assert!(!store.has(dropped.cid()).await.unwrap());
    assert!(store.state("row").await.unwrap().is_none());
}

/// Commits that are under way at once do not disturb each other.
pub async fn overlapping_commits_all_land<P: Place>(place: &P) {
    let store = place.open().await;
    let commits = (0_u32..20).map(|n| {
        let block = raw(&n.to_be_bytes());
        let key = format!("row/{n}");
        store.commit(
            Changes::new()
                .put([block])
                .set(key, n.to_be_bytes().to_vec()),
        )
    });
    for outcome in join_all(commits).await {
        outcome.unwrap();
    }
    assert_eq!(store.cids(None, 100).await.unwrap().len(), 20);
    assert_eq!(store.state_keys("row/").await.unwrap().len(), 20);
}

/// A commit of a few megabytes is nothing unusual.
pub async fn large_commit_lands<P: Place>(place: &P) {
    let store = place.open().await;
    let blocks = (0_u32..1000).map(|n| raw(&n.to_be_bytes().repeat(1024)));
    store.commit(Changes::new().put(blocks)).await.unwrap();
    assert_eq!(store.cids(None, 2000).await.unwrap().len(), 1000);
}

/// A check of the rows finds nothing in a store that nobody has touched, however often it was written to and opened.
pub async fn rows_that_were_committed_are_sound<P: Place>(place: &P) {
    for round in 0..3_u32 {
        let store = place.open().await;
        assert!(store.check_rows().await.unwrap().is_sound());
        let changes = Changes::new()
            .set("stays", round.to_be_bytes().to_vec())
            .set(format!("new/{round}"), "x")
            .clear(format!("new/{}", round.saturating_sub(1)));
        store.commit(changes).await.unwrap();
        assert!(store.check_rows().await.unwrap().is_sound());
    }
    let store = place.open().await;
    store.commit(Changes::new().settle()).await.unwrap();
    assert_eq!(store.state_keys("").await.unwrap(), ["new/2", "stays"]);
}

async fn expect_block(store: &impl BlockStore, block: &Block) {
    let found = store.block(block.cid()).await.unwrap().unwrap();
    assert_eq!(found.cid(), block.cid());
    assert_eq!(found.bytes(), block.bytes());
}

fn raw(bytes: &[u8]) -> Block {
    Block::new(Codec::Raw, bytes.to_vec()).unwrap()
}
