//! The republisher: puts each record to each router again and again, so that the name stays alive.
//!
//! Each router has a durable queue of its own, ordered by due time, and a task of its own with bounded concurrency:
//! a slow or failing router delays no other, a failing name no other name. What is put is the record that is kept at
//! that moment. Period and retries have jitter, so that names that came together do not stay together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use perennis_net::dht::{DhtError, Sweep, point_of, record_key};
use perennis_rt as rt;
use perennis_sdk::router::{Http, RouteError, Router};
use perennis_shared::backoff::Backoff;
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, Record};
use perennis_shared::time::Millis;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use super::reprovide::Reprovide;
use super::{Ending, Worker, later};
use crate::config::{Config, DHT_ROUTER};
use crate::demand::SharedDemand;
use crate::metrics::{Metrics, Outcome};
use crate::routes::Routes;
use crate::shutdown::Stop;
use crate::storage::{NameState, Pin, PutState};
use crate::storage::{Scheduled, Storage, StorageError};

mod hot;

/// How long one put may take, retries included.
const PUT: Duration = Duration::from_secs(60);

/// Names that are taken from a queue at once, those longest due. Each is put before the next are taken: none starves.
const DRAINED: usize = 4_096;

/// Longest wait when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// How long nobody is asked after nobody could be: the names keep their places in the queue.
const NOBODY: Duration = Duration::from_secs(10);

/// How long an error message is kept, in characters.
const ERROR_CHARS: usize = 300;

/// The routers and their queues.
pub(crate) struct Republish {
    routers: Vec<Target>,
    period: Duration,
    hot_period: Duration,
    concurrency: usize,
    storage: Storage,
    metrics: Arc<Metrics>,
    demand: SharedDemand,
    reprovide: Arc<Reprovide>,
    /// Tells that something was made due.
    soon: Arc<Notify>,
}

struct Target {
    url: String,
    to: Taker,
}

/// Who takes records.
enum Taker {
    /// One machine.
    Http(Http),
    /// The peers closest to each name.
    Dht(Sweep),
}

impl Taker {
    /// Puts a record; tells how many peers took it, where they are several.
    async fn put(&self, name: &Name, record: &Record) -> Result<Option<u64>, RouteError> {
        match self {
            Taker::Http(router) => router.publish(name, record).await.map(|()| None),
            Taker::Dht(sweep) => {
                let report = sweep.put_record(name, record).await?;
                Ok(Some(report.reached.len() as u64))
            }
        }
    }
}

/// What became of one put.
enum Put {
    /// It was done, or failed and was put off.
    Done,
    /// Nobody is there to take it; it stays due.
    Nobody,
}

/// How one name is at one router.
pub(crate) struct TargetState {
    pub(crate) url: String,
    pub(crate) due: Millis,
    pub(crate) row: PutState,
}

impl Republish {
    pub(crate) fn new(
        config: &Config,
        routes: &Routes,
        storage: Storage,
        metrics: Arc<Metrics>,
        demand: SharedDemand,
        reprovide: Arc<Reprovide>,
        soon: Arc<Notify>,
    ) -> Republish {
        let target = |(url, router): (&str, Http)| Target {
            url: url.to_owned(),
            to: Taker::Http(router),
        };
        let endpoints = routes.labelled_endpoints(Backoff::default());
        let mut routers: Vec<Target> = endpoints.map(target).collect();
        if config.p2p.has_dht() {
            routers.push(Target {
                url: DHT_ROUTER.to_owned(),
                to: Taker::Dht(routes.sweep().clone()),
            });
        }
        Republish {
            routers,
            period: config.ipns.republish_period,
            hot_period: config.ipns.hot.period.min(config.ipns.republish_period),
            concurrency: config.ipns.republish_concurrency,
            storage,
            metrics,
            demand,
            reprovide,
            soon,
        }
    }

    pub(crate) fn routers(&self) -> usize {
        self.routers.len()
    }

    pub(crate) fn url(&self, router: usize) -> &str {
        self.routers
            .get(router)
            .map_or("", |target| target.url.as_str())
    }

