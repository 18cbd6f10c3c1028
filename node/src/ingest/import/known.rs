//! What is known of the blocks of an import, and the memory for it.

use std::collections::HashMap;

use super::super::message::UNIT_BYTES;
use crate::groups;
use crate::ingest::IngestError;

/// Things for which memory is taken at once.
const LOT: u64 = 4_096;

/// The share of an import in the memory for messages. It grows, and is given back as a whole.
pub(super) struct Share {
    memory: groups::Share,
    allowed: u64,
}

impl Share {
    /// A share of nothing, of a memory of so many bytes.
    pub(super) fn new(memory: groups::Share, allowed: u64) -> Share {
        Share { memory, allowed }
    }

    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), IngestError> {
        match self.memory.grow(bytes.div_ceil(UNIT_BYTES)) {
            true => Ok(()),
            false => Err(IngestError::ImportMemory {
                allowed: self.allowed,
            }),
        }
    }
}

/// Things of one kind for which memory is taken in lots.
#[derive(Default)]
pub(super) struct Lots {
    counted: u64,
}

impl Lots {
    /// Makes sure that so many and one more may be held, of so many bytes each.
    pub(super) fn reach(
        &mut self,
        share: &mut Share,
        held: u64,
        each: u64,
    ) -> Result<(), IngestError> {
        while held >= self.counted {
            share.grow(LOT * each)?;
            self.counted += LOT;
        }
        Ok(())
    }
}

/// Blocks by fingerprints of their multihashes.
#[derive(Default)]
pub(super) struct Known {
    blocks: HashMap<u128, Facts>,
    lots: Lots,
}

#[derive(Clone, Copy, Default)]
struct Facts {
    is_in_file: bool,
    is_linked: bool,
    is_reached: bool,
}

impl Known {
    /// The file has the block. Tells whether that is new.
    pub(super) fn in_file(
        &mut self,
        fingerprint: u128,
        share: &mut Share,
        each: u64,
    ) -> Result<bool, IngestError> {
        self.lots.reach(share, self.blocks.len() as u64, each)?;
        let facts = self.blocks.entry(fingerprint).or_default();
        Ok(!std::mem::replace(&mut facts.is_in_file, true))
    }

    /// A block of the file links to it.
    pub(super) fn linked(
        &mut self,
        fingerprint: u128,
        share: &mut Share,
        each: u64,
    ) -> Result<(), IngestError> {
        self.lots.reach(share, self.blocks.len() as u64, each)?;
        self.blocks.entry(fingerprint).or_default().is_linked = true;
        Ok(())
    }

    /// A root leads to it.
    pub(super) fn reached(&mut self, fingerprint: u128) {
        if let Some(facts) = self.blocks.get_mut(&fingerprint) {
            facts.is_reached = true;
        }
    }

    pub(super) fn is_linked(&self, fingerprint: u128) -> bool {
        let facts = self.blocks.get(&fingerprint);
        facts.is_some_and(|facts| facts.is_linked)
    }

    /// Blocks of the file to which no root leads.
    pub(super) fn unreached(&self) -> u64 {
        let left_out = |facts: &&Facts| facts.is_in_file && !facts.is_reached;
        self.blocks.values().filter(left_out).count() as u64
    }
}
