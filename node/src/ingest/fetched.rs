//! DAGs that are fetched on demand: their blocks come in through the write door too, under a limit of their own.
//!
//! They belong to no name, so no quota of a name bounds them; what may come in below one root is admission's to say. The root is
//! pinned before the first block comes, so that nothing is collected while it is fetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perennis_sdk::exchange::{DagLimits, Held, Sink};
use perennis_sdk::store::StoreError;
use perennis_shared::cid::{Block, Cid, Codec};

use super::Ingest;
use crate::storage::{Fetched, StorageError};

impl Ingest {
    /// Begins to keep what comes in below a root, within what admission allows.
    pub(crate) async fn begin_fetch(
        self: &Arc<Self>,
        root: &Cid,
    ) -> Result<FetchSink, StorageError> {
        self.storage.begin_fetch(root).await?;
        Ok(FetchSink {
            ingest: Arc::clone(self),
            root: *root,
            kept_bytes: AtomicU64::new(0),
        })
    }

    /// Keeps a DAG that is here whole.
    pub(crate) async fn finish_fetch(&self, fetched: Fetched) -> Result<(), StorageError> {
        self.storage.finish_fetch(fetched).await
    }

    /// Keeps a DAG no longer for having been fetched; false when it was not.
    pub(crate) async fn release(&self, root: &Cid) -> Result<bool, StorageError> {
        self.storage.release(root).await
    }
}

/// Takes in what is fetched below one root.
pub(crate) struct FetchSink {
    ingest: Arc<Ingest>,
    root: Cid,
    pub(super) kept_bytes: AtomicU64,
}

impl FetchSink {
    /// How much may come in.
    pub(crate) fn limits(&self) -> DagLimits {
        self.ingest.admission.fetch_limits()
    }
}

impl Sink for FetchSink {
    async fn held(&self, cids: &[Cid]) -> Result<Vec<Held>, StoreError> {
        let held = self.ingest.read.held();
        // A leaf need not be read to know what is below it, and a damaged block is fetched anew.
        let is_leaf = |cid: &&Cid| cid.codec() == Codec::Raw.code();
        let (leaves, inner): (Vec<&Cid>, Vec<&Cid>) = cids.iter().partition(is_leaf);
        let (leaves, inner) = (copied(leaves), copied(inner));
        let mut leaves = held.has(&leaves).await.into_iter();
        let mut inner = held.blocks(&inner).await.into_iter();
        let mut answers = Vec::with_capacity(cids.len());
        for cid in cids {
            let answer = if is_leaf(&cid) {
                let is_here = leaves.next().unwrap_or(Ok(false));
                is_here.map(|is_here| if is_here { Held::Whole } else { Held::Absent })
            } else {
                let block = inner.next().unwrap_or(Ok(None));
                block.map(|block| block.map_or(Held::Absent, Held::Block))
            };
            answers.push(match answer {
                Err(error @ StorageError::Interrupted(_)) => return Err(failed(error)),
                answer => answer.unwrap_or(Held::Absent),
            });
        }
        Ok(answers)
    }

    async fn keep(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        let bytes: u64 = blocks.iter().map(|block| block.bytes().len() as u64).sum();
        let before = self.kept_bytes.fetch_add(bytes, Ordering::Relaxed);
        let admitted = self.ingest.admission.check_fetched(before);
        admitted.map_err(failed)?;
        let kept = self.ingest.storage.keep_fetched(&self.root, blocks).await;
        kept.map_err(failed)
    }
}

fn copied(cids: Vec<&Cid>) -> Vec<Cid> {
    cids.into_iter().copied().collect()
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Backend {
        action: "keep blocks that were fetched",
        source: Box::new(error),
    }
}
