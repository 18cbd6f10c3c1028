//! The search for lost heads: names whose newest record was acknowledged here and is gone by damage.
//!
//! The store has put such a name into a durable queue and refuses what is older than the lost record. The name is looked for
//! wherever records of it may be, and the best valid one goes through the write door as any other does. Where what is
//! found is older, it is looked for again later and later.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use perennis_rt as rt;
use perennis_shared::backoff::Backoff;
use perennis_shared::error::chain;

use super::{Ending, Worker, later};
use crate::ingest::Ingest;
use crate::metrics::{Metrics, Outcome};
use crate::routes::Routes;
use crate::shutdown::Stop;
use crate::storage::{LOST_HEADS, LostHead, Storage, StorageError};

/// Names looked for at the same time.
pub(super) const AT_ONCE: usize = 8;

/// Longest wait when nothing is due, and the shortest.
const IDLE: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_millis(100);

/// Delays after a search that found nothing new enough.
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(5),
    max: Duration::from_secs(3_600),
    attempts: u32::MAX,
};

pub(super) struct LostHeads {
    pub(super) storage: Storage,
    pub(super) ingest: Arc<Ingest>,
    pub(super) routes: Arc<Routes>,
    pub(super) metrics: Arc<Metrics>,
}

impl LostHeads {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        loop {
            let wait = match self.look_due(&worker, &mut stop).await {
                Ok(wait) => wait,
                Err(error) => {
                    worker.failed(&error);
                    IDLE
                }
            };
            if stop.is_now() {
                return;
            }
            worker.waiting(Some(later(wait)));
            if stop.sleep(wait).await {
                return;
            }
        }
    }

    /// Looks for every head that is due; tells how long to wait for the next.
    async fn look_due(&self, worker: &Worker, stop: &mut Stop) -> Result<Duration, StorageError> {
        loop {
            let now = rt::now();
            let due = self.storage.lost_heads_due(now, AT_ONCE).await?;
            if due.is_empty() {
                let next = self.storage.next_due(LOST_HEADS).await?;
                return Ok(next.map_or(IDLE, |due| due - now).clamp(SHORTEST, IDLE));
            }
            worker.working(format!("looking for {} lost records", due.len()));
            let mut looks = stream::iter(due)
                .map(|lost| self.look(lost))
                .buffer_unordered(AT_ONCE);
            while let Some(Some(looked)) = stop.or(looks.next()).await {
                looked?;
                worker.stepped();
            }
            if stop.is_now() {
                return Ok(IDLE);
            }
        }
    }

    async fn look(&self, lost: LostHead) -> Result<(), StorageError> {
        let name = lost.name;
        let followed = self.storage.followed_row(name).await?;
        let sources = followed.map_or_else(Vec::new, |row| row.sources);
        let found = match self.routes.resolve(&name, &sources).await {
            Ok(gathered) => {
                let taken = self.ingest.found_again(&lost, gathered.best.clone()).await;
                taken
                    .map(|()| gathered.best.sequence())
                    .map_err(|error| chain(&error))
            }
            Err(error) => Err(chain(&error)),
        };
        match found {
            Ok(sequence) => {
                self.metrics.damage.looked_for(Outcome::Ok);
                tracing::info!(%name, sequence, "a lost record was found again");
                Ok(())
            }
            Err(error) => {
                self.metrics.damage.looked_for(Outcome::Failed);
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
