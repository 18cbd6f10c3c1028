//! The engine in memory: an ordered map that ends with the process.
//!
//! It owns its rows and nothing else: no file is read or written, so nothing of it can be damaged, and a flush has nothing to do. A
//! snapshot shares the rows; the first write after it copies them, which is why this engine is for small stores.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Kv, KvBatch, KvError, KvRow, KvSnapshot};

mod home;

pub use home::MemoryHome;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// An index in memory. Snapshots share its rows until the next write.
#[derive(Debug, Default)]
pub struct Memory {
    rows: RwLock<Arc<Map>>,
}

impl FromIterator<KvRow> for Memory {
    fn from_iter<T: IntoIterator<Item = KvRow>>(rows: T) -> Self {
        let rows: Map = rows.into_iter().collect();
        Self {
            rows: RwLock::new(Arc::new(rows)),
        }
    }
}

impl Kv for Memory {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.rows.read().get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<KvRow>, KvError> {
        Ok(range(&self.rows.read(), from, to).take(limit).collect())
    }

    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        let mut shared = self.rows.write();
        let rows = Arc::make_mut(&mut shared);
        for (key, value) in batch.rows {
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => drop(rows.remove(&key)),
            }
        }
        Ok(())
    }

    fn flush(&self, _: bool) -> Result<(), KvError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn KvSnapshot + '_>, KvError> {
        Ok(Box::new(MemorySnapshot(Arc::clone(&self.rows.read()))))
    }

    fn copy_to(&self, dir: &Path) -> Result<(), KvError> {
        let why = format!("an index in memory cannot be copied to {}", dir.display());
        Err(io::Error::new(io::ErrorKind::Unsupported, why).into())
    }
}

/// The rows of one moment.
#[derive(Debug)]
struct MemorySnapshot(Arc<Map>);

impl KvSnapshot for MemorySnapshot {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.0.get(key).cloned())
    }

    fn page(&self, from: &[u8], to: &[u8], bytes: usize) -> Result<Vec<KvRow>, KvError> {
        let mut taken = 0;
        Ok(range(&self.0, from, to)
            .take_while(|(key, value)| {
                let begun = taken < bytes.max(1);
                taken += key.len() + value.len();
                begun
            })
            .collect())
    }
}

fn range<'a>(rows: &'a Map, from: &'a [u8], to: &'a [u8]) -> impl Iterator<Item = KvRow> + 'a {
    // A map does not take a range that ends before it begins.
    let to = to.max(from);
    let bounds = (Bound::Included(from), Bound::Excluded(to));
    rows.range::<[u8], _>(bounds)
        .map(|(key, value)| (key.clone(), value.clone()))
}
