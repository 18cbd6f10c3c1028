//! The store against RocksDB BlobDB of the same library, on the same disk in the same run.
//!
//! Both write batches that are synced, both check each block against its CID after reading. Prints a figure a line, as
//! JSON. `--quick` (and Cargo's own check that benches run) measures little, `--only 1KiB` (`256KiB`, `commits`,
//! `million`) one part, `--once` one round.
#![allow(clippy::print_stdout, reason = "figures are printed")]

#[path = "store/blob.rs"]
mod blob;
#[path = "store/figures.rs"]
mod figures;

use std::env;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use figures::{
    Draw, contents, peak_mib, print, print_beside, processor_time, resident_mib, written_bytes,
};
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::{Value, dag_cbor};
use perennis_store::{Batch, Store, StoreOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where data lie: below the target folder, since the system's folder for temporary files may be memory, where a sync costs nothing.
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

const KIB: usize = 1 << 10;
/// Rounds of the comparison that count; odd, for there to be a middle.
const ROUNDS: usize = 5;

struct Size {
    name: &'static str,
    block_bytes: usize,
    blocks: usize,
    batch: usize,
    reads: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    if let Some(at) = arguments
        .iter()
        .position(|argument| argument == "--resident")
    {
        return resident(Path::new(&arguments[at + 1]));
    }
    if let Some(at) = arguments.iter().position(|argument| argument == "--upkeep") {
        let written = arguments.get(at + 2).map(|written| written.parse());
        return upkeep(Path::new(&arguments[at + 1]), written.transpose()?);
    }
    let part = if has("--quick") || !has("--bench") {
        50
    } else {
        1
    };
    let sizes = [
        Size {
            name: "1KiB",
            block_bytes: KIB,
            blocks: 200_000 / part,
            batch: 1000,
            reads: 200_000 / part,
        },
        Size {
            name: "256KiB",
            block_bytes: 256 * KIB,
            blocks: 4_000 / part,
            batch: 16,
            reads: 8_000 / part,
        },
    ];
    let only = arguments
        .iter()
        .position(|argument| argument == "--only")
        .and_then(|at| arguments.get(at + 1));
    let rounds = if part == 1 && !has("--once") {
        ROUNDS
    } else {
        0
    };
    let is_asked = |name: &str| only.is_none_or(|only| only == name);
    for size in sizes.iter().filter(|size| is_asked(size.name)) {
        compare(size, rounds)?;
    }
    if is_asked("commits") {
        small_commits(if part == 1 { 20_000 } else { 500 })?;
    }
    if is_asked("million") {
        million(1_000_000 / part)?;
    }
    Ok(())
}

/// Puts and gets of one size, of the store and of BlobDB, several times in turn: what is told is the round whose
/// ratio is in the middle, so that what else the machine does weighs on both alike.
fn compare(size: &Size, rounds: usize) -> Result<()> {
    let blocks: Vec<Block> = contents(size.blocks, size.block_bytes);
    let mut puts = Vec::new();
    let mut gets = Vec::new();
    let mut cost = Cost::default();
    let mut peer_name = "RocksDB BlobDB";
    // The first round also meets memory that the machine has not yet handed out: it is not counted.
    for round in 0..=rounds {
        let dir = tempfile::tempdir_in(SCRATCH)?;
        let (peer_dir, store_dir) = (dir.path().join("blob"), dir.path().join("store"));
        let (peer, store, put, peer_put);
        if round % 2 == 0 {
            (peer, peer_put) = put_into_peer(&peer_dir, &blocks, size)?;
            (store, put, cost) = put_into_store(&store_dir, &blocks, size)?;
        } else {
            (store, put, cost) = put_into_store(&store_dir, &blocks, size)?;
            (peer, peer_put) = put_into_peer(&peer_dir, &blocks, size)?;
        }
        peer_name = blob::Peer::name(&peer_dir)?;
        let of_peer = || {
            read(&blocks, size, |cid| {
                peer.block(cid)?.ok_or("the peer has lost a block")?;
                Ok(())
            })
        };
        let of_store = || {
            read(&blocks, size, |cid| {
                store.block(cid)?.ok_or("the store has lost a block")?;
                Ok(())
            })
        };
        let (get, peer_get);
        if round % 2 == 0 {
            (peer_get, get) = (of_peer()?, of_store()?);
        } else {
            (get, peer_get) = (of_store()?, of_peer()?);
        }
        if round > 0 || rounds == 0 {
            puts.push((put, peer_put));
            gets.push((get, peer_get));
        }
    }
    let (put, peer_put) = middle(puts);
    print_beside(
        &format!("store/put/{}", size.name),
        put,
        "blocks/s",
        (peer_name, peer_put),
    );
    if let Some(processor) = cost.processor {
        let each = processor.as_secs_f64() * 1e3 / size.blocks as f64;
        print(&format!("store/cpu/{}", size.name), each * 1e3, "ms");
    }
    if let Some(written) = cost.written {
        print(&format!("store/written/{}", size.name), written, "B/B");
        if size.block_bytes > KIB {
            print("store/written", written, "B/B");
        }
    }
    let (get, peer_get) = middle(gets);
    print_beside(
        &format!("store/get/{}", size.name),
        get,
        "blocks/s",
        (peer_name, peer_get),
    );
    Ok(())
}

fn put_into_peer(dir: &Path, blocks: &[Block], size: &Size) -> Result<(blob::Peer, f64)> {
    let peer = blob::Peer::open(dir)?;
    let start = Instant::now();
    for batch in blocks.chunks(size.batch) {
        peer.put(batch)?;
    }
    let put = rate(blocks.len(), start);
    // What it still has to move between its files shall not slow down what is measured next.
    peer.settle()?;
    Ok((peer, put))
}

/// What writing took, where the system tells.
#[derive(Default)]
struct Cost {
    /// Bytes that went to the disk for each byte of block.
    written: Option<f64>,
    /// Of all threads, what they do in the background too.
    processor: Option<Duration>,
}

fn put_into_store(dir: &Path, blocks: &[Block], size: &Size) -> Result<(Store, f64, Cost)> {
    let store = Store::open(dir, &StoreOptions::default())?;
    let before = written_bytes();
    let processor = processor_time();
    let start = Instant::now();
    for blocks in blocks.chunks(size.batch) {
        let mut batch = Batch::new();
        for block in blocks {
            batch.put_block(block.clone());
        }
        store.commit(batch)?;
    }
    let put = rate(blocks.len(), start);
    let payload = (size.blocks * size.block_bytes) as f64;
    let written = before
        .zip(written_bytes())
        .map(|(before, after)| (after - before) as f64 / payload);
    let processor = processor
        .zip(processor_time())
        .map(|(before, after)| after - before);
    Ok((store, put, Cost { written, processor }))
}

/// Reads at random, in the same order for everybody.
fn read(blocks: &[Block], size: &Size, get: impl Fn(&Cid) -> Result<()>) -> Result<f64> {
    let mut draw = Draw(1);
    let start = Instant::now();
    for _ in 0..size.reads {
        get(blocks[draw.below(blocks.len())].cid())?;
    }
    Ok(rate(size.reads, start))
}

/// The round in the middle, by the ratio of ours and the peer's.
fn middle(mut rounds: Vec<(f64, f64)>) -> (f64, f64) {
    rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    rounds[rounds.len() / 2]
}

/// Commits of one small block each from 64 threads that wait for the answer.
fn small_commits(commits: u64) -> Result<()> {
    let dir = tempfile::tempdir_in(SCRATCH)?;
    let store = Store::open(dir.path(), &StoreOptions::default())?;
    let left = AtomicU64::new(commits);
    let start = Instant::now();
    let mut waits: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let mut waits = Vec::new();
                    while let Ok(number) =
                        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                            left.checked_sub(1)
                        })
                    {
                        let mut batch = Batch::new();
                        let text = format!("{number:0600}").into_bytes();
                        if let Ok(block) = Block::new(Codec::Raw, text) {
                            batch.put_block(block);
                        }
                        batch.put_meta(&number.to_be_bytes(), number.to_be_bytes());
                        let asked = Instant::now();
                        if store.commit(batch).is_ok() {
                            waits.push(asked.elapsed());
                        }
                    }
                    waits
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    let took = start.elapsed();
    waits.sort_unstable();
    if waits.len() as u64 != commits {
        return Err("a commit failed".into());
    }
    print(
        "store/commit/64",
        commits as f64 / took.as_secs_f64(),
        "commits/s",
    );
    print(
        "store/commit/64/p99",
        waits[waits.len() * 99 / 100].as_secs_f64() * 1e3,
        "ms",
    );
    Ok(())
}