    /// How a name is at each router.
    pub(crate) async fn states(&self, name: &Name) -> Result<Vec<TargetState>, StorageError> {
        let states = self.states_of(vec![*name]).await?;
        Ok(states.into_iter().next().unwrap_or_default())
    }

    /// How each of some names is at each router, in their order.
    pub(crate) async fn states_of(
        &self,
        names: Vec<Name>,
    ) -> Result<Vec<Vec<TargetState>>, StorageError> {
        let mut states: Vec<Vec<TargetState>> = names.iter().map(|_| Vec::new()).collect();
        for target in &self.routers {
            let rows = self.storage.scheduled(&target.url, names.clone()).await?;
            for (state, scheduled) in states.iter_mut().zip(rows) {
                state.extend(scheduled.map(|scheduled| TargetState {
                    url: target.url.clone(),
                    due: scheduled.due,
                    row: scheduled.row,
                }));
            }
        }
        Ok(states)
    }

    /// Resolves of a name in an hour lately, and whether it is put more often for it.
    pub(crate) fn demand(&self, name: &Name) -> (f64, bool) {
        let mut demand = self.demand.lock();
        let now = rt::now();
        (demand.rate(now, name), demand.is_hot(now, name))
    }

    /// The time between two puts of a name.
    pub(crate) fn period_of(&self, name: &Name) -> Duration {
        if self.demand.lock().is_hot(rt::now(), name) {
            self.hot_period
        } else {
            self.period
        }
    }

