//! A view of blocks in memory for the tree and the log, filled as they ask.
//!
//! The tree and the log are functions over blocks that are there; what they lack they name and are called
//! again. Because a call starts over each time, blocks are read ahead in key order: twice as many for each
//! further thing that was missing, so that a long scan starts over a few times, not once a block.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;
use perennis_shared::{
    cid::{Block, Cid},
    codec,
    taglist::{Blocks, tree::TreeError},
};

use crate::{
    exchange::{Exchange, FetchError},
    store::{BlockStore, Changes, StoreError},
};

/// Most blocks read ahead at once.
const MOST_AHEAD: usize = 4_096;
/// Blocks that are passed on the way to those: what links to one block many times is not gone through many times.
const LOOKED_AT: usize = 4 * MOST_AHEAD;
/// Most blocks fetched ahead at once.
const MOST_FETCHED_AHEAD: usize = 64;
/// After so many misses, some sixty blocks, a list is fetched as a whole.
const SINGLE_MISSES: u32 = 5;
/// How a leaf of a list begins: a map of two whose first entry is the level 0.
const LEAF: &[u8] = &[0xa2, 0x61, b'l', 0x00];
/// Blocks fetched together.
const CONCURRENCY: usize = 8;

/// An error that may only say which block to get.
pub(super) trait NeedsBlock {
    fn missing(&self) -> Option<Cid>;
}

impl NeedsBlock for TreeError {
    fn missing(&self) -> Option<Cid> {
        match self {
            Self::Missing(cid) => Some(*cid),
            _ => None,
        }
    }
}

/// Why a function over blocks did not come to its end.
pub(super) enum ViewError<E> {
    /// The function failed.
    Function(E),
    /// A block it needs cannot be had.
    Fetch(FetchError),
}

impl<E> From<FetchError> for ViewError<E> {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

/// Blocks that are there.
#[derive(Default)]
pub(super) struct Loaded {
    blocks: HashMap<Cid, Bytes, RandomState>,
}

impl Blocks for Loaded {
    fn block(&self, cid: &Cid) -> Option<Bytes> {
        self.blocks.get(cid).cloned()
    }
}

/// Blocks of a store and, where it lacks one, of the network.
pub(super) struct View<'a, S> {
    store: &'a S,
    exchange: Exchange,
    loaded: Loaded,
    /// Of each loaded block its links, and of each link where it stands.
    links: HashMap<Cid, Vec<Cid>, RandomState>,
    parents: HashMap<Cid, (Cid, usize), RandomState>,
    /// Blocks that came from the network and are not yet kept.
    fetched: Vec<Block>,
    misses: u32,
    /// A DAG that is worth fetching as one, once much of it turns out to be needed.
    bulk: Option<Cid>,
}

impl<'a, S: BlockStore> View<'a, S> {
    pub(super) fn new(store: &'a S, exchange: Exchange) -> Self {
        Self {
            store,
            exchange,
            loaded: Loaded::default(),
            links: HashMap::default(),
            parents: HashMap::default(),
            fetched: Vec::new(),
            misses: 0,
            bulk: None,
        }
    }

    /// Loads everything below `root` that is here: for a call that will need nearly all of it, so that it is not begun
    /// anew each time some of it is missing.
    pub(super) async fn warm(&mut self, root: Option<Cid>) -> Result<(), FetchError> {
        let mut level: Vec<Cid> = root.into_iter().collect();
        while !level.is_empty() {
            for several in level.chunks(MOST_AHEAD) {
                self.load_ahead(several.to_vec(), true).await?;
            }
            let links = level.iter().filter_map(|cid| self.links.get(cid));
            let mut below: Vec<Cid> = links.flatten().copied().collect();
            below.retain(|cid| !self.loaded.blocks.contains_key(cid));
            level = below;
        }
        Ok(())
    }

    /// Whether blocks came from the network that are not yet kept.
    pub(super) fn has_fetched(&self) -> bool {
        !self.fetched.is_empty()
    }

    /// How many blocks are loaded.
    pub(super) fn loaded(&self) -> usize {
        self.loaded.blocks.len()
    }

    /// Reads as far ahead from the first miss on as `before` came to, whose reading this one continues.
    pub(super) fn goes_on_from(&mut self, before: &Self) {
        self.misses = before.misses;
    }

    /// Fetches what is missing below `root` as one CAR when a call needs more than some of it.
    pub(super) fn in_bulk(&mut self, root: Option<Cid>) {
        self.bulk = root;
    }

