//! The latency probe: a name of the node's own is published and resolved through each route, and both are timed.
//!
//! Owns the canary name, the routes and what was measured lately. A route is asked on its own, and what this node knows
//! itself does not count. Only that others pass the record on to each other cannot be told apart: a peer may have heard
//! of it through an endpoint. Must never touch: the store, and with it the names, quotas and the index.
//!
//! All routes are probed at the same time, each step under a deadline of its own, and each result is there as soon as
//! it is known: a slow route delays no other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_sdk::router::RouteError;
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, Record};
use serde::Serialize;
use tokio::sync::{Notify, watch};

use crate::config::Config;
use crate::keystore::Keystore;
use crate::metrics::{Metrics, Operation, ProbeOutcome};
use crate::routes::Routes;

mod canary;
mod history;
mod plot;
mod route;

pub(crate) use history::Summary;

use canary::Canary;
use history::{History, Sample};
use route::{Miss, Route};

/// How long a publish may take: as long as a put of the republisher.
const PUBLISH: Duration = Duration::from_secs(60);

/// How long a resolve may take: as long as readers wait.
const RESOLVE: Duration = Duration::from_secs(20);

/// The canary, the routes and what was measured.
pub(crate) struct Probe {
    canary: Canary,
    routes: Vec<Probed>,
    period: Option<Duration>,
    metrics: Arc<Metrics>,
    /// Told by its worker.
    pub(crate) rounds: watch::Sender<Rounds>,
    /// Notified when somebody wants a round.
    pub(crate) wanted: Notify,
}

/// Rounds since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    /// None comes any more.
    pub(crate) are_over: bool,
}

struct Probed {
    route: Route,
    state: Mutex<RouteState>,
}

#[derive(Default)]
struct RouteState {
    /// Why nothing was measured in the last round.
    idle: Option<&'static str>,
    publish: History,
    resolve: History,
}

impl Probe {
    pub(crate) fn new(
        config: &Config,
        routes: &Routes,
        keystore: Arc<Keystore>,
        metrics: Arc<Metrics>,
    ) -> Probe {
        let probed = |route| Probed {
            route,
            state: Mutex::default(),
        };
        Probe {
            canary: Canary::new(keystore),
            routes: Route::all(routes).into_iter().map(probed).collect(),
            period: config.probe.period,
            metrics,
            rounds: watch::Sender::default(),
            wanted: Notify::new(),
        }
    }

    pub(crate) fn name(&self) -> &Name {
        self.canary.name()
    }

    /// Time between two rounds; without one they are made when they are wanted.
    pub(crate) fn period(&self) -> Option<Duration> {
        self.period
    }

    /// Has a round made, or waits for the one that is under way. False when the node stops first.
    pub(crate) async fn measure_now(&self) -> bool {
        let mut rounds = self.rounds.subscribe();
        let now = *rounds.borrow();
        let wanted = if now.begun > now.ended {
            now.begun
        } else {
            self.wanted.notify_one();
            now.begun + 1
        };
        let is_made = |rounds: &Rounds| rounds.ended >= wanted;
        let told = rounds.wait_for(|rounds| rounds.are_over || is_made(rounds));
        told.await.is_ok_and(|rounds| is_made(&rounds))
    }

    /// Publishes and resolves the canary through each route. Tells how many of them could be measured.
    pub(crate) async fn round(&self) -> usize {
        let record = self.canary.sign(rt::now(), self.period);
        let probes = self.routes.iter().map(|probed| self.probe(probed, &record));
        let measured = join_all(probes).await;
        measured.into_iter().filter(|measured| *measured).count()
    }

    #[tracing::instrument(skip_all, fields(name = %self.name(), route = probed.route.label()))]
    async fn probe(&self, probed: &Probed, record: &Record) -> bool {
        let (route, name) = (&probed.route, self.name());
        let published = timed(PUBLISH, route.publish(name, record)).await;
        if !self.note(probed, Operation::Publish, published, |_| true) {
            return false;
        }
        let found = timed(RESOLVE, route.resolve(name, record)).await;
        self.note(probed, Operation::Resolve, found, |found| {
            self.canary.saw(found.sequence());
            found == record
        })
    }

    /// Remembers what an operation came to; false when there was nobody to try it with.
    fn note<T>(
        &self,
        probed: &Probed,
        operation: Operation,
        (took, result): (Duration, Result<T, Miss>),
        is_current: impl FnOnce(&T) -> bool,
    ) -> bool {
        let route = probed.route.label();
        let is_current = result.as_ref().is_ok_and(is_current);
        let (outcome, error) = match &result {
            Ok(_) if is_current => (ProbeOutcome::Ok, None),
            Ok(_) => (ProbeOutcome::Stale, None),
            Err(Miss::Nobody(why)) => {
                tracing::debug!(route, ?operation, why, "the route is not probed");
                probed.state.lock().idle = Some(why);
                return false;
            }
            Err(Miss::Failed(error)) => (ProbeOutcome::Failed, Some(chain(error))),
        };
        tracing::debug!(route, ?operation, ?outcome, ?took, error, "probed");
        self.metrics.probe.measured(route, operation, outcome, took);
        let sample = Sample {
            at: rt::now(),
            took,
            outcome,
        };
        let mut state = probed.state.lock();
        state.idle = None;
        let history = match operation {
            Operation::Publish => &mut state.publish,
            Operation::Resolve => &mut state.resolve,
        };
        history.add(sample, error.as_deref());
        true
    }

    /// What was measured lately.
    pub(crate) fn report(&self) -> Report {
        let rounds = *self.rounds.borrow();
        let routes = self.routes.iter().map(|probed| {
            let state = probed.state.lock();
            RouteReport {
                route: probed.route.label().to_owned(),
                idle: state.idle,
                publish: state.publish.summary(),
                resolve: state.resolve.summary(),
            }
        });
        Report {
            name: self.name().to_string(),
            sequence: self.canary.last(),
            period_seconds: self.period.map(|period| period.as_secs()),
            probing: rounds.begun > rounds.ended,
            rounds: rounds.ended,
            routes: routes.collect(),
        }
    }

    /// What was measured lately, as an SVG picture.
    pub(crate) fn plot(&self) -> String {
        let rows = self.routes.iter().map(|probed| {
            let state = probed.state.lock();
            plot::RouteRow {
                label: probed.route.label().to_owned(),
                idle: state.idle,
                publish: state.publish.samples().copied().collect(),
                resolve: state.resolve.samples().copied().collect(),
            }
        });
        plot::draw(&rows.collect::<Vec<_>>())
    }
}

/// Runs an operation under a deadline and times it.
async fn timed<T>(
    deadline: Duration,
    operation: impl Future<Output = Result<T, Miss>>,
) -> (Duration, Result<T, Miss>) {
    let started = Instant::now();
    let result = rt::timeout(deadline, operation).await;
    let result = result.unwrap_or_else(|elapsed| {
        Err(Miss::Failed(RouteError::Deadline {
            after: elapsed.after,
        }))
    });
    (started.elapsed(), result)
}

/// What was measured lately, as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    name: String,
    /// The highest sequence that was signed or seen.
    sequence: Option<u64>,
    period_seconds: Option<u64>,
    probing: bool,
    rounds: u64,
    routes: Vec<RouteReport>,
}

#[derive(Debug, Serialize)]
struct RouteReport {
    route: String,
    idle: Option<&'static str>,
    publish: Summary,
    resolve: Summary,
}
