//! What a store should show, and what it shows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::{Value, dag_cbor};
use perennis_shared::ipns::Name;
use perennis_shared::sign::SigningKey;
use perennis_shared::time::Millis;

use crate::{Batch, HeadRow, Queue, Store};

const QUEUE: Queue = Queue(9);

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A publish: blocks, a pin that replaces the one before, a head, a queue row for another, a meta row.
    Commit(u8),
    /// Another value under the sequence of this commit.
    Equivocate(u8),
    Collect,
    Compact,
    Scrub,
    Checkpoint,
}

/// Every kind of write, in an order in which segments fill, die and are reused.
pub(super) const WORKLOAD: &[Step] = &[
    Step::Commit(1),
    Step::Commit(2),
    Step::Commit(3),
    Step::Equivocate(3),
    Step::Collect,
    Step::Commit(4),
    Step::Compact,
    Step::Commit(5),
    Step::Commit(6),
    Step::Scrub,
    Step::Checkpoint,
    Step::Commit(7),
    Step::Collect,
    Step::Compact,
    Step::Commit(8),
    Step::Commit(9),
    Step::Equivocate(9),
    Step::Compact,
    Step::Commit(10),
    Step::Scrub,
    Step::Checkpoint,
    Step::Commit(11),
    Step::Checkpoint,
    Step::Collect,
    Step::Commit(12),
    Step::Compact,
    Step::Commit(13),
];

pub(super) fn name() -> Name {
    Name::from_public_key(&SigningKey::from_seed(&[7; 32]).public())
}

/// Two leaves, one of which comes again and again and is collected in between, and a root over them.
pub(super) fn blocks(number: u8) -> [Block; 3] {
    let leaf = |text: String| Block::new(Codec::Raw, text.into_bytes()).unwrap();
    let shared = leaf(format!("shared {} {}", number % 2, "s".repeat(200)));
    let own = leaf(format!(
        "own {number} {}",
        "o".repeat(100 + usize::from(number) * 40)
    ));
    let links = [&shared, &own]
        .map(|block| Value::Link(*block.cid()))
        .to_vec();
    let root = dag_cbor::encode(&Value::List(links)).unwrap();
    let root = Block::new(Codec::DagCbor, root).unwrap();
    [shared, own, root]
}

fn head(number: u8, value: &str) -> HeadRow {
    HeadRow {
        record: Bytes::from(format!("record {number} {value}")),
        value: Bytes::from(value.to_owned()),
        sequence: u64::from(number),
        valid_until: Millis(1000 + u64::from(number)),
        stored_at: Millis(1),
    }
}

pub(super) fn batch(number: u8) -> Batch {
    let mut batch = Batch::new();
    let blocks = blocks(number);
    let root = *blocks[2].cid();
    for block in blocks {
        batch.put_block(block);
    }
    batch.put_head(name(), head(number, "value"));
    batch.pin(b"current", root);
    if number.is_multiple_of(3) {
        batch.pin(&[number], root);
    }
    batch.dequeue(QUEUE, &[number - 1], due(number - 1));
    batch.enqueue(QUEUE, &[number], due(number), vec![number; 3]);
    batch.put_meta(b"last", vec![number]);
    batch
}

pub(super) fn equivocation(number: u8) -> Batch {
    let mut batch = Batch::new();
    batch.put_meta(b"last", b"must not be seen".to_vec());
    batch.put_head(name(), head(number, "another value"));
    batch
}

fn due(number: u8) -> Millis {
    Millis(u64::from(number) * 10)
}

/// What a reader can see of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) blocks: BTreeMap<Cid, Bytes>,
    pub(super) rows: Rows,
}

