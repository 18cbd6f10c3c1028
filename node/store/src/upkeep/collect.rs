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
//!
//! Links belong to a block under a codec: as raw bytes it has none, as DAG-CBOR it may have many. They come from the footer of
//! the pack that the block lies in, and from the block only where it lies in no pack. Memory is bounded by about 25 bytes for each stored block
//! and a few MiB: only stored blocks are noted, those without links never wait, and what does not fit into the stack of those with
//! links is found again by looking through the index.
//!
//! Where a pinned block is damaged, its pack knows what hangs below it. Where it lies in none, that was put or required by the owner of
//! the block, so until the block is back everything is kept that may be his: blocks with his tag, with the tag of several owners, and with
//! none. The rest is collected. A block that is not what its codec says links to nothing: no reader here can tell what it would.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use perennis_shared::cid::{Cid, Multihash, is_identity};
use perennis_shared::codec;

use crate::batch::{Batch, CommitError, Reclaim};
use crate::commit::Work;
use crate::keys;
use crate::kv::KvRow;
use crate::rows::{PinRow, Place, Row as _};
use crate::shared::Marks;
use crate::store::Store;
use crate::upkeep::UpkeepError;

mod held_back;
mod links;
mod open;
mod walk;

use held_back::HeldBack;
use open::{OpenBlocks, codec_of, linked, linked_codecs};
use walk::Scan;

/// Rows that are looked through at once, and dropped in one commit.
const PAGE_ROWS: usize = 1024;
/// Links that are counted less in one commit, unless those of a single block are more.
const DROPPED_LINKS: usize = 1 << 15;
/// How often a drop is tried again because a pin came.
const TRIES: usize = 64;

/// How far a collection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectProgress {
    /// Stored blocks that a pin reaches, as far as they were found.
    pub marked_blocks: u64,
    /// Blocks that were looked at to be kept or dropped.
    pub swept_blocks: u64,
    /// Blocks that were dropped. Their space comes back with [`Store::compact`].
    pub dropped_blocks: u64,
    /// Pinned blocks that are damaged. Garbage that may hang below them was kept; [`Collection::held_back_by`] names them.
    pub held_back: u64,
    /// Pinned blocks that are not what their codec says. They link to nothing that could be kept.
    pub unclear_blocks: u64,
    /// Blocks that the disk did not give out. They were kept.
    pub unread_blocks: u64,
    /// Rows of pins or of damaged blocks cannot be read, so what they keep is not known and nothing was dropped.
    pub are_rows_unread: bool,
    /// Whether it is finished.
    pub done: bool,
}

/// A collection under way. It may be dropped at any time: what it has done stays done.
#[derive(Debug)]
pub struct Collection {
    store: Store,
    phase: Phase,
    marks: Marks,
    /// Reached blocks whose links are to be followed, with the number of the codec.
    open: OpenBlocks,
    /// A look through the index for reached blocks that did not fit in there, and for what is held back.
    scan: Scan,
    held: HeldBack,
    /// Which of the collections of this store it is.
    generation: u64,
    /// The newest group when it began.
    began: u64,
    young_marked: usize,
    /// Dead blocks to which no dead block links any more.
    orphans: OpenBlocks,
    /// Orphans did not fit, and are looked for again.
    sweeps_again: bool,
    progress: CollectProgress,
}

#[derive(Debug)]
enum Phase {
    Roots { from: Vec<u8> },
    Mark,
    Count { from: Vec<u8> },
    Sweep { from: Vec<u8> },
}

impl Store {
    /// Begins to collect garbage. One collection runs at a time: a second one ends the first.
    ///
    /// # Errors
    /// The store is closed.
    pub fn collect(&self) -> Result<Collection, UpkeepError> {
        let shared = &self.inner().shared;
        let began = shared.groups.load(Ordering::Acquire);
        let generation = self.inner().ask(Work::Watch)?;
        Ok(Collection {
            store: self.clone(),
            phase: Phase::Roots {
                from: vec![keys::PIN],
            },
            marks: Marks::default(),
            open: OpenBlocks::default(),
            scan: Scan::default(),
            held: HeldBack::default(),
            generation,
            began,
            young_marked: 0,
            orphans: OpenBlocks::default(),
            sweeps_again: false,
            progress: CollectProgress::default(),
        })
    }
}

