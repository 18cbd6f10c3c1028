//! What is looked at after each kill of a node to which content comes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::car::Reader;
use perennis_shared::codec::{Value, dag_cbor};
use serde_json::Value as Json;

use crate::binary;
use crate::measure;
use crate::node::{self, Answer, Node};

/// What does not come by itself within this time does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Leaves below one block of the middle level.
const FAN: usize = 16;

/// What was found of a node that was killed while content came to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Times the node was killed, its folder verified, and the node started again and looked at.
    pub kills: u64,
    /// Kills before everything that was asked for had come.
    pub midway: u64,
    /// Follows, parts of them and whole fetches that it had acknowledged, all times together.
    pub acknowledged: u64,
    /// What was acknowledged, or was seen before, and was not there: names, newer heads, fetches, blocks.
    pub lost: u64,
    /// What was said to be whole and was not, and what neither became whole by itself nor was told.
    pub silent: u64,
    /// Damage that was told, though a kill makes none.
    pub told: u64,
}

impl Arrivals {
    /// Whether nothing was lost, silent or told for no reason.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.silent == 0 && self.told == 0
    }

    /// Prints the figures of a bench, whose acknowledgements are of what is named.
    pub fn say(&self, bench: &str, acknowledged: &str) {
        for (name, value, unit) in [
            ("points", self.kills, "kills"),
            ("midway", self.midway, "kills"),
            ("acknowledged", self.acknowledged, acknowledged),
            ("lost", self.lost, "things"),
            ("silent", self.silent, "things"),
            ("told", self.told, "things"),
        ] {
            measure::say(&format!("{bench}/{name}"), value as f64, unit);
        }
    }

    /// What the store verifier says of the folder of a dead node, and the next node on it of damage.
    pub(super) fn look(&mut self, data: &Path, start: impl FnOnce() -> Node) -> Node {
        self.kills += 1;
        if let Some(wrong) = wrong_in(data) {
            eprintln!("kill {}: {wrong}", self.kills);
            self.told += 1;
        }
        let node = start();
        let damage = node.json("/v1/damage");
        let before = self.told;
        for kind in [
            "losses",
            "rowsSetAside",
            "quarantinedBlocks",
            "lostHeads",
            "floors",
        ] {
            self.told += damage[kind].as_u64().expect("a number");
        }
        if self.told > before {
            eprintln!("kill {}: {damage}", self.kills);
        }
        node
    }
}

/// A graph of three levels over `leaves` different leaves, its root first.
pub(super) fn graph(seed: u64, leaves: usize, leaf_bytes: usize) -> Vec<Block> {
    let leaf = |number: usize| {
        let seed = seed.wrapping_mul(1_000_003) + number as u64 + 1;
        Block::new(Codec::Raw, measure::bytes(leaf_bytes, seed)).expect("a leaf within its limit")
    };
    let leaves: Vec<Block> = (0..leaves).map(leaf).collect();
    let middle: Vec<Block> = leaves.chunks(FAN).map(above).collect();
    let root = above(&middle);
    [vec![root], middle, leaves].concat()
}

fn above(blocks: &[Block]) -> Block {
    let links = blocks.iter().map(|block| Value::Link(*block.cid()));
    let list = dag_cbor::encode(&Value::List(links.collect())).expect("a short list");
    Block::new(Codec::DagCbor, list).expect("a short block")
}

/// Those of the blocks that the node has.
pub(super) fn there(node: &Node, blocks: &[Block]) -> BTreeSet<Cid> {
    let cids = blocks.iter().map(Block::cid);
    let has = |cid: &&Cid| {
        let path = format!("/ipfs/{cid}?format=raw");
        node.request("HEAD", &path, &[], b"").status == 200
    };
    cids.filter(has).copied().collect()
}

/// Whether the node gives the whole graph below the first of these blocks, which are all there are.
pub(super) fn has_whole(node: &Node, blocks: &[Block]) -> bool {
    let path = format!("/ipfs/{}?format=car", blocks[0].cid());
    let graph = node.request("GET", &path, &[], b"");
    let Ok(reader) = Reader::new(&graph.body) else {
        return false;
    };
    let given: BTreeSet<Cid> = reader.flatten().map(|block| *block.cid()).collect();
    graph.status == 200 && blocks.iter().all(|block| given.contains(block.cid()))
}

/// Asks a node that may die until the answer is as it should be. `Some(false)`: it did not become so in time; `None`: the
/// node is dead.
pub(super) fn wait(node: &mut Node, path: &str, is_so: impl Fn(&Answer) -> bool) -> Option<bool> {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        if !node.is_running() {
            return None;
        }
        let answer = node::request(node.admin_address(), "GET", path, &[], b"");
        if answer.as_ref().is_some_and(&is_so) {
            return Some(true);
        }
        thread::yield_now();
    }
    Some(false)
}

/// What `perennis store verify` says of a folder that it does not find whole, or in which something is lost.
fn wrong_in(data: &Path) -> Option<String> {
    let verified = Command::new(binary::perennis())
        .args(["--json", "store", "verify"])
        .arg(data)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&verified.stdout);
    let report: Json = serde_json::from_str(&said).unwrap_or_default();
    let is_whole = verified.status.success() && report["whole"] == true && report["losses"] == 0;
    (!is_whole).then(|| format!("{said}{}", String::from_utf8_lossy(&verified.stderr)))
}
