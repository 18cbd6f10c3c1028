//! In which engine the index is held, and how much memory it may use.
//!
//! It says what is asked for in the seam's own words, and knows none of the engines; which one that gives is said in
//! `engine`, beside this.

use std::fmt;

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

impl fmt::Display for IndexEngine {
    /// `disk` or `memory`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            #[cfg(feature = "rocksdb")]
            Self::Disk => "disk",
            Self::Memory => "memory",
        })
    }
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
}
