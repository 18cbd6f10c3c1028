//! The republisher: puts each record to each router again and again, so that the name stays alive.
//!
//! Each router has a durable queue of its own, ordered by due time, and a task of its own with bounded concurrency:
//! a slow or failing router delays no other, a failing name no other name. What is put is the record that is kept at
//! that moment. Period and retries have jitter, so that names that came together do not stay together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perennis_sdk::NodeUrl;
use perennis_sdk::net::Net;
use perennis_sdk::net::dht::{point_of, record_key};
use perennis_sdk::router::{Dht, Http, RouteError, Router};
use perennis_sdk::rt;
use perennis_sdk::rt::http::HttpTimes;
use perennis_shared::backoff::Backoff;
use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value, dag_cbor};
use perennis_shared::ipns::{Name, Record, UnverifiedRecord};
use perennis_shared::time::Millis;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use super::{Ending, Stop, Worker, later};
use crate::app::StartError;
use crate::causes::chain;
use crate::config::{Config, DHT_ROUTER};
use crate::kept::nullable;
use crate::metrics::{Metrics, Outcome};
use crate::storage::{Scheduled, Storage, StorageError};

/// How long one put may take, retries included.
const PUT: Duration = Duration::from_secs(60);

/// Names that are taken from a queue at once, those longest due. Each is put before the next are taken: none starves.
const DRAINED: usize = 4_096;

/// Longest wait when nothing is due.
const IDLE: Duration = Duration::from_secs(60);

/// How long an error message is kept, in characters.
const ERROR_CHARS: usize = 300;

/// The routers and their queues.
pub(crate) struct Republish {
    routers: Vec<Target>,
    period: Duration,
    concurrency: usize,
    storage: Storage,
    metrics: Arc<Metrics>,
}

struct Target {
    url: String,
    router: Arc<dyn Router>,
}

/// How one name is at one router.
pub(crate) struct TargetState {
    pub(crate) url: String,
    pub(crate) due: Millis,
    pub(crate) row: PutRow,
}

/// What is kept about a name at a router. Stored as DAG-CBOR with the row of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PutRow {
    /// When the router took the record last.
    pub(crate) last_put: Option<Millis>,
    /// Puts that failed since.
    pub(crate) failures: u32,
    /// Why the last one did.
    pub(crate) last_error: Option<String>,
}

impl PutRow {
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let time = |at: Option<Millis>| at.map_or(Value::Null, |at| Value::from(at.0));
        dag_cbor::encode(&Value::map([
            ("v", Value::from(1_u64)),
            ("put", time(self.last_put)),
            ("failures", Value::from(u64::from(self.failures))),
            (
                "error",
                self.last_error.clone().map_or(Value::Null, Value::Text),
            ),
        ]))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<PutRow, CodecError> {
        let mut fields = Fields::new(dag_cbor::decode(bytes)?)?;
        if fields.take_u64("v")? != 1 {
            return Err(CodecError::field("v", FieldProblem::Range));
        }
        let row = PutRow {
            last_put: nullable(&mut fields, "put")?.map(Millis),
            failures: u32::try_from(fields.take_u64("failures")?)
                .map_err(|_| CodecError::field("failures", FieldProblem::Range))?,
            last_error: nullable(&mut fields, "error")?,
        };
        fields.finish()?;
        Ok(row)
    }
}

impl Republish {
    pub(crate) fn new(
        config: &Config,
        net: Net,
        storage: Storage,
        metrics: Arc<Metrics>,
    ) -> Result<Republish, StartError> {
        let http = rt::http::Http::new(HttpTimes::default())?;
        let target = |url: &String| {
            let endpoint: NodeUrl = url.parse().ok()?;
            Some(Target {
                url: url.clone(),
                router: Arc::new(Http::new(http.clone(), endpoint, Backoff::default())),
            })
        };
        // The configuration was checked: every text is a URL.
        let mut routers: Vec<Target> = config.ipns.routers.iter().filter_map(target).collect();
        if config.p2p.has_dht() {
            routers.push(Target {
                url: DHT_ROUTER.to_owned(),
                router: Arc::new(Dht::new(net)),
            });
        }
        Ok(Republish {
            routers,
            period: config.ipns.republish_period,
            concurrency: config.ipns.republish_concurrency,
            storage,
            metrics,
        })
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
        let mut states = Vec::new();
        for target in &self.routers {
            if let Some(scheduled) = self.storage.scheduled(&target.url, *name).await? {
                states.push(TargetState {
                    url: target.url.clone(),
                    due: scheduled.due,
                    row: scheduled.row,
                });
            }
        }
        Ok(states)
    }