impl Seen {
    /// The sequence of the head.
    pub(super) fn sequence(&self) -> u64 {
        self.rows.sequence
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    sequence: u64,
    pins: BTreeMap<Vec<u8>, Cid>,
    queue: BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    last: Option<Vec<u8>>,
    evidence: BTreeSet<u64>,
}

pub(super) fn seen(store: &Store) -> Seen {
    let cids = store.cids(None, usize::MAX).unwrap();
    let blocks = cids.into_iter().map(|cid| {
        let block = store.block(&cid).unwrap().expect("a listed block is there");
        (cid, block.bytes().clone())
    });
    Seen {
        blocks: blocks.collect(),
        rows: rows(store),
    }
}

/// What a reader can see of its rows.
pub(super) fn rows(store: &Store) -> Rows {
    let queue = store
        .queue_due(QUEUE, Millis(u64::MAX), usize::MAX)
        .unwrap();
    assert_eq!(store.queue_len(QUEUE).unwrap(), queue.len());
    Rows {
        sequence: store.head(&name()).unwrap().map_or(0, |head| {
            assert_eq!(head.record, format!("record {} value", head.sequence));
            head.sequence
        }),
        pins: store.pins(None, usize::MAX).unwrap().into_iter().collect(),
        queue: queue
            .into_iter()
            .map(|row| (row.key, (row.due.0, row.payload)))
            .collect(),
        last: store.meta(b"last").unwrap(),
        evidence: store
            .evidence(&name())
            .unwrap()
            .into_iter()
            .map(|(sequence, _)| sequence)
            .collect(),
    }
}

/// What a store should show.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// Blocks that must be there.
    must: BTreeMap<Cid, Bytes>,
    /// Blocks that may be there: garbage whose collection was under way.
    may: BTreeMap<Cid, Bytes>,
    rows: Rows,
}

impl Model {
    pub(super) fn apply(&mut self, step: Step) {
        match step {
            Step::Commit(number) => self.commit(number),
            Step::Equivocate(number) => {
                self.rows.evidence.insert(u64::from(number));
            }
            Step::Collect => {
                self.must = self.reachable();
                self.may.clear();
            }
            Step::Compact | Step::Scrub | Step::Checkpoint => {}
        }
    }

    /// Whether a step can do what it is there for.
    pub(super) fn suits(&self, step: Step) -> bool {
        match step {
            Step::Equivocate(number) => self.rows.sequence == u64::from(number),
            _ => true,
        }
    }

    /// As it is when a step was begun and not finished.
    pub(super) fn unfinished(mut self, step: Step) -> Self {
        if let Step::Collect = step {
            let reachable = self.reachable();
            self.may.append(&mut self.must);
            self.must = reachable;
        }
        self
    }

    pub(super) fn matches(&self, seen: &Seen) -> bool {
        let known = |cid| self.must.get(cid).or_else(|| self.may.get(cid));
        self.rows == seen.rows
            && self
                .must
                .iter()
                .all(|(cid, bytes)| seen.blocks.get(cid) == Some(bytes))
            && seen
                .blocks
                .iter()
                .all(|(cid, bytes)| known(cid) == Some(bytes))
    }

    fn commit(&mut self, number: u8) {
        let blocks = blocks(number);
        let root = *blocks[2].cid();
        for block in blocks {
            let (cid, bytes) = block.into_parts();
            self.must.insert(cid, bytes);
        }
        let rows = &mut self.rows;
        rows.sequence = u64::from(number);
        rows.pins.insert(b"current".to_vec(), root);
        if number.is_multiple_of(3) {
            rows.pins.insert(vec![number], root);
        }
        rows.queue.remove(&vec![number - 1]);
        rows.queue
            .insert(vec![number], (due(number).0, vec![number; 3]));
        rows.last = Some(vec![number]);
    }

    fn reachable(&self) -> BTreeMap<Cid, Bytes> {
        let roots: BTreeSet<Cid> = self.rows.pins.values().copied().collect();
        let all = (1..=60)
            .map(blocks)
            .filter(|blocks| roots.contains(blocks[2].cid()));
        all.flatten().map(Block::into_parts).collect()
    }
}
