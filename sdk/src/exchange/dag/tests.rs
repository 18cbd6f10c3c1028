#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use perennis_shared::{
    cid::VerifyError,
    codec::{Value, dag_cbor},
};

use super::*;
use crate::store::Memory;

/// Blocks in memory, and how many were asked for at once at most.
#[derive(Default)]
struct Place {
    blocks: HashMap<Cid, Block>,
    now: AtomicUsize,
    most: AtomicUsize,
    asked: AtomicUsize,
}

impl Source for Place {
    fn name(&self) -> String {
        "place".into()
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Block, SourceError>> {
        Box::pin(async {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            self.blocks
                .get(cid)
                .cloned()
                .ok_or(VerifyError::Mismatch.into())
        })
    }
}

/// Batches that came, and what is held from the start.
#[derive(Default)]
struct Batches {
    held: HashMap<Cid, Held>,
    kept: Mutex<Vec<Vec<Block>>>,
}

impl Sink for Batches {
    async fn held(&self, cids: &[Cid]) -> Result<Vec<Held>, StoreError> {
        let held = |cid| self.held.get(cid).cloned().unwrap_or(Held::Absent);
        Ok(cids.iter().map(held).collect())
    }

    async fn keep(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        self.kept.lock().push(blocks);
        Ok(())
    }
}

/// Leaves of `size` bytes, in lists of ten, in one list. The root stands last.
fn tree(leaves: usize, size: usize) -> Vec<Block> {
    let leaf = |number: usize| {
        let mut content = vec![0; size];
        content[..8].copy_from_slice(&(number as u64).to_le_bytes());
        Block::new(Codec::Raw, content).unwrap()
    };
    let mut all: Vec<Block> = (0..leaves).map(leaf).collect();
    let list = |blocks: &[Block]| {
        let links = blocks
            .iter()
            .map(|block| Value::from(*block.cid()))
            .collect();
        Block::new(
            Codec::DagCbor,
            dag_cbor::encode(&Value::List(links)).unwrap(),
        )
        .unwrap()
    };
    let lists: Vec<Block> = all.chunks(10).map(list).collect();
    let root = list(&lists);
    all.extend(lists);
    all.push(root);
    all
}

fn place(blocks: &[Block]) -> Place {
    let blocks = blocks
        .iter()
        .map(|block| (*block.cid(), block.clone()))
        .collect();
    Place {
        blocks,
        ..Place::default()
    }
}

fn root(blocks: &[Block]) -> [Cid; 1] {
    [*blocks.last().unwrap().cid()]
}

#[tokio::test]
async fn everything_comes_once_within_the_bounds_and_in_batches() {
    let blocks = tree(200, 1_000);
    let (place, sink) = (place(&blocks), Batches::default());
    let limits = DagLimits {
        in_flight: 7,
        batch_bytes: 20_000,
        ..DagLimits::default()
    };
    let done = fetch_dag(&place, &root(&blocks), &sink, limits, |_| ())
        .await
        .unwrap();
    assert_eq!((done.blocks, done.left), (221, 0));
    let kept = sink.kept.lock();
    let all: HashSet<Cid> = kept.iter().flatten().map(|block| *block.cid()).collect();
    assert_eq!(all.len(), 221);
    assert_eq!(kept.iter().map(Vec::len).sum::<usize>(), 221);
    assert!(kept.len() > 5 && kept.len() < 30, "{} batches", kept.len());
    assert_eq!(place.most.load(Ordering::SeqCst), 7);
}

#[tokio::test]
async fn bytes_in_flight_are_bounded_by_the_size_of_what_comes() {
    let blocks = tree(100, 100_000);
    let (place, sink) = (place(&blocks), Batches::default());
    let limits = DagLimits {
        in_flight_bytes: 600_000,
        ..DagLimits::default()
    };
    fetch_dag(&place, &root(&blocks), &sink, limits, |_| ())
        .await
        .unwrap();
    assert!(place.most.load(Ordering::SeqCst) < 60);
}

#[tokio::test]
async fn what_the_sink_has_is_not_asked_for() {
    let blocks = tree(20, 100);
    let place = place(&blocks);
    let mut sink = Batches::default();
    // One list with all below it, and a leaf of the other.
    sink.held.insert(*blocks[20].cid(), Held::Whole);
    sink.held.insert(*blocks[15].cid(), Held::Whole);
    sink.held
        .insert(root(&blocks)[0], Held::Block(blocks[22].clone()));
    let done = fetch_dag(&place, &root(&blocks), &sink, DagLimits::default(), |_| ()).await;
    assert_eq!(done.unwrap().blocks, 10);
    assert_eq!(place.asked.load(Ordering::SeqCst), 10);
}

#[tokio::test]
async fn what_came_before_a_failure_is_kept() {
    let blocks = tree(30, 100);
    let (place, store) = (place(&blocks[1..]), Memory::default());
    let limits = DagLimits {
        in_flight: 1,
        ..DagLimits::default()
    };
    let (root, sink) = (root(&blocks), StoreSink(&store));
    let fetch = fetch_dag(&place, &root, &sink, limits, |_| ());
    assert_eq!(fetch.await.unwrap_err().code(), "block_unavailable");
    assert!(store.has(&root[0]).await.unwrap());
}

#[tokio::test]
async fn a_dag_above_its_bounds_is_refused() {
    let blocks = tree(50, 100);
    let place = place(&blocks);
    for limits in [
        DagLimits {
            blocks: 20,
            ..DagLimits::default()
        },
        DagLimits {
            bytes: 2_000,
            ..DagLimits::default()
        },
    ] {
        let sink = Batches::default();
        let error = fetch_dag(&place, &root(&blocks), &sink, limits, |_| ())
            .await
            .unwrap_err();
        assert_eq!(error.code(), "dag_too_large");
    }
}
