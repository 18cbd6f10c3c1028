//! What was found damaged or lost: counted and told, and the queues of what is to be had again.

use perennis_shared::cid::{Block, Cid, Codec, Multihash};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;
use perennis_store::{
    Batch, DamageCounts, FileNumber, Inspection, LookedAgain, Loss, QuarantineRow, ReadError,
    SetAside, StoreId,
};

use super::queues::{
    Attempts, DueWindow, FinishedRow, LOST_HEADS, Payload, QueueEntry, QueueKey, REFETCH,
    TypedQueue,
};
use super::{ChangeError, NameState, Storage, StorageError};

/// Most lost heads that are counted.
const LOST_COUNTED: usize = 65_536;

/// A block that was set aside and is due to be fetched again.
#[derive(Clone, Debug)]
pub(crate) struct DamagedBlock {
    /// Under the codec that it was first put under.
    pub(crate) cid: Cid,
    /// Under the others.
    pub(crate) others: Vec<Cid>,
    /// The file that it lay in, where that is known.
    pub(crate) file: Option<FileNumber>,
    /// Attempts that failed.
    pub(crate) failures: u32,
    key: Multihash,
    due: Millis,
}

/// What is known about a name.
#[derive(Debug)]
pub(crate) enum KeptOrLost {
    /// This is kept.
    Kept(Box<NameState>),
    /// Its head was acknowledged and is lost; it is looked for.
    Lost,
    /// Nothing is kept.
    Unknown,
}

/// A name whose head was acknowledged and is lost, due to be looked for again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LostHead {
    pub(crate) name: Name,
    /// The sequence it had at least, where that is known.
    pub(crate) min_sequence: Option<u64>,
    /// Attempts that failed.
    pub(crate) failures: u32,
    /// Since when it is due.
    pub(crate) due: Millis,
}

/// All that is told of damage.
#[derive(Clone, Debug, Default)]
pub struct KnownDamage {
    /// Which store it is about; none where nothing says it yet.
    pub store: Option<StoreId>,
    /// How much of each kind.
    pub counts: DamageCounts,
    /// Losses of acknowledged data, the oldest first.
    pub losses: Vec<Loss>,
    /// The first of the rows that were set aside.
    pub set_aside: Vec<SetAside>,
    /// The first of the blocks that were set aside.
    pub quarantined: Vec<QuarantineRow>,
}

impl KnownDamage {
    /// What is known of a store that was looked at.
    #[must_use]
    pub fn at(inspection: Inspection) -> KnownDamage {
        KnownDamage {
            store: inspection.store,
            counts: inspection.damage,
            losses: inspection.losses,
            set_aside: inspection.set_aside,
            quarantined: inspection.quarantined,
        }
    }
}

impl Storage {
    /// What is known of damage, with at most so many rows and blocks one by one. Waits for the disk.
    pub(crate) fn damage(&self, most: usize) -> Result<KnownDamage, StorageError> {
        Ok(KnownDamage {
            store: self.store.id()?,
            counts: self.store.damage()?,
            losses: self.store.losses()?,
            set_aside: self.store.rows_set_aside(most)?,
            quarantined: self.store.quarantine(None, most)?,
        })
    }

    /// What the last start found damaged, missing or cut off.
    pub(crate) fn found_at_start(&self) -> &[Loss] {
        self.store.found_at_start()
    }

    /// Why the index was made anew at the last start.
    pub(crate) fn rebuilt(&self) -> Option<&str> {
        self.store.rebuilt()
    }

    /// Forgets the losses that somebody has seen.
    pub(crate) async fn dismiss_losses(&self) -> Result<(), StorageError> {
        self.blocking(|this| {
            let dismissed = this.store.dismiss_losses();
            dismissed.map_err(|error| ChangeError::from(error).without_conditions())
        })
        .await
    }

    /// A block was set aside: the store puts it into the queue behind what is being committed.
    pub(super) fn block_set_aside(&self) {
        self.shared.queues.notify(REFETCH.number());
    }

    /// Waits until damaged blocks come into their queue.
    pub(crate) async fn refetch_notified(&self) {
        self.queue_notified(REFETCH).await;
        // What was found is set aside behind what is being committed; so is this. On a full disk it is not, and the queue is
        // looked at again later.
        let _ = self.write(Batch::new()).await;
    }

    /// Looks again at blocks that were set aside, as [`perennis_store::Store::look_again`] does.
    pub(crate) async fn look_again(
        &self,
        after: Option<Cid>,
        limit: usize,
    ) -> Result<LookedAgain, StorageError> {
        self.blocking(move |this| {
            let looked = this.store.look_again(after.as_ref(), limit);
            looked.map_err(|error| ChangeError::from(error).without_conditions())
        })
        .await
    }

