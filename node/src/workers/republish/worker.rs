//! The worker of one router: works through its queue, many records at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use perennis_net::dht::{DhtError, point_of, record_key};
use perennis_rt as rt;
use perennis_sdk::router::RouteError;
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, Record};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Republish, Target};
use crate::metrics::Outcome;
use crate::storage::queues::DueWindow;
use crate::storage::{PutState, QueuedPut, StorageError};
use crate::workers::status::Status;
use crate::workers::timing::{IDLE, later, longest_spread, spread};
use crate::workers::{Context, Parts, Step, Worker};

/// How long one put may take, retries included.
const PUT: Duration = Duration::from_secs(60);

/// Names that are taken from a queue at once, those longest due. Each is put before the next are taken: none starves.
const DRAINED: usize = 4_096;

/// How long nobody is asked after nobody could be: the names keep their places in the queue.
const NOBODY: Duration = Duration::from_secs(10);

/// How long an error message is kept, in characters.
const ERROR_CHARS: usize = 300;

/// What became of one put.
enum Put {
    /// It was done, or failed and was put off.
    Done,
    /// Nobody is there to take it; it stays due.
    Nobody,
}

/// Puts to one router what is due there.
pub(crate) struct RepublishWorker {
    puts: Puts,
    places: Arc<Semaphore>,
}

/// What a put needs.
#[derive(Clone)]
struct Puts {
    republish: Arc<Republish>,
    target: Arc<Target>,
}

impl RepublishWorker {
    /// One for each router.
    pub(crate) fn of_routers(parts: &Parts<'_>) -> impl Iterator<Item = RepublishWorker> {
        let republish = parts.republish;
        let routers = republish.routers.iter();
        routers.map(|target| RepublishWorker::new(republish, target))
    }

    fn new(republish: &Arc<Republish>, target: &Arc<Target>) -> RepublishWorker {
        RepublishWorker {
            puts: Puts {
                republish: Arc::clone(republish),
                target: Arc::clone(target),
            },
            places: Arc::new(Semaphore::new(republish.concurrency)),
        }
    }

    /// Puts some records at the same time; false when nobody was there to take them.
    async fn put_all(&self, due: Vec<QueuedPut>, context: &mut Context) -> bool {
        let mut puts = JoinSet::new();
        let is_alone = Arc::new(AtomicBool::new(false));
        for queued in due {
            let place = Arc::clone(&self.places).acquire_owned();
            let Some(place) = context.or_stop(place).await else {
                return true;
            };
            if is_alone.load(Ordering::Relaxed) {
                break;
            }
            let (this, status) = (self.puts.clone(), context.status().clone());
            let is_alone = Arc::clone(&is_alone);
            puts.spawn(async move {
                match this.put(queued, &status).await {
                    Ok(Put::Done) => status.stepped(),
                    Ok(Put::Nobody) => is_alone.store(true, Ordering::Relaxed),
                    Err(error) => status.failed(&error),
                }
                drop(place);
            });
        }
        while let Some(ended) = puts.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a put ended badly");
            }
        }
        !is_alone.load(Ordering::Relaxed)
    }
}

impl Worker for RepublishWorker {
    type Error = StorageError;

    fn name(&self) -> String {
        format!("republish to {}", self.puts.target.url)
    }