/// A store of very many small blocks, in trees of which every other one is pinned: how long it takes to open, what it holds in
/// memory when it is read, and what collecting and packing take.
fn million(blocks: usize) -> Result<()> {
    let dir = tempfile::tempdir_in(SCRATCH)?;
    let store = Store::open(dir.path(), &StoreOptions::default())?;
    let mut draw = Draw(2);
    let mut bytes = 0;
    let before = written_bytes();
    for tree in 0..blocks / 1000 {
        let mut batch = Batch::new();
        let leaves: Vec<Block> = (0..999).map(|_| draw.block(KIB)).collect();
        let links = leaves.iter().map(|leaf| Value::Link(*leaf.cid())).collect();
        let root = dag_cbor::encode(&Value::List(links))?;
        let root = Block::new(Codec::DagCbor, root)?;
        if tree % 2 == 0 {
            batch.pin(&tree.to_le_bytes(), *root.cid());
        }
        for block in leaves.into_iter().chain([root]) {
            bytes += block.bytes().len();
            batch.put_block(block);
        }
        store.commit(batch)?;
    }
    drop(store);
    let written = before
        .zip(written_bytes())
        .map(|(before, after)| (after - before) as f64 / bytes as f64);
    // Memory is that of a process that did nothing else.
    for task in ["--resident", "--upkeep"] {
        let output = std::process::Command::new(env::current_exe()?)
            .args([task.as_ref(), dir.path().as_os_str()])
            .args(written.map(|written| written.to_string()))
            .output()?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
    }
    print("store/blocks/1M", bytes as f64 / (1 << 20) as f64, "MiB");
    Ok(())
}

