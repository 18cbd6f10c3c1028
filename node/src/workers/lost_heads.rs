//! The search for lost heads: names whose newest record was acknowledged here and is gone by damage.
//!
//! The store has put such a name into a durable queue and refuses what is older than the lost record. The name is looked for
//! wherever records of it may be, and the best valid one goes through the write door as any other does. Where what is
//! found is older, it is looked for again later and later.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::backoff::Backoff;
use perennis_shared::error::chain;
use perennis_shared::ipns::Name;

use super::status::Status;
use super::timing::later;
use super::{Job, Parts};
use crate::ingest::{Ingest, IngestError};
use crate::metrics::{Attempt, Metrics};
use crate::routes::Routes;
use crate::storage::queues::{Attempts, DueWindow, LOST_HEADS, TypedQueue};
use crate::storage::{LostHead, Storage, StorageError};

/// Delays after a search that found nothing new enough.
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(5),
    max: Duration::from_secs(3_600),
    attempts: u32::MAX,
};

pub(crate) struct LostHeadsJob {
    storage: Storage,
    ingest: Arc<Ingest>,
    routes: Arc<Routes>,
    metrics: Arc<Metrics>,
}

impl LostHeadsJob {
    pub(crate) fn new(parts: &Parts<'_>) -> LostHeadsJob {
        LostHeadsJob {
            storage: parts.storage.clone(),
            ingest: Arc::clone(parts.ingest),
            routes: Arc::clone(parts.routes),
            metrics: Arc::clone(parts.metrics),
        }
    }
}

impl Job for LostHeadsJob {
    type Key = Name;
    type Payload = Attempts;
    type Due = LostHead;

    const QUEUE: TypedQueue<Name, Attempts> = LOST_HEADS;
    const BATCH: usize = 8;
    const AT_ONCE: usize = 8;

    fn name(&self) -> String {
        "lost heads".to_owned()
    }

    fn throttle(&self) -> String {
        format!("{} names at once", Self::AT_ONCE)
    }

    fn longest(&self) -> Duration {
        RETRY.max
    }

    fn storage(&self) -> &Storage {
        &self.storage
    }

    async fn due(&self, window: DueWindow, limit: usize) -> Result<Vec<LostHead>, StorageError> {
        self.storage.lost_heads_due(window, limit).await
    }

    fn progress(&self, due: &[LostHead]) -> Option<String> {
        Some(format!("looking for {} lost records", due.len()))
    }

    fn key(due: &LostHead) -> Name {
        due.name
    }

    async fn work(&self, lost: LostHead, _status: &Status) -> Result<(), StorageError> {
        let name = lost.name;
        let followed = self.storage.followed_row(name).await?;
        let sources = followed.map_or_else(Vec::new, |row| row.sources);
        let found = match self.routes.resolve(&name, &sources).await {
            Ok(gathered) => {
                let taken = self.ingest.found_again(&lost, gathered.best.clone()).await;
                // It was unfollowed, or came by another way, while it was looked for.
                if matches!(taken, Err(IngestError::NotFollowed)) {
                    return Ok(());
                }
                taken
                    .map(|()| gathered.best.sequence())
                    .map_err(|error| chain(&error))
            }
            Err(error) => Err(chain(&error)),
        };
        match found {
            Ok(sequence) => {
                self.metrics.damage.lost_head_lookups.inc(Attempt::Ok);
                tracing::info!(%name, sequence, "a lost record was found again");
                Ok(())
            }
            Err(error) => {
                self.metrics.damage.lost_head_lookups.inc(Attempt::Failed);
                if lost.failures == 0 {
                    tracing::warn!(%name, error, "a lost record was not found; it is looked for again later");
                }
                let failures = lost.failures.saturating_add(1);
                let delay = RETRY.delay(failures, rt::jitter()).unwrap_or(RETRY.max);
                self.storage.look_for_head_later(&lost, later(delay)).await
            }
        }
    }
}
