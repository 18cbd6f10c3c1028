//! The seam to the ordered index: RocksDB, and a twin in memory for the tests.
//!
//! The index is a cache of the log. A [`write`](Kv::write) is visible at once and lost by a crash unless it was
//! flushed; but what a crash leaves is always the effect of the first *n* writes for some *n*, never a later write
//! without an earlier one. Each write says how far in the log it got (row `a` of the keys), so after a crash the
//! log is replayed from there.

use std::fmt;
use std::path::Path;

mod memory;
mod rocks;

pub use memory::{Durable, Memory};
pub use rocks::{Rocks, RocksOptions};

/// What the index reports when it fails.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// RocksDB's own.
    #[error(transparent)]
    Rocks(#[from] rocksdb::Error),
    /// The file system's.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A row as it was read: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

impl KvError {
    /// Whether it failed because no space was left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            // RocksDB tells it in its text only.
            Self::Rocks(error) => {
                error.kind() == rocksdb::ErrorKind::IOError
                    && error.as_ref().contains("No space left")
            }
            Self::Io(error) => matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ),
        }
    }
}

/// One change of the index, whole or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KvBatch {
    /// Keys with their new values; a key without one is removed. Of two with one key the later counts.
    pub rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl KvBatch {
    /// Sets a row.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.rows.push((key.into(), Some(value.into())));
    }

    /// Removes a row.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.rows.push((key.into(), None));
    }
}

/// An ordered map of bytes to bytes.
pub trait Kv: Send + Sync + fmt::Debug {
    /// The value of a key.
    ///
    /// # Errors
    /// The index's own.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// The values of many keys, in their order.
    ///
    /// # Errors
    /// The index's own.
    fn values(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        keys.iter().map(|key| self.value(key)).collect()
    }

    /// At most `limit` rows with `from <= key < to`, in the order of their keys, from one point in time.
    ///
    /// # Errors
    /// The index's own.
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, KvError>;

    /// Applies a batch. Durable after the next [`flush`](Kv::flush), or before.
    ///
    /// # Errors
    /// The index's own; it takes no more writes then.
    fn write(&self, batch: KvBatch) -> Result<(), KvError>;

    /// Makes all writes durable. Without `wait` it only begins to.
    ///
    /// # Errors
    /// The index's own.
    fn flush(&self, wait: bool) -> Result<(), KvError>;

    /// Writes a durable copy of the index as it is now into a folder that must not exist.
    ///
    /// # Errors
    /// The index's own.
    fn copy_to(&self, dir: &Path) -> Result<(), KvError>;
}
