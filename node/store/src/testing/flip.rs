//! One flipped byte, anywhere in a store's folder: it ends in a right answer, in a repair, or in an error that says so.
//!
//! A store is filled once and closed. For each place its folder is copied, one byte of one file is flipped, and the store is opened
//! and read to the end. What it shows is held against what it showed before; where something is missing and nothing says
//! so, that is *silence*, the one outcome that must not be.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use perennis_shared::cid::{Block, Codec};
use perennis_shared::codec::{Value, dag_cbor};
use perennis_shared::ipns::Name;
use perennis_shared::sign::SigningKey;
use perennis_shared::time::Millis;

use crate::{
    Batch, HeadRow, IndexOptions, LossKind, Queue, ReadError, Store, StoreOptions, VerifyEvent,
    verify,
};

const QUEUE: Queue = Queue(9);

/// What came of a flipped byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is shown as it was.
    Right,
    /// All is shown as it was, after the index was made anew or something was read from elsewhere.
    Repaired,
    /// Something is missing, and that is told.
    Told(String),
    /// The store is not opened, and that says why.
    Refused(String),
    /// Something is missing or wrong, and nothing says so.
    Silent(String),
}

impl Outcome {
    /// It in a word.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Repaired => "repaired",
            Self::Told(_) => "told",
            Self::Refused(_) => "refused",
            Self::Silent(_) => "silent",
        }
    }
}

/// A store that was filled and closed, and what it shows.
#[derive(Debug)]
pub struct Sample {
    dir: PathBuf,
    shown: View,
}

type View = BTreeMap<String, Vec<u8>>;

/// What was read of a store, and what of it could not be.
struct Shown {
    view: View,
    errors: Vec<String>,
    /// The index failed: the next start makes it anew.
    is_index_damaged: bool,
}

fn options() -> StoreOptions {
    StoreOptions {
        segment_bytes: 48 << 10,
        reserve_bytes: 0,
        flush_bytes: 64 << 10,
        checkpoint_bytes: 16 << 10,
        index: IndexOptions {
            memtable_bytes: 256 << 10,
            cache_bytes: 1 << 20,
            open_files: 32,
            ..IndexOptions::default()
        },
    }
}

impl Sample {
    /// Fills a store in `dir`, which does not exist: with every kind of file that a store has.
    ///
    /// # Errors
    /// The store refuses.
    pub fn fill(dir: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let store = Store::open(dir, &options())?;
        for number in 0..24 {
            store.commit(batch(number))?;
            if number % 8 == 5 {
                // Twice, so that packs are joined and old ones are dropped.
                store.collect()?.finish()?;
                while !store.compact(100)?.done {}
                store.checkpoint()?;
            }
        }
        drop(store);
        let store = Store::open(dir, &options())?;
        let shown = show(&store);
        assert!(shown.errors.is_empty(), "{:?}", shown.errors);
        drop(store);
        Ok(Self {
            dir: dir.to_path_buf(),
            shown: shown.view,
        })
    }

