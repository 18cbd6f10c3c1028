//! What outlives a crash of an index, write by write.
//!
//! Owns what was flushed and, in their order, the writes since: a crash leaves the effect of the first *n* of them, which is what
//! the contract of [`Kv`](crate::kv::Kv) allows. It can also be damaged, which reads find and writes do not.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::kv::{KvBatch, KvError, KvRow};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// What outlives a crash of the [`MortalKv`](super::MortalKv) on it. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Durable(Arc<Mutex<Written>>);

#[derive(Clone, Debug, Default)]
struct Written {
    flushed: Map,
    pending: Vec<KvBatch>,
    damaged: Option<(Vec<u8>, Vec<u8>)>,
}

impl Durable {
    /// Forgets all but the first `writes` writes since the last flush: what a crash may leave.
    pub fn crash(&self, writes: usize) {
        let mut written = self.0.lock();
        written.pending.truncate(writes);
        written.settle();
    }

    /// A copy that goes its own way.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().clone())))
    }

    /// Lets every read that touches a key with `from <= key < to` fail as damage does. Writes go on, as they do where
    /// nobody has read what is damaged.
    pub fn damage(&self, from: &[u8], to: &[u8]) {
        self.0.lock().damaged = Some((from.to_vec(), to.to_vec()));
    }

    /// All rows, those included that a crash may lose.
    #[must_use]
    pub fn rows(&self) -> Vec<KvRow> {
        let mut written = self.0.lock().clone();
        written.settle();
        written.flushed.into_iter().collect()
    }

    /// How many writes a crash may lose.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.lock().pending.len()
    }

    /// Notes a write.
    pub(super) fn write(&self, batch: KvBatch) {
        self.0.lock().pending.push(batch);
    }

    /// Makes all writes last.
    pub(super) fn flush(&self) {
        self.0.lock().settle();
    }

    /// # Errors
    /// A key with `from <= key < to` is damaged.
    pub(super) fn check(&self, from: &[u8], to: &[u8]) -> Result<(), KvError> {
        match &self.0.lock().damaged {
            Some((first, end)) if from < end.as_slice() && to > first.as_slice() => {
                Err(KvError::Damaged {
                    reason: "a double of a test was damaged".into(),
                })
            }
            _ => Ok(()),
        }
    }
}

impl Written {
    fn settle(&mut self) {
        for (key, value) in self.pending.drain(..).flat_map(|batch| batch.rows) {
            match value {
                Some(value) => drop(self.flushed.insert(key, value)),
                None => drop(self.flushed.remove(&key)),
            }
        }
    }
}
