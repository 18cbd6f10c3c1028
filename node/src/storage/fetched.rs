//! DAGs that were fetched on demand: the row beside the pin of each.

use std::collections::BTreeSet;

use perennis_shared::cid::{Block, Cid, parse_cid_bytes};
use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::keys::FETCHED;
use super::roots::PinReason;
use super::{Pin, Storage, StorageError, key};

/// A DAG that was fetched on demand and is kept until it is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) root: Cid,
    pub(crate) at: Millis,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// Blocks of it whose links cannot be read, so that what is below them is not known.
    pub(crate) opaque: u64,
}

impl Fetched {
    /// Whether all of it is known to be here, as names tell it.
    pub(crate) const fn state(&self) -> &'static str {
        match self.opaque {
            0 => Pin::Pinned.name(),
            _ => Pin::Opaque.name(),
        }
    }
}

impl Storage {
    /// Holds what comes in below a root, so that it is not collected while it is fetched.
    pub(crate) async fn begin_fetch(&self, root: &Cid) -> Result<(), StorageError> {
        let reason = PinReason::Fetched(*root);
        let mut batch = reason.batch();
        reason.pin_unstored(&mut batch, *root);
        self.write(batch).await
    }

    /// Stores blocks below a root that is being fetched.
    pub(crate) async fn keep_fetched(
        &self,
        root: &Cid,
        blocks: Vec<Block>,
    ) -> Result<(), StorageError> {
        let mut batch = PinReason::Fetched(*root).batch();
        for block in blocks {
            batch.put_block(block);
        }
        self.write(batch).await
    }

    /// Keeps a DAG that is here whole.
    pub(crate) async fn finish_fetch(&self, fetched: Fetched) -> Result<(), StorageError> {
        let row = key(FETCHED, &fetched.root.to_bytes());
        let numbers = [fetched.at.0, fetched.blocks, fetched.bytes, fetched.opaque];
        let reason = PinReason::Fetched(fetched.root);
        let mut batch = reason.batch();
        reason.pin(&mut batch, fetched.root);
        batch.put_meta(&row, numbers.map(u64::to_be_bytes).concat());
        if fetched.opaque == 0 {
            self.complete_imported(&mut batch, fetched.root).await?;
        }
        self.write(batch).await
    }

    /// Keeps a DAG no longer for having been fetched, under whichever CID of its root's multihash that was; false when it was not.
    pub(crate) async fn release(&self, root: &Cid) -> Result<bool, StorageError> {
        let root = *root;
        let roots = self.blocking(move |this| this.fetched_under(root)).await?;
        if roots.is_empty() {
            return Ok(false);
        }
        let mut batch = Batch::new();
        for root in &roots {
            PinReason::Fetched(*root).unpin(&mut batch);
            batch.delete_meta(&key(FETCHED, &root.to_bytes()));
        }
        self.write(batch).await?;
        Ok(true)
    }

    /// The roots of this multihash that were fetched, or of which a fetch that failed has left its pin.
    fn fetched_under(&self, root: Cid) -> Result<BTreeSet<Cid>, StorageError> {
        let mut found = BTreeSet::new();
        // The row may be there without its pin, where that was damaged.
        if self.store.meta(&key(FETCHED, &root.to_bytes()))?.is_some() {
            found.insert(root);
        }
        self.each_pin(FETCHED, |reason| {
            if let PinReason::Fetched(other) = reason
                && other.hash() == root.hash()
            {
                found.insert(other);
            }
        })?;
        Ok(found)
    }

    /// DAGs that were fetched, behind `after`, in the order of their CIDs.
    pub(crate) async fn fetched(
        &self,
        after: Option<Cid>,
        limit: usize,
    ) -> Result<Vec<Fetched>, StorageError> {
        self.blocking(move |this| {
            let after = after.map(|after| key(FETCHED, &after.to_bytes()));
            let rows = this.store.metas(FETCHED, after.as_deref(), limit)?;
            let fetched = |(row, value): (Vec<u8>, Vec<u8>)| {
                let Ok(root) = parse_cid_bytes(row.strip_prefix(FETCHED)?) else {
                    this.set_aside(&row, value, None, &"it is of no CID");
                    return None;
                };
                Some(parse(root, &value).unwrap_or_else(|| {
                    // What it is of stands in its key; its sizes are told as unknown.
                    let numbers = [0_u64; 4].map(u64::to_be_bytes).concat();
                    this.set_aside(
                        &row,
                        value,
                        Some(numbers),
                        &"it has neither three numbers nor four",
                    );
                    Fetched {
                        root,
                        at: Millis(0),
                        blocks: 0,
                        bytes: 0,
                        opaque: 0,
                    }
                }))
            };
            Ok(rows.into_iter().filter_map(fetched).collect())
        })
        .await
    }
}

fn parse(root: Cid, value: &[u8]) -> Option<Fetched> {
    let (numbers, []) = value.as_chunks::<8>() else {
        return None;
    };
    let (at, blocks, bytes, opaque) = match numbers {
        // Before blocks were counted whose links cannot be read.
        [at, blocks, bytes] => (at, blocks, bytes, &[0; 8]),
        [at, blocks, bytes, opaque] => (at, blocks, bytes, opaque),
        _ => return None,
    };
    Some(Fetched {
        root,
        at: Millis(u64::from_be_bytes(*at)),
        blocks: u64::from_be_bytes(*blocks),
        bytes: u64::from_be_bytes(*bytes),
        opaque: u64::from_be_bytes(*opaque),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::cid::Codec;

    use super::*;

    #[tokio::test]
    async fn what_a_fetch_that_failed_has_left_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let block = Block::new(Codec::Raw, b"a part".to_vec()).unwrap();
        let root = *block.cid();
        assert!(!storage.release(&root).await.unwrap());
        storage.begin_fetch(&root).await.unwrap();
        storage.keep_fetched(&root, vec![block]).await.unwrap();
        let pin = PinReason::Fetched(root).key();
        assert_eq!(storage.store.pin(&pin).unwrap(), Some(root));
        assert!(storage.release(&root).await.unwrap());
        assert_eq!(storage.store.pin(&pin).unwrap(), None);
        assert!(!storage.release(&root).await.unwrap());
    }

    #[tokio::test]
    async fn a_dag_is_released_under_any_cid_of_its_multihash() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let block = Block::new(Codec::Raw, b"a root".to_vec()).unwrap();
        let hash = *block.cid().hash();
        let old = Cid::new_v0(hash).unwrap();
        let (pb, unknown) = (
            Cid::new_v1(Codec::DagPb.code(), hash),
            Cid::new_v1(0x90, hash),
        );
        let other = Block::new(Codec::Raw, b"another".to_vec()).unwrap();
        let begun = [old, pb, unknown, *other.cid()];
        for asked in [*block.cid(), old, unknown] {
            for root in begun {
                storage.begin_fetch(&root).await.unwrap();
            }
            assert!(storage.release(&asked).await.unwrap());
            for root in [old, pb, unknown] {
                let pin = PinReason::Fetched(root).key();
                assert_eq!(storage.store.pin(&pin).unwrap(), None, "{root}");
            }
            let pin = PinReason::Fetched(*other.cid()).key();
            assert_eq!(storage.store.pin(&pin).unwrap(), Some(*other.cid()));
        }
    }
}
