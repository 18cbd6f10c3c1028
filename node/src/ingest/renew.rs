//! The renewal ladder: rungs come in with a publish, are kept back, and go out one by one.
//!
//! A released rung goes through the same door as any record. It has the sequence and the value of the record before,
//! so that it contradicts nothing, and ends later, so that it wins.

use std::time::Duration;

use perennis_shared::ipns::{Ladder, Name, Record};
use perennis_shared::time::Millis;

use super::{Ingest, IngestError};
use crate::storage::queues::{LADDER, QueueEntry};
use crate::storage::{KeptOrLost, NameChange, NameState};

/// How long a ladder is put off whose head is lost and looked for.
const LOST: Duration = Duration::from_secs(600);

/// What became of a name whose ladder was due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// A rung is the record now, and the next one is due in the queue where there is one.
    Released,
    /// It is not time yet; it is then.
    Later(Millis),
    /// No rung is left that could be released.
    Nothing,
}

impl Ingest {
    /// What the rungs of a name become when `record` is stored: those that came along; without any, of those that are
    /// kept back the ones above the record, which a new head leaves none of. `None` when nothing changes.
    pub(super) async fn ladder_after(
        &self,
        name: &Name,
        kept: Option<&NameState>,
        record: &Record,
        sent: Ladder,
    ) -> Result<Option<Ladder>, IngestError> {
        let Some(kept) = kept else {
            return Ok(Some(sent).filter(|sent| !sent.is_empty()));
        };
        let before = self.storage.ladder(*name).await?;
        if record.sequence() != kept.sequence {
            // Said even where there seems to be no ladder: one may come in beside this.
            return Ok(Some(sent));
        }
        let after = if sent.is_empty() {
            before.above(record)
        } else {
            sent
        };
        Ok(Some(after).filter(|after| *after != before))
    }

    /// Releases the rung of a name that is due. The row that asks for it goes in the batch that stores the record.
    pub(crate) async fn renew(
        &self,
        due: &QueueEntry<Name>,
        now: Millis,
    ) -> Result<Renewal, IngestError> {
        let name = &due.key;
        let kept = match self.storage.kept_or_lost(*name).await? {
            KeptOrLost::Kept(kept) => kept,
            // The rungs above it are of use when it is found.
            KeptOrLost::Lost => return Ok(Renewal::Later(now + LOST)),
            KeptOrLost::Unknown => return Ok(Renewal::Nothing),
        };
        let live = &kept.record;
        let ladder = self.storage.ladder(*name).await?.above(live);
        let Some(rung) = ladder.due(live.validity(), now) else {
            let next = ladder.next_release(live.validity());
            // One that is due and already over cannot be released any more.
            return Ok(match next.filter(|next| *next > now) {
                Some(next) => Renewal::Later(next),
                None => Renewal::Nothing,
            });
        };
        let change = NameChange {
            facts: kept.facts.clone(),
            ladder: Some(ladder.above(rung)),
            finished: vec![LADDER.finished(name, due.due)],
            ..NameChange::of(*name, rung.clone(), now)
        };
        self.commit(change, Some(&kept)).await?;
        tracing::info!(%name, until = %rung.validity(), "the next rung was released");
        Ok(Renewal::Released)
    }
}