    /// Damaged blocks that are due to be fetched again.
    pub(crate) async fn refetches_due(
        &self,
        window: DueWindow,
        limit: usize,
    ) -> Result<Vec<DamagedBlock>, StorageError> {
        self.blocking(move |this| {
            let entries = this.entries_due(REFETCH, window, limit)?;
            let mut due = Vec::with_capacity(entries.len());
            for entry in entries {
                let hash = entry.key;
                let known = this.store.quarantined(&hash)?;
                // Without a row in quarantine it was put again; or its row was damaged as well, and any codec will do.
                let file = known.as_ref().map(|row| row.file);
                let codecs = known.map_or_else(Vec::new, |row| row.codecs);
                let mut cids = codecs.into_iter().map(|codec| Cid::new_v1(codec, hash));
                let first = cids.next();
                let cid = first.unwrap_or_else(|| Cid::new_v1(Codec::Raw.code(), hash));
                if this.store.has(&cid)? {
                    this.leave_out(REFETCH, &entry);
                    continue;
                }
                due.push(DamagedBlock {
                    cid,
                    others: cids.collect(),
                    file,
                    failures: entry.payload.0,
                    key: hash,
                    due: entry.due,
                });
            }
            Ok(due)
        })
        .await
    }

    /// Keeps a damaged block that was fetched again. False where the disk did not keep it: it is set aside again.
    pub(crate) async fn refetched(
        &self,
        damaged: &DamagedBlock,
        block: Block,
    ) -> Result<bool, StorageError> {
        let mut batch = Batch::new();
        batch.put_block(block);
        REFETCH.take(&mut batch, &damaged.key, damaged.due);
        self.write(batch).await?;
        let cid = damaged.cid;
        self.blocking(move |this| match this.store.block_uncached(&cid) {
            Ok(_) => Ok(true),
            Err(ReadError::Corrupt { .. } | ReadError::Disk { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        })
        .await
    }

    /// A damaged block could not be had; it is due again then.
    pub(crate) async fn refetch_later(
        &self,
        damaged: &DamagedBlock,
        due: Millis,
    ) -> Result<(), StorageError> {
        let failures = Attempts(damaged.failures.saturating_add(1));
        // Also where the store has put it in once more, since the disk did not keep what was fetched.
        self.queue_put(REFETCH, &damaged.key, due, failures).await
    }

    /// Names whose lost heads are due to be looked for.
    pub(crate) async fn lost_heads_due(
        &self,
        window: DueWindow,
        limit: usize,
    ) -> Result<Vec<LostHead>, StorageError> {
        self.blocking(move |this| {
            let entries = this.entries_due(LOST_HEADS, window, limit)?;
            let mut due = Vec::with_capacity(entries.len());
            for entry in entries {
                let name = entry.key;
                let min_sequence = this.store.min_sequence(&name)?;
                // The batch that stored a head as new as the lost one has taken that away.
                if min_sequence.is_none() && this.store.head(&name)?.is_some() {
                    this.leave_out(LOST_HEADS, &entry);
                    continue;
                }
                due.push(LostHead {
                    name,
                    min_sequence,
                    failures: entry.payload.0,
                    due: entry.due,
                });
            }
            Ok(due)
        })
        .await
    }

    /// Names of which nothing is kept any more, as their head is lost; of very many, the first. Waits for the disk.
    pub(super) fn count_lost(&self) -> Result<u64, StorageError> {
        let mut count = 0;
        let rows = self
            .store
            .queue_due(LOST_HEADS.number(), Millis(u64::MAX), LOST_COUNTED)?;
        for name in rows.iter().filter_map(|row| Name::from_key(&row.key)) {
            count += u64::from(self.store.head(&name)?.is_none());
        }
        Ok(count)
    }

    /// A lost head was not found; it is due again then.
    pub(crate) async fn look_for_head_later(
        &self,
        lost: &LostHead,
        due: Millis,
    ) -> Result<(), StorageError> {
        let failures = Attempts(lost.failures.saturating_add(1));
        let mut batch = Batch::new();
        LOST_HEADS.put_off(&mut batch, &lost.name, lost.due, due, &failures);
        self.write(batch).await
    }

    /// The sequence below which no record of a name is accepted, where one that was acknowledged is lost.
    pub(crate) async fn min_sequence(&self, name: Name) -> Result<Option<u64>, StorageError> {
        self.blocking(move |this| Ok(this.store.min_sequence(&name)?))
            .await
    }

    /// Whether the head of a name is lost and looked for.
    pub(crate) async fn is_head_lost(&self, name: Name) -> Result<bool, StorageError> {
        Ok(self.lost_head(name).await?.is_some())
    }

    /// The row by which a head that is lost is looked for.
    pub(crate) async fn lost_head(&self, name: Name) -> Result<Option<FinishedRow>, StorageError> {
        self.blocking(move |this| this.lost_row(&name)).await
    }

    /// As [`Storage::lost_head`]. Waits for the disk.
    pub(super) fn lost_row(&self, name: &Name) -> Result<Option<FinishedRow>, StorageError> {
        let due = self.entry_due(LOST_HEADS, name)?;
        Ok(due.map(|due| LOST_HEADS.finished(name, due)))
    }

    /// What is kept about a name, told apart from one whose head is lost and looked for. A head that is found while this looks is kept.
    pub(crate) async fn kept_or_lost(&self, name: Name) -> Result<KeptOrLost, StorageError> {
        for _ in 0..2 {
            if let Some(kept) = self.kept(name).await? {
                return Ok(KeptOrLost::Kept(Box::new(kept)));
            }
            if self.is_head_lost(name).await? {
                return Ok(KeptOrLost::Lost);
            }
            // It may have been found between the two.
        }
        Ok(KeptOrLost::Unknown)
    }

    /// Takes a row out for which nothing is left to do, and waits for nobody.
    fn leave_out<K: QueueKey, P: Payload>(
        &self,
        queue: TypedQueue<K, P>,
        entry: &QueueEntry<K, P>,
    ) {
        let mut batch = Batch::new();
        queue.take(&mut batch, &entry.key, entry.due);
        self.store.submit(batch, |_| {});
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use perennis_shared::sign::SigningKey;

    use super::*;

    fn at(now: u64) -> DueWindow {
        DueWindow::new(Millis(now), Duration::from_secs(86_400))
    }

    #[tokio::test]
    async fn a_row_leaves_the_queue_of_damaged_blocks_when_the_block_is_here() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let block = Block::new(Codec::DagCbor, vec![0x80]).unwrap();
        let mut batch = Batch::new();
        REFETCH.put(&mut batch, block.cid().hash(), Millis(1), &Attempts(0));
        batch.enqueue(REFETCH.number(), b"no multihash", Millis(1), Vec::new());
        storage.write(batch).await.unwrap();
        let mut due = storage.refetches_due(at(2), 10).await.unwrap();
        let damaged = due.pop().unwrap();
        assert_eq!((due.len(), damaged.failures), (0, 0));
        assert_eq!(damaged.cid.hash(), block.cid().hash());
        storage.refetch_later(&damaged, Millis(3)).await.unwrap();
        assert!(storage.refetches_due(at(2), 10).await.unwrap().is_empty());
        let again = storage.refetches_due(at(3), 10).await.unwrap();
        assert_eq!(again[0].failures, 1);
        storage.refetched(&again[0], block.clone()).await.unwrap();
        assert!(storage.store.has(block.cid()).unwrap());
        assert_eq!(storage.store.queue_len(REFETCH.number()).unwrap(), 0);
        // Somebody else has put it meanwhile.
        let mut batch = Batch::new();
        REFETCH.put(&mut batch, block.cid().hash(), Millis(1), &Attempts(0));
        storage.write(batch).await.unwrap();
        assert!(storage.refetches_due(at(2), 10).await.unwrap().is_empty());
        storage.write(Batch::new()).await.unwrap();
        assert_eq!(storage.store.queue_len(REFETCH.number()).unwrap(), 0);
    }

    #[tokio::test]
    async fn a_lost_head_is_due_until_there_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let name = Name::from_public_key(&SigningKey::from_seed(&[1; 32]).public());
        let mut batch = Batch::new();
        LOST_HEADS.put(&mut batch, &name, Millis(1), &Attempts(0));
        batch.enqueue(LOST_HEADS.number(), b"nobody", Millis(1), Vec::new());
        storage.write(batch).await.unwrap();
        let due = storage.lost_heads_due(at(2), 10).await.unwrap();
        let [lost] = due.as_slice() else {
            panic!("{due:?}")
        };
        assert_eq!(
            (lost.name, lost.min_sequence, lost.failures),
            (name, None, 0)
        );
        let known = storage.kept_or_lost(name).await.unwrap();
        assert!(matches!(known, KeptOrLost::Lost), "{known:?}");
        let other = Name::from_public_key(&SigningKey::from_seed(&[2; 32]).public());
        let known = storage.kept_or_lost(other).await.unwrap();
        assert!(matches!(known, KeptOrLost::Unknown), "{known:?}");
        storage.look_for_head_later(lost, Millis(9)).await.unwrap();
        assert!(storage.lost_heads_due(at(8), 10).await.unwrap().is_empty());
        assert_eq!(
            storage.lost_heads_due(at(9), 10).await.unwrap()[0].failures,
            1
        );
    }
}
