//! Garbage collection: blocks that no pin reaches are dropped.
//!
//! Marking walks from the pinned roots through the links of every block. Commits go on meanwhile and are noted on the
//! committer's thread: what they put or require stays, and what they pin is marked before anything is dropped. The
//! drop itself is a commit that is refused when a pin came that was not marked yet, or when one of its blocks was put or
//! required. So a publish and a collection can meet at any point, and the publish wins.
//!
//! A block is dropped with or after the last dead block that links to it, never before. So wherever a collection stops,
//! a block that is still stored has all below it that it had when the collection began, and whoever requires it gets
//! what he expects. For that the links among the dead are counted first.
//!
//! Whoever relies on a block that is stored already, and neither puts nor pins it, requires it in the same batch
//! ([`Batch::require`]).

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;

use perennis_shared::cid::{Block, Cid, Codec, Multihash, is_identity};
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
    /// Blocks that were walked under a codec: another codec shows other links.
    walked: HashSet<(Multihash, u64)>,
    open: Vec<Cid>,
    /// Which of the collections of this store it is.
    generation: u64,
    young_marked: usize,
    /// Links among the dead that lead to a block, by its mark.
    parents: HashMap<u128, u32>,
    /// Dead blocks to which no dead block links any more.
    orphans: Vec<Cid>,
    progress: CollectProgress,
}

#[derive(Debug)]
enum Phase {
    Roots { after: Option<Vec<u8>> },
    Mark,
    Count { after: Option<Cid> },
    Sweep { after: Option<Cid> },
}

impl Store {
    /// Begins to collect garbage. One collection runs at a time: a second one ends the first.
    ///
    /// # Errors
    /// The store is closed.
    pub fn collect(&self) -> Result<Collection, UpkeepError> {
        let generation = self.inner().ask(Work::Watch)?;
        Ok(Collection {
            store: self.clone(),
            phase: Phase::Roots { after: None },
            marks: Marks::default(),
            walked: HashSet::new(),
            open: Vec::new(),
            generation,
            young_marked: 0,
            parents: HashMap::new(),
            orphans: Vec::new(),
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
                        self.phase = Phase::Count { after: None };
                        0
                    }
                },
                Phase::Count { .. } => self.count()?,
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
        if !self.walked.insert((*cid.hash(), cid.codec())) {
            return Ok(0);
        }
        let is_new = self.marks.insert(&cid);
        if cid.codec() == Codec::Raw.code() {
            self.progress.marked_blocks += u64::from(is_new);
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
            let row = keys::quarantine(cid.hash());
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
            self.progress.marked_blocks += u64::from(is_new);
        }
        Ok(1)
    }

    /// Counts the links of the dead blocks in the next page. Returns how many blocks it looked at.
    fn count(&mut self) -> Result<usize, UpkeepError> {
        let Phase::Count { after } = &self.phase else {
            return Ok(0);
        };
        let page = self.store.cids(after.as_ref(), PAGE_ROWS)?;
        let Some(last) = page.last().copied() else {
            self.phase = Phase::Sweep { after: None };
            return Ok(0);
        };
        for cid in &page {
            if !self.marks.contains(cid) {
                for link in self.links(cid)? {
                    *self.parents.entry(self.marks.mark(&link)).or_default() += 1;
                }
            }
        }
        self.phase = Phase::Count { after: Some(last) };
        Ok(page.len())
    }

    /// Drops blocks that are orphans, and looks for more in the next page where there are none. Returns how many blocks
    /// it looked at.
    fn sweep(&mut self) -> Result<usize, UpkeepError> {
        if !self.orphans.is_empty() {
            return self.drop_orphans();
        }
        let Phase::Sweep { after } = &self.phase else {
            return Ok(0);
        };
        let page = self.store.cids(after.as_ref(), PAGE_ROWS)?;
        let Some(last) = page.last().copied() else {
            self.progress.done = true;
            self.end();
            return Ok(0);
        };
        let is_orphan = |cid: &Cid| {
            let parents = self.parents.get(&self.marks.mark(cid));
            !self.marks.contains(cid) && parents.is_none_or(|parents| *parents == 0)
        };
        let orphans: Vec<Cid> = page.iter().filter(|cid| is_orphan(cid)).copied().collect();
        self.orphans = orphans;
        self.progress.swept_blocks += page.len() as u64;
        self.phase = Phase::Sweep { after: Some(last) };
        Ok(page.len())
    }

