//! Space that nothing needs any more: garbage collection and compaction, one step at a time.

use perennis_rt::{self as rt, Cancelled};
use perennis_shared::error::{ErrorKind, Retryable};
use perennis_shared::time::Millis;
use perennis_store::{
    Batch, CheckpointStep, CollectProgress, Collection, CommitError, CompactStep, StoreState,
    UpkeepError,
};

use super::keys::RECLAIMED;
use super::{Storage, StorageError};

/// Blocks that one step of a collection looks at.
const STEP_BLOCKS: usize = 1_024;

/// A segment is written anew when less than this share of it is still needed, in percent.
const LIVE_PERCENT: u8 = 50;

/// Why space was not reclaimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReclaimError {
    /// The store did not finish; what it has done stays done.
    #[error("the store could not reclaim space")]
    Upkeep(#[from] UpkeepError),
    /// A row of the node's own could not be written.
    #[error("a row could not be written")]
    Row(#[from] StorageError),
    /// The node is stopping.
    #[error("the node is stopping")]
    Interrupted(#[from] Cancelled),
}

impl Retryable for ReclaimError {
    fn kind(&self) -> ErrorKind {
        match self {
            ReclaimError::Upkeep(error) => error.kind(),
            ReclaimError::Row(error) => error.kind(),
            ReclaimError::Interrupted(_) => ErrorKind::Retry,
        }
    }
}

impl Storage {
    /// When the last whole round of collecting and packing ended.
    pub(crate) async fn reclaimed_at(&self) -> Result<Option<Millis>, StorageError> {
        self.blocking(|this| Ok(this.number(RECLAIMED)?.map(Millis)))
            .await
    }

    pub(crate) async fn save_reclaim_end(&self, at: Millis) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.put_meta(RECLAIMED, at.0.to_be_bytes());
        self.write(batch).await
    }

    /// Begins to look for blocks that no pin reaches.
    pub(crate) async fn collect(&self) -> Result<Collection, ReclaimError> {
        let store = self.store.clone();
        blocking(move || Ok(store.collect()?)).await
    }

    /// Does one step of a collection, and says how far it is.
    pub(crate) async fn collect_step(
        &self,
        mut collection: Collection,
    ) -> Result<(Collection, CollectProgress), ReclaimError> {
        blocking(move || {
            let progress = collection.step(STEP_BLOCKS)?;
            Ok((collection, progress))
        })
        .await
    }

    /// Packs what is still needed of some files, and removes them.
    pub(crate) async fn compact_step(&self) -> Result<CompactStep, ReclaimError> {
        let store = self.store.clone();
        blocking(move || Ok(store.compact(LIVE_PERCENT)?)).await
    }

    /// Whether the rows of the index are to be written down again.
    pub(crate) fn is_checkpoint_due(&self) -> bool {
        self.store.checkpoint_due()
    }

    /// Writes the rows of the index down.
    pub(crate) async fn checkpoint(&self) -> Result<CheckpointStep, ReclaimError> {
        let store = self.store.clone();
        blocking(move || Ok(store.checkpoint()?)).await
    }

    /// Whether the disk has no space for new blocks. One that was full is tried again: the store takes its
    /// reserve back when it can.
    pub(crate) async fn is_still_full(&self) -> Result<bool, ReclaimError> {
        if self.store.state() != StoreState::Full {
            return Ok(false);
        }
        let store = self.store.clone();
        // An empty batch writes nothing; it is refused while there is no space.
        blocking(move || Ok(matches!(store.commit(Batch::new()), Err(CommitError::Full)))).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReclaimError> + Send + 'static,
) -> Result<T, ReclaimError> {
    rt::blocking(work).await?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use perennis_shared::cid::{Block, Codec};

    #[tokio::test]
    async fn every_failure_has_its_kind() {
        let cancelled = rt::blocking::<(), _>(|| panic!("no luck")).await;
        let cancelled = cancelled.unwrap_err();
        let upkeep = |error: UpkeepError| ReclaimError::from(error);
        for (error, kind) in [
            (upkeep(UpkeepError::Busy), ErrorKind::Retry),
            (upkeep(CommitError::Full.into()), ErrorKind::Fatal),
            (StorageError::Full.into(), ErrorKind::Fatal),
            (cancelled.into(), ErrorKind::Retry),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[tokio::test]
    async fn what_no_pin_reaches_is_dropped_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let kept = Block::new(Codec::Raw, b"kept".to_vec()).unwrap();
        let garbage = Block::new(Codec::Raw, b"garbage".to_vec()).unwrap();
        let mut batch = Batch::new();
        batch
            .put_block(kept.clone())
            .put_block(garbage.clone())
            .pin(b"pin", *kept.cid());
        storage.store.commit(batch).unwrap();

        let mut collection = storage.collect().await.unwrap();
        let mut progress = CollectProgress::default();
        while !progress.done {
            (collection, progress) = storage.collect_step(collection).await.unwrap();
        }
        assert_eq!(progress.dropped_blocks, 1);
        assert!(storage.store.has(kept.cid()).unwrap());
        assert!(!storage.store.has(garbage.cid()).unwrap());
        while !storage.compact_step().await.unwrap().done {}
        assert_eq!(
            storage
                .store
                .block(kept.cid())
                .unwrap()
                .map(|block| block.into_parts().1),
            Some(kept.into_parts().1)
        );
    }
}
