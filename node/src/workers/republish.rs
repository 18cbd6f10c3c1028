//! The republisher: puts each record to each router again and again, so that the name stays alive.
//!
//! Each router has a durable queue of its own, ordered by due time, and a task of its own with bounded concurrency:
//! a slow or failing router delays no other, a failing name no other name. What is put is the record that is kept at
//! that moment. Period and retries have jitter, so that names that came together do not stay together.

use std::sync::Arc;
use std::time::Duration;

use perennis_net::dht::Sweep;
use perennis_rt as rt;
use perennis_sdk::router::{Http, RouteError, Router};
use perennis_shared::backoff::Backoff;
use perennis_shared::ipns::{Name, Record};
use perennis_shared::time::Millis;

use super::reprovide::Reprovide;
use crate::config::{Config, DHT_ROUTER};
use crate::demand::SharedDemand;
use crate::metrics::Metrics;
use crate::routes::Routes;
use crate::storage::queues::TypedQueue;
use crate::storage::{NameState, Pin, PutState};
use crate::storage::{Storage, StorageError};

pub(crate) mod hot;
pub(crate) mod worker;

/// The routers and their queues.
pub(crate) struct Republish {
    routers: Vec<Arc<Target>>,
    period: Duration,
    hot_period: Duration,
    concurrency: usize,
    storage: Storage,
    metrics: Arc<Metrics>,
    demand: SharedDemand,
    reprovide: Arc<Reprovide>,
}

impl Republish {
    /// The routers, and what is to be put to each.
    pub(crate) fn queues(&self) -> Vec<(String, TypedQueue<Name>)> {
        let queues = self.routers.iter();
        queues
            .map(|target| (target.url.clone(), target.queue))
            .collect()
    }
}

/// A router, and the queue of what is to be put to it.
struct Target {
    url: String,
    queue: TypedQueue<Name>,
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

/// How one name is at one router.
pub(crate) struct RouterPut {
    pub(crate) url: String,
    pub(crate) due: Millis,
    pub(crate) put: PutState,
}

impl Republish {
    pub(crate) fn new(
        config: &Config,
        routes: &Routes,
        storage: Storage,
        metrics: Arc<Metrics>,
        demand: SharedDemand,
        reprovide: Arc<Reprovide>,
    ) -> Republish {
        let target = |url: &str, to: Taker| {
            let url = url.to_owned();
            // The store has given a queue to each router of the configuration.
            let queue = storage.router_queue(&url)?;
            Some(Arc::new(Target { url, queue, to }))
        };
        let endpoints = routes.labelled_endpoints(Backoff::default());
        let mut routers: Vec<Arc<Target>> = endpoints
            .filter_map(|(url, router)| target(url, Taker::Http(router)))
            .collect();
        if config.p2p.has_dht() {
            routers.extend(target(DHT_ROUTER, Taker::Dht(routes.sweep().clone())));
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
        }
    }

    /// How a name is at each router.
    pub(crate) async fn states(&self, name: &Name) -> Result<Vec<RouterPut>, StorageError> {
        let states = self.states_of(vec![*name]).await?;
        Ok(states.into_iter().next().unwrap_or_default())
    }

    /// How each of some names is at each router, in their order.
    pub(crate) async fn states_of(
        &self,
        names: Vec<Name>,
    ) -> Result<Vec<Vec<RouterPut>>, StorageError> {
        let mut states: Vec<Vec<RouterPut>> = names.iter().map(|_| Vec::new()).collect();
        for target in &self.routers {
            let rows = self.storage.queued_puts(&target.url, names.clone()).await?;
            for (state, queued) in states.iter_mut().zip(rows) {
                state.extend(queued.map(|queued| RouterPut {
                    url: target.url.clone(),
                    due: queued.due,
                    put: queued.put,
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

    /// A head that is new since the last put: the DHT is told at once that its block is here.
    fn provide_new(&self, kept: Option<&NameState>, put: &PutState) {
        if let Some(kept) = kept
            && let Some(head) = kept.head
            && matches!(kept.facts.pin, Pin::Pinned | Pin::Opaque)
            && put.last_put.is_none_or(|last| last < kept.stored_at)
        {
            self.reprovide.soon(head);
        }
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