    /// Drops a page of orphans in one commit, those among them that the commit itself makes orphans.
    fn drop_orphans(&mut self) -> Result<usize, UpkeepError> {
        for _ in 0..TRIES {
            self.mark_young()?;
            let taken = self
                .orphans
                .split_off(self.orphans.len().saturating_sub(PAGE_ROWS));
            let mut plan = Dropping {
                orphans: taken.clone(),
                ..Dropping::default()
            };
            let dropped = self.plan(&mut plan).and_then(|()| self.forget(&plan));
            if let Ok(dropped) = dropped {
                self.progress.dropped_blocks += dropped;
                self.orphans.append(&mut plan.orphans);
                return Ok(taken.len());
            }
            for mark in plan.lost_parents {
                *self.parents.entry(mark).or_default() += 1;
            }
            let looked_at = taken.len();
            self.orphans.extend(taken);
            match dropped {
                Err(UpkeepError::Commit(CommitError::PinsChanged)) => {}
                other => return other.map(|_| looked_at),
            }
        }
        Err(UpkeepError::Busy)
    }

    /// Chooses what to drop in one commit, beginning with the orphans of the plan.
    fn plan(&mut self, plan: &mut Dropping) -> Result<(), UpkeepError> {
        while plan.cids.len() < PAGE_ROWS
            && let Some(cid) = plan.orphans.pop()
        {
            // What was put, required or pinned meanwhile stays, and so does all below it: it keeps its parent.
            if self.marks.contains(&cid) || self.is_kept(&cid) {
                continue;
            }
            for link in self.links(&cid)? {
                let mark = self.marks.mark(&link);
                if let Some(parents) = self.parents.get_mut(&mark).filter(|parents| **parents > 0) {
                    *parents -= 1;
                    plan.lost_parents.push(mark);
                    if *parents == 0 {
                        plan.orphans.push(link);
                    }
                }
            }
            plan.cids.push(cid);
        }
        Ok(())
    }

    /// Drops what was planned. Returns how many blocks that were.
    fn forget(&self, plan: &Dropping) -> Result<u64, UpkeepError> {
        if plan.cids.is_empty() {
            return Ok(0);
        }
        let forget = Reclaim::Forget {
            hashes: plan.cids.iter().map(|cid| *cid.hash()).collect(),
            generation: self.generation,
            marked: self.young_marked,
        };
        Ok(self
            .store
            .commit(Batch::reclaiming(forget))?
            .reclaimed_blocks)
    }

    /// The stored blocks that a dead block links to, as far as they are dead too. None for one that cannot be understood
    /// or is damaged: what is below it stays until the next collection, when it is gone.
    fn links(&self, cid: &Cid) -> Result<Vec<Cid>, UpkeepError> {
        let has_links =
            |cid: &Cid| cid.codec() != Codec::Raw.code() && Codec::from_code(cid.codec()).is_some();
        let (mut links, mut open) = (Vec::new(), vec![*cid]);
        while let Some(cid) = open.pop() {
            if !has_links(&cid) {
                continue;
            }
            let block = match self.store.block(&cid) {
                Ok(Some(block)) => block,
                Ok(None) | Err(ReadError::Corrupt { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            for link in links_of(&block) {
                if is_identity(&link) {
                    open.push(link);
                } else if !self.marks.contains(&link) {
                    links.push(link);
                }
            }
        }
        Ok(links)
    }

    fn is_kept(&self, cid: &Cid) -> bool {
        let young = self.store.inner().shared.young.lock();
        young.as_ref().is_none_or(|young| young.kept.contains(cid.hash()))
    }

    /// Marks what was pinned since the collection began.
    fn mark_young(&mut self) -> Result<(), UpkeepError> {
        let young = self.store.inner().shared.young.lock();
        if let Some(young) = young
            .as_ref()
            .filter(|young| young.generation == self.generation)
        {
            self.open
                .extend_from_slice(&young.roots[self.young_marked.min(young.roots.len())..]);
            self.young_marked = young.roots.len();
        }
        drop(young);
        while let Some(cid) = self.open.pop() {
            self.mark(cid)?;
        }
        Ok(())
    }

    fn end(&self) {
        let mut young = self.store.inner().shared.young.lock();
        if young
            .as_ref()
            .is_some_and(|young| young.generation == self.generation)
        {
            *young = None;
        }
    }
}

/// What is to be dropped in one commit.
#[derive(Debug, Default)]
struct Dropping {
    cids: Vec<Cid>,
    /// Orphans that it leaves for the next.
    orphans: Vec<Cid>,
    /// The marks of blocks that lose a parent by it, once for each.
    lost_parents: Vec<u128>,
}

/// What a block links to; nothing where its bytes are not what its codec says.
fn links_of(block: &Block) -> Vec<Cid> {
    codec::links(block.cid(), block.bytes()).unwrap_or_default()
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
        let hash = cid.hash();
        (u128::from(self.first.hash_one(hash)) << 64) | u128::from(self.second.hash_one(hash))
    }
}

#[cfg(test)]
mod tests;
