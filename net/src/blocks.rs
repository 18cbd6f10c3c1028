//! The blocks a peer serves, whatever has them.

use std::sync::Arc;

use bytes::Bytes;
use perennis_rt::{BoxFuture, MaybeSend, MaybeSync};
use perennis_shared::cid::Cid;

use crate::bitswap::{BlockSource, NoBlocks};

/// Some [`BlockSource`]. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Blocks(Arc<dyn DynSource>);

trait DynSource: MaybeSend + MaybeSync {
    fn sizes<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Vec<Option<usize>>>;
    fn blocks<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Vec<Option<Bytes>>>;
}

impl<S: BlockSource> DynSource for S {
    fn sizes<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Vec<Option<usize>>> {
        Box::pin(BlockSource::sizes(self, cids))
    }

    fn blocks<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Vec<Option<Bytes>>> {
        Box::pin(BlockSource::blocks(self, cids))
    }
}

/// `Blocks` as a source itself; apart, so that it is not a source of sources.
pub(crate) struct Erased(pub(super) Blocks);

impl Blocks {
    /// Serves what `source` has.
    #[must_use]
    pub fn new(source: impl BlockSource) -> Self {
        Self(Arc::new(source))
    }

    /// Serves nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(NoBlocks)
    }
}

impl BlockSource for Erased {
    async fn sizes(&self, cids: &[Cid]) -> Vec<Option<usize>> {
        self.0.0.sizes(cids).await
    }

    async fn blocks(&self, cids: &[Cid]) -> Vec<Option<Bytes>> {
        self.0.0.blocks(cids).await
    }
}