/// Collects garbage, packs the rest, and collects again. `written` is what was written for each byte until now.
fn upkeep(dir: &Path, written: Option<f64>) -> Result<()> {
    let store = Store::open(dir, &StoreOptions::default())?;
    let collect = |name: &str| -> Result<()> {
        let start = Instant::now();
        let progress = store.collect()?.finish()?;
        let blocks = progress.marked_blocks + progress.dropped_blocks;
        print(
            &format!("store/{name}/1M"),
            rate(blocks as usize, start),
            "blocks/s",
        );
        print(&format!("store/peak/{name}/1M"), peak_mib()?, "MiB");
        Ok(())
    };
    collect("collect")?;
    let before = written_bytes();
    let start = Instant::now();
    let mut moved = 0;
    loop {
        let step = store.compact(50)?;
        moved += step.moved_bytes;
        if step.done {
            break;
        }
    }
    let took = start.elapsed().as_secs_f64();
    print(
        "store/pack/1M",
        moved as f64 / took / (1 << 20) as f64,
        "MiB/s",
    );
    print("store/peak/pack/1M", peak_mib()?, "MiB");
    if let (Some(written), Some(before), Some(after)) = (written, before, written_bytes()) {
        let packing = (after - before) as f64 / moved as f64;
        print("store/written/packed", written + packing, "B/B");
    }
    collect("collect_packed")
}

fn resident(dir: &Path) -> Result<()> {
    let start = Instant::now();
    let store = Arc::new(Store::open(dir, &StoreOptions::default())?);
    print("store/open/1M", start.elapsed().as_secs_f64() * 1e3, "ms");
    print("store/rss/idle", resident_mib()?, "MiB");
    let mut after = None;
    loop {
        let page = store.cids(after.as_ref(), 10_000)?;
        let Some(last) = page.last().copied() else {
            break;
        };
        for cid in page.iter().step_by(5) {
            store.block(cid)?.ok_or("a block is gone")?;
        }
        after = Some(last);
    }
    print("store/rss/1M", resident_mib()?, "MiB");
    Ok(())
}

fn rate(count: usize, start: Instant) -> f64 {
    count as f64 / start.elapsed().as_secs_f64()
}
