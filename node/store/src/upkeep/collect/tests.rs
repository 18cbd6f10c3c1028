#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use perennis_shared::codec::{Value, dag_cbor};

use super::*;
use crate::testing::{Loss, Machine, Power};
use crate::{IndexOptions, StoreOptions};
use perennis_shared::cid::{Block, Codec};

/// A machine whose store has small files.
fn machine() -> Machine {
    let options = StoreOptions {
        segment_bytes: 64 << 10,
        reserve_bytes: 4096,
        flush_bytes: 128 << 10,
        checkpoint_bytes: 64 << 10,
        index: IndexOptions::default(),
    };
    Machine::new(Power::default(), options)
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
    let store = machine().open().unwrap();
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
        let machine = machine();
        let store = machine.open().unwrap();
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
        machine.power.cut();
        for loss in [Loss::Everything, Loss::Nothing, Loss::Some(point)] {
            let store = machine.copy(loss, Power::default()).open().unwrap();
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
    let store = machine().open().unwrap();
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
fn what_was_required_or_pinned_since_it_was_planned_is_not_dropped() {
    for pins in [false, true] {
        let store = machine().open().unwrap();
        let dead = graph(1);
        put(&store, &dead, b"dead");
        unpin(&store, b"dead");
        let collection = store.collect().unwrap();
        let forget = || {
            Batch::reclaiming(Reclaim::Forget {
                hashes: vec![*root(&dead).hash()],
                generation: collection.generation,
                marked: collection.young_marked,
            })
        };
        let mut batch = Batch::new();
        if pins {
            batch.pin_unstored(b"ahead", root(&dead));
        } else {
            batch.require(root(&dead));
        }
        store.commit(batch).unwrap();
        let refused = store.commit(forget());
        assert!(
            matches!(refused, Err(CommitError::PinsChanged)),
            "{refused:?}"
        );
        assert!(store.has(&root(&dead)).unwrap());
    }
}

#[test]
fn a_second_collection_ends_the_first() {
    let store = machine().open().unwrap();
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

#[test]
fn a_wide_tree_is_dropped_whole_and_one_that_is_pinned_meanwhile_stays_whole() {
    let store = machine().open().unwrap();
    // More blocks with links than fit into one commit, below one root, and each twice.
    let inner: Graph = (0..3000).map(|number| node(number, &[])).collect();
    let links: Vec<Cid> = inner.iter().map(|(block, _)| *block.cid()).collect();
    let mut dead: Graph = vec![node(9999, &[links.clone(), links].concat())];
    dead.extend(inner);
    put(&store, &dead, b"dead");
    unpin(&store, b"dead");
    let mut collection = store.collect().unwrap();
    while collection.step(1).unwrap().swept_blocks == 0 {}
    let mut batch = Batch::new();
    batch.pin(b"again", root(&dead));
    store.commit(batch).unwrap();
    assert_eq!(collection.finish().unwrap().dropped_blocks, 0);
    assert_eq!(check_whole(&store, &dead, "pinned again"), dead.len());
    unpin(&store, b"again");
    let progress = store.collect().unwrap().finish().unwrap();
    assert_eq!(progress.dropped_blocks, dead.len() as u64);
    assert_eq!(check_whole(&store, &dead, "unpinned"), 0);
}

#[test]
fn links_to_nothing_take_no_memory_and_junk_codecs_hide_no_links() {
    let store = machine().open().unwrap();
    let nowhere: Vec<Cid> = (0..2000)
        .map(|number| {
            *Block::new(Codec::Raw, format!("nowhere {number}"))
                .unwrap()
                .cid()
        })
        .collect();
    let (leaf, _) = node(1, &[]);
    let (over, _) = node(2, &[nowhere, vec![*leaf.cid()]].concat());
    let mut batch = Batch::new();
    batch.put_block(leaf.clone());
    for codec in 0x1000..0x1010 {
        let cid = Cid::new_v1(codec, *over.cid().hash());
        batch.put_block(Block::verified(cid, over.bytes().clone()).unwrap());
    }
    store.commit(batch).unwrap();
    let mut collection = store.collect().unwrap();
    while !matches!(collection.phase, Phase::Sweep { .. }) {
        collection.step(1).unwrap();
    }
    assert_eq!(
        collection.marks.parents(&leaf.cid().hash().to_bytes()),
        Some(1)
    );
    let known = collection.marks.memory_bytes();
    assert!(known < 20_000, "{known}");
    assert_eq!(collection.finish().unwrap().dropped_blocks, 2);
}

#[test]
fn what_does_not_fit_into_the_stack_is_found_again() {
    let store = machine().open().unwrap();
    // Each level links to many blocks with links, which wait while the next level is followed.
    let mut kept: Graph = Vec::new();
    let mut next = Vec::new();
    for level in 0..3 {
        let wide: Graph = (0..800)
            .map(|number| node(level * 1000 + number, &[]))
            .collect();
        let mut links: Vec<Cid> = wide.iter().map(|(block, _)| *block.cid()).collect();
        links.append(&mut next);
        kept.extend(wide);
        let over = node(100_000 + level, &links);
        next.push(*over.0.cid());
        kept.insert(0, over);
    }
    put(&store, &kept, b"kept");
    let mut collection = store.collect().unwrap();
    collection.open.set_room(40 * 36);
    let progress = collection.finish().unwrap();
    assert_eq!(progress.marked_blocks, kept.len() as u64);
    assert_eq!(progress.dropped_blocks, 0);
    assert_eq!(check_whole(&store, &kept, "kept"), kept.len());
}

#[test]
fn what_hangs_below_a_block_whose_row_cannot_be_read_stays() {
    for set_aside in [false, true] {
        let machine = machine();
        let store = machine.open().unwrap();
        let graph = graph(20);
        put(&store, &graph, b"pin");
        let mut other = Batch::new();
        let garbage = node(4711, &[]).0;
        other.put_block(garbage.clone());
        store.commit(other).unwrap();
        let (top, _) = &graph[3];
        let key = keys::block(top.cid().hash());
        let mut damaged = crate::kv::KvBatch::default();
        damaged.put(key.clone(), [99, 1, 2]);
        store.inner().shared.index.kv.write(damaged).unwrap();
        if set_aside {
            store.cids(None, usize::MAX).unwrap();
            store.commit(Batch::new()).unwrap();
            assert_eq!(store.damage().unwrap().rows_set_aside, 1);
        }
        let progress = store.collect().unwrap().finish().unwrap();
        for (block, _) in graph.iter().filter(|(block, _)| block.cid() != top.cid()) {
            assert!(store.has(block.cid()).unwrap(), "{set_aside}");
        }
        assert!(progress.held_back > 0, "{set_aside}");
        let mut back = Batch::new();
        back.put_block(top.clone());
        store.commit(back).unwrap();
        store.collect().unwrap().finish().unwrap();
        assert_eq!(check_whole(&store, &graph, "mended"), graph.len());
    }
}

#[test]
fn what_blocks_of_others_link_to_stays() {
    let store = machine().open().unwrap();
    let leaf = |text: &[u8]| Block::new(Codec::Raw, text.to_vec()).unwrap();
    let link = |block: &Block| [&[0xd8, 42, 0x58, 37, 0][..], &block.cid().to_bytes()].concat();
    // Keys that are out of order, and a signature's payload: version 1 of packs knows the links of neither.
    let (below_cbor, below_jose, dead) = (leaf(b"cbor"), leaf(b"jose"), leaf(b"dead"));
    let cbor = [&b"\xa2\x62bb\x01\x61a"[..], &link(&below_cbor)].concat();
    let cbor = Block::new(Codec::DagCbor, cbor).unwrap();
    let jose = [
        &b"\xa1\x67payload\x58\x24"[..],
        &below_jose.cid().to_bytes(),
    ]
    .concat();
    let jose = Block::new(Codec::DagJose, jose).unwrap();
    let mut batch = Batch::new();
    for block in [&cbor, &jose, &below_cbor, &below_jose, &dead] {
        batch.put_block(block.clone());
    }
    batch.pin(b"cbor", *cbor.cid()).pin(b"jose", *jose.cid());
    store.commit(batch).unwrap();
    let has = |block: &Block| store.has(block.cid()).unwrap();
    let collected = store.collect().unwrap().finish().unwrap();
    assert_eq!((collected.dropped_blocks, collected.unclear_blocks), (1, 0));
    assert!(has(&below_cbor) && has(&below_jose) && !has(&dead));
    unpin(&store, b"jose");
    let collected = store.collect().unwrap().finish().unwrap();
    assert_eq!(collected.dropped_blocks, 2);
    assert!(has(&cbor) && has(&below_cbor) && !has(&jose) && !has(&below_jose));
}
