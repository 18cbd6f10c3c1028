//! A node that fetches graphs from a peer by bitswap, killed while their blocks come.
//!
//! What the peer sends passes through a tap, and at a byte of it that was drawn the node is killed: in a handshake, between
//! two blocks, while a batch is stored, or when all has come. Started again, it must list and have what it said was fetched,
//! and have every block that was seen before: who asks once more fetches the rest.

use std::collections::BTreeSet;
use std::path::Path;

use perennis_shared::cid::{Block, Cid};
use serde_json::Value as Json;

use super::look::{self, Arrivals};
use super::tap::Tap;
use super::{Draw, config, killer};
use crate::node::{self, Answer, Node};
use crate::publisher::Publisher;

/// Leaves below a root: more than one batch that a node stores.
const LEAVES: usize = 112;
const LEAF_BYTES: usize = 64 << 10;
/// Bytes that two peers send to each other before the first block.
const GREETINGS: u64 = 8 << 10;
/// Kills after which the data are thrown away, so that looking at everything stays quick.
const KILLS_PER_DATA: u64 = 20;
const CAR: &str = "Content-Type: application/vnd.ipld.car";

/// A graph, and what is known of it.
struct Wanted {
    blocks: Vec<Block>,
    /// Whether the node has said that it was fetched.
    is_acknowledged: bool,
    /// Blocks that the node has shown.
    there: BTreeSet<Cid>,
}

/// Kills a node `kills` times; its data are below `dir`. The same seed gives the same bytes.
///
/// # Panics
/// When a node does not start again, or does not fetch what its peer has.
pub fn run(dir: &Path, kills: u64, seed: u64, mut tell: impl FnMut(&Arrivals)) -> Arrivals {
    let config = config(dir);
    let mut outcome = Arrivals::default();
    let mut draw = Draw::new(seed);
    while outcome.kills < kills {
        let round = tempfile::tempdir_in(dir).expect("a folder for these data");
        let data = round.path().join("data");
        let source = Node::start_with(&round.path().join("source"), &config);
        let mut publisher = Publisher::new(1);
        let mut graphs: Vec<Wanted> = Vec::new();
        let mut node = Node::start_with(&data, &config);
        for _ in 0..KILLS_PER_DATA.min(kills - outcome.kills) {
            if graphs.last().is_none_or(|last| last.is_acknowledged) {
                graphs.push(Wanted::on(&source, &mut publisher, outcome.kills));
            }
            let wanted = graphs.last_mut().expect("one that is not fetched");
            wanted.arrive_until_killed(&mut node, &source, &mut draw, &mut outcome);
            node = outcome.look(&data, || Node::start_with(&data, &config));
            for graph in &mut graphs {
                graph.look(&node, &mut outcome);
            }
            tell(&outcome);
        }
        let last = graphs.last_mut().expect("at least one");
        last.finish(&node, &source, &mut outcome);
    }
    outcome
}

impl Wanted {
    /// A graph that the source has: the newest of a name that it follows.
    fn on(source: &Node, publisher: &mut Publisher, seed: u64) -> Self {
        let blocks = look::graph(seed, LEAVES, LEAF_BYTES);
        let message = publisher.graph_message(blocks[0].cid(), &blocks);
        let taken = source.request("PUT", &message.path, &[CAR], &message.body);
        assert_eq!(taken.status, 200, "{}", taken.text());
        Self {
            blocks,
            is_acknowledged: false,
            there: BTreeSet::new(),
        }
    }

    /// Asks the node for it, and lets pass what comes until the node is dead.
    fn arrive_until_killed(
        &mut self,
        node: &mut Node,
        source: &Node,
        draw: &mut Draw,
        outcome: &mut Arrivals,
    ) {
        let (tap, path) = self.way(source);
        let left = (self.blocks.len() - self.there.len()) as u64 * LEAF_BYTES as u64;
        let bytes = match draw.below(4) {
            0 => draw.below(GREETINGS),
            _ => draw.below(GREETINGS + left * 17 / 16),
        };
        tap.open_until(bytes, killer(node));
        let answer = node::request(node.admin_address(), "POST", &path, &[], b"");
        let end = answer.as_ref().map(last_line).unwrap_or_default();
        let is_killed = tap.close();
        if !is_killed {
            assert_eq!(end["event"], "done", "{end}");
        }
        node.kill();
        if end["event"] == "done" {
            self.is_acknowledged = true;
            outcome.acknowledged += 1;
        } else {
            outcome.midway += 1;
        }
    }

    /// A tap before the source, and what is asked of the node for it.
    fn way(&self, source: &Node) -> (Tap, String) {
        let address = source.address_of_peers();
        let tap = Tap::to(&address.to_string());
        let from = format!("/tcp/{}/", address.port());
        let to = format!("/tcp/{}/", tap.address().port());
        let peer = source.peer().replace(&from, &to).replace('/', "%2F");
        let path = format!("/v1/fetched/{}?peer={peer}", self.blocks[0].cid());
        (tap, path)
    }

    /// Holds what a node that was started again shows of it against what is known.
    fn look(&mut self, node: &Node, outcome: &mut Arrivals) {
        let root = self.blocks[0].cid().to_string();
        let list = node.json("/v1/fetched");
        let mut listed = list["fetched"].as_array().into_iter().flatten();
        let is_listed = listed.any(|row| row["cid"] == *root);
        outcome.lost += u64::from(self.is_acknowledged && !is_listed);
        outcome.silent += u64::from(is_listed && !look::has_whole(node, &self.blocks));
        // It is there, whether or not the answer to who asked was.
        self.is_acknowledged |= is_listed;
        let there = look::there(node, &self.blocks);
        outcome.lost += self.there.difference(&there).count() as u64;
        self.there.extend(there);
    }

    /// Asks once more and lets everything come.
    fn finish(&mut self, node: &Node, source: &Node, outcome: &mut Arrivals) {
        let (tap, path) = self.way(source);
        tap.open();
        let done = last_line(&node.request("POST", &path, &[], b""));
        assert_eq!(done["event"], "done", "{done}");
        // What was there is not fetched again.
        let all = self.blocks.len() as u64;
        let fetched = done["blocks"].as_u64().unwrap_or(all);
        outcome.lost += fetched.saturating_sub(all - self.there.len() as u64);
        self.is_acknowledged = true;
        self.look(node, outcome);
    }
}

/// The last line of an answer in lines of JSON; nothing of one that was broken off.
fn last_line(answer: &Answer) -> Json {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let line = text.lines().next_back().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_default()
}
