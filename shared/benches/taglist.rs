//! Figures of tag lists: rates of import and of appending to the log, blocks rewritten by a change, and
//! sizes of proofs. One JSON object a line.

#![allow(
    clippy::print_stdout,
    reason = "a benchmark reports on standard output"
)]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::{collections::HashMap, time::Instant};

use bytes::Bytes;
use perennis_shared::{
    cid::{Block, Cid},
    did::{DidDocument, Identity, Profile},
    log::{self, Author, Entry, UnverifiedEntry},
    taglist::{
        Blocks, DatedOp, DeviceTag, Handle, Hlc, Key, KeyPrefix, Label, Note, Op, Row, Stamp, Tag,
        export,
        import::{self, ImportOptions},
        tree::{self, Update},
    },
    time::Millis,
};
use zeroize::Zeroizing;

#[derive(Default)]
struct Store(HashMap<Cid, Bytes>);

impl Blocks for Store {
    fn block(&self, cid: &Cid) -> Option<Bytes> {
        self.0.get(cid).cloned()
    }
}

impl Store {
    fn commit(&mut self, update: Update) -> Option<Cid> {
        for block in update.added {
            let (cid, bytes) = block.into_parts();
            self.0.insert(cid, bytes);
        }
        update.root
    }
}

/// Numbers that look random, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

const NOW: u64 = 1_795_253_220_000;
const LABELS: [&str; 12] = [
    "spam",
    "bot",
    "friend",
    "journalist",
    "crypto",
    "verified-human",
    "politics",
    "artist",
    "impersonator",
    "ai",
    "follow-back",
    "rust",
];

/// A list such as somebody who labels a lot has: handles of 4 to 15 characters, half of them with capitals, one to
/// three labels each, a note of 10 to 140 characters on every eighth label.
fn realistic(count: usize, seed: u64) -> Vec<Label> {
    let mut random = Random(seed);
    let mut labels: HashMap<Key, Label> = HashMap::new();
    let alphabet = b"eeeeaaaaoooiiinnnrrrtttlllsssuddmmcchhyygbpkwfvjzxq0123456789__";
    while labels.len() < count {
        let length = 4 + random.below(12) as usize;
        let mut text: String = (0..length)
            .map(|_| char::from(alphabet[random.below(alphabet.len() as u64) as usize]))
            .collect();
        if random.below(2) == 0 {
            text[..1].make_ascii_uppercase();
        }
        for _ in 0..=random.below(3) {
            let tag = LABELS[random.below(LABELS.len() as u64) as usize];
            let handle = Handle::parse(&text).unwrap();
            let mut label = Label::new(handle, Tag::parse(tag).unwrap(), Millis(NOW));
            if random.below(8) == 0 {
                let length = 10 + random.below(131) as usize;
                label.note = Some(Note::parse(&"seen in replies ".repeat(9)[..length]).unwrap());
            }
            labels.insert(label.key(), label);
        }
    }
    let mut labels: Vec<Label> = labels.into_values().take(count).collect();
    labels.sort_by_key(Label::key);
    labels
}

fn stamp(clock: u64) -> Stamp {
    Stamp {
        clock: Hlc::from_u64((NOW << 16) + clock),
        device: DeviceTag(*b"device-1"),
    }
}

fn dated(op: Op, clock: u64) -> DatedOp {
    let clock = stamp(clock).clock;
    DatedOp { op, clock }
}

fn report(name: &str, value: f64, unit: &str) {
    println!("{{\"name\":\"taglist/{name}\",\"value\":{value:.2},\"unit\":\"{unit}\"}}");
}

fn spread(name: &str, mut values: Vec<usize>, unit: &str) {
    values.sort_unstable();
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize] as f64;
    report(&format!("{name}/median"), at(0.5), unit);
    report(&format!("{name}/p99"), at(0.99), unit);
    report(&format!("{name}/max"), at(1.0), unit);
}