impl Collection {
    /// Works on about `blocks` blocks and says how far it is. The caller decides how long to wait between steps.
    ///
    /// # Errors
    /// Pins change too fast, or the store fails. [`UpkeepError::Busy`] can be tried again; after others a new collection
    /// is begun.
    pub fn step(&mut self, blocks: usize) -> Result<CollectProgress, UpkeepError> {
        let mut left = blocks.max(1);
        while left > 0 && !self.progress.done {
            left = left.saturating_sub(match &self.phase {
                Phase::Roots { .. } => self.take_roots()?,
                Phase::Mark => match self.mark_some(left)? {
                    0 => {
                        self.end_marking();
                        0
                    }
                    marked => marked,
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

    /// Pinned blocks that hold it back, at most the first 64.
    #[must_use]
    pub fn held_back_by(&self) -> &[Cid] {
        self.held.blocks()
    }

    /// Takes in the next page of pins. Returns how many those are.
    fn take_roots(&mut self) -> Result<usize, UpkeepError> {
        let Phase::Roots { from } = &self.phase else {
            return Ok(0);
        };
        let rows = self.page(from, &keys::end_of(keys::PIN))?;
        let Some((last, _)) = rows.last() else {
            for table in [keys::PIN, keys::QUARANTINE] {
                let aside = keys::set_aside(&[table]);
                let aside = self.page(&aside, &keys::end_of_prefix(&aside))?;
                self.progress.are_rows_unread |= !aside.is_empty();
            }
            self.phase = Phase::Mark;
            return Ok(0);
        };
        let from = keys::after(last.clone());
        for (key, value) in &rows {
            match PinRow::from_bytes(value) {
                Some(pin) => self.reach_root(&pin.root)?,
                None => {
                    self.progress.are_rows_unread = true;
                    self.store.set_row_aside(key.clone(), value.clone());
                }
            }
        }
        self.reach_noted()?;
        self.phase = Phase::Roots { from };
        Ok(rows.len())
    }

    /// A root is reached. One that holds its content itself names no block; what it links to is.
    fn reach_root(&mut self, root: &Cid) -> Result<(), UpkeepError> {
        if is_identity(root) {
            // What cannot be understood here links to nothing for anybody.
            for link in codec::links(root, root.hash().digest()).unwrap_or_default() {
                self.reach(&link.hash().to_bytes(), link.codec())?;
            }
            return Ok(());
        }
        self.reach(&root.hash().to_bytes(), root.codec())
    }

    fn end_marking(&mut self) {
        if self.progress.are_rows_unread || self.held.is_all() {
            // Anything may be needed.
            self.progress.done = true;
            self.end();
            return;
        }
        self.phase = Phase::Count {
            from: vec![keys::BLOCK],
        };
    }

    /// Counts the links of the dead blocks in the next page. Returns how many blocks it looked at.
    fn count(&mut self) -> Result<usize, UpkeepError> {
        let Phase::Count { from } = &self.phase else {
            return Ok(0);
        };
        let rows = self.page(from, &keys::end_of(keys::BLOCK))?;
        let Some((last, _)) = rows.last() else {
            self.phase = Phase::Sweep {
                from: vec![keys::BLOCK],
            };
            return Ok(0);
        };
        let from = keys::after(last.clone());
        let mut found = Vec::new();
        for (hash, place) in self.dead(&rows) {
            if !self.dead_links(&hash, &place, &mut |link| found.push(link.to_vec()))? {
                // It cannot be read now, so nobody knows what needs it to stay.
                self.marks.set_live(&hash.to_bytes());
                found.clear();
            }
            self.add_parents(&mut found)?;
        }
        self.phase = Phase::Count { from };
        Ok(rows.len())
    }

    /// Counts links of dead blocks: to stored blocks only, so that nobody can have links to nothing take memory.
    fn add_parents(&mut self, links: &mut Vec<Vec<u8>>) -> Result<(), UpkeepError> {
        let marks = &mut self.marks;
        links.retain(|link| {
            let is_known =
                marks.is_live(link) || marks.parents(link).is_some_and(|count| count > 0);
            if is_known {
                marks.add_parent(link);
            }
            !is_known
        });
        for links in links.chunks(PAGE_ROWS) {
            let keys: Vec<_> = links
                .iter()
                .map(|link| keys::key(keys::BLOCK, link))
                .collect();
            let rows = self.store.inner().shared.index.kv.values(&keys)?;
            for (link, row) in links.iter().zip(rows) {
                if row.is_some() {
                    self.marks.add_parent(link);
                }
            }
        }
        links.clear();
        Ok(())
    }

    /// Drops blocks that are orphans, and looks for more in the next page where there are none. Returns how many blocks
    /// it looked at.
    fn sweep(&mut self) -> Result<usize, UpkeepError> {
        if !self.orphans.is_empty() {
            return self.drop_orphans();
        }
        let Phase::Sweep { from } = &self.phase else {
            return Ok(0);
        };
        let rows = self.page(from, &keys::end_of(keys::BLOCK))?;
        let Some((last, _)) = rows.last() else {
            if std::mem::take(&mut self.sweeps_again) {
                self.phase = Phase::Sweep {
                    from: vec![keys::BLOCK],
                };
                return Ok(0);
            }
            self.progress.done = true;
            self.end();
            let collected = &self.store.inner().shared.collected;
            collected.fetch_max(self.began, Ordering::AcqRel);
            return Ok(0);
        };
        let from = keys::after(last.clone());
        for (hash, _) in self.dead(&rows) {
            let hash = hash.to_bytes();
            if self.marks.parents(&hash).is_none_or(|parents| parents == 0) {
                self.push_orphan(&hash);
            }
        }
        self.progress.swept_blocks += rows.len() as u64;
        self.phase = Phase::Sweep { from };
        Ok(rows.len())
    }

    /// Drops orphans in one commit, those among them that the commit itself makes orphans. Returns how many it dropped, at
    /// least 1.
    fn drop_orphans(&mut self) -> Result<usize, UpkeepError> {
        for _ in 0..TRIES {
            self.mark_young()?;
            if self.held.is_all() {
                self.end_marking();
                return Ok(1);
            }
            let mut plan = Dropping::default();
            let dropped = self.plan(&mut plan).and_then(|()| self.forget(&plan));
            if let Ok(dropped) = dropped {
                self.progress.dropped_blocks += dropped;
                return Ok(plan.hashes.len().max(1));
            }
            for hash in plan.lost_parents {
                self.marks.add_parent(&hash);
            }
            for hash in plan.hashes {
                self.push_orphan(&hash.to_bytes());
            }
            match dropped {
                Err(UpkeepError::Commit(CommitError::PinsChanged)) => {}
                other => return other.map(|_| 1),
            }
        }
        Err(UpkeepError::Busy)
    }

    fn push_orphan(&mut self, hash: &[u8]) {
        if !self.orphans.push(hash, 0) {
            self.sweeps_again = true;
        }
    }

    /// Chooses what to drop in one commit.
    fn plan(&mut self, plan: &mut Dropping) -> Result<(), UpkeepError> {
        while plan.hashes.len() < PAGE_ROWS
            && plan.lost_parents.len() < DROPPED_LINKS
            && let Some((hash, _)) = self.orphans.pop()
        {
            let bytes = hash.to_bytes();
            // What was put, required or pinned meanwhile stays, and so does all below it: it keeps its parent. So it is with
            // what lost its parents in a commit that was refused.
            let has_parents = self
                .marks
                .parents(&bytes)
                .is_some_and(|parents| parents > 0);
            if has_parents || self.marks.is_live(&bytes) || self.is_kept(&bytes) {
                continue;
            }
            let Some(place) = self.store.inner().shared.index.place(&hash)? else {
                continue;
            };
            if plan.hashes.contains(&hash) {
                continue;
            }
            let mut links = Vec::new();
            if !self.dead_links(&hash, &place, &mut |link| links.push(link.to_vec()))? {
                self.marks.set_live(&bytes);
                continue;
            }
            plan.hashes.insert(hash);
            for link in links {
                if let Some(left) = self.marks.drop_parent(&link) {
                    if left == 0 {
                        self.push_orphan(&link);
                    }
                    plan.lost_parents.push(link);
                }
            }
        }
        Ok(())
    }

    /// Drops what was planned. Returns how many blocks that were.
    fn forget(&self, plan: &Dropping) -> Result<u64, UpkeepError> {
        if plan.hashes.is_empty() {
            return Ok(0);
        }
        let forget = Reclaim::Forget {
            hashes: plan.hashes.iter().copied().collect(),
            generation: self.generation,
            marked: self.young_marked,
        };
        Ok(self
            .store
            .commit(Batch::reclaiming(forget))?
            .reclaimed_blocks)
    }

    fn is_kept(&self, hash: &[u8]) -> bool {
        let young = self.store.inner().shared.young.lock();
        young.as_ref().is_none_or(|young| young.kept.is_live(hash))
    }

    /// Marks what was pinned since the collection began.
    fn mark_young(&mut self) -> Result<(), UpkeepError> {
        let young = self.store.inner().shared.young.lock();
        let mut roots = Vec::new();
        if let Some(young) = young
            .as_ref()
            .filter(|young| young.generation == self.generation)
        {
            roots.extend_from_slice(&young.roots[self.young_marked.min(young.roots.len())..]);
            self.young_marked = young.roots.len();
        }
        drop(young);
        for root in roots {
            self.reach_root(&root)?;
        }
        self.reach_noted()?;
        while self.mark_some(PAGE_ROWS)? > 0 {}
        Ok(())
    }

    /// The blocks in these rows that nothing reached.
    fn dead(&self, rows: &[KvRow]) -> Vec<(Multihash, Place)> {
        let dead = rows
            .iter()
            .filter(|(key, _)| !self.marks.is_live(&key[1..]));
        dead.filter_map(|(key, value)| Some((keys::hash_of(key)?, Place::from_bytes(value)?)))
            .collect()
    }

    fn page(&self, from: &[u8], to: &[u8]) -> Result<Vec<KvRow>, UpkeepError> {
        Ok(self
            .store
            .inner()
            .shared
            .index
            .kv
            .scan(from, to, PAGE_ROWS)?)
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
    hashes: HashSet<Multihash>,
    /// Blocks that lose a parent by it, once for each.
    lost_parents: Vec<Vec<u8>>,
}

impl Drop for Collection {
    fn drop(&mut self) {
        if !self.progress.done {
            self.end();
        }
    }
}

#[cfg(test)]
mod tests;
