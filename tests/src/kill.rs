//! A node killed under load (`kill -9`), and the oracle of what it had acknowledged.
//!
//! Several publishers post messages at once; after a number of acknowledgements, another one each time, the one who
//! got the last of them kills the node, while the others are in the middle of theirs. Then the node is started again
//! on the same data and looked at: a publish that was acknowledged and is not there is *lost*; a head that can be seen
//! while a block it leads to cannot is *half*. What was not acknowledged is sent again, as a client does.
//!
//! [`follow`] and [`fetch`] kill a node while content comes to it from another one, at a byte of it that was drawn.

pub mod fetch;
pub mod follow;

mod look;
mod tap;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use perennis_shared::cid::Cid;
use perennis_shared::codec::car::Reader;

use crate::node::Node;
use crate::publisher::{Connection, Message, Publisher};

pub use look::Arrivals;

/// Who publish at the same time.
const PUBLISHERS: u8 = 4;
/// Most acknowledgements before a kill.
const ACKNOWLEDGED: u64 = 24;
/// Kills after which the data are thrown away, so that looking at everything stays quick.
const KILLS_PER_DATA: u64 = 50;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Times the node was killed, started again and looked at.
    pub kills: u64,
    /// Publishes it had acknowledged, all times together.
    pub acknowledged: u64,
    /// Acknowledged publishes that were not there.
    pub lost: u64,
    /// Heads that could be seen without all that they lead to.
    pub half: u64,
}

/// One publisher, and what it knows.
struct Writer {
    publisher: Publisher,
    /// All messages made, the last of which may not have been acknowledged.
    sent: Vec<Message>,
    acknowledged: u64,
}

impl Writer {
    fn new(number: u8) -> Self {
        Self {
            publisher: Publisher::new(number),
            sent: Vec::new(),
            acknowledged: 0,
        }
    }

    /// The message that waits for its answer, else a new one.
    fn message(&mut self) -> Message {
        if self.sent.len() as u64 == self.acknowledged {
            let message = self.publisher.next_message();
            self.sent.push(message);
        }
        self.sent[self.sent.len() - 1].clone()
    }
}

/// Kills a node `kills` times; its data are below `dir`. The same seed gives the same numbers of acknowledgements
/// before each kill.
///
/// # Panics
/// When a node does not start again, or refuses a message.
pub fn run(dir: &Path, kills: u64, seed: u64, mut tell: impl FnMut(&Outcome)) -> Outcome {
    let config = config(dir);
    let mut outcome = Outcome::default();
    let mut draw = Draw::new(seed);
    while outcome.kills < kills {
        let round = tempfile::tempdir_in(dir).expect("a folder for these data");
        let data = round.path().join("data");
        let mut writers: Vec<Writer> = (0..PUBLISHERS).map(Writer::new).collect();
        let mut node = Node::start_with(&data, &config);
        for _ in 0..KILLS_PER_DATA.min(kills - outcome.kills) {
            outcome.acknowledged += publish_until_killed(&mut node, &mut writers, draw.next());
            node = Node::start_with(&data, &config);
            outcome.kills += 1;
            for writer in &mut writers {
                look(&node, writer, &mut outcome);
            }
            tell(&outcome);
        }
    }
    outcome
}

/// A configuration with which the same few names may publish faster than anybody by default.
fn config(dir: &Path) -> PathBuf {
    let config = dir.join("load.toml");
    std::fs::write(&config, "[admission]\nname-rate = 1000000\n").expect("a configuration file");
    config
}

/// Numbers that a seed names.
struct Draw(u64);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        self.0 >> 33
    }

    /// One of `0..bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// All publish at once until as many as `random` says were acknowledged, and the node is dead.
fn publish_until_killed(node: &mut Node, writers: &mut [Writer], random: u64) -> u64 {
    let address = node.admin_address().to_owned();
    let left = AtomicU64::new(1 + random % ACKNOWLEDGED);
    let acknowledged = AtomicU64::new(0);
    let killer = killer(node);
    thread::scope(|scope| {
        let (address, left, acknowledged, killer) = (&address, &left, &acknowledged, &killer);
        for writer in writers {
            scope.spawn(move || {
                let Ok(mut connection) = Connection::open(address) else {
                    return;
                };
                loop {
                    let message = writer.message();
                    let Ok((status, answer)) = connection.post(&message) else {
                        return;
                    };
                    let answer = String::from_utf8_lossy(&answer);
                    assert_eq!(status, 200, "{answer}");
                    writer.acknowledged = message.sequence;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                    if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                        killer();
                    }
                }
            });
        }
    });
    node.kill();
    acknowledged.into_inner()
}

/// Kills the node's process without waiting for its end.
fn killer(node: &Node) -> impl Fn() + Send + Sync + use<> {
    let id = i32::try_from(node.process_id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    move || {
        let id = id.expect("a process id");
        rustix::process::kill_process(id, rustix::process::Signal::KILL)
            .expect("the node can be killed");
    }
}

/// Holds what a node shows of a publisher against what the publisher knows.
fn look(node: &Node, writer: &mut Writer, outcome: &mut Outcome) {
    let name = writer.publisher.name();
    let status = node.request("GET", &format!("/v1/names/{name}"), &[], b"");
    let shown = match status.status {
        404 => 0,
        200 => sequence_in(&status.body),
        other => panic!("{other}: {}", status.text()),
    };
    if shown < writer.acknowledged {
        outcome.lost += writer.acknowledged - shown;
    }
    let Some(head) = writer.sent.iter().find(|message| message.sequence == shown) else {
        // Nothing yet; anything else that was never sent would be a head from nowhere.
        outcome.half += u64::from(shown != 0);
        return;
    };
    let dag = node.request("GET", &format!("/ipfs/{}?format=car", head.head), &[], b"");
    let there: BTreeSet<Cid> = match Reader::new(&dag.body) {
        Ok(blocks) if dag.status == 200 => blocks.flatten().map(|block| *block.cid()).collect(),
        _ => BTreeSet::new(),
    };
    let sent = writer
        .sent
        .iter()
        .filter(|message| message.sequence <= shown);
    let mut all = sent.flat_map(|message| &message.blocks);
    outcome.half += u64::from(!all.all(|cid| there.contains(cid)));
}

fn sequence_in(status: &[u8]) -> u64 {
    let status: serde_json::Value = serde_json::from_slice(status).expect("a status in JSON");
    status["sequence"].as_u64().expect("a sequence")
}
