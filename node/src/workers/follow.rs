//! The follow worker: looks for newer records of followed names, since their owners do not know this node.
//!
//! Every place that may know a record is asked under one deadline, and the best valid answer is taken in through the
//! write door. A name whose record cannot be found keeps the one that is here, which is put to the routers unchanged
//! until it lapses; its blocks stay either way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use perennis_rt as rt;
use perennis_sdk::router::Gathered;
use perennis_shared::backoff::Backoff;
use perennis_shared::error::chain;
use perennis_shared::ipns::Name;

use super::republish::spread;
use super::{Ending, Worker, later};
use crate::ingest::{Ingest, IngestError};
use crate::metrics::{Metrics, Outcome};
use crate::routes::Routes;
use crate::shutdown::Stop;
use crate::storage::FollowState;
use crate::storage::{Due, FOLLOW, Storage, StorageError};

/// Names looked for at the same time.
const AT_ONCE: usize = 8;

/// Longest wait when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// The first delay after a search that found nothing; it doubles up to the period.
const RETRY: Duration = Duration::from_secs(60);

/// How long an error message is kept, in characters.
const ERROR_CHARS: usize = 300;

pub(super) struct FollowWorker {
    pub(super) storage: Storage,
    pub(super) ingest: Arc<Ingest>,
    pub(super) routes: Arc<Routes>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) period: Duration,
}

impl FollowWorker {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        loop {
            let next = self.look_due(&worker, &mut stop).await;
            if !worker
                .rest(next, IDLE, &self.ingest.following, &mut stop)
                .await
            {
                return;
            }
        }
    }

    /// Looks for the record of every name that is due; tells how long to wait for the next.
    async fn look_due(&self, worker: &Worker, stop: &mut Stop) -> Result<Duration, StorageError> {
        loop {
            let now = rt::now();
            let due = self.storage.due(FOLLOW, now, AT_ONCE).await?;
            if due.is_empty() {
                let next = self.storage.next_due(FOLLOW).await?;
                return Ok(next.map_or(IDLE, |due| due - now).min(IDLE));
            }
            worker.working(format!("looking for the records of {} names", due.len()));
            let mut looks: FuturesUnordered<_> =
                due.into_iter().map(|due| self.look(due)).collect();
            while let Some(looked) = stop.or(looks.next()).await {
                let Some(looked) = looked else { break };
                looked?;
                worker.stepped();
            }
            if stop.is_now() {
                return Ok(IDLE);
            }
        }
    }

    async fn look(&self, due: Due) -> Result<(), StorageError> {
        let kept = self.storage.kept(due.name).await?;
        let Some(row) = kept.and_then(|kept| kept.followed) else {
            return self.storage.take_out(FOLLOW, due).await;
        };
        let found = match self.routes.resolve(&due.name, &row.sources).await {
            Ok(gathered) => self.take_in(&due.name, &gathered).await,
            Err(error) => Err(chain(&error)),
        };
        let (row, wait) = match found {
            Ok(()) => {
                self.metrics.looked(Outcome::Ok);
                let row = FollowState {
                    found_at: Some(rt::now()),
                    failures: 0,
                    last_error: None,
                    ..row
                };
                (row, spread(self.period, rt::jitter()))
            }
            Err(error) => {
                self.metrics.looked(Outcome::Failed);
                tracing::debug!(name = %due.name, error, "no record was found");
                let failures = row.failures.saturating_add(1);
                let row = FollowState {
                    failures,
                    last_error: Some(error.chars().take(ERROR_CHARS).collect()),
                    ..row
                };
                (row, self.retry(failures))
            }
        };
        self.ingest.save_followed(&due.name, row, later(wait)).await
    }

    /// Takes in what was found. An older record than the one that is here is as good as the same.
    async fn take_in(&self, name: &Name, gathered: &Gathered) -> Result<(), String> {
        match self.ingest.found(name, gathered.best.clone()).await {
            Ok(is_newer) => {
                if is_newer {
                    let sequence = gathered.best.sequence();
                    tracing::info!(%name, sequence, source = %gathered.source, "a followed name has a new record");
                }
                Ok(())
            }
            Err(IngestError::Stale { .. } | IngestError::NotFollowed) => Ok(()),
            Err(error) => Err(chain(&error)),
        }
    }

    fn retry(&self, failures: u32) -> Duration {
        let policy = Backoff {
            base: RETRY.min(self.period),
            max: self.period,
            attempts: u32::MAX,
        };
        policy.delay(failures, rt::jitter()).unwrap_or(self.period)
    }
}
