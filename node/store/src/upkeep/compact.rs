//! Compaction: what outlived a collection of garbage is packed, and files that are mostly dead are emptied.
//!
//! The blocks of the chosen files that are still known are written into packs, sorted by whom they belong to; each pack
//! is read back and verified before it gets its name. Then one commit takes the packs into use and drops the files: the
//! index has each block in the one place or in the other, never in none. The index is flushed, so that no replay needs the
//! files any more, and they are removed.
//!
//! A step that fails, or that a crash ends, loses nothing: what it read is where it was until the commit, and what the
//! commit dropped is removed by the next step. Packs that never came into use are removed as well. The caller tries again,
//! and waits longer each time; a file that could not be read is passed over until the next collection of garbage has
//! finished, so that it does not hold up the others.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use perennis_shared::cid::{Cid, Codec, verify};

use crate::batch::{Adoption, Batch, CommitError, Reclaim};
use crate::commit::Work;
use crate::disk::is_lost;
use crate::pack::{PACK_BYTES, PackBlock, PackPlan, PackWriter, split, weight};
use crate::store::{Store, StoreState, Upkeep, quarantine};

use super::UpkeepError;

mod choose;
mod remove;
mod sources;

use choose::{Choice, Rules, choose};
use sources::{Source, Sources};

/// What one step of compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactStep {
    /// Files of blocks that were removed.
    pub segments: u64,
    /// Packs that were written.
    pub packs: u64,
    /// Blocks that a pack took over.
    pub moved_blocks: u64,
    /// Bytes of the packs that were written.
    pub moved_bytes: u64,
    /// Bytes of the files that were removed.
    pub freed_bytes: u64,
    /// Whether there is nothing else to do.
    pub done: bool,
}

impl Store {
    /// Packs what is worth it: blocks that outlived a collection of garbage, files of which at most `live_percent` is
    /// alive, and small packs. Waits for other upkeep. Call it until the step says that it is done.
    ///
    /// # Errors
    /// The step did not finish, and nothing is lost; calling again goes on.
    pub fn compact(&self, live_percent: u8) -> Result<CompactStep, UpkeepError> {
        let inner = self.inner();
        let mut upkeep = inner.upkeep.lock();
        if self.state() == StoreState::Failed {
            // The log may take packs into use of which the index does not know yet.
            return Err(CommitError::Closed.into());
        }
        let collected = inner.shared.collected.load(Ordering::Acquire);
        if upkeep.collected != collected {
            upkeep.collected = collected;
            upkeep.left_out.clear();
        }
        let mut step = CompactStep::default();
        self.remove_unknown(&mut step)?;
        self.remove_dropped(&mut step)?;
        let Some(choice) = self.chosen(live_percent, &upkeep) else {
            step.done = true;
            return Ok(step);
        };
        if choice.seals {
            // It is still written to: what comes now goes into the next.
            inner.ask(Work::Seal)?;
        }
        match self.pack(&choice, &mut upkeep, &mut step) {
            Err(error @ UpkeepError::File { file, .. }) => {
                upkeep.left_out.insert(file);
                return Err(error);
            }
            packed => packed?,
        }
        step.done = self.chosen(live_percent, &upkeep).is_none();
        Ok(step)
    }

    fn chosen(&self, live_percent: u8, upkeep: &Upkeep) -> Option<Choice> {
        let inner = self.inner();
        let is_full = inner.shared.full.load(Ordering::Acquire);
        let rules = Rules {
            outlived: upkeep.collected,
            is_full,
            ..Rules::new(live_percent, inner.segment_bytes)
        };
        let mut rows = inner.file_rows();
        rows.retain(|number, _| !upkeep.left_out.contains(number));
        let damaged = inner.damaged_files.lock();
        choose(&rows, &rules, &upkeep.settled, &damaged)
    }

    /// Moves what is alive in the chosen files into packs, and removes the files.
    fn pack(
        &self,
        choice: &Choice,
        upkeep: &mut Upkeep,
        step: &mut CompactStep,
    ) -> Result<(), UpkeepError> {
        let inner = self.inner();
        let Sources { files, mut blocks } = self.sources(&choice.files)?;
        // Blocks of one owner lie in the order in which they were stored.
        blocks.sort_unstable_by_key(|block| (block.tag, block.location));
        let weights: Vec<_> = blocks
            .iter()
            .map(|block| {
                (
                    block.tag,
                    weight(&block.hash, block.location.length, &block.codecs),
                )
            })
            .collect();
        let pack_bytes = (PACK_BYTES as u64).min(inner.segment_bytes);
        let plans = split(&weights, pack_bytes);
        drop(weights);
        if choice.is_join && plans.len() >= files.len() {
            upkeep.settled.extend(files);
            return Ok(());
        }
        let mut packs = Vec::with_capacity(plans.len());
        for PackPlan { range, entries } in plans {
            let writer = PackWriter::create(inner.disk.as_ref(), inner.packs().dir(), range)?;
            packs.extend(self.write_pack(writer, &blocks[entries])?);
        }
        drop(blocks);
        step.packs += packs.len() as u64;
        step.moved_bytes += packs.iter().map(|pack| pack.bytes).sum::<u64>();
        let footers = packs
            .iter()
            .map(|pack| (pack.name, Arc::clone(&pack.footer)));
        let held = inner.packs().hold(footers.collect());
        let adopt = Reclaim::Adopt {
            packs,
            dropped: files,
        };
        step.moved_blocks += self.commit(Batch::reclaiming(adopt))?.reclaimed_blocks;
        drop(held);
        self.remove_dropped(step)
    }

    /// Writes one pack. None where nothing of it was still there.
    fn write_pack(
        &self,
        mut writer: PackWriter<'_>,
        blocks: &[Source],
    ) -> Result<Option<Adoption>, UpkeepError> {
        let mut sources = Vec::with_capacity(blocks.len());
        for block in blocks {
            if let Some(body) = self.body(block)? {
                writer.push(PackBlock {
                    tag: block.tag,
                    hash: &block.hash,
                    codecs: &block.codecs,
                    body: &body,
                })?;
                sources.push(block.location);
            }
        }
        if sources.is_empty() {
            return Ok(None);
        }
        let pack = writer.finish()?;
        Ok(Some(Adoption {
            number: self.inner().ask(Work::Number)?,
            name: pack.name,
            bytes: pack.bytes,
            footer: Arc::new(pack.footer),
            sources,
        }))
    }

    /// The bytes of a block, checked; none where they are damaged or gone for good: then it is set aside.
    fn body(&self, block: &Source) -> Result<Option<Vec<u8>>, UpkeepError> {
        let inner = self.inner();
        let cid = Cid::new_v1(Codec::Raw.code(), block.hash);
        let at = block.location;
        let read = inner.read(at);
        if let Ok(body) = &read
            && verify(&cid, body).is_ok()
        {
            return Ok(read.ok());
        }
        // What the system holds in memory may be worse than what is on the disk.
        let damage: Box<dyn std::error::Error> = match inner.read_uncached(at) {
            Ok(body) => match verify(&cid, &body) {
                Ok(()) => return Ok(Some(body)),
                Err(damage) => damage.into(),
            },
            Err(damage) if is_lost(&damage) => damage.into(),
            Err(source) => {
                return Err(UpkeepError::File {
                    file: at.file,
                    source,
                });
            }
        };
        self.commit(quarantine(&block.hash, at, damage.as_ref()))?;
        Ok(None)
    }
}