    /// Works through the queue of one router.
    pub(super) async fn run(
        self: Arc<Self>,
        router: usize,
        worker: Arc<Worker>,
        fresh: Arc<Notify>,
        mut stop: Stop,
    ) {
        let _ending = Ending(Arc::clone(&worker));
        let places = Arc::new(Semaphore::new(self.concurrency));
        loop {
            // Asked before the queue is read, so that nothing put in meanwhile is slept over.
            let woken = fresh.notified();
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
            if rows.is_empty() {
                let next = self.storage.next_put(url).await?;
                let wait = next.map_or(IDLE, |due| {
                    Duration::from_millis(due.0.saturating_sub(now.0))
                });
                return Ok(wait.min(IDLE));
            }
            worker.working(format!("putting {} records that are due", rows.len()));
            let mut puts = JoinSet::new();
            for row in rows {
                let Some(place) = stop.or(Arc::clone(places).acquire_owned()).await else {
                    return Ok(IDLE);
                };
                let (this, worker) = (Arc::clone(self), Arc::clone(worker));
                puts.spawn(async move {
                    if let Err(error) = this.put(router, row, &worker).await {
                        worker.failed(&error);
                    }
                    worker.stepped();
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
        }
    }

    async fn put(
        &self,
        router: usize,
        scheduled: Scheduled,
        worker: &Worker,
    ) -> Result<(), StorageError> {
        let Some(target) = self.routers.get(router) else {
            return Ok(());
        };
        let name = scheduled.name;
        let now = rt::now();
        let kept = self.storage.kept(name).await?;
        let record = kept.as_ref().and_then(|kept| {
            let record = UnverifiedRecord::parse(&kept.record).ok()?;
            record.verify(&name, now).ok()
        });
        let Some(record) = record else {
            // It has ended: no router takes it. A new record puts the name into the queue again.
            return self.storage.unschedule(&target.url, &scheduled).await;
        };
        let started = Instant::now();
        let result = rt::timeout(PUT, target.router.publish(&name, &record)).await;
        let took = started.elapsed();
        let error = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(elapsed) => Some(RouteError::Deadline {
                after: elapsed.after,
            }),
        };
        let outcome = match &error {
            None => Outcome::Ok,
            Some(_) => Outcome::Failed,
        };
        self.metrics.put(outcome, took);
        let (row, wait) = match error {
            None => (
                PutRow {
                    last_put: Some(rt::now()),
                    ..PutRow::default()
                },
                spread(self.period, rt::jitter()),
            ),
            Some(error) => {
                worker.failed(&error);
                let failures = scheduled.row.failures.saturating_add(1);
                let text = chain(&error);
                let row = PutRow {
                    last_put: scheduled.row.last_put,
                    failures,
                    last_error: Some(text.chars().take(ERROR_CHARS).collect()),
                };
                (row, self.retry(failures))
            }
        };
        if self.is_replaced(&name, &record).await? {
            // The row that the newer record put into the queue is due already and stays.
            return Ok(());
        }
        let due = later(wait);
        self.storage.schedule(&target.url, name, due, &row).await
    }

    async fn is_replaced(&self, name: &Name, put: &Record) -> Result<bool, StorageError> {
        let kept = self.storage.kept(*name).await?;
        Ok(kept.is_some_and(|kept| kept.record != *put.bytes()))
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
    fn rows_are_read_back() {
        let row = PutRow {
            last_put: Some(Millis(1_790_000_000_000)),
            failures: 3,
            last_error: Some("no answer".into()),
        };
        for row in [row, PutRow::default()] {
            assert_eq!(PutRow::from_bytes(&row.to_bytes().unwrap()).unwrap(), row);
        }
        assert!(PutRow::from_bytes(b"\xa0").is_err());
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let row = PutRow {
            last_put: Some(Millis(1_790_000_000_000)),
            failures: 3,
            last_error: None,
        };
        let golden = "a4617601637075741b000001a0c4506c00656572726f72f6686661696c7572657303";
        assert_eq!(hex::encode(row.to_bytes().unwrap()), golden);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let period = Duration::from_secs(100);
        for random in [0, 1, 17, u64::MAX / 2, u64::MAX] {
            let spread = spread(period, random);
            assert!((period * 9 / 10..=period * 11 / 10).contains(&spread));
        }
    }
}
