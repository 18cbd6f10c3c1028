//! The twin in memory, which loses what a crash may lose.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::{Kv, KvBatch, KvError, Row};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// What outlives a crash of the [`Memory`] index on it.
#[derive(Clone, Debug, Default)]
pub struct Durable(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    flushed: Map,
    pending: Vec<KvBatch>,
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
        })))
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
        Ok(self.live.read().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let rows = self.live.read();
        let rows = rows.range::<[u8], _>(bounds).take(limit);
        Ok(rows
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
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

    fn copy_to(&self, dir: &Path) -> Result<(), KvError> {
        let why = format!("an index in memory cannot be copied to {}", dir.display());
        Err(io::Error::new(io::ErrorKind::Unsupported, why).into())
    }
}
