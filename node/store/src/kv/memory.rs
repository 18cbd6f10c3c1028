//! The twin in memory, which loses what a crash may lose.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::{Kv, KvBatch, KvError, KvSnapshot, Row};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// What outlives a crash of the [`Memory`] index on it.
#[derive(Clone, Debug, Default)]
pub struct Durable(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    flushed: Map,
    pending: Vec<KvBatch>,
    damaged: Option<(Vec<u8>, Vec<u8>)>,
}

impl Durable {
    /// Forgets all but the first `writes` writes since the last flush: what a crash may leave.
    pub fn crash(&self, writes: usize) {
        let mut kept = self.0.lock();
        kept.pending.truncate(writes);
        kept.settle();
    }

    /// A copy that goes its own way.
    #[must_use]
    pub fn fork(&self) -> Self {
        let kept = self.0.lock();
        Self(Arc::new(Mutex::new(Kept {
            flushed: kept.flushed.clone(),
            pending: kept.pending.clone(),
            damaged: kept.damaged.clone(),
        })))
    }

    /// Lets every read that touches a key with `from <= key < to` fail as damage does. Writes go on, as they do where
    /// nobody has read what is damaged.
    pub fn damage(&self, from: &[u8], to: &[u8]) {
        self.0.lock().damaged = Some((from.to_vec(), to.to_vec()));
    }

    fn check(&self, from: &[u8], to: &[u8]) -> Result<(), KvError> {
        match &self.0.lock().damaged {
            Some((first, end)) if from < end.as_slice() && to > first.as_slice() => {
                Err(KvError::Damaged {
                    reason: "a double of a test was damaged".into(),
                })
            }
            _ => Ok(()),
        }
    }

    /// All rows, those included that a crash may lose.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let kept = self.0.lock();
        let mut rows = kept.flushed.clone();
        for batch in &kept.pending {
            apply(&mut rows, batch.clone());
        }
        rows.into_iter().collect()
    }

    /// How many writes a crash may lose.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.lock().pending.len()
    }
}

impl Kept {
    fn settle(&mut self) {
        for batch in std::mem::take(&mut self.pending) {
            apply(&mut self.flushed, batch);
        }
    }
}

fn apply(map: &mut Map, batch: KvBatch) {
    for (key, value) in batch.rows {
        match value {
            Some(value) => drop(map.insert(key, value)),
            None => drop(map.remove(&key)),
        }
    }
}

/// An index in memory over what is [`Durable`].
#[derive(Debug)]
pub struct Memory {
    live: RwLock<Map>,
    durable: Durable,
}

impl Memory {
    /// The index as the last crash or the last close left it.
    #[must_use]
    pub fn open(durable: &Durable) -> Self {
        let mut kept = durable.0.lock();
        kept.settle();
        let live = RwLock::new(kept.flushed.clone());
        Self {
            live,
            durable: durable.clone(),
        }
    }
}

impl Kv for Memory {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.durable.check(key, &[key, &[0]].concat())?;
        Ok(self.live.read().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        self.durable.check(from, to)?;
        let rows = self.live.read();
        Ok(range(&rows, from, to).take(limit).collect())
    }

    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        self.durable.0.lock().pending.push(batch.clone());
        apply(&mut self.live.write(), batch);
        Ok(())
    }

    fn flush(&self, wait: bool) -> Result<(), KvError> {
        // Begun is not done: only a flush that is waited for counts in a crash.
        if wait {
            self.durable.0.lock().settle();
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn KvSnapshot + '_>, KvError> {
        Ok(Box::new(Copy {
            rows: self.live.read().clone(),
            durable: &self.durable,
        }))
    }

    fn copy_to(&self, dir: &Path) -> Result<(), KvError> {
        let why = format!("an index in memory cannot be copied to {}", dir.display());
        Err(io::Error::new(io::ErrorKind::Unsupported, why).into())
    }
}

/// The rows of one moment.
#[derive(Debug)]
struct Copy<'a> {
    rows: Map,
    durable: &'a Durable,
}

impl KvSnapshot for Copy<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.durable.check(key, &[key, &[0]].concat())?;
        Ok(self.rows.get(key).cloned())
    }

    fn page(&self, from: &[u8], to: &[u8], bytes: usize) -> Result<Vec<Row>, KvError> {
        self.durable.check(from, to)?;
        let mut taken = 0;
        Ok(range(&self.rows, from, to)
            .take_while(|(key, value)| {
                let begun = taken < bytes.max(1);
                taken += key.len() + value.len();
                begun
            })
            .collect())
    }
}

fn range<'a>(rows: &'a Map, from: &'a [u8], to: &'a [u8]) -> impl Iterator<Item = Row> + 'a {
    // A map does not take a range that ends before it begins.
    let to = to.max(from);
    let bounds = (Bound::Included(from), Bound::Excluded(to));
    rows.range::<[u8], _>(bounds)
        .map(|(key, value)| (key.clone(), value.clone()))
}