    /// Calls `function` until it needs no further block.
    pub(super) async fn run<T, E: NeedsBlock>(
        &mut self,
        mut function: impl FnMut(&Loaded) -> Result<T, E>,
    ) -> Result<T, ViewError<E>> {
        loop {
            let error = match function(&self.loaded) {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            match error.missing() {
                Some(cid) if !self.loaded.blocks.contains_key(&cid) => self.load(cid).await?,
                _ => return Err(ViewError::Function(error)),
            }
        }
    }

    /// One block.
    pub(super) async fn block(&mut self, cid: &Cid) -> Result<Block, FetchError> {
        let block = match self.stored(cid).await? {
            Some(block) => block,
            None => {
                let block = self.exchange.block(cid).await?;
                self.fetched.push(block.clone());
                block
            }
        };
        self.admit(&block);
        Ok(block)
    }

    /// The changes that keep what came from the network, if anything did. Damaged blocks are replaced.
    pub(super) fn keep(self) -> Option<Changes> {
        if self.fetched.is_empty() {
            return None;
        }
        let cids: Vec<Cid> = self.fetched.iter().map(|block| *block.cid()).collect();
        Some(Changes::new().delete(cids).put(self.fetched))
    }

    /// Loads a block and, in key order, some that follow it.
    async fn load(&mut self, cid: Cid) -> Result<(), FetchError> {
        self.block(&cid).await?;
        let was_here = self.fetched.last().is_none_or(|last| *last.cid() != cid);
        self.misses += 1;
        if !was_here
            && self.misses > SINGLE_MISSES
            && let Some(root) = self.bulk.take()
            && let Ok(blocks) = self.exchange.missing_below(self.store, &[root]).await
        {
            for block in &blocks {
                self.admit(block);
            }
            self.fetched.extend(blocks);
            return Ok(());
        }
        let most = if was_here {
            MOST_AHEAD
        } else {
            MOST_FETCHED_AHEAD
        };
        let mut budget = 1_usize.checked_shl(self.misses).unwrap_or(most).min(most);
        // A chain (the log) goes on at the same place of each block.
        let mut at = cid;
        while budget > 0
            && let Some(next) = self.onward(at)
            && !self.loaded.blocks.contains_key(&next)
        {
            self.load_ahead(vec![next], was_here).await?;
            budget -= 1;
            at = next;
        }
        while budget > 0 {
            let ahead = self.following(cid, budget);
            if ahead.is_empty() {
                break;
            }
            budget -= ahead.len();
            let loaded = self.loaded();
            self.load_ahead(ahead, was_here).await?;
            if self.loaded() == loaded {
                // Nobody has them, or they cannot be read: they would be named again.
                break;
            }
        }
        Ok(())
    }

    /// Reading ahead takes what can be had: what is truly needed is asked for again, and then its error counts.
    async fn load_ahead(&mut self, ahead: Vec<Cid>, only_here: bool) -> Result<(), FetchError> {
        let mut absent = Vec::new();
        match self.store.blocks(&ahead).await {
            Ok(found) => {
                for (cid, block) in ahead.into_iter().zip(found) {
                    match block {
                        Some(block) => self.admit(&block),
                        None => absent.push(cid),
                    }
                }
            }
            Err(StoreError::Corrupt { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if only_here {
            return Ok(());
        }
        let fetched = self.exchange.blocks(&absent, CONCURRENCY).await;
        for block in fetched.into_iter().flatten() {
            self.admit(&block);
            self.fetched.push(block);
        }
        Ok(())
    }

    /// The link of a block that stands where the block itself stands in its parent.
    fn onward(&self, cid: Cid) -> Option<Cid> {
        let (_, index) = self.parents.get(&cid)?;
        self.links.get(&cid)?.get(*index).copied()
    }

    /// At most `most` blocks that follow `cid` in key order and are not loaded, as far as their names are known: below it, below the
    /// rest of its siblings, then below what follows its parent, and so on.
    fn following(&self, cid: Cid, most: usize) -> Vec<Cid> {
        let mut found = Vec::new();
        let mut steps = LOOKED_AT;
        self.unloaded_below(cid, most, &mut steps, &mut found);
        let mut at = cid;
        while found.len() < most
            && let Some((parent, index)) = self.parents.get(&at)
        {
            let siblings = self.links.get(parent).map_or(&[][..], Vec::as_slice);
            for sibling in siblings.iter().skip(index + 1) {
                self.unloaded_below(*sibling, most, &mut steps, &mut found);
            }
            at = *parent;
        }
        found
    }

    /// The block if it is not loaded, else those of what is below it, in key order.
    fn unloaded_below(&self, cid: Cid, most: usize, steps: &mut usize, found: &mut Vec<Cid>) {
        let mut open = vec![cid];
        while found.len() < most
            && *steps > 0
            && let Some(cid) = open.pop()
        {
            *steps -= 1;
            match self.links.get(&cid) {
                Some(links) => open.extend(links.iter().rev()),
                None if !self.loaded.blocks.contains_key(&cid) => found.push(cid),
                None => (),
            }
        }
    }

    fn admit(&mut self, block: &Block) {
        // Links only guide the reading ahead: a block that cannot be read is left to its reader. Most blocks are leaves of lists,
        // which have none.
        let links = match block.bytes().starts_with(LEAF) {
            true => Vec::new(),
            false => codec::links(block.cid(), block.bytes()).unwrap_or_default(),
        };
        for (index, link) in links.iter().enumerate() {
            self.parents.entry(*link).or_insert((*block.cid(), index));
        }
        self.links.insert(*block.cid(), links);
        self.loaded
            .blocks
            .insert(*block.cid(), block.bytes().clone());
    }

    /// A damaged block counts as missing, so that it is fetched anew.
    async fn stored(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        match self.store.block(cid).await {
            Err(StoreError::Corrupt { .. }) => Ok(None),
            other => other,
        }
    }
}