    /// Every byte that was written: the file, from the folder of the store, and the offset in it. Zeros behind the end of the log
    /// are left out, which nobody wrote.
    ///
    /// # Errors
    /// The file system's.
    pub fn places(&self) -> io::Result<Vec<(PathBuf, usize)>> {
        let mut places = Vec::new();
        for path in files(&self.dir)? {
            let bytes = fs::read(self.dir.join(&path))?;
            let length = if path.extension().is_some_and(|kind| kind == "seg") {
                bytes
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |last| last + 1)
            } else {
                bytes.len()
            };
            places.extend((0..length).map(|offset| (path.clone(), offset)));
        }
        Ok(places)
    }

    /// Flips bits of a byte in a copy of the folder, in `scratch`, and says what came of it.
    ///
    /// # Errors
    /// The copy cannot be made.
    pub fn flip(&self, scratch: &Path, place: &(PathBuf, usize), mask: u8) -> io::Result<Outcome> {
        match fs::remove_dir_all(scratch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for path in files(&self.dir)? {
            let to = scratch.join(&path);
            fs::create_dir_all(to.parent().unwrap_or(scratch))?;
            fs::copy(self.dir.join(&path), to)?;
        }
        let path = scratch.join(&place.0);
        let mut bytes = fs::read(&path)?;
        bytes[place.1] ^= mask;
        fs::write(&path, bytes)?;
        let is_seen = is_found_wrong(scratch);
        let outcome = self.open(scratch);
        Ok(match outcome {
            // What costs something has to be found by who reads all as well.
            Outcome::Told(what) if !is_seen => {
                Outcome::Silent(format!("a verification finds nothing, but: {what}"))
            }
            outcome => outcome,
        })
    }

    fn open(&self, dir: &Path) -> Outcome {
        let store = match Store::open(dir, &options()) {
            Ok(store) => store,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let is_rebuilt = store.rebuilt().is_some();
        let first = show(&store);
        let mut told = told(&store);
        drop(store);
        if first.is_index_damaged {
            // It was found while it was read; the next start repairs it.
            let store = match Store::open(dir, &options()) {
                Ok(store) => store,
                Err(error) => return Outcome::Refused(error.to_string()),
            };
            let second = show(&store);
            told.extend(self::told(&store));
            if second.view == self.shown {
                return Outcome::Repaired;
            }
            return self.judge(&second, &told);
        }
        match self.judge(&first, &told) {
            Outcome::Right if is_rebuilt => Outcome::Repaired,
            outcome => outcome,
        }
    }

    fn judge(&self, shown: &Shown, told: &[String]) -> Outcome {
        if shown.view == self.shown {
            return Outcome::Right;
        }
        let errors: Vec<_> = shown.errors.iter().chain(told).cloned().collect();
        let wrong: Vec<_> = self.difference(&shown.view).collect();
        // What is shown must never be something else than it was, whatever is told.
        let is_wrong = wrong.iter().any(|what| what.starts_with("other"));
        if errors.is_empty() || is_wrong {
            Outcome::Silent(wrong.join(", "))
        } else {
            Outcome::Told(errors.join(", "))
        }
    }

    fn difference<'a>(&'a self, view: &'a View) -> impl Iterator<Item = String> + 'a {
        let keys = self.shown.keys().chain(view.keys());
        keys.filter_map(|key| match (self.shown.get(key), view.get(key)) {
            (Some(before), Some(now)) if before == now => None,
            // An older head than the one that was acknowledged is what a minimum sequence is for: it is told.
            (Some(_), Some(_))
                if key.starts_with("head")
                    || key.starts_with("meta last")
                    || key.starts_with("pin") =>
            {
                Some(format!("older {key}"))
            }
            (Some(_), Some(_)) => Some(format!("other {key}")),
            (Some(_), None) => Some(format!("no {key}")),
            (None, _) => Some(format!("too many: {key}")),
        })
    }
}

/// What a store says about what it lost.
fn told(store: &Store) -> Vec<String> {
    let found = store.found_at_start().iter();
    let found = found.filter(|loss| {
        !matches!(
            loss.kind,
            LossKind::IndexRebuilt | LossKind::DamagedCheckpoint
        )
    });
    let mut told: Vec<String> = found.map(ToString::to_string).collect();
    if let Ok(losses) = store.losses() {
        told.extend(losses.iter().map(ToString::to_string));
    }
    if let Ok(rows) = store.quarantine(None, usize::MAX) {
        told.extend(rows.into_iter().map(|row| row.reason));
    }
    told
}

/// Whether a verification finds something.
fn is_found_wrong(dir: &Path) -> bool {
    let mut is_wrong = false;
    let mut tell = |event| is_wrong |= matches!(event, VerifyEvent::Found(_));
    let verified = verify(dir, &mut tell);
    verified.is_err() || is_wrong
}

/// Reads all that can be read of a store.
fn show(store: &Store) -> Shown {
    let mut shown = Shown {
        view: View::new(),
        errors: Vec::new(),
        is_index_damaged: false,
    };
    let cids = shown.take(store.cids(None, usize::MAX)).unwrap_or_default();
    for cid in cids {
        if let Some(Some(block)) = shown.take(store.block(&cid)) {
            shown
                .view
                .insert(format!("block {cid}"), block.bytes().to_vec());
        }
    }
    for (name, head) in shown
        .take(store.heads(None, usize::MAX))
        .unwrap_or_default()
    {
        shown
            .view
            .insert(format!("head {name}"), head.record.to_vec());
        for (sequence, record) in shown.take(store.evidence(&name)).unwrap_or_default() {
            shown
                .view
                .insert(format!("evidence {name} {sequence}"), record);
        }
    }
    for (key, root) in shown.take(store.pins(None, usize::MAX)).unwrap_or_default() {
        shown.view.insert(format!("pin {key:?}"), root.to_bytes());
    }
    let queue = shown.take(store.queue_due(QUEUE, Millis(u64::MAX), usize::MAX));
    for row in queue.unwrap_or_default() {
        let value = [&row.due.0.to_le_bytes(), row.payload.as_slice()].concat();
        shown.view.insert(format!("queue {:?}", row.key), value);
    }
    for (key, value) in shown
        .take(store.metas(b"", None, usize::MAX))
        .unwrap_or_default()
    {
        let key = String::from_utf8_lossy(&key).into_owned();
        shown.view.insert(format!("meta {key}"), value);
    }
    shown
}

impl Shown {
    fn take<T>(&mut self, result: Result<T, ReadError>) -> Option<T> {
        result
            .inspect_err(|error| {
                self.errors.push(error.to_string());
                self.is_index_damaged |= matches!(error, ReadError::Index(_));
            })
            .ok()
    }
}

fn name(number: u8) -> Name {
    Name::from_public_key(&SigningKey::from_seed(&[number; 32]).public())
}

/// A publish of one of three names: blocks large and small, a head, a pin, rows.
fn batch(number: u8) -> Batch {
    let leaf = |size: usize| Block::new(Codec::Raw, vec![number; size]);
    let leaves = [
        leaf(40),
        leaf(700),
        leaf(if number.is_multiple_of(6) { 20_000 } else { 90 }),
    ];
    let mut batch = Batch::new();
    let mut links = Vec::new();
    for leaf in leaves.into_iter().flatten() {
        links.push(Value::Link(*leaf.cid()));
        batch.put_block(leaf);
    }
    let root = dag_cbor::encode(&Value::List(links)).unwrap_or_default();
    if let Ok(root) = Block::new(Codec::DagCbor, root) {
        batch.pin(&[number % 9], *root.cid());
        batch.put_block(root);
    }
    let head = HeadRow {
        record: Bytes::from(format!("record {number}")),
        value: Bytes::from(format!("value {number}")),
        sequence: u64::from(number) + 1,
        valid_until: Millis(1000),
        stored_at: Millis(u64::from(number)),
    };
    batch.put_head(name(number % 3), head);
    batch.enqueue(
        QUEUE,
        &[number % 5],
        Millis(u64::from(number)),
        vec![number; 3],
    );
    batch.put_meta(b"last", vec![number]);
    batch.put_meta(&[b'k', number], vec![number; 30]);
    batch
}

/// The files below a folder, from there; those left out that hold nothing.
fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(dir.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}
