//! A store that ends with its last handle: for tests, and for readers that keep nothing.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use perennis_shared::cid::{Block, Cid};

use super::{BlockStore, Changes, StoreError};

/// Blocks and rows in memory. Clones are handles to the same store.
#[derive(Clone, Default)]
pub struct Memory {
    contents: Arc<Mutex<Contents>>,
}

#[derive(Default)]
struct Contents {
    /// By binary CID, so that iteration is in the order the trait promises.
    blocks: BTreeMap<Vec<u8>, Block>,
    state: BTreeMap<String, Bytes>,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl BlockStore for Memory {
    async fn block(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        // Blocks are verified values and memory does not rot: nothing is left to check.
        Ok(self.contents.lock().blocks.get(&cid.to_bytes()).cloned())
    }

    async fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        Ok(self.contents.lock().blocks.contains_key(&cid.to_bytes()))
    }

    async fn commit(&self, changes: Changes) -> Result<(), StoreError> {
        let mut contents = self.contents.lock();
        for cid in &changes.delete {
            contents.blocks.remove(&cid.to_bytes());
        }
        for block in changes.put {
            contents
                .blocks
                .entry(block.cid().to_bytes())
                .or_insert(block);
        }
        for (key, value) in changes.state {
            match value {
                Some(value) => contents.state.insert(key, value),
                None => contents.state.remove(&key),
            };
        }
        Ok(())
    }

    async fn state(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        Ok(self.contents.lock().state.get(key).cloned())
    }

    async fn state_keys(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let contents = self.contents.lock();
        let from = contents
            .state
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        Ok(from
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(prefix))
            .cloned()
            .collect())
    }

    async fn cids(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<Cid>, StoreError> {
        let contents = self.contents.lock();
        let start = after.map_or(Bound::Unbounded, |cid| Bound::Excluded(cid.to_bytes()));
        let following = contents.blocks.range((start, Bound::Unbounded));
        Ok(following
            .take(limit)
            .map(|(_, block)| *block.cid())
            .collect())
    }
}
