//! A node that follows names, killed while their records and blocks come to it.
//!
//! Another node has the names and all that is below their heads. The one that is killed is told to follow them: by their
//! source alone, with a message that has everything, or with a message in two parts. All it is sent passes through taps, and
//! at a byte of it that was drawn the node is killed: while it looks for a record, while a message is taken in, between two
//! blocks, in its answer. Started again, it must follow what it had acknowledged, show no older head than it had shown, have
//! every block that it had acknowledged or shown, and bring the rest by itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;

use perennis_shared::cid::{Block, Cid};
use serde_json::Value as Json;

use super::look::{self, Arrivals};
use super::tap::Tap;
use super::{Draw, config, killer};
use crate::node::{self, Answer, Node};
use crate::publisher::{Message, Publisher};

const NAMES: u8 = 3;
/// Leaves below a head.
const LEAVES: usize = 40;
/// Leaves below one of four heads: more than a node keeps in memory before it stores a part.
const MANY_LEAVES: usize = 400;
const LEAF_BYTES: usize = 24 << 10;
/// Bytes of a record with what it is sent in, and of an answer.
const SMALL: u64 = 4 << 10;
/// Kills after which the data are thrown away, so that looking at everything stays quick.
const KILLS_PER_DATA: u64 = 40;
const CAR: &str = "Content-Type: application/vnd.ipld.car";

/// How a node is told to follow a name.
#[derive(Clone, Copy)]
enum How {
    Source,
    Message,
    Parts,
}

/// A name, and what is known of it.
struct Followed {
    publisher: Publisher,
    heads: Vec<Head>,
    /// The sequence that the node has acknowledged to follow.
    acknowledged: u64,
    /// The sequence that it has shown.
    shown: u64,
    /// Blocks below the newest head that it has acknowledged or shown.
    there: BTreeSet<Cid>,
    is_whole: bool,
}

struct Head {
    message: Message,
    /// The same without the second half of its blocks.
    part: Message,
    blocks: Vec<Block>,
}

/// Kills a node `kills` times; its data are below `dir`. The same seed gives the same ways and bytes.
///
/// # Panics
/// When a node does not start again, or refuses what it is told.
pub fn run(dir: &Path, kills: u64, seed: u64, mut tell: impl FnMut(&Arrivals)) -> Arrivals {
    let config = config(dir);
    let mut outcome = Arrivals::default();
    let mut draw = Draw::new(seed);
    while outcome.kills < kills {
        let round = tempfile::tempdir_in(dir).expect("a folder for these data");
        let data = round.path().join("data");
        let source = Node::start_with(&round.path().join("source"), &config);
        let tap = Tap::to(source.address());
        let mut names: Vec<Followed> = (0..NAMES).map(Followed::new).collect();
        let mut node = Node::start_with(&data, &config);
        for _ in 0..KILLS_PER_DATA.min(kills - outcome.kills) {
            let which = draw.below(u64::from(NAMES)) as usize;
            let how = names[which].make_new_head(&source, &mut draw, outcome.kills);
            names[which].arrive_until_killed(&mut node, &tap, how, &mut draw, &mut outcome);
            node = outcome.look(&data, || Node::start_with(&data, &config));
            for name in &mut names {
                name.look(&node, &mut outcome);
            }
            tell(&outcome);
        }
        // What was acknowledged comes without being asked for again.
        tap.open();
        for name in &mut names {
            name.finish(&mut node, &mut outcome);
        }
    }
    outcome
}

impl Followed {
    fn new(number: u8) -> Self {
        Self {
            publisher: Publisher::new(number),
            heads: Vec::new(),
            acknowledged: 0,
            shown: 0,
            there: BTreeSet::new(),
            is_whole: true,
        }
    }

    fn path(&self) -> String {
        format!("/v1/names/{}", self.publisher.name())
    }

    fn newest(&self) -> &Head {
        &self.heads[self.heads.len() - 1]
    }

    /// Lets the source have a new head where the one before has come whole. Says how the node is told of what it has not
    /// acknowledged yet.
    fn make_new_head(&mut self, source: &Node, draw: &mut Draw, seed: u64) -> Option<How> {
        if self.is_whole {
            let leaves = if draw.below(4) == 0 {
                MANY_LEAVES
            } else {
                LEAVES
            };
            let head = Head::new(&mut self.publisher, seed, leaves);
            let taken = source.request("PUT", &head.message.path, &[CAR], &head.message.body);
            assert_eq!(taken.status, 200, "{}", taken.text());
            self.heads.push(head);
            self.there.clear();
            self.is_whole = false;
        }
        if self.acknowledged == self.newest().message.sequence {
            return None;
        }
        Some(match draw.below(4) {
            0 => How::Message,
            1 => How::Parts,
            _ => How::Source,
        })
    }

