//! How trees and logs read blocks.

use alloc::collections::BTreeMap;

use bytes::Bytes;

use crate::cid::{Block, Cid};

/// A view of blocks in memory.
///
/// Whoever fills the view has verified each block against its CID. What the view lacks is reported as
/// missing with its CID, so that the caller can fetch it, add it and call again.
pub trait Blocks {
    /// The content of a block, or `None` when the view does not hold it.
    fn block(&self, cid: &Cid) -> Option<Bytes>;
}

impl<B: Blocks + ?Sized> Blocks for &B {
    fn block(&self, cid: &Cid) -> Option<Bytes> {
        (**self).block(cid)
    }
}

impl Blocks for BTreeMap<Cid, Bytes> {
    fn block(&self, cid: &Cid) -> Option<Bytes> {
        self.get(cid).cloned()
    }
}

/// New blocks in front of a view, as if they were already in it.
#[derive(Debug)]
pub struct Overlay<'a, B: ?Sized> {
    added: BTreeMap<Cid, Bytes>,
    below: &'a B,
}

impl<'a, B: Blocks + ?Sized> Overlay<'a, B> {
    /// A view of `added` and of everything in `below`.
    pub fn new<'b>(added: impl IntoIterator<Item = &'b Block>, below: &'a B) -> Overlay<'a, B> {
        let added = added
            .into_iter()
            .map(|block| (*block.cid(), block.bytes().clone()))
            .collect();
        Overlay { added, below }
    }
}

impl<B: Blocks + ?Sized> Blocks for Overlay<'_, B> {
    fn block(&self, cid: &Cid) -> Option<Bytes> {
        self.added
            .get(cid)
            .cloned()
            .or_else(|| self.below.block(cid))
    }
}
