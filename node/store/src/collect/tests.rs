#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use perennis_shared::codec::{Value, dag_cbor};

use super::*;
use crate::testing::{Loss, LyingDisk, MortalHome, Power};
use crate::{RocksOptions, StoreOptions};
use perennis_shared::cid::{Block, Codec};

/// A store in memory, and what outlives a power cut.
struct Machine {
    power: Power,
    disk: LyingDisk,
    home: MortalHome,
}

impl Machine {
    fn new() -> Self {
        let power = Power::default();
        Self {
            disk: LyingDisk::new(&power),
            home: MortalHome::new(&power),
            power,
        }
    }

    fn open(&self) -> Store {
        let options = StoreOptions {
            segment_bytes: 64 << 10,
            reserve_bytes: 4096,
            flush_bytes: 128 << 10,
            checkpoint_bytes: 64 << 10,
            index: RocksOptions::default(),
        };
        let home = Arc::new(self.home.clone());
        let disk = Arc::new(self.disk.clone());
        Store::open_on(Path::new("/store"), &options, disk, home, None, &mut |_| {}).unwrap()
    }

    fn restart(self, loss: Loss) -> Self {
        self.power.cut();
        let power = Power::default();
        Self {
            disk: self.disk.survivors(loss, &power),
            home: self.home.survivors(loss, &power),
            power,
        }
    }
}

/// Each block and what it links to, those above before those below.
type Graph = Vec<(Block, Vec<Cid>)>;

fn node(number: usize, links: &[Cid]) -> (Block, Vec<Cid>) {
    let mut items = vec![Value::Int(number as i128)];
    items.extend(links.iter().copied().map(Value::Link));
    let bytes = dag_cbor::encode(&Value::List(items)).unwrap();
    (Block::new(Codec::DagCbor, bytes).unwrap(), links.to_vec())
}

/// A chain of blocks, each of which links to the next, to the one after it, and to one of a few leaves that many share.
fn graph(blocks: usize) -> Graph {
    let leaves: Vec<Block> = (0..blocks / 8 + 1)
        .map(|number| Block::new(Codec::Raw, format!("leaf {number}").into_bytes()).unwrap())
        .collect();
    let mut chain: Graph = Vec::new();
    for number in 0..blocks {
        let mut links = vec![*leaves[number % leaves.len()].cid()];
        links.extend(chain.iter().rev().take(2).map(|(block, _)| *block.cid()));
        chain.push(node(number, &links));
    }
    chain.reverse();
    chain.extend(leaves.into_iter().map(|leaf| (leaf, Vec::new())));
    chain
}

fn root(graph: &Graph) -> Cid {
    *graph[0].0.cid()
}

/// Puts a graph, pinned by its first block until that is unpinned.
fn put(store: &Store, graph: &Graph, key: &[u8]) {
    for blocks in graph.chunks(500) {
        let mut batch = Batch::new();
        for (block, _) in blocks {
            batch.put_block(block.clone());
        }
        store.commit(batch).unwrap();
    }
    let mut batch = Batch::new();
    batch.pin(key, root(graph));
    store.commit(batch).unwrap();
}

fn unpin(store: &Store, key: &[u8]) {
    let mut batch = Batch::new();
    batch.unpin(key);
    store.commit(batch).unwrap();
}

/// Checks that what is stored has all that it links to, and returns how many blocks of the graph are stored.
fn check_whole(store: &Store, graph: &Graph, context: &str) -> usize {
    let stored: BTreeMap<Cid, bool> = graph
        .iter()
        .map(|(block, _)| (*block.cid(), store.has(block.cid()).unwrap()))
        .collect();
    for (block, links) in graph {
        if stored[block.cid()] {
            for link in links {
                assert!(stored[link], "{context}: {} lacks {link}", block.cid());
            }
        }
    }
    stored.values().filter(|stored| **stored).count()
}

#[test]
fn a_block_goes_with_or_after_all_that_link_to_it() {
    let store = Machine::new().open();
    let (dead, alive) = (graph(2500), graph(40));
    put(&store, &dead, b"dead");
    put(&store, &alive, b"alive");
    unpin(&store, b"dead");
    let mut collection = store.collect().unwrap();
    let mut left = Vec::new();
    while !collection.step(1).unwrap().done {
        let stored = check_whole(&store, &dead, "under way");
        if left.last() != Some(&stored) {
            left.push(stored);
        }
    }
    assert!(left.len() > 3, "it was dropped in {left:?}");
    assert_eq!(check_whole(&store, &alive, "alive"), alive.len());
    // Leaves that both have are alive.
    let shared = dead
        .iter()
        .filter(|(block, _)| store.has(block.cid()).unwrap());
    let is_alive = |cid: &Cid| alive.iter().any(|(block, _)| block.cid() == cid);
    assert!(shared.into_iter().all(|(block, _)| is_alive(block.cid())));
}

#[test]
fn a_collection_that_a_power_cut_ends_leaves_nothing_half() {
    let dead = graph(1500);
    let mut halves = 0;
    for point in 0.. {
        let machine = Machine::new();
        let store = machine.open();
        put(&store, &dead, b"dead");
        unpin(&store, b"dead");
        let mut collection = store.collect().unwrap();
        machine.power.cut_after(point);
        let finished = loop {
            match collection.step(1) {
                // What could not be read was kept, and is told.
                Ok(progress) if progress.done => break progress.unread_blocks == 0,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        drop((collection, store));
        for loss in [Loss::Everything, Loss::Nothing, Loss::Some(point)] {
            let copy = Machine {
                power: machine.power.clone(),
                disk: machine.disk.clone(),
                home: machine.home.clone(),
            };
            let store = copy.restart(loss).open();
            let stored = check_whole(&store, &dead, &format!("cut after {point}, {loss:?}"));
            halves += usize::from(stored > 0 && stored < dead.len());
            assert!(!finished || stored == 0 || loss != Loss::Nothing);
        }
        if finished {
            break;
        }
    }
    assert!(halves > 0, "no cut came between two drops");
}

#[test]
fn what_is_required_while_it_is_swept_stays_with_all_below_it() {
    let store = Machine::new().open();
    let dead = graph(2500);
    put(&store, &dead, b"dead");
    unpin(&store, b"dead");
    let mut collection = store.collect().unwrap();
    while check_whole(&store, &dead, "before") == dead.len() {
        collection.step(1).unwrap();
    }
    let top = dead
        .iter()
        .map(|(block, _)| *block.cid())
        .find(|cid| store.has(cid).unwrap())
        .unwrap();
    let below = check_whole(&store, &dead, "required");
    let mut batch = Batch::new();
    batch.require(top);
    store.commit(batch).unwrap();
    let progress = collection.finish().unwrap();
    assert!(store.has(&top).unwrap());
    assert!(progress.dropped_blocks > 0);
    assert_eq!(check_whole(&store, &dead, "after"), below);
}

#[test]
fn a_second_collection_ends_the_first() {
    let store = Machine::new().open();
    let dead = graph(20);
    put(&store, &dead, b"dead");
    unpin(&store, b"dead");
    let first = store.collect().unwrap();
    // Noted for the first only.
    let mut batch = Batch::new();
    batch.require(root(&dead));
    store.commit(batch).unwrap();
    let second = store.collect().unwrap();
    assert!(matches!(first.finish(), Err(UpkeepError::Busy)));
    assert_eq!(check_whole(&store, &dead, "after the first"), dead.len());
    second.finish().unwrap();
    assert_eq!(check_whole(&store, &dead, "after the second"), 0);
}