    /// Works through the queue of one router.
    pub(super) async fn run(self: Arc<Self>, router: usize, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        let places = Arc::new(Semaphore::new(self.concurrency));
        loop {
            // Asked before the queue is read, so that nothing put in meanwhile is slept over.
            let woken = self.soon.notified();
            let wait = match self.drain(router, &worker, &places, &mut stop).await {
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
            if stop.or(tokio::time::timeout(wait, woken)).await.is_none() {
                return;
            }
        }
    }

    /// Puts all that is due; tells how long to wait for the next.
    async fn drain(
        self: &Arc<Self>,
        router: usize,
        worker: &Arc<Worker>,
        places: &Arc<Semaphore>,
        stop: &mut Stop,
    ) -> Result<Duration, StorageError> {
        let url = self.url(router);
        loop {
            let now = rt::now();
            let mut rows = self.storage.puts_due(url, now, DRAINED).await?;
            // Names that are close to each other in the keyspace have the same peers: one lookup serves many.
            rows.sort_by_cached_key(|row| point_of(&record_key(&row.name)));
            let oldest = rows.iter().map(|row| row.due).min();
            self.metrics
                .lags(oldest.map_or(Duration::ZERO, |due| now - due));
            if rows.is_empty() {
                let next = self.storage.next_put(url).await?;
                let wait = next.map_or(IDLE, |due| {
                    Duration::from_millis(due.0.saturating_sub(now.0))
                });
                return Ok(wait.min(IDLE));
            }
            worker.working(format!("putting {} records that are due", rows.len()));
            let mut puts = JoinSet::new();
            let is_alone = Arc::new(AtomicBool::new(false));
            for row in rows {
                let Some(place) = stop.or(Arc::clone(places).acquire_owned()).await else {
                    return Ok(IDLE);
                };
                if is_alone.load(Ordering::Relaxed) {
                    break;
                }
                let (this, worker) = (Arc::clone(self), Arc::clone(worker));
                let is_alone = Arc::clone(&is_alone);
                puts.spawn(async move {
                    match this.put(router, row, &worker).await {
                        Ok(Put::Done) => worker.stepped(),
                        Ok(Put::Nobody) => is_alone.store(true, Ordering::Relaxed),
                        Err(error) => worker.failed(&error),
                    }
                    drop(place);
                });
            }
            while let Some(ended) = puts.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a put ended badly");
                }
            }
            if stop.is_now() {
                return Ok(IDLE);
            }
            if is_alone.load(Ordering::Relaxed) {
                return Ok(NOBODY);
            }
        }
    }

    #[tracing::instrument(name = "republish", skip_all, fields(name = %scheduled.name, route = self.url(router)))]
    async fn put(
        &self,
        router: usize,
        scheduled: Scheduled,
        worker: &Worker,
    ) -> Result<Put, StorageError> {
        let Some(target) = self.routers.get(router) else {
            return Ok(Put::Done);
        };
        let name = scheduled.name;
        let now = rt::now();
        let kept = self.storage.kept(name).await?;
        let record = kept.as_ref().map(|kept| kept.record.clone());
        let record = record.filter(|record| !record.is_expired(now));
        let Some(record) = record else {
            // It has ended: no router takes it. A new record puts the name into the queue again.
            self.storage.unschedule(&target.url, &scheduled).await?;
            return Ok(Put::Done);
        };
        let started = Instant::now();
        let result = rt::timeout(PUT, target.to.put(&name, &record)).await;
        let took = started.elapsed();
        let result = result.unwrap_or_else(|elapsed| {
            Err(RouteError::Deadline {
                after: elapsed.after,
            })
        });
        if let Err(error @ RouteError::Dht(DhtError::NoPeers)) = &result {
            worker.failed(error);
            return Ok(Put::Nobody);
        }
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(_) => Outcome::Failed,
        };
        self.metrics.put(outcome, took);
        let (row, wait) = match result {
            Ok(peers) => {
                if let Some(peers) = peers {
                    self.metrics.reached(peers as usize);
                    self.provide_new(kept.as_ref(), &scheduled.row);
                }
                let row = PutState {
                    last_put: Some(rt::now()),
                    peers,
                    ..PutState::default()
                };
                (row, spread(self.period_of(&name), rt::jitter()))
            }
            Err(error) => {
                worker.failed(&error);
                let failures = scheduled.row.failures.saturating_add(1);
                let text = chain(&error);
                let row = PutState {
                    last_put: scheduled.row.last_put,
                    peers: scheduled.row.peers,
                    failures,
                    last_error: Some(text.chars().take(ERROR_CHARS).collect()),
                };
                (row, self.retry(failures))
            }
        };
        if self.is_replaced(&name, &record).await? {
            // The row that the newer record put into the queue is due already and stays.
            return Ok(Put::Done);
        }
        let due = later(wait);
        self.storage.schedule(&target.url, name, due, &row).await?;
        Ok(Put::Done)
    }

    /// A head that is new since the last put: the DHT is told at once that its block is here.
    fn provide_new(&self, kept: Option<&NameState>, row: &PutState) {
        if let Some(kept) = kept
            && let Some(head) = kept.head
            && kept.facts.pin == Pin::Pinned
            && row.last_put.is_none_or(|put| put < kept.stored_at)
        {
            self.reprovide.soon(head);
        }
    }

    async fn is_replaced(&self, name: &Name, put: &Record) -> Result<bool, StorageError> {
        let kept = self.storage.kept(*name).await?;
        Ok(kept.is_some_and(|kept| kept.record.bytes() != put.bytes()))
    }

    /// The delay after a failure: from 30 seconds, doubled each time, to the period.
    fn retry(&self, failures: u32) -> Duration {
        let policy = Backoff {
            base: Duration::from_secs(30).min(self.period),
            max: self.period,
            attempts: u32::MAX,
        };
        policy.delay(failures, rt::jitter()).unwrap_or(self.period)
    }
}

/// A period with a tenth of jitter to both sides.
pub(super) fn spread(period: Duration, random: u64) -> Duration {
    let fifth = period / 5;
    let width = u64::try_from(fifth.as_micros()).unwrap_or(u64::MAX);
    period - period / 10 + Duration::from_micros(random % width.max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        let period = Duration::from_secs(100);
        for random in [0, 1, 17, u64::MAX / 2, u64::MAX] {
            let spread = spread(period, random);
            assert!((period * 9 / 10..=period * 11 / 10).contains(&spread));
        }
    }
}
