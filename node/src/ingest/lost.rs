//! Heads that were acknowledged and lost by damage, and are found again elsewhere.

use perennis_rt as rt;
use perennis_shared::ipns::{Ladder, Record};

use super::{Ingest, IngestError, facts_below};
use crate::storage::{LostHead, NameChange};

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
        if self.is_known(name, kept.as_ref(), &record).await? {
            // What is here is what was there before the lost one.
            let known = lost.floor.unwrap_or(offered);
            return Err(IngestError::Stale { known, offered });
        }
        let ladder = self
            .ladder_after(name, kept.as_ref(), &record, Ladder::default())
            .await?;
        let change = NameChange {
            facts: facts_below(kept.as_ref(), &record),
            ladder,
            lost: Some(lost.due),
            ..NameChange::of(*name, record, now)
        };
        self.commit(change, kept.as_ref()).await
    }
}
