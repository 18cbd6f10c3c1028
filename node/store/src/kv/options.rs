//! Which engine holds the index, and how much memory it may use.
//!
//! This is the one place where an engine is chosen. The rest of the store opens whatever [`IndexOptions::home`] gives it; another
//! engine is another word of [`IndexEngine`] and another arm there.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "rocksdb")]
use super::RocksHome;
use super::{KvHome, MemoryHome};

/// Where the index is held. It is a cache of the log: a store can be opened with the one now and with the other later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexEngine {
    /// On the disk, beside the log. What was acknowledged is replayed from where the index had reached.
    #[cfg(feature = "rocksdb")]
    #[default]
    Disk,
    /// In memory only: each start makes it anew from the checkpoints and the log, and tells nothing of that. For small stores, as tests
    /// have them.
    #[cfg_attr(not(feature = "rocksdb"), default)]
    Memory,
}

/// How the index is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexOptions {
    /// Where.
    pub engine: IndexEngine,
    /// Bytes of rows that are gathered before they are written to the disk; at most twice as many are held. An index in memory only has
    /// no use for this, nor for what follows.
    pub memtable_bytes: usize,
    /// Bytes of the cache of what was read.
    pub cache_bytes: usize,
    /// Files held open.
    pub open_files: i32,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self {
            engine: IndexEngine::default(),
            memtable_bytes: 16 << 20,
            cache_bytes: 32 << 20,
            open_files: 256,
        }
    }
}

impl IndexOptions {
    /// The defaults, with this engine.
    #[must_use]
    pub fn on(engine: IndexEngine) -> Self {
        Self {
            engine,
            ..Self::default()
        }
    }

    /// The place of the index of the store in `dir`.
    #[must_use]
    pub fn home(&self, dir: &Path) -> Arc<dyn KvHome> {
        match self.engine {
            #[cfg(feature = "rocksdb")]
            IndexEngine::Disk => Arc::new(RocksHome::new(dir, *self)),
            IndexEngine::Memory => {
                let _ = dir;
                Arc::new(MemoryHome::default())
            }
        }
    }
}
