//! Where the blocks that peers want are read.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use perennis_rt::{MaybeSend, MaybeSync};
use perennis_shared::cid::Cid;

/// Blocks to be served. Calls overlap, up to the limit of [`Config::reads`](super::Config::reads).
///
/// What it gives is sent as it is: a source checks what it reads, or reads from where nothing breaks. A block it cannot
/// read is one it does not have.
pub trait BlockSource: MaybeSend + MaybeSync + 'static {
    /// The size of each block in bytes, in the order asked for; none for one that is not here.
    fn sizes(&self, cids: &[Cid]) -> impl Future<Output = Vec<Option<usize>>> + MaybeSend;

    /// The content of each block, in the order asked for; none for one that is not here.
    fn blocks(&self, cids: &[Cid]) -> impl Future<Output = Vec<Option<Bytes>>> + MaybeSend;
}

impl<S: BlockSource> BlockSource for Arc<S> {
    fn sizes(&self, cids: &[Cid]) -> impl Future<Output = Vec<Option<usize>>> + MaybeSend {
        S::sizes(self, cids)
    }

    fn blocks(&self, cids: &[Cid]) -> impl Future<Output = Vec<Option<Bytes>>> + MaybeSend {
        S::blocks(self, cids)
    }
}

/// Serves nothing: for a client that only fetches.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBlocks;

impl BlockSource for NoBlocks {
    async fn sizes(&self, cids: &[Cid]) -> Vec<Option<usize>> {
        vec![None; cids.len()]
    }

    async fn blocks(&self, cids: &[Cid]) -> Vec<Option<Bytes>> {
        vec![None; cids.len()]
    }
}
