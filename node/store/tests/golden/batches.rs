//! What the golden folders were filled with, and what a store that took over some of it shows.
//!
//! Batch `number` is a publish: two leaves and a root, the head of one of three names, its pin, a queue row in the place
//! of an earlier one, and a row of the caller's. It says the same for ever, because the folders do.

use std::collections::BTreeMap;

use bytes::Bytes;
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::{Value, dag_cbor};
use perennis_shared::ipns::Name;
use perennis_shared::sign::SigningKey;
use perennis_shared::time::Millis;
use perennis_store::{Batch, HeadRow, Queue, Store};

/// The queue that the batches use.
pub const QUEUE: Queue = Queue(3);

/// A publish.
pub fn batch(number: u8) -> Batch {
    let mut batch = Batch::new();
    let blocks = blocks(number);
    let root = *blocks[2].cid();
    for block in blocks {
        batch.put_block(block);
    }
    batch.put_head(name(number % 3), head(number));
    batch.pin(&pin(number), root);
    if number.is_multiple_of(2) {
        batch.dequeue(QUEUE, &entry(number - 1), due(number - 1));
    }
    batch.enqueue(QUEUE, &entry(number), due(number), vec![number; 5]);
    batch.put_meta(&[b'm', number % 5], [number]);
    batch
}

/// Two leaves, and a root that links to them.
pub fn blocks(number: u8) -> [Block; 3] {
    let leaf = |text: String| Block::new(Codec::Raw, text.into_bytes()).unwrap();
    let small = leaf(format!("small leaf {number}"));
    let large = leaf(format!("leaf {number}, ").repeat(60 + usize::from(number)));
    let links = [&small, &large].map(|block| Value::Link(*block.cid()));
    let root = dag_cbor::encode(&Value::List(links.to_vec())).unwrap();
    [small, large, Block::new(Codec::DagCbor, root).unwrap()]
}

/// One of the names.
pub fn name(which: u8) -> Name {
    Name::from_public_key(&SigningKey::from_seed(&[which + 1; 32]).public())
}

/// The head that a batch sets.
pub fn head(number: u8) -> HeadRow {
    HeadRow {
        record: Bytes::from(format!("record {number}")),
        value: Bytes::from(format!("/ipfs/{}", blocks(number)[2].cid())),
        sequence: u64::from(number),
        valid_until: Millis(4_000_000_000_000),
        stored_at: Millis(1_700_000_000_000),
    }
}

fn pin(number: u8) -> Vec<u8> {
    vec![b'p', number % 4]
}

/// Entries come again every third batch; every second batch takes out the one of the batch before.
fn entry(number: u8) -> Vec<u8> {
    vec![b'q', number % 3]
}

fn due(number: u8) -> Millis {
    Millis(u64::from(number) * 100)
}

/// What the batches make of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Blocks by CID.
    pub blocks: BTreeMap<Cid, Bytes>,
    /// Heads by name.
    pub heads: BTreeMap<u8, HeadRow>,
    /// Roots by pin.
    pub pins: BTreeMap<Vec<u8>, Cid>,
    /// When an entry is due, and its payload.
    pub queue: BTreeMap<Vec<u8>, (Millis, Vec<u8>)>,
    /// Rows of the caller's.
    pub metas: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Shown {
    /// What these batches make, one after the other.
    pub fn of(batches: impl IntoIterator<Item = u8>) -> Self {
        let mut shown = Self::default();
        for number in batches {
            let blocks = blocks(number);
            shown.pins.insert(pin(number), *blocks[2].cid());
            shown
                .blocks
                .extend(blocks.map(|block| block.into_parts()));
            shown.heads.insert(number % 3, head(number));
            if number.is_multiple_of(2)
                && shown.queue.get(&entry(number - 1)).map(|(at, _)| *at) == Some(due(number - 1))
            {
                shown.queue.remove(&entry(number - 1));
            }
            shown
                .queue
                .insert(entry(number), (due(number), vec![number; 5]));
            shown.metas.insert(vec![b'm', number % 5], vec![number]);
        }
        shown
    }

    /// What a store shows of all that the batches could have made.
    pub fn by(store: &Store) -> Self {
        let mut shown = Self::default();
        for number in 1..=20 {
            for block in blocks(number) {
                if let Some(found) = store.block(block.cid()).unwrap() {
                    shown.blocks.insert(*block.cid(), found.bytes().clone());
                }
            }
        }
        for which in 0..3 {
            shown
                .heads
                .extend(store.head(&name(which)).unwrap().map(|head| (which, head)));
        }
        shown.pins = store.pins(None, usize::MAX).unwrap().into_iter().collect();
        shown.metas = store
            .metas(b"m", None, usize::MAX)
            .unwrap()
            .into_iter()
            .collect();
        let rows = store
            .queue_due(QUEUE, Millis(u64::MAX), usize::MAX)
            .unwrap();
        assert_eq!(store.queue_len(QUEUE).unwrap(), rows.len());
        shown.queue = rows
            .into_iter()
            .map(|row| (row.key, (row.due, row.payload)))
            .collect();
        shown
    }
}
