//! The seam to the ordered index, and the engines below it: one on the disk, in RocksDB, and one in memory.
//!
//! Only the room of the engine on the disk, `rocks`, uses RocksDB, and it is there with the feature `rocksdb`. The rest of the store
//! says by [`IndexOptions`] which engine it wants, and knows of an engine's errors what [`KvError`] says.
//!
//! The index is a cache of the log. A [`write`](Kv::write) is visible at once and lost by a crash unless it was
//! flushed; but what a crash leaves is always the effect of the first *n* writes for some *n*, never a later write
//! without an earlier one. Each write says how far in the log it got (row `a` of the keys), so after a crash the
//! log is replayed from there. That lets an engine on the disk be written to behind the caller ([`WriteBehind`]).

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

mod engine;
mod fault;
mod home;
mod memory;
mod options;
#[cfg(feature = "rocksdb")]
mod rocks;
mod watch;
mod write_behind;

pub use fault::{EngineError, EngineFault};
pub use home::{KvHome, KvLoad};
pub use memory::{Memory, MemoryHome};
pub use options::{IndexEngine, IndexOptions};
#[cfg(feature = "rocksdb")]
pub use rocks::{Rocks, RocksHome};
pub(crate) use watch::Watched;
pub use write_behind::WriteBehind;

/// What the index reports when it fails.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The engine's own.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The file system's.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The engine refused what was acknowledged before and was still to be written to it.
    #[error(transparent)]
    Behind(Arc<KvError>),
    /// It was found damaged before, and marked so that it is not used again.
    #[error("the index is damaged: {reason}")]
    Damaged {
        /// What was found.
        reason: String,
    },
    /// What an index on the disk says was asked for, and this engine holds none there.
    #[error(
        "the index is held in memory only; what an index on the disk says takes a program that was built with the feature `rocksdb`"
    )]
    NotKept,
}

/// A row as it was read: key and value.
pub type KvRow = (Vec<u8>, Vec<u8>);

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
    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<KvRow>, KvError>;

    /// Applies a batch. Durable after the next [`flush`](Kv::flush), or before.
    ///
    /// # Errors
    /// The index's own; it takes no more writes then.
    fn write(&self, batch: KvBatch) -> Result<(), KvError>;

    /// The same, of rows that are sorted by their keys, each key once; one without a value is removed.
    ///
    /// # Errors
    /// As [`write`](Kv::write).
    fn write_rows(&self, rows: &[(&[u8], Option<&[u8]>)]) -> Result<(), KvError> {
        let rows = rows.iter();
        let owned = rows.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec)));
        self.write(KvBatch {
            rows: owned.collect(),
        })
    }

    /// Makes all writes durable. Without `wait` it only begins to.
    ///
    /// # Errors
    /// The index's own.
    fn flush(&self, wait: bool) -> Result<(), KvError>;

    /// Holds the index as it is now, to be read while writes go on.
    ///
    /// # Errors
    /// The index's own.
    fn snapshot(&self) -> Result<Box<dyn KvSnapshot + '_>, KvError>;

    /// Writes a durable copy of the index as it is now into a folder that must not exist.
    ///
    /// # Errors
    /// The index's own.
    fn copy_to(&self, dir: &Path) -> Result<(), KvError>;
}

/// The index as it was at one moment. It keeps what is overwritten meanwhile from being given back, so it is not held
/// for longer than one pass takes.
pub trait KvSnapshot: Send + fmt::Debug {
    /// The value of a key.
    ///
    /// # Errors
    /// The index's own.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// The first rows with `from <= key < to`, in the order of their keys: until they have `bytes` together, and at
    /// least one where there is one. Reading does not push out of the caches what others use.
    ///
    /// # Errors
    /// The index's own.
    fn page(&self, from: &[u8], to: &[u8], bytes: usize) -> Result<Vec<KvRow>, KvError>;
}

/// Bytes of keys and values that are held at once where a snapshot is read through.
const PAGE_BYTES: usize = 256 << 10;

impl dyn KvSnapshot + '_ {
    /// All rows with `from <= key < to`, in the order of their keys, read a page at a time. Ends with the first error.
    pub fn rows<'a>(
        &'a self,
        from: &[u8],
        to: &'a [u8],
    ) -> impl Iterator<Item = Result<KvRow, KvError>> + 'a {
        let mut next = Some(from.to_vec());
        let mut page = Vec::new().into_iter();
        std::iter::from_fn(move || {
            if let Some(row) = page.next() {
                return Some(Ok(row));
            }
            match self.page(&next.take()?, to, PAGE_BYTES) {
                Ok(rows) => {
                    // The first key behind the last of the page.
                    next = rows.last().map(|(key, _)| [key, [0].as_slice()].concat());
                    page = rows.into_iter();
                    page.next().map(Ok)
                }
                Err(error) => Some(Err(error)),
            }
        })
    }
}
