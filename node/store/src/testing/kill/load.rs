//! The batches of the killed process, and how a store is read for them.

use bytes::Bytes;
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::{Value, dag_cbor};
use perennis_shared::ipns::Name;
use perennis_shared::sign::SigningKey;
use perennis_shared::time::Millis;

use crate::{Batch, HeadRow, Queue, Store};

/// Threads that write.
pub(super) const WRITERS: usize = 4;
/// Every batch of a number that this divides stays pinned; the others are garbage once the next one is there.
const KEPT: u64 = 16;
const QUEUE: Queue = Queue(200);

/// Batch `number` of a writer: three blocks, a head, a queue row that takes the place of the one before, a pin, a row.
pub(super) fn batch(writer: usize, number: u64) -> Batch {
    let mut batch = Batch::new();
    let blocks = blocks(writer, number);
    let root = root(&blocks);
    for block in blocks {
        batch.put_block(block);
    }
    batch.pin(&key(writer, None), root);
    if number.is_multiple_of(KEPT) {
        batch.pin(&key(writer, Some(number)), root);
    }
    batch.put_head(
        name(writer),
        HeadRow {
            record: Bytes::from(number.to_string()),
            value: Bytes::from(format!("/ipfs/{root}")),
            sequence: number,
            valid_until: Millis(number),
            stored_at: Millis(0),
        },
    );
    batch.dequeue(QUEUE, &key(writer, Some(number - 1)), Millis(number - 1));
    batch.enqueue(
        QUEUE,
        &key(writer, Some(number)),
        Millis(number),
        Vec::new(),
    );
    batch.put_meta(&key(writer, None), number.to_le_bytes());
    batch
}

/// The number of the newest batch of a writer by its row; 0 where there is none.
pub(super) fn current(store: &Store, writer: usize) -> u64 {
    let row = store.meta(&key(writer, None)).ok().flatten();
    row.and_then(|row| row.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

/// What a store shows of a writer.
#[derive(Debug, Default)]
pub(super) struct WriterView {
    pub(super) number: u64,
    pub(super) lost: bool,
    pub(super) half: bool,
    pub(super) wrong: Option<String>,
}

/// Looks whether the newest batch of a writer is there as a whole, is none older than what was acknowledged and none
/// that was never sent, and whether all that is pinned can be read.
pub(super) fn look(store: &Store, writer: usize, acknowledged: u64) -> WriterView {
    let number = current(store, writer);
    let mut found = WriterView {
        number,
        lost: number < acknowledged,
        ..WriterView::default()
    };
    if found.lost || number > acknowledged + 1 {
        found.wrong = Some(format!("shows {number}, acknowledged {acknowledged}"));
    }
    found.half = number > acknowledged + 1;
    if number == 0 {
        return found;
    }
    if let Err(wrong) = whole(store, writer, number) {
        found.half = true;
        found.wrong = Some(format!("batch {number}: {wrong}"));
    }
    for kept in (KEPT..=number).step_by(usize::try_from(KEPT).unwrap_or(1)) {
        let pinned = store.pin(&key(writer, Some(kept))).ok().flatten();
        if pinned.is_none() || !all_readable(store, writer, kept) {
            found.lost = true;
            found.wrong = Some(format!("pinned batch {kept} of {number} is not whole"));
        }
    }
    found
}

fn whole(store: &Store, writer: usize, number: u64) -> Result<(), String> {
    let root = root(&blocks(writer, number));
    let head = store
        .head(&name(writer))
        .map_err(|error| error.to_string())?;
    if head.map(|head| (head.sequence, head.head())) != Some((number, Some(root))) {
        return Err("another head".into());
    }
    if store
        .pin(&key(writer, None))
        .map_err(|error| error.to_string())?
        != Some(root)
    {
        return Err("another pin".into());
    }
    let rows = store
        .queue_due(QUEUE, Millis(u64::MAX), usize::MAX)
        .map_err(|error| error.to_string())?;
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row.key.starts_with(&key(writer, None)))
        .collect();
    if rows.len() != 1 || rows[0].key != key(writer, Some(number)) || rows[0].due != Millis(number)
    {
        return Err(format!("the queue has {rows:?}"));
    }
    if !all_readable(store, writer, number) {
        return Err("a block is missing or damaged".into());
    }
    Ok(())
}

fn all_readable(store: &Store, writer: usize, number: u64) -> bool {
    blocks(writer, number)
        .iter()
        .all(|block| matches!(store.block(block.cid()), Ok(Some(found)) if found == *block))
}

/// Two leaves and a root; every fourth batch has a large leaf.
fn blocks(writer: usize, number: u64) -> [Block; 3] {
    let length = if number.is_multiple_of(4) {
        20_000
    } else {
        100 + number as usize % 900
    };
    let leaf = |part: &str, length: usize| {
        let mut text = format!("{writer} {number} {part} ").into_bytes();
        text.resize(text.len() + length, b'x');
        Block::new(Codec::Raw, text).expect("a leaf is small")
    };
    let (first, second) = (leaf("first", length), leaf("second", 10));
    let links = [&first, &second]
        .map(|block| Value::Link(*block.cid()))
        .to_vec();
    let root = dag_cbor::encode(&Value::List(links)).expect("a list of two links is encodable");
    let root = Block::new(Codec::DagCbor, root).expect("a root is small");
    [first, second, root]
}

fn root(blocks: &[Block; 3]) -> Cid {
    *blocks[2].cid()
}

fn key(writer: usize, number: Option<u64>) -> Vec<u8> {
    let mut key = vec![b'w', writer as u8];
    key.extend(number.map_or_else(Vec::new, |number| number.to_be_bytes().to_vec()));
    key
}

fn name(writer: usize) -> Name {
    Name::from_public_key(&SigningKey::from_seed(&[writer as u8; 32]).public())
}
