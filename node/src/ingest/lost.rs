//! What was lost by damage and is had again: heads and blocks from elsewhere, and pins from what their keys tell.

use perennis_rt as rt;
use perennis_shared::cid::Block;
use perennis_shared::ipns::{Ladder, Record};

use super::{Ingest, IngestError, facts_below};
use crate::storage::{DamagedBlock, LostHead, NameChange, StorageError};

impl Ingest {
    /// Takes in a record that was found of a name whose head is lost. What is older than the lost one is refused, as from
    /// anybody; the row that asks for the search goes in the batch that stores the record.
    pub(crate) async fn found_again(
        &self,
        lost: &LostHead,
        record: Record,
    ) -> Result<(), IngestError> {
        let now = rt::now();
        let name = &lost.name;
        let record = record.still_valid(now)?;
        let offered = record.sequence();
        let kept = self.storage.kept(*name).await?;
        if self.is_known(name, kept.as_ref(), &record, now).await? {
            // What is here is what was there before the lost one.
            let known = lost.min_sequence.unwrap_or(offered);
            return Err(IngestError::Stale { known, offered });
        }
        let ladder = self
            .ladder_after(name, kept.as_ref(), &record, Ladder::default())
            .await?;
        let change = NameChange {
            facts: facts_below(kept.as_ref(), &record),
            ladder,
            only_if_lost: true,
            ..NameChange::of(*name, record, now)
        };
        self.commit(change, kept.as_ref()).await
    }

    /// Takes in a damaged block that was fetched again. False where the disk did not keep it: it is set aside again.
    pub(crate) async fn refetched(
        &self,
        damaged: &DamagedBlock,
        block: Block,
    ) -> Result<bool, StorageError> {
        self.storage.refetched(damaged, block).await
    }

    /// Keeps again what pins have kept whose rows cannot be read.
    pub(crate) async fn mend_pins(&self) -> Result<(), StorageError> {
        self.storage.mend_pins().await
    }
}
