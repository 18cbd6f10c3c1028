//! What a node does by itself: walk and pin, fetch, republish, measure, scrub, reclaim space, look after its folder.
//!
//! Owns the loop of each worker and what the operator sees of it: name, state, progress, last error, throttle. A
//! worker does one small step at a time, saves where it is, and stops between two steps. No worker may delay a
//! request, and no name or router another.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_shared::error::chain;
use perennis_shared::time::Millis;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::read::Read;
use crate::routes::Routes;
use crate::storage::Storage;

mod checkpoint;
pub(crate) mod fetch;
pub(crate) mod folder;
pub(crate) mod follow;
mod ladder;
mod lost_heads;
mod map;
pub(crate) mod meet;
pub(crate) mod probe;
pub(crate) mod pubsub;
mod reclaim;
mod refetch;
pub(crate) mod reprovide;
pub(crate) mod republish;
mod scan;
mod scrub;

use crate::shutdown::Stop;
use reprovide::Reprovide;
use republish::Republish;

/// All workers of a node.
pub(crate) struct Workers {
    rows: Mutex<Vec<Arc<Worker>>>,
}

/// One worker, as the operator sees it.
pub(crate) struct Worker {
    status: Mutex<WorkerStatus>,
}

/// How a worker is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkerStatus {
    name: String,
    state: State,
    /// What it is at, for people.
    progress: Option<String>,
    /// Steps done since the start.
    done: u64,
    /// How it holds itself back.
    throttle: String,
    last_error: Option<String>,
    last_error_at: Option<String>,
    next_run: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It is in a step.
    Working,
    /// It waits for time to pass or for something to do.
    Waiting,
    /// It has ended.
    Stopped,
}

impl Worker {
    /// It is in a step; `progress` tells people which.
    pub(crate) fn working(&self, progress: impl Into<String>) {
        let mut status = self.status.lock();
        status.state = State::Working;
        status.progress = Some(progress.into());
        status.next_run = None;
    }

    /// It waits, until then or for something to do.
    pub(crate) fn waiting(&self, until: Option<Millis>) {
        let mut status = self.status.lock();
        status.state = State::Waiting;
        status.next_run = until.map(|until| until.to_string());
    }

    /// Waits as long as the last round of a worker said, or until the bell rings: after a round that failed for `idle`.
    /// False when it is time to stop.
    async fn rest<E: std::error::Error>(
        &self,
        next: Result<Duration, E>,
        idle: Duration,
        bell: &Notify,
        stop: &mut Stop,
    ) -> bool {
        let wait = next.unwrap_or_else(|error| {
            self.failed(&error);
            idle
        });
        if stop.is_now() {
            return false;
        }
        self.waiting(Some(later(wait)));
        let woken = tokio::time::timeout(wait, bell.notified());
        stop.or(woken).await.is_some()
    }

    /// A step was done.
    pub(crate) fn stepped(&self) {
        self.status.lock().done += 1;
    }

    /// A step failed. The worker goes on.
    pub(crate) fn failed(&self, error: &dyn std::error::Error) {
        let text = chain(error);
        let mut status = self.status.lock();
        tracing::warn!(worker = %status.name, error = %text, "a step failed");
        status.last_error = Some(text);
        status.last_error_at = Some(rt::now().to_string());
    }
}

impl Workers {
    pub(crate) fn new() -> Workers {
        Workers {
            rows: Mutex::new(Vec::new()),
        }
    }

    /// How each worker is, in the order they were started.
    pub(crate) fn status(&self) -> Vec<WorkerStatus> {
        let rows = self.rows.lock();
        rows.iter().map(|row| row.status.lock().clone()).collect()
    }

