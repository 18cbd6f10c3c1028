//! The ladder worker: releases the rungs that the nodes of an owner keep back, each in its time.
//!
//! A name with rungs waits in a durable queue until the next one is due. The release takes the rung out of the ladder and its
//! row out of the queue, and puts the next one in, in the same batch: nothing is lost or done twice by a restart.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use super::status::Status;
use super::timing::later;
use super::{Job, Parts};
use crate::ingest::{Ingest, IngestError, Renewal};
use crate::metrics::{Metrics, Outcome};
use crate::storage::queues::{LADDER, QueueEntry, TypedQueue};
use crate::storage::{Storage, StorageError};

/// The delay after a release that failed.
const RETRY: Duration = Duration::from_secs(60);

pub(crate) struct LadderJob {
    storage: Storage,
    ingest: Arc<Ingest>,
    metrics: Arc<Metrics>,
}

impl LadderJob {
    pub(crate) fn new(parts: &Parts<'_>) -> LadderJob {
        LadderJob {
            storage: parts.storage.clone(),
            ingest: Arc::clone(parts.ingest),
            metrics: Arc::clone(parts.metrics),
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

    fn storage(&self) -> &Storage {
        &self.storage
    }

    async fn due(&self, now: Millis, limit: usize) -> Result<Vec<Self::Due>, StorageError> {
        self.storage.queue_due(LADDER, now, limit).await
    }

    async fn work(&self, due: QueueEntry<Name>, status: &Status) -> Result<(), StorageError> {
        let name = due.key;
        status.working(format!("releasing the next rung of {name}"));
        match self.ingest.renew(&due, rt::now()).await {
            Ok(Renewal::Released) => {
                self.metrics.released(Outcome::Ok);
                Ok(())
            }
            Ok(Renewal::Later(until)) => self.storage.put_off(LADDER, &due, until).await,
            Ok(Renewal::Nothing) => self.storage.take_out(LADDER, &due).await,
            Err(error) => {
                // A new head voids the ladder; then there is nothing to try again, and the next look finds that.
                let is_voided =
                    matches!(error, IngestError::Stale { .. } | IngestError::NotFollowed);
                if !is_voided {
                    status.failed(&error);
                    self.metrics.released(Outcome::Failed);
                }
                self.storage.put_off(LADDER, &due, later(RETRY)).await
            }
        }
    }
}
