//! Sees damage of the index as it comes up.
//!
//! An engine finds damage where it reads, which may be months after it happened and in any of the store's calls. All of
//! them pass here: the first that reports damage marks the index, so that the next start makes it anew, and sets a flag,
//! so that until then nothing is written on top of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Kv, KvBatch, KvError, KvHome, KvRow, KvSnapshot};

/// An index that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    index: Arc<dyn Kv>,
    watch: Arc<Watch>,
}

#[derive(Debug)]
struct Watch {
    home: Arc<dyn KvHome>,
    failed: Arc<AtomicBool>,
    is_marked: AtomicBool,
}

impl Watched {
    /// Watches an index from this home; `failed` is set when it is found damaged.
    pub(crate) fn new(index: Arc<dyn Kv>, home: Arc<dyn KvHome>, failed: Arc<AtomicBool>) -> Self {
        Self {
            index,
            watch: Arc::new(Watch {
                home,
                failed,
                is_marked: AtomicBool::new(false),
            }),
        }
    }
}

impl Watch {
    fn see<T>(&self, result: Result<T, KvError>) -> Result<T, KvError> {
        if let Err(error) = &result
            && error.is_damaged()
        {
            self.failed.store(true, Ordering::Release);
            if !self.is_marked.swap(true, Ordering::AcqRel)
                && self.home.condemn(&error.to_string()).is_err()
            {
                // Where it cannot be written now, the next call that finds damage tries again; and the next start may find
                // it by itself.
                self.is_marked.store(false, Ordering::Release);
            }
        }
        result
    }
}

impl Kv for Watched {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.watch.see(self.index.value(key))
    }

    fn values(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        self.watch.see(self.index.values(keys))
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<KvRow>, KvError> {
        self.watch.see(self.index.scan(from, to, limit))
    }

    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        self.watch.see(self.index.write(batch))
    }

    fn flush(&self, wait: bool) -> Result<(), KvError> {
        self.watch.see(self.index.flush(wait))
    }

    fn snapshot(&self) -> Result<Box<dyn KvSnapshot + '_>, KvError> {
        let snapshot = self.watch.see(self.index.snapshot())?;
        Ok(Box::new(WatchedSnapshot {
            snapshot,
            watch: &self.watch,
        }))
    }

    fn copy_to(&self, dir: &Path) -> Result<(), KvError> {
        self.watch.see(self.index.copy_to(dir))
    }
}

#[derive(Debug)]
struct WatchedSnapshot<'a> {
    snapshot: Box<dyn KvSnapshot + 'a>,
    watch: &'a Watch,
}

impl KvSnapshot for WatchedSnapshot<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.watch.see(self.snapshot.value(key))
    }

    fn page(&self, from: &[u8], to: &[u8], bytes: usize) -> Result<Vec<KvRow>, KvError> {
        self.watch.see(self.snapshot.page(from, to, bytes))
    }
}
