//! The one place where an engine of the index is chosen.
//!
//! The rest of the store opens whatever [`IndexOptions::home`] gives it; another engine is another word of [`IndexEngine`] and
//! another arm here.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "rocksdb")]
use super::RocksHome;
use super::{IndexEngine, IndexOptions, KvHome, MemoryHome};

impl IndexOptions {
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