    /// Starts all workers.
    #[allow(
        clippy::too_many_arguments,
        reason = "this is the one place where every worker gets its parts"
    )]
    pub(crate) fn start(
        &self,
        config: &Config,
        storage: &Storage,
        read: &Arc<Read>,
        ingest: &Arc<Ingest>,
        republish: &Arc<Republish>,
        reprovide: &Arc<Reprovide>,
        routes: &Arc<Routes>,
        metrics: &Arc<Metrics>,
        stopped: &watch::Receiver<bool>,
    ) -> JoinSet<()> {
        let stop = || Stop(stopped.clone());
        let mut tasks = JoinSet::new();
        let unhad = Arc::new(Notify::new());
        let scan = scan::Scan {
            storage: storage.clone(),
            read: Arc::clone(read),
            ingest: Arc::clone(ingest),
            metrics: Arc::clone(metrics),
            period: config.pins.scan_period,
            unhad: Arc::clone(&unhad),
        };
        let row = self.row("pin scan", "at most half of the time");
        tasks.spawn(scan.run(row, stop()));

        let fetch = fetch::Fetch::new(config, storage, read, ingest, routes, metrics);
        let row = self.row("pin fetch", "one name at a time, 8 blocks at once");
        tasks.spawn(fetch.run(row, stop()));

        let refetch = refetch::Refetch::new(storage, read, ingest, routes, metrics, &unhad);
        let throttle = format!("{} blocks at once", refetch::AT_ONCE);
        let row = self.row("refetch", &throttle);
        tasks.spawn(refetch.run(row, stop()));

        let lost = lost_heads::LostHeads {
            storage: storage.clone(),
            ingest: Arc::clone(ingest),
            routes: Arc::clone(routes),
            metrics: Arc::clone(metrics),
        };
        let throttle = format!("{} names at once", lost_heads::AT_ONCE);
        let row = self.row("lost heads", &throttle);
        tasks.spawn(lost.run(row, stop()));

        let ladder = ladder::LadderWorker {
            storage: storage.clone(),
            ingest: Arc::clone(ingest),
            metrics: Arc::clone(metrics),
        };
        let row = self.row("ladder", "one name at a time");
        tasks.spawn(ladder.run(row, stop()));

        let follow = follow::FollowWorker {
            storage: storage.clone(),
            ingest: Arc::clone(ingest),
            routes: Arc::clone(routes),
            metrics: Arc::clone(metrics),
            period: config.follow.period,
        };
        let row = self.row("follow", "8 names at once");
        tasks.spawn(follow.run(row, stop()));

        for router in 0..republish.routers() {
            let row = self.row(
                &format!("republish to {}", republish.url(router)),
                &format!("{} records at once", config.ipns.republish_concurrency),
            );
            tasks.spawn(Arc::clone(republish).run(router, row, stop()));
        }
        if config.ipns.hot.names > 0 && republish.routers() > 0 {
            let row = self.row("hot names", "one name at a time");
            tasks.spawn(Arc::clone(republish).run_hot(row, stop()));
        }
        if reprovide.is_on() {
            let throttle = format!("{} blocks at once", config.provide.concurrency);
            let row = self.row("provide", &throttle);
            tasks.spawn(Arc::clone(reprovide).run(row, stop()));
        }
        if config.p2p.accelerated && config.p2p.has_dht() {
            let map = map::MapWorker {
                sweep: routes.sweep().clone(),
                metrics: Arc::clone(metrics),
            };
            let row = self.row("dht map", "16 lookups at once");
            tasks.spawn(map.run(row, stop()));
        }

        let scrub = scrub::Scrub {
            storage: storage.clone(),
            read: Arc::clone(read),
            metrics: Arc::clone(metrics),
            config: config.scrub.clone(),
        };
        let throttle = format!("{} bytes a second", config.scrub.bytes_per_second);
        let row = self.row("scrub", &throttle);
        tasks.spawn(scrub.run(row, stop()));

        let checkpoint = checkpoint::Checkpoint {
            storage: storage.clone(),
            metrics: Arc::clone(metrics),
        };
        let row = self.row("checkpoint", "one at a time");
        tasks.spawn(checkpoint.run(row, stop()));

        let reclaim = reclaim::Reclaim {
            storage: storage.clone(),
            ingest: Arc::clone(ingest),
            metrics: Arc::clone(metrics),
        };
        let row = self.row("reclaim", "at most half of the time");
        tasks.spawn(reclaim.run(row, stop()));
        tasks
    }

    /// Starts to tell and hear records by gossip, and to look for others who do.
    pub(crate) fn gossip(
        &self,
        worker: pubsub::PubsubWorker,
        meet: Option<meet::MeetWorker>,
        tasks: &mut JoinSet<()>,
        stop: &impl Fn() -> Stop,
    ) {
        let worker = Arc::new(worker);
        let row = self.row("pubsub", "one name at a time");
        tasks.spawn(Arc::clone(&worker).run(row, stop()));
        tasks.spawn(worker.take_in(stop()));
        if let Some(meet) = meet {
            let row = self.row("pubsub peers", "one name at a time");
            tasks.spawn(meet.run(row, stop()));
        }
    }

    /// Starts to measure the routes of records.
    pub(crate) fn probe(&self, worker: probe::ProbeWorker, tasks: &mut JoinSet<()>, stop: Stop) {
        let row = self.row("probe", "all routes at once, one round at a time");
        tasks.spawn(worker.run(row, stop));
    }

    /// Starts to look whether the data folder is there.
    pub(crate) fn watch_folder(
        &self,
        worker: folder::FolderWorker,
        tasks: &mut JoinSet<()>,
        stop: Stop,
    ) {
        let row = self.row("data folder", "one look a second");
        tasks.spawn(worker.run(row, stop));
    }

    fn row(&self, name: &str, throttle: &str) -> Arc<Worker> {
        let row = Arc::new(Worker {
            status: Mutex::new(WorkerStatus {
                name: name.to_owned(),
                state: State::Waiting,
                progress: None,
                done: 0,
                throttle: throttle.to_owned(),
                last_error: None,
                last_error_at: None,
                next_run: None,
            }),
        });
        self.rows.lock().push(Arc::clone(&row));
        row
    }
}

/// Tells that a worker has ended when it is dropped, however it ended.
pub(crate) struct Ending(pub(crate) Arc<Worker>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut status = self.0.status.lock();
        status.state = State::Stopped;
        status.next_run = None;
    }
}

/// The moment that comes after this wait.
fn later(wait: Duration) -> Millis {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Millis(rt::now().0.saturating_add(wait))
}
