//! Footers that were read lately, in bounded memory.

use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::{Footer, PackName};

/// Footers by the names of their packs. A name stands for bytes that never change, so nothing in here grows old.
#[derive(Debug)]
pub(crate) struct Footers {
    cache: Cache<PackName, Arc<Footer>, Bytes>,
}

/// Weighs a footer by its memory.
#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<PackName, Arc<Footer>> for Bytes {
    fn weight(&self, _: &PackName, footer: &Arc<Footer>) -> u64 {
        footer.memory_bytes() as u64
    }
}

impl Footers {
    /// Keeps footers in at most this much memory.
    pub(crate) fn new(bytes: u64) -> Self {
        // One part: a footer can be as large as all of it, and who asks is upkeep, not every reader.
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(64)
            .weight_capacity(bytes)
            .build()
            .expect("both capacities are given");
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self {
            cache: Cache::with_options(options, Bytes, hasher, lifecycle),
        }
    }

    /// The footer of a pack, read with `read` where it is not at hand.
    ///
    /// # Errors
    /// What `read` returns.
    pub(crate) fn footer<E>(
        &self,
        name: &PackName,
        read: impl FnOnce() -> Result<Footer, E>,
    ) -> Result<Arc<Footer>, E> {
        self.cache.get_or_insert_with(name, || read().map(Arc::new))
    }

    /// Memory that the footers in it take.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> u64 {
        self.cache.weight()
    }
}
