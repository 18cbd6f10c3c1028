//! Footers that were read lately, in bounded memory.

use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::{Footer, PackName};

/// Footers by the names of their packs. A name stands for bytes that never change, so nothing in here grows old.
#[derive(Debug)]
pub(crate) struct Footers {
    cache: Cache<PackName, Arc<Footer>, Bytes>,
    capacity: u64,
    /// The last that is too large for the cache: who asks for the links of a block asks for those of its neighbours next.
    large: Mutex<Option<(PackName, Arc<Footer>)>>,
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
    /// Keeps footers in at most this much memory, and one that is larger than that.
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
            capacity: bytes,
            large: Mutex::default(),
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
        let mut large = self.large.lock();
        if let Some((_, footer)) = large.as_ref().filter(|(held, _)| held == name) {
            return Ok(Arc::clone(footer));
        }
        if let Some(footer) = self.cache.get(name) {
            return Ok(footer);
        }
        let footer = Arc::new(read()?);
        if footer.memory_bytes() as u64 > self.capacity {
            *large = Some((*name, Arc::clone(&footer)));
        } else {
            self.cache.insert(*name, Arc::clone(&footer));
        }
        Ok(footer)
    }

    /// Memory that the footers in it take, and that of the one that is too large.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> (u64, u64) {
        let large = self.large.lock();
        let large = large
            .as_ref()
            .map_or(0, |(_, footer)| footer.memory_bytes());
        (self.cache.weight(), large as u64)
    }
}
