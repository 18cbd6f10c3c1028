//! The ladder worker: releases the rungs that the nodes of an owner keep back, each in its time.
//!
//! A name with rungs waits in a durable queue until the next one is due. The release takes the rung out of the ladder and its
//! row out of the queue, and puts the next one in, in the same batch: nothing is lost or done twice by a restart.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::ipns::Name;

use super::status::Status;
use super::timing::later;
use super::{Job, Parts};
use crate::clock::Clock;
use crate::ingest::{Ingest, IngestError, Renewal};
use crate::metrics::{Metrics, Outcome};
use crate::storage::LADDER_LOOK;
use crate::storage::queues::{DueWindow, LADDER, QueueEntry, TypedQueue};
use crate::storage::{Storage, StorageError};

/// The delay after a release that failed.
const RETRY: Duration = Duration::from_secs(60);

pub(crate) struct LadderJob {
    storage: Storage,
    ingest: Arc<Ingest>,
    metrics: Arc<Metrics>,
    clock: Arc<Clock>,
}

impl LadderJob {
    pub(crate) fn new(parts: &Parts<'_>) -> LadderJob {
        LadderJob {
            storage: parts.storage.clone(),
            ingest: Arc::clone(parts.ingest),
            metrics: Arc::clone(parts.metrics),
            clock: Arc::clone(parts.clock),
        }
    }
}

impl Job for LadderJob {
    type Key = Name;
    type Payload = ();
    type Due = QueueEntry<Name>;

    const QUEUE: TypedQueue<Name> = LADDER;
    const BATCH: usize = 64;
    const AT_ONCE: usize = 1;
    const FINISHES: bool = true;

    fn name(&self) -> String {
        "ladder".to_owned()
    }

    fn throttle(&self) -> String {
        "one name at a time".to_owned()
    }

    fn longest(&self) -> Duration {
        LADDER_LOOK
    }

    fn storage(&self) -> &Storage {
        &self.storage
    }

    async fn due(&self, window: DueWindow, limit: usize) -> Result<Vec<Self::Due>, StorageError> {
        self.storage.queue_due(LADDER, window, limit).await
    }

    fn key(due: &QueueEntry<Name>) -> Name {
        due.key
    }

    async fn work(&self, due: QueueEntry<Name>, status: &Status) -> Result<(), StorageError> {
        let name = due.key;
        status.working(format!("releasing the next rung of {name}"));
        let now = rt::now();
        match self.ingest.renew(&due, now, self.clock.steady(now)).await {
            Ok(Renewal::Released) => {
                self.metrics.ladder_releases.inc(Outcome::Ok);
                Ok(())
            }
            Ok(Renewal::Later(until)) => self.storage.put_off(LADDER, &due, until).await,
            Ok(Renewal::Held(until)) => {
                status.working(format!(
                    "the next rung of {name} is held back: the clock went ahead, and is followed a day in an hour"
                ));
                self.storage.put_off(LADDER, &due, until).await
            }
            Ok(Renewal::Nothing) => self.storage.take_out(LADDER, &due).await,
            Err(error) => {
                // A new head voids the ladder; then there is nothing to try again, and the next look finds that.
                let is_voided =
                    matches!(error, IngestError::Stale { .. } | IngestError::NotFollowed);
                if !is_voided {
                    status.failed(&error);
                    self.metrics.ladder_releases.inc(Outcome::Failed);
                }
                self.storage.put_off(LADDER, &due, later(RETRY)).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::pin::pin;

    use futures_util::poll;
    use perennis_shared::ipns::{Ladder, LadderPlan, RecordFields, create};
    use perennis_shared::sign::SigningKey;
    use perennis_shared::time::Timestamp;

    use super::*;
    use crate::storage::NameChange;
    use crate::workers::testing::{TestParts, context};
    use crate::workers::{JobWorker, Worker as _};

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn a_rung_that_was_begun_is_released_when_the_node_stops() {
        let node = TestParts::new(|_| {}).await;
        let key = SigningKey::from_seed(&[1; 32]);
        let name = Name::from_public_key(&key.public());
        let fields = RecordFields {
            value: "/ipfs/bafkqaaa",
            sequence: 1,
            validity: Timestamp::from(rt::now() + 10 * DAY),
            ttl: DAY,
        };
        let record = create(&key, &fields).unwrap();
        let plan = LadderPlan {
            rungs: 1,
            step: 30 * DAY,
        };
        let change = NameChange {
            ladder: Some(Ladder::sign(&key, &record, &plan).unwrap()),
            ..NameChange::of(name, record, rt::now())
        };
        node.storage.commit(change).await.unwrap();

        let mut worker = JobWorker::new(LadderJob::new(&node.parts()));
        let (mut context, status, stop) = context();
        let mut step = pin!(worker.step(&mut context));
        let progress = || serde_json::to_value(status.now()).unwrap()["progress"].is_string();
        while !progress() {
            assert!(poll!(step.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
        stop.send(true).unwrap();
        step.await.unwrap();
        assert_eq!(node.storage.queue_next(LADDER).await.unwrap(), None);
        let kept = node.storage.kept(name).await.unwrap().unwrap();
        assert!(kept.valid_until > rt::now() + 39 * DAY);
    }
}
