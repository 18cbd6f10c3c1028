//! Garbage collection: blocks that no pin reaches are dropped.
//!
//! Marking walks from the pinned roots through the links of every block. Commits go on meanwhile and are noted on the
//! committer's thread: what they put or require stays, and what they pin is marked before anything is dropped. The
//! drop itself is a commit that is refused when a pin came that was not marked yet. So a publish and a collection can
//! meet at any point, and the publish wins.
//!
//! Whoever relies on a block that is stored already, and neither puts nor pins it, requires it in the same batch
//! ([`Batch::require`]).

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use perennis_shared::cid::{Cid, Codec, is_identity};
use perennis_shared::codec;

use crate::batch::{Batch, CommitError, Reclaim};
use crate::commit::Work;
use crate::compact::UpkeepError;
use crate::keys;
use crate::read::ReadError;
use crate::store::Store;

/// Rows that are looked through at once, and dropped in one commit.
const PAGE_ROWS: usize = 1024;
/// How often a drop is tried again because a pin came.
const TRIES: usize = 64;

/// How far a collection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectProgress {
    /// Blocks that a pin reaches, as far as they were found.
    pub marked_blocks: u64,
    /// Blocks that were looked at to be kept or dropped.
    pub swept_blocks: u64,
    /// Blocks that were dropped. Their space comes back with [`Store::compact`].
    pub dropped_blocks: u64,
    /// Whether it is finished.
    pub done: bool,
}

/// A collection under way. It may be dropped at any time: what it has done stays done.
#[derive(Debug)]
pub struct Collection {
    store: Store,
    phase: Phase,
    marks: Marks,
    open: Vec<Cid>,
    young_marked: usize,
    progress: CollectProgress,
}

#[derive(Debug)]
enum Phase {
    Roots { after: Option<Vec<u8>> },
    Mark,
    Sweep { after: Option<Cid> },
}

impl Store {
    /// Begins to collect garbage. One collection runs at a time: a second one ends the first.
    ///
    /// # Errors
    /// The store is closed.
    pub fn collect(&self) -> Result<Collection, UpkeepError> {
        self.inner().ask(Work::Watch)?;
        Ok(Collection {
            store: self.clone(),
            phase: Phase::Roots { after: None },
            marks: Marks::default(),
            open: Vec::new(),
            young_marked: 0,
            progress: CollectProgress::default(),
        })
    }
}

impl Collection {
    /// Works on about `blocks` blocks and says how far it is. The caller decides how long to wait between steps.
    ///
    /// # Errors
    /// A pinned block cannot be read, pins change too fast, or the store fails. [`UpkeepError::Busy`] can be tried
    /// again; after others a new collection is begun.
    pub fn step(&mut self, blocks: usize) -> Result<CollectProgress, UpkeepError> {
        let mut left = blocks.max(1);
        while left > 0 && !self.progress.done {
            left = left.saturating_sub(match &mut self.phase {
                Phase::Roots { after } => {
                    let pins = self.store.pins(after.as_deref(), PAGE_ROWS)?;
                    match pins.last() {
                        Some((key, _)) => *after = Some(key.clone()),
                        None => self.phase = Phase::Mark,
                    }
                    let count = pins.len();
                    self.open.extend(pins.into_iter().map(|(_, root)| root));
                    count
                }
                Phase::Mark => match self.open.pop() {
                    Some(cid) => self.mark(cid)?,
                    None => {
                        self.phase = Phase::Sweep { after: None };
                        0
                    }
                },
                Phase::Sweep { .. } => self.sweep()?,
            });
        }
        Ok(self.progress)
    }

    /// Collects to the end.
    ///
    /// # Errors
    /// As [`Collection::step`].
    pub fn finish(mut self) -> Result<CollectProgress, UpkeepError> {
        while !self.step(PAGE_ROWS)?.done {}
        Ok(self.progress)
    }

