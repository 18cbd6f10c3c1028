//! The renewal ladder: rungs come in with a publish, are kept back, and go out one by one.
//!
//! A released rung goes through the same door as any record. It has the sequence and the value of the record before,
//! so that it contradicts nothing, and ends later, so that it wins.

use std::time::Duration;

use perennis_shared::ipns::{Ladder, Name, Record};
use perennis_shared::time::Millis;

use super::{Ingest, IngestError};
use crate::storage::queues::{LADDER, QueueEntry};
use crate::storage::{KeptOrLost, LADDER_LOOK, NameChange, NameState};

/// How long a ladder is put off whose head is lost and looked for.
const LOST: Duration = Duration::from_secs(600);

/// How long a rung is held back that is due by the clock alone, before it is looked at again.
const HELD: Duration = Duration::from_secs(600);

/// What became of a name whose ladder was due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// A rung is the record now, and the next one is due in the queue where there is one.
    Released,
    /// It is not time yet; it is looked at then.
    Later(Millis),
    /// It is time by the clock, but the clock went ahead and is not followed yet; it is looked at then.
    Held(Millis),
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

    /// Releases the rung of a name that is due at the `steady` time ([`Clock`](crate::clock::Clock)), and still valid `now`. The row
    /// that asks for it goes in the batch that stores the record. No row is given up for what the clock says: it may be wrong.
    pub(crate) async fn renew(
        &self,
        due: &QueueEntry<Name>,
        now: Millis,
        steady: Millis,
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
        let due_rung = ladder.due(live.validity(), steady);
        let Some(rung) = due_rung.filter(|rung| !rung.is_expired(now)) else {
            let Some(next) = ladder.next_release(live.validity()) else {
                return Ok(Renewal::Nothing);
            };
            let is_over = ladder.rungs().iter().all(|rung| rung.is_expired(now));
            return Ok(if next > now {
                Renewal::Later(next.min(now + LADDER_LOOK))
            } else if is_over {
                Renewal::Later(now + LADDER_LOOK)
            } else {
                Renewal::Held(now + HELD)
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
