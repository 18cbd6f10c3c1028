//! The ladder worker: releases the rungs that the nodes of an owner keep back, each in its time.
//!
//! A name with rungs waits in a durable queue until the next one is due. The release takes the rung out of the ladder
//! and puts the next time into the queue in the same batch, so that nothing is lost or done twice by a restart.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;

use super::{Ending, Worker, later};
use crate::ingest::{Ingest, IngestError, Renewal};
use crate::metrics::{Metrics, Outcome};
use crate::shutdown::Stop;
use crate::storage::{Due, LADDER, Storage, StorageError};

/// Names looked at between two looks at the clock.
const BATCH: usize = 64;

/// Longest wait when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// The delay after a release that failed.
const RETRY: Duration = Duration::from_secs(60);

pub(super) struct LadderWorker {
    pub(super) storage: Storage,
    pub(super) ingest: Arc<Ingest>,
    pub(super) metrics: Arc<Metrics>,
}

impl LadderWorker {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        loop {
            let next = self.release_due(&worker, &stop).await;
            if !worker
                .rest(next, IDLE, &self.ingest.laddered, &mut stop)
                .await
            {
                return;
            }
        }
    }

    /// Releases every rung that is due; tells how long to wait for the next.
    async fn release_due(&self, worker: &Worker, stop: &Stop) -> Result<Duration, StorageError> {
        loop {
            let now = rt::now();
            let due = self.storage.due(LADDER, now, BATCH).await?;
            if due.is_empty() {
                let next = self.storage.next_due(LADDER).await?;
                return Ok(next.map_or(IDLE, |due| due - now).min(IDLE));
            }
            for due in due {
                if stop.is_now() {
                    return Ok(IDLE);
                }
                worker.working(format!("releasing the next rung of {}", due.name));
                self.release(due, worker).await?;
                worker.stepped();
            }
        }
    }

    async fn release(&self, due: Due, worker: &Worker) -> Result<(), StorageError> {
        match self.ingest.renew(&due.name, rt::now()).await {
            Ok(Renewal::Released) => {
                self.metrics.released(Outcome::Ok);
                // The batch has put in the next rung; what is still due here had none behind it.
                self.storage.take_out(LADDER, due).await
            }
            Ok(Renewal::Later(until)) => self.storage.put_off(LADDER, due.name, until).await,
            Ok(Renewal::Nothing) => self.storage.take_out(LADDER, due).await,
            Err(error) => {
                // A new head voids the ladder; then there is nothing to try again, and the next look finds that.
                let is_voided =
                    matches!(error, IngestError::Stale { .. } | IngestError::NotFollowed);
                if !is_voided {
                    worker.failed(&error);
                    self.metrics.released(Outcome::Failed);
                }
                self.storage.put_off(LADDER, due.name, later(RETRY)).await
            }
        }
    }
}