fn main() {
    let labels = realistic(100_000, 88_172_645_463_325_252);
    let ops: Vec<DatedOp> = labels
        .iter()
        .map(|label| dated(Op::Set(label.clone()), 0))
        .collect();
    let mut store = Store::default();

    let start = Instant::now();
    let update = tree::apply(None, &ops, stamp(0).device, &store).unwrap();
    report("build/100000", start.elapsed().as_secs_f64() * 1e3, "ms");
    report("build/blocks", update.added.len() as f64, "blocks");
    let bytes: usize = update.added.iter().map(|block| block.bytes().len()).sum();
    report("build/bytes", bytes as f64, "bytes");
    let root = store.commit(update);

    let proofs = labels.iter().map(|label| {
        let proof = tree::prove(root, &label.key(), &store).unwrap();
        proof.to_bytes().len()
    });
    spread("proof/inclusion", proofs.collect(), "bytes");
    let absent = realistic(100_000, 42_172_645_463_325_257);
    let proofs = absent.iter().map(|label| {
        let proof = tree::prove(root, &label.key(), &store).unwrap();
        proof.to_bytes().len()
    });
    spread("proof/absence", proofs.collect(), "bytes");

    let mut random = Random(7);
    let picked: Vec<Label> = (0..5_000)
        .map(|_| labels[random.below(100_000) as usize].clone())
        .collect();
    let changed = picked.iter().cloned().map(|mut label| {
        label.negated = true;
        Op::Set(label)
    });
    one_change("change/label", root, changed.collect(), &store);
    let noted = picked.iter().cloned().map(|mut label| {
        label.note = Some(Note::parse(&"n".repeat(280)).unwrap());
        Op::Set(label)
    });
    one_change("change/note", root, noted.collect(), &store);
    let added = absent.iter().take(5_000).cloned().map(Op::Set);
    one_change("change/add", root, added.collect(), &store);
    let removed = picked.iter().map(|label| Op::Remove(label.key()));
    one_change("change/remove", root, removed.collect(), &store);

    let mut more: Vec<Row> = absent
        .iter()
        .map(|label| Op::Set(label.clone()).into_row(stamp(1)))
        .collect();
    more.sort_by_key(|row| row.key);
    let start = Instant::now();
    tree::apply_rows(root, &more, &store).unwrap();
    report(
        "import-into/100000",
        start.elapsed().as_secs_f64() * 1e3,
        "ms",
    );
    csv_of_100_000(&labels);
    log_of_10_000(&labels);
}

/// A log of 10,000 entries of one new label each: appended, opened again, and read back to its first entry.
fn log_of_10_000(labels: &[Label]) {
    const ENTRIES: usize = 10_000;
    let identity = Identity::from_root(Profile::V2, Zeroizing::new([7; 32]));
    let document = DidDocument::new(&identity, Millis(NOW)).to_block().unwrap();
    let author = Author {
        did: identity.did(),
        signer: identity.signer(),
        document: *document.cid(),
    };
    let mut store = Store::default();
    let mut head: Option<Entry> = None;
    let step = labels.len() / ENTRIES;
    // Neither sorted nor all in one place: the order in which labels are made.
    let ops: Vec<Op> = (0..ENTRIES)
        .map(|n| Op::Set(labels[(n * 7_919 % ENTRIES) * step].clone()))
        .collect();
    let start = Instant::now();
    for (n, op) in ops.into_iter().enumerate() {
        let now = Millis(NOW + n as u64);
        let appended = log::append(&author, head.as_ref(), vec![op], now, &store).unwrap();
        for block in appended.added {
            let (cid, bytes) = block.into_parts();
            store.0.insert(cid, bytes);
        }
        head = Some(appended.entry);
    }
    let seconds = start.elapsed().as_secs_f64();
    report("log/append/10000", ENTRIES as f64 / seconds, "entries/s");
    let head = head.unwrap();

    let start = Instant::now();
    let block = Block::verified(*head.cid(), store.block(head.cid()).unwrap()).unwrap();
    let opened = UnverifiedEntry::parse(&block)
        .unwrap()
        .verify(&identity.name(), &document, Millis(NOW + ENTRIES as u64))
        .unwrap();
    let page = tree::scan(opened.root(), &KeyPrefix::ALL, None, 50, &store).unwrap();
    assert_eq!(page.items.len(), 50);
    report("log/open/10000", start.elapsed().as_secs_f64() * 1e3, "ms");

    let start = Instant::now();
    let entries = log::history(&opened, usize::MAX, &store).unwrap();
    assert_eq!(entries.len(), ENTRIES);
    report(
        "log/history/10000",
        start.elapsed().as_secs_f64() * 1e3,
        "ms",
    );
}

/// Rows of a CSV file to labels, and labels to a CSV file.
fn csv_of_100_000(labels: &[Label]) {
    let start = Instant::now();
    let text = export::csv(labels);
    report(
        "csv/export/100000",
        start.elapsed().as_secs_f64() * 1e3,
        "ms",
    );
    let start = Instant::now();
    let import = import::csv(
        text.as_bytes(),
        &ImportOptions {
            now: Millis(NOW),
            ..ImportOptions::default()
        },
    )
    .unwrap();
    assert_eq!(import.valid_count(), labels.len());
    report(
        "csv/import/100000",
        start.elapsed().as_secs_f64() * 1e3,
        "ms",
    );
}

/// Blocks and bytes that one change rewrites, over many changes each made alone.
fn one_change(name: &str, root: Option<Cid>, ops: Vec<Op>, store: &Store) {
    let start = Instant::now();
    let updates: Vec<Update> = ops
        .into_iter()
        .map(|op| tree::apply(root, &[dated(op, 5)], stamp(5).device, store).unwrap())
        .collect();
    let micros = start.elapsed().as_secs_f64() * 1e6 / updates.len() as f64;
    report(&format!("{name}/time"), micros, "µs");
    let blocks = updates.iter().map(|update| update.added.len());
    spread(&format!("{name}/blocks"), blocks.collect(), "blocks");
    let bytes = updates
        .iter()
        .map(|update| update.added.iter().map(|block| block.bytes().len()).sum());
    spread(&format!("{name}/bytes"), bytes.collect(), "bytes");
}
