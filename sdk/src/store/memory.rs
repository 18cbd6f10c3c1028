//! A store that ends with its last handle: for tests, and for readers that keep nothing.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use perennis_shared::cid::{Block, Cid, Multihash};

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
    /// Under which of these keys the block of a multihash is.
    keys: HashMap<Multihash, Vec<u8>>,
    state: BTreeMap<String, Bytes>,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Contents {
    fn put(&mut self, block: Block) {
        if let Entry::Vacant(place) = self.keys.entry(*block.cid().hash()) {
            let key = place.insert(block.cid().to_bytes()).clone();
            self.blocks.insert(key, block);
        }
    }

    fn delete(&mut self, cid: &Cid) {
        if let Some(key) = self.keys.remove(cid.hash()) {
            self.blocks.remove(&key);
        }
    }
}

impl BlockStore for Memory {
    async fn block(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        let contents = self.contents.lock();
        let key = contents.keys.get(cid.hash());
        // Blocks are verified values and memory does not rot: nothing is left to check.
        Ok(key.and_then(|key| contents.blocks.get(key)?.named(cid)))
    }

    async fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        Ok(self.contents.lock().keys.contains_key(cid.hash()))
    }

    async fn commit(&self, changes: Changes) -> Result<(), StoreError> {
        let mut contents = self.contents.lock();
        for cid in &changes.delete {
            contents.delete(cid);
        }
        for block in changes.put {
            contents.put(block);
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
