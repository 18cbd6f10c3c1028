//! What a fetch is about, and what has come of it so far.

use std::collections::HashMap;

use perennis_shared::cid::{Block, Cid, Multihash};

use crate::storage::{FetchAttempt, NameState, Shortfall, links};

/// The name whose blocks are fetched, and how much of it is stored.
pub(super) struct Target<'a> {
    pub(super) attempt: &'a FetchAttempt,
    pub(super) kept: &'a NameState,
    pub(super) bytes: u64,
    pub(super) count: u64,
    /// The first block whose links cannot be read.
    pub(super) opaque: Option<Shortfall>,
}

impl Target<'_> {
    /// What a block leads to. One whose links cannot be read leads nowhere, which is told.
    pub(super) fn links(&mut self, block: &Block) -> Vec<Cid> {
        links(block).unwrap_or_else(|error| {
            let opaque = || Shortfall::opaque(*block.cid(), &error);
            self.opaque.get_or_insert_with(opaque);
            Vec::new()
        })
    }
}

/// Blocks that were fetched and are not stored yet.
#[derive(Default)]
pub(super) struct Fetched {
    pub(super) blocks: HashMap<Multihash, Block>,
    pub(super) bytes: u64,
}

impl Fetched {
    pub(super) fn take(&mut self, block: Block) {
        let length = block.bytes().len() as u64;
        if self.blocks.insert(*block.cid().hash(), block).is_none() {
            self.bytes += length;
        }
    }

    /// What the fetched blocks lead to.
    pub(super) fn ahead(&self, head: &Cid, target: &mut Target<'_>) -> Vec<Cid> {
        let entry = self.blocks.get(head.hash()).into_iter();
        let rest = self.blocks.values().filter(|block| block.cid() != head);
        entry
            .chain(rest)
            .flat_map(|block| target.links(block))
            .collect()
    }
}