    fn throttle(&self) -> String {
        format!("{} records at once", self.puts.republish.concurrency)
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, StorageError> {
        let (republish, queue) = (&self.puts.republish, self.puts.target.queue);
        let now = rt::now();
        let window = DueWindow::new(now, longest_spread(republish.period));
        let mut due = republish.storage.puts_due(queue, window, DRAINED).await?;
        let oldest = due.iter().map(|queued| queued.due).min();
        let lag = oldest.map_or(Duration::ZERO, |due| now - due);
        republish.metrics.republish_lag.set(lag.as_secs());
        if due.is_empty() {
            let next = republish.storage.queue_next(queue).await?;
            let wait = next.map_or(IDLE, |due| due - now).min(IDLE);
            return Ok(Step::idle(wait));
        }
        // Names that are close to each other in the keyspace have the same peers: one lookup serves many.
        due.sort_by_cached_key(|queued| point_of(&record_key(&queued.name)));
        context.working(format!("putting {} records that are due", due.len()));
        match self.put_all(due, context).await {
            true => Ok(Step::Again),
            false => Ok(Step::idle(NOBODY)),
        }
    }

    async fn notified(&mut self) {
        let (republish, queue) = (&self.puts.republish, self.puts.target.queue);
        republish.storage.queue_notified(queue).await;
    }
}

impl Puts {
    #[tracing::instrument(name = "republish", skip_all, fields(name = %queued.name, route = self.target.url))]
    async fn put(&self, queued: QueuedPut, status: &Status) -> Result<Put, StorageError> {
        let (republish, target) = (&self.republish, &self.target);
        let name = queued.name;
        let now = rt::now();
        let kept = republish.storage.kept(name).await?;
        let record = kept.as_ref().map(|kept| kept.record.clone());
        let record = record.filter(|record| !record.is_expired(now));
        let Some(record) = record else {
            // It has ended: no router takes it. A new record puts the name into the queue again.
            republish.storage.put_no_more(target.queue, &queued).await?;
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
            status.failed(error);
            return Ok(Put::Nobody);
        }
        let outcome = match &result {
            Ok(_) => Outcome::Ok,
            Err(_) => Outcome::Failed,
        };
        republish.metrics.republished(outcome, took);
        let (put, wait) = match result {
            Ok(peers) => {
                if let Some(peers) = peers {
                    republish.metrics.republish_peers.observe(peers as f64);
                    republish.provide_new(kept.as_ref(), &queued.put);
                }
                let put = PutState {
                    last_put: Some(rt::now()),
                    peers,
                    ..PutState::default()
                };
                (put, spread(republish.period_of(&name), rt::jitter()))
            }
            Err(error) => {
                status.failed(&error);
                let failures = queued.put.failures.saturating_add(1);
                let text = chain(&error);
                let put = PutState {
                    last_put: queued.put.last_put,
                    peers: queued.put.peers,
                    failures,
                    last_error: Some(text.chars().take(ERROR_CHARS).collect()),
                };
                (put, republish.retry(failures))
            }
        };
        if self.is_replaced(&name, &record).await? {
            // The row that the newer record put into the queue is due already and stays.
            return Ok(Put::Done);
        }
        let due = later(wait);
        republish
            .storage
            .put_again(target.queue, &queued, due, &put)
            .await?;
        Ok(Put::Done)
    }

    async fn is_replaced(&self, name: &Name, put: &Record) -> Result<bool, StorageError> {
        let kept = self.republish.storage.kept(*name).await?;
        Ok(kept.is_some_and(|kept| kept.record.bytes() != put.bytes()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::ipns::{RecordFields, create};
    use perennis_shared::sign::SigningKey;
    use perennis_shared::time::Timestamp;

    use super::*;
    use crate::storage::NameChange;
    use crate::workers::testing::{Source, TestParts, context};

    #[tokio::test]
    async fn a_record_that_has_ended_leaves_the_queue_of_its_router() {
        let router = Source::new().await.url();
        let url = router.clone();
        let node = TestParts::new(move |config| config.ipns.routers = vec![url]).await;
        let key = SigningKey::from_seed(&[1; 32]);
        let name = Name::from_public_key(&key.public());
        let fields = RecordFields {
            value: "/ipfs/bafkqaaa",
            sequence: 1,
            validity: Timestamp::from(rt::now() - Duration::from_secs(1)),
            ttl: Duration::from_secs(60),
        };
        let change = NameChange {
            routers: vec![router.clone()],
            ..NameChange::of(name, create(&key, &fields).unwrap(), rt::now())
        };
        node.storage.commit(change).await.unwrap();
        let queue = node.storage.router_queue(&router).unwrap();
        assert!(node.storage.queue_next(queue).await.unwrap().is_some());

        let parts = node.parts();
        let mut worker = RepublishWorker::of_routers(&parts).next().unwrap();
        let (mut context, _, _stop) = context();
        worker.step(&mut context).await.unwrap();
        assert_eq!(node.storage.queue_next(queue).await.unwrap(), None);
    }
}
