//! Fills the data folder of a node that is not running, through its store, so that a bench can start on it:
//! `seed DIR 1024x512 262144x64` makes 512 blocks of 1 KiB and 64 of 256 KiB, all pinned, and one published name;
//! `due=100000` among them as many names of nobody in particular whose records are due at the DHT.
//!
//! Prints the name and the CIDs as lines of JSON. No figure: this is how the other benches get their node.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking and reports on standard output"
)]

use std::{path::Path, time::Duration, time::SystemTime};

use perennis_shared::{
    cid::{Block, Cid, Codec},
    codec::{Value, dag_cbor},
    ipns::{self, Name, Record, RecordFields},
    sign::SigningKey,
    time::{Millis, Timestamp},
};
use perennis_store::{Batch, HeadRow, Queue, Store, StoreOptions};
use perennis_tests::measure;

/// Blocks of one commit.
const BATCH: usize = 1000;
/// Links of one root, so that it stays well below the limit of a block.
const LINKS: usize = 10_000;
/// Most CIDs that are printed for each length.
const PRINTED: usize = 2048;
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let Some(dir) = arguments.next() else {
        // `cargo bench` without arguments runs every bench; this one has nothing to do then.
        return;
    };
    let store = Store::open(Path::new(&dir), &StoreOptions::default()).unwrap();
    let mut roots = Vec::new();
    for argument in arguments {
        if let Some(names) = argument.strip_prefix("due=") {
            put_due_names(&store, names.parse().unwrap());
            continue;
        }
        let (bytes, count) = argument.split_once('x').unwrap();
        let (bytes, count): (usize, u64) = (bytes.parse().unwrap(), count.parse().unwrap());
        roots.extend(put_blocks(&store, bytes, count));
    }
    if let Some(root) = roots.first() {
        let name = put_name(&store, *root);
        println!("{{\"ipnsName\":\"{name}\"}}");
    }
}

/// Puts the blocks and roots that link them, pins the roots, and returns them.
fn put_blocks(store: &Store, bytes: usize, count: u64) -> Vec<Cid> {
    let mut cids = Vec::new();
    let mut batch = Batch::new();
    for index in 0..count {
        let content = measure::bytes(bytes, index);
        let block = Block::new(Codec::Raw, content).unwrap();
        if cids.len() < PRINTED {
            println!("{{\"cid\":\"{}\",\"bytes\":{bytes}}}", block.cid());
        }
        cids.push(*block.cid());
        batch.put_block(block);
        let full = (index as usize + 1).is_multiple_of(BATCH) || bytes * BATCH > 32 << 20;
        if full || index + 1 == count {
            store.commit(std::mem::take(&mut batch)).unwrap();
        }
    }
    let mut roots = Vec::new();
    for links in cids.chunks(LINKS) {
        let list = Value::List(links.iter().map(|cid| Value::Link(*cid)).collect());
        let root = Block::new(Codec::DagCbor, dag_cbor::encode(&list).unwrap()).unwrap();
        let cid = *root.cid();
        let mut batch = Batch::new();
        batch.put_block(root).pin(&cid.to_bytes(), cid);
        store.commit(batch).unwrap();
        roots.push(cid);
    }
    roots
}

/// The queue of the first router, and the row that says who that is (`docs/FORMAT.md`, "Rows of the node").
const FIRST_ROUTER: Queue = Queue(16);
const FIRST_ROUTER_ROW: &[u8] = b"r/\0";

/// Puts records of so many names and makes them due at the DHT.
fn put_due_names(store: &Store, names: u32) {
    let mut batch = Batch::new();
    batch.put_meta(FIRST_ROUTER_ROW, b"dht".as_slice());
    for number in 0..names {
        let mut seed = [5; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let key = SigningKey::from_seed(&seed);
        let (record, name) = record_of(&key, "/ipfs/bafkqaaa");
        let now = now();
        batch.put_head(name, HeadRow::new(&record, now));
        batch.enqueue(FIRST_ROUTER, name.as_bytes(), now, Vec::new());
        if number % 1_000 == 999 || number + 1 == names {
            store.commit(std::mem::take(&mut batch)).unwrap();
        }
    }
}

fn now() -> Millis {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    Millis(u64::try_from(now.as_millis()).unwrap())
}

fn record_of(key: &SigningKey, value: &str) -> (Record, Name) {
    let now = now();
    let validity = Timestamp::from(Millis(now.0 + u64::try_from(LIFETIME.as_millis()).unwrap()));
    let ttl = Duration::from_secs(300);
    let fields = RecordFields {
        value,
        sequence: 1,
        validity,
        ttl,
    };
    let record = ipns::create(key, &fields).unwrap();
    (record, Name::from_public_key(&key.public()))
}

/// Puts a head as a publish would.
fn put_name(store: &Store, head: Cid) -> Name {
    let key = SigningKey::from_seed(&[9; 32]);
    let (record, name) = record_of(&key, &format!("/ipfs/{head}"));
    let mut batch = Batch::new();
    batch.put_head(name, HeadRow::new(&record, now()));
    store.commit(batch).unwrap();
    name
}
