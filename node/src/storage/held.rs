//! What blocks are held: the one trait through which everybody reads them, and the local store behind it.
//!
//! HTTP, bitswap, walks, fetches and the write door ask it; where memory and metrics are wanted, through
//! [`Read`](crate::read::Read), which asks it in turn. Every block that it gives was checked against its CID, and one that
//! is found damaged is told of to whoever mends it. Must never touch: caches, the network, writing.

use std::ops::Range;
use std::slice;

use perennis_rt::{self as rt, BoxFuture, Cancelled};
use perennis_shared::cid::{Block, Cid};
use perennis_shared::error::chain;
use perennis_store::ReadError;

use super::{Storage, StorageError};

/// An answer for each CID that was asked for, in their order.
pub(crate) type Answers<T> = Vec<Result<T, StorageError>>;

/// Blocks that are here.
pub(crate) trait HeldBlocks: Send + Sync {
    /// Whether each of them is here. It is not read.
    fn has<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Answers<bool>>;

    /// How many bytes each of them has; `None` for one that is not here.
    fn sizes<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Answers<Option<usize>>>;

    /// Each of them, checked against its CID; `None` for one that is not here.
    fn blocks<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Answers<Option<Block>>>;

    /// Bytes of a block, checked against the sums that were taken when it was verified.
    fn part<'a>(
        &'a self,
        cid: &'a Cid,
        part: Range<u32>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StorageError>>;
}

impl dyn HeldBlocks {
    /// One block.
    pub(crate) async fn block(&self, cid: &Cid) -> Result<Option<Block>, StorageError> {
        let mut blocks = self.blocks(slice::from_ref(cid)).await;
        blocks.pop().unwrap_or(Ok(None))
    }

    /// How many bytes one block has.
    pub(crate) async fn size(&self, cid: &Cid) -> Result<Option<usize>, StorageError> {
        let mut sizes = self.sizes(slice::from_ref(cid)).await;
        sizes.pop().unwrap_or(Ok(None))
    }

    /// Those of the blocks that are not here.
    pub(crate) async fn absent(&self, cids: Vec<Cid>) -> Result<Vec<Cid>, StorageError> {
        let answers = self.has(&cids).await;
        let mut absent = Vec::new();
        for (cid, is_here) in cids.into_iter().zip(answers) {
            if !is_here? {
                absent.push(cid);
            }
        }
        Ok(absent)
    }
}

impl HeldBlocks for Storage {
    fn has<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Answers<bool>> {
        Box::pin(self.each(cids, |this, cid| Ok(this.store.has(cid)?)))
    }

    fn sizes<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Answers<Option<usize>>> {
        let size = |this: &Storage, cid: &Cid| {
            let bytes = this.store.block_bytes(cid)?;
            Ok(bytes.map(|bytes| bytes as usize))
        };
        Box::pin(self.each(cids, size))
    }

    fn blocks<'a>(&'a self, cids: &'a [Cid]) -> BoxFuture<'a, Answers<Option<Block>>> {
        let read = |this: &Storage, cid: &Cid| this.tell_damage(this.store.block(cid));
        Box::pin(self.each(cids, read))
    }

    fn part<'a>(
        &'a self,
        cid: &'a Cid,
        part: Range<u32>,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StorageError>> {
        let cid = *cid;
        Box::pin(self.blocking(move |this| this.tell_damage(this.store.region(&cid, part))))
    }
}

impl Storage {
    /// Asks for each of these on a thread that may wait for the disk.
    async fn each<T: Send + 'static>(
        &self,
        cids: &[Cid],
        ask: impl Fn(&Storage, &Cid) -> Result<T, StorageError> + Send + 'static,
    ) -> Answers<T> {
        if cids.is_empty() {
            return Vec::new();
        }
        let count = cids.len();
        let (this, cids) = (self.clone(), cids.to_vec());
        let asked = rt::blocking(move || cids.iter().map(|cid| ask(&this, cid)).collect());
        let interrupted = |error: Cancelled| {
            let cause = chain(&error);
            let answer = || Err(StorageError::interrupted(cause.clone()));
            (0..count).map(|_| answer()).collect()
        };
        asked.await.unwrap_or_else(interrupted)
    }

    fn tell_damage<T>(&self, read: Result<T, ReadError>) -> Result<T, StorageError> {
        if read
            .as_ref()
            .is_err_and(|error| !matches!(error, ReadError::Index(_)))
        {
            self.block_set_aside();
        }
        Ok(read?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;

    use perennis_shared::cid::Codec;
    use perennis_store::Batch;

    use super::*;

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_questions() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let block = |content: &[u8]| Block::new(Codec::Raw, content.to_vec()).unwrap();
        let (here, absent, large) = (block(b"here"), block(b"absent"), block(&[7; 5_000]));
        let mut batch = Batch::new();
        batch.put_block(here.clone()).put_block(large.clone());
        storage.write(batch).await.unwrap();
        let held: Arc<dyn HeldBlocks> = Arc::new(storage);
        let cids = [*large.cid(), *absent.cid(), *here.cid()];
        let all = |answers: Answers<_>| answers.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(all(held.has(&cids).await), [true, false, true]);
        let sizes: Vec<_> = held
            .sizes(&cids)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(sizes, [Some(5_000), None, Some(4)]);
        let blocks: Vec<_> = held
            .blocks(&cids)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(blocks, [Some(large.clone()), None, Some(here.clone())]);
        assert_eq!(held.absent(cids.to_vec()).await.unwrap(), [*absent.cid()]);
        assert_eq!(held.block(here.cid()).await.unwrap(), Some(here));
        assert_eq!(held.size(absent.cid()).await.unwrap(), None);
        let part = held.part(large.cid(), 10..14).await.unwrap();
        assert_eq!(part, Some(vec![7; 4]));
        assert!(held.has(&[]).await.is_empty());
    }
}