    /// Tells the node to follow it, and lets pass what comes until the node is dead.
    fn arrive_until_killed(
        &mut self,
        node: &mut Node,
        tap: &Tap,
        how: Option<How>,
        draw: &mut Draw,
        outcome: &mut Arrivals,
    ) {
        let left = self.newest().blocks.len() - self.there.len();
        let bytes = match draw.below(4) {
            0 => draw.below(SMALL),
            _ => draw.below(SMALL + left as u64 * LEAF_BYTES as u64 * 17 / 16),
        };
        // A message passes through a tap before the node; blocks from the source through the one before that.
        let front = Tap::to(node.admin_address());
        let (deadly, harmless) = match how {
            Some(How::Message | How::Parts) => (&front, tap),
            Some(How::Source) | None => (tap, &front),
        };
        harmless.open();
        deadly.open_until(bytes, killer(node));
        let (path, sequence) = (self.path(), self.newest().message.sequence);
        let come = thread::scope(|scope| {
            scope.spawn(|| {
                let asked = how.map_or(0, |how| self.ask(&front, tap, how));
                outcome.acknowledged += asked;
            });
            look::wait(node, &path, |answer| {
                is_pinned(answer) && number(answer, "sequence") == sequence
            })
        });
        harmless.close();
        let is_killed = deadly.close();
        assert!(is_killed || come.is_some(), "the node ended by itself");
        node.kill();
        outcome.midway += u64::from(come.is_none());
        outcome.silent += u64::from(come == Some(false));
    }

    /// Tells the node to follow it; gives how many answers came.
    fn ask(&mut self, front: &Tap, source: &Tap, how: How) -> u64 {
        let head = &self.heads[self.heads.len() - 1];
        let (sequence, all) = (head.message.sequence, &head.blocks);
        let query = format!("source=http%3A%2F%2F{}", source.address());
        let path = format!("{}?{query}", head.message.path);
        let more = format!("{path}&more=true");
        let address = front.address().to_string();
        let put = |path: &str, headers: &[&str], body: &[u8], blocks: &[Cid]| {
            let answer = node::request(&address, "PUT", path, headers, body)?;
            assert_eq!(answer.status, 200, "{}", answer.text());
            Some(blocks.to_vec())
        };
        let cids: Vec<Cid> = all.iter().map(|block| *block.cid()).collect();
        let (whole, part) = (&head.message, &head.part);
        let answers: Vec<Option<Vec<Cid>>> = match how {
            How::Source => vec![put(&path, &[], b"", &[])],
            How::Message => vec![put(&path, &[CAR], &whole.body, &cids)],
            How::Parts => {
                let first = put(&more, &[CAR], &part.body, &part.blocks);
                let second = first
                    .is_some()
                    .then(|| put(&path, &[CAR], &whole.body, &cids));
                vec![first, second.flatten()]
            }
        };
        let mut came = 0;
        for blocks in answers.into_iter().flatten() {
            self.acknowledged = sequence;
            self.there.extend(blocks);
            came += 1;
        }
        came
    }

    /// Holds what a node that was started again shows of it against what is known.
    fn look(&mut self, node: &Node, outcome: &mut Arrivals) {
        let status = node.request("GET", &self.path(), &[], b"");
        let shown = match status.status {
            404 => 0,
            200 => number(&status, "sequence"),
            other => panic!("{other}: {}", status.text()),
        };
        outcome.lost += u64::from(shown < self.acknowledged.max(self.shown));
        self.shown = shown.max(self.shown);
        let Some(head) = self
            .heads
            .iter()
            .find(|head| head.message.sequence == shown)
        else {
            // Nothing yet; anything else that was never made would be a head from nowhere.
            outcome.silent += u64::from(shown != 0);
            return;
        };
        let status: Json = serde_json::from_slice(&status.body).expect("a status in JSON");
        outcome.lost += u64::from(status["followed"] != true);
        outcome.silent += u64::from(status["head"] != head.message.head.to_string());
        let is_pinned = status["pin"] == "pinned";
        outcome.silent += u64::from(is_pinned && !look::has_whole(node, &head.blocks));
        if shown == self.newest().message.sequence {
            let there = look::there(node, &self.newest().blocks);
            outcome.lost += self.there.difference(&there).count() as u64;
            self.there.extend(there);
            self.is_whole = is_pinned;
            // It is there, whether or not the answer to its sender was.
            self.acknowledged = shown;
        }
    }

    /// Waits until what the node follows is there.
    fn finish(&mut self, node: &mut Node, outcome: &mut Arrivals) {
        if self.acknowledged == 0 {
            return;
        }
        let come = look::wait(node, &self.path(), is_pinned);
        outcome.silent += u64::from(come != Some(true));
        self.look(node, outcome);
    }
}

impl Head {
    fn new(publisher: &mut Publisher, seed: u64, leaves: usize) -> Self {
        let blocks = look::graph(seed, leaves, LEAF_BYTES);
        let parts = [&blocks[..blocks.len() / 2], &blocks[..]];
        let messages = publisher.graph_messages(blocks[0].cid(), &parts);
        let [part, message] = messages.try_into().expect("as many as parts");
        Self {
            message,
            part,
            blocks,
        }
    }
}

fn is_pinned(answer: &Answer) -> bool {
    answer.status == 200 && field(answer, "pin") == "pinned"
}

fn number(answer: &Answer, name: &str) -> u64 {
    field(answer, name).as_u64().unwrap_or_default()
}

/// A field of a status; nothing of an answer that was broken off.
fn field(answer: &Answer, name: &str) -> Json {
    let status: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
    status[name].clone()
}