    /// Marks one block and opens what it links to. Returns how many that were.
    fn mark(&mut self, cid: Cid) -> Result<usize, UpkeepError> {
        if !self.marks.insert(&cid) {
            return Ok(0);
        }
        if cid.codec() == Codec::Raw.code() {
            self.progress.marked_blocks += 1;
            return Ok(1);
        }
        let damaged = || UpkeepError::Damaged { cid: Box::new(cid) };
        let block = match self.store.block(&cid) {
            Ok(block) => block,
            Err(ReadError::Corrupt { .. } | ReadError::Disk { .. }) => return Err(damaged()),
            Err(error) => return Err(error.into()),
        };
        let Some(block) = block else {
            // It was damaged once, or it never was here; in the second case nothing below it is known by it.
            let row = keys::key(keys::QUARANTINE, &cid.to_bytes());
            return match self.store.inner().shared.index.kv.value(&row)? {
                Some(_) => Err(damaged()),
                None => Ok(1),
            };
        };
        // The links of codecs that we do not read are nobody's business here.
        if Codec::from_code(cid.codec()).is_some() {
            let links = codec::links(&cid, block.bytes()).map_err(|source| UpkeepError::Links {
                cid: Box::new(cid),
                source,
            })?;
            self.open.extend(links);
        }
        if !is_identity(&cid) {
            self.progress.marked_blocks += 1;
        }
        Ok(1)
    }

    /// Drops what is not marked in the next page of blocks. Returns how many it looked at.
    fn sweep(&mut self) -> Result<usize, UpkeepError> {
        let Phase::Sweep { after } = &self.phase else {
            return Ok(0);
        };
        let page = self.store.cids(after.as_ref(), PAGE_ROWS)?;
        let Some(last) = page.last().copied() else {
            self.progress.done = true;
            self.end();
            return Ok(0);
        };
        for _ in 0..TRIES {
            self.mark_young()?;
            let dead: Vec<Cid> = page
                .iter()
                .filter(|cid| !self.marks.contains(cid))
                .copied()
                .collect();
            let dropped = if dead.is_empty() {
                Ok(0)
            } else {
                let forget = Reclaim::Forget {
                    cids: dead,
                    marked: self.young_marked,
                };
                self.store
                    .commit(Batch::reclaiming(forget))
                    .map(|commit| commit.reclaimed_blocks)
            };
            match dropped {
                Err(CommitError::PinsChanged) => {}
                Err(error) => return Err(error.into()),
                Ok(dropped) => {
                    self.progress.dropped_blocks += dropped;
                    self.progress.swept_blocks += page.len() as u64;
                    self.phase = Phase::Sweep { after: Some(last) };
                    return Ok(page.len());
                }
            }
        }
        Err(UpkeepError::Busy)
    }

    /// Marks what was pinned since the collection began.
    fn mark_young(&mut self) -> Result<(), UpkeepError> {
        if let Some(young) = self.store.inner().shared.young.lock().as_ref() {
            self.open
                .extend_from_slice(&young.roots[self.young_marked.min(young.roots.len())..]);
            self.young_marked = young.roots.len();
        }
        while let Some(cid) = self.open.pop() {
            self.mark(cid)?;
        }
        Ok(())
    }

    fn end(&self) {
        *self.store.inner().shared.young.lock() = None;
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        if !self.progress.done {
            self.end();
        }
    }
}

/// The set of marked blocks in 16 bytes each, under hashes that nobody outside can aim at.
#[derive(Debug, Default)]
struct Marks {
    marked: HashSet<u128>,
    first: RandomState,
    second: RandomState,
}

impl Marks {
    fn insert(&mut self, cid: &Cid) -> bool {
        let mark = self.mark(cid);
        self.marked.insert(mark)
    }

    fn contains(&self, cid: &Cid) -> bool {
        self.marked.contains(&self.mark(cid))
    }

    fn mark(&self, cid: &Cid) -> u128 {
        (u128::from(self.first.hash_one(cid)) << 64) | u128::from(self.second.hash_one(cid))
    }
}
