//! Records of names that are not kept here: asked of the network, kept in memory for a while.
//!
//! An answer younger than its TTL, and not older than a minute, is given as it is. An older one is given too, as long as
//! it is valid, and renewed in the background (RFC 5861, stale-while-revalidate), so that a reader of a known name never
//! waits for the network. Those who ask for one unknown name at a time wait for one lookup. It answers soon after the first
//! record; the slower places are waited for behind that, each better record is what is served from the moment it comes, and places that
//! had a worse one are given the best in the end. It reads what is kept here as one place among others. Must never touch: writing to the store. What is resolved
//! here is served, not kept.
//!
//! All places are asked together: the store, and the [`Routes`] of the node. A question that another node has passed on
//! goes to peers alone. Whatever others say, a name that is kept here does not go back behind the record that is kept,
//! ended or not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_sdk::router::{Composite, CompositeTimes, Gathered, RouteError, Router};
use perennis_shared::error::{ErrorKind, Retryable};
use perennis_shared::ipns::{Name, Record, compare};
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, oneshot};

use crate::config::Config;
use crate::read::ServedRecord;
use crate::routes::Routes;
use crate::storage::Storage;

/// Longest an answer counts as fresh, whatever its TTL.
const FRESH: Duration = Duration::from_secs(60);

/// How long a name that nobody knows is not asked for again.
const ABSENT: Duration = Duration::from_secs(5);

/// How long those who ask wait.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// How long those who ask wait, and how long the other places are waited for once one has a record.
const TIMES: CompositeTimes = CompositeTimes {
    deadline: DEADLINE,
    settle: Duration::from_millis(500),
};

/// Names that are being looked up at once; more are refused, so that strangers cannot make this node ask for ever.
const LOOKUPS: usize = 256;

/// When somebody who was refused may come again: most lookups end much sooner.
const COME_AGAIN: Duration = Duration::from_secs(2);

/// Lookups that are answered already and wait for slower places; beyond that those are not waited for.
const BEHIND: usize = 1_024;

type Lookup = Shared<BoxFuture<'static, Option<Known>>>;

/// Who may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// Everybody.
    All,
    /// Peers, but no endpoints: the question was passed on to this node.
    Peers,
}

/// Why it is not known whether a name has a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unresolved {
    /// Too many other names are being looked up.
    #[error("{LOOKUPS} names are being looked up already")]
    Busy,
    /// Nobody has said anything in time.
    #[error("nobody answered within {} s", TIMES.deadline.as_secs())]
    Late,
}

impl Retryable for Unresolved {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Retry
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(COME_AGAIN)
    }
}

/// Resolves names through the network.
pub(crate) struct Resolve {
    storage: Storage,
    all: Composite,
    peers: Composite,
    known: Cache<Name, Known>,
    lookups: Mutex<HashMap<(Name, Reach), Lookup>>,
    /// Places for lookups that are answered and go on.
    behind: Semaphore,
}

/// What the network said about a name.
#[derive(Clone)]
struct Known {
    record: Option<(Record, Arc<ServedRecord>)>,
    asked: Duration,
}

impl Known {
    fn is_fresh(&self, now: Duration) -> bool {
        let keep = match &self.record {
            Some((_, served)) => FRESH.min(Duration::from_secs(served.ttl_seconds)),
            None => ABSENT,
        };
        now.saturating_sub(self.asked) < keep
    }

    fn valid(&self) -> Option<Arc<ServedRecord>> {
        let (record, served) = self.record.as_ref()?;
        (!record.is_expired(rt::now())).then(|| Arc::clone(served))
    }
}

impl Resolve {
    pub(crate) fn new(config: &Config, routes: &Routes, storage: Storage) -> Arc<Resolve> {
        let mut routers: Vec<Arc<dyn Router>> = vec![Arc::new(LocalRouter(storage.clone()))];
        routers.extend(routes.peers());
        let peers = routes.composite(routers.clone(), TIMES);
        routers.extend(routes.endpoints());
        Arc::new(Resolve {
            storage,
            all: routes.composite(routers, TIMES),
            peers,
            known: Cache::new(config.cache.records),
            lookups: Mutex::default(),
            behind: Semaphore::new(BEHIND),
        })
    }

    /// A valid record that was resolved before, though perhaps no longer the newest.
    pub(crate) fn cached(self: &Arc<Self>, name: &Name, reach: Reach) -> Option<Arc<ServedRecord>> {
        let known = self.known.get(name)?;
        let served = known.valid()?;
        if !known.is_fresh(rt::monotonic())
            && let Ok(renewing) = self.lookup(name, reach)
        {
            rt::spawn(renewing.map(drop));
        }
        Some(served)
    }

    /// The best record anybody has; `None` when nobody has one.
    pub(crate) async fn record(
        self: &Arc<Self>,
        name: &Name,
        reach: Reach,
    ) -> Result<Option<Arc<ServedRecord>>, Unresolved> {
        if let Some(served) = self.cached(name, reach) {
            return Ok(Some(served));
        }
        if let Some(known) = self.known.get(name)
            && known.is_fresh(rt::monotonic())
        {
            return Ok(known.valid());
        }
        let lookup = self.lookup(name, reach)?;
        let known = rt::timeout(TIMES.deadline, lookup).await;
        let known = known.map_err(|_| Unresolved::Late)?;
        Ok(known.and_then(|known| known.valid()))
    }

    /// As [`record`](Self::record), asked anew whatever is known.
    pub(crate) async fn fresh(
        self: &Arc<Self>,
        name: &Name,
        reach: Reach,
    ) -> Result<Option<Arc<ServedRecord>>, Unresolved> {
        let asked = match self.lookup(name, reach) {
            Ok(lookup) => {
                let known = rt::timeout(TIMES.deadline, lookup).await;
                known.map_err(|_| Unresolved::Late)
            }
            Err(busy) => Err(busy),
        };
        // Where nobody could be asked, what was said before is the best there is.
        let before = || self.known.get(name).and_then(|known| known.valid());
        match asked {
            Ok(known) => Ok(known.and_then(|known| known.valid()).or_else(before)),
            Err(unresolved) => before().map(Some).ok_or(unresolved),
        }
    }

    /// How long ago what is known of a name was heard.
    pub(crate) fn age(&self, name: &Name) -> Duration {
        let known = self.known.get(name);
        known.map_or(Duration::ZERO, |known| {
            rt::monotonic().saturating_sub(known.asked)
        })
    }

    /// The lookup of a name that is under way, or a new one.
    fn lookup(self: &Arc<Self>, name: &Name, reach: Reach) -> Result<Lookup, Unresolved> {
        let mut lookups = self.lookups.lock();
        if let Some(lookup) = lookups.get(&(*name, reach)) {
            return Ok(lookup.clone());
        }
        if lookups.len() >= LOOKUPS {
            return Err(Unresolved::Busy);
        }
        let (this, name) = (Arc::clone(self), *name);
        let (answer, early) = oneshot::channel();
        // It goes on when nobody waits any more: the next one who asks has use of it.
        rt::spawn(async move { this.ask(&name, reach, answer).await });
        let early = early.map(|early| early.ok().flatten());
        let lookup = early.boxed().shared();
        lookups.insert((name, reach), lookup.clone());
        Ok(lookup)
    }

    /// Asks everybody, and answers with what is known once the first record has settled. The span tells whose was the best in the end.
    #[tracing::instrument(name = "resolve", skip_all, fields(%name, ?reach, route = tracing::field::Empty))]
    async fn ask(&self, name: &Name, reach: Reach, answer: oneshot::Sender<Option<Known>>) {
        let composite = match reach {
            Reach::All => &self.all,
            Reach::Peers => &self.peers,
        };
        let mut lookup = composite.lookup(name);
        lookup.settle().await;
        let early = self.judge(name, lookup.gathered()).await;
        // Who asked may have gone.
        let _ = answer.send(self.take(name, early, reach));
        self.lookups.lock().remove(&(*name, reach));
        let Ok(_behind) = self.behind.try_acquire() else {
            return;
        };
        // Each record counts from when it comes: one place that never answers must not keep the better ones back until the deadline.
        while lookup.next_record().await {
            let better = self.judge(name, lookup.gathered()).await;
            self.take(name, better, reach);
        }
        let Ok(gathered) = lookup.gathered() else {
            return;
        };
        drop(lookup);
        tracing::Span::current().record("route", gathered.source.as_str());
        for asked in &gathered.asked {
            let result = asked.result.as_ref();
            tracing::debug!(%name, router = asked.label, took = ?asked.took, hedged = asked.hedged, ?result, "asked");
        }
        if !gathered.worse.is_empty() && self.judge(name, Ok(gathered.clone())).await.is_ok() {
            composite.correct(name, &gathered).await;
        }
    }

    /// The best record of those that came, unless a better one was seen before.
    async fn judge(
        &self,
        name: &Name,
        gathered: Result<Gathered, RouteError>,
    ) -> Result<Record, RouteError> {
        let best = gathered?.best;
        // A record that was acknowledged here and is lost counts as seen.
        let min_sequence = self
            .storage
            .min_sequence(*name)
            .await
            .unwrap_or_else(|error| {
                tracing::error!(%name, %error, "whether a record was lost cannot be read");
                None
            });
        if let Some(seen) = min_sequence.filter(|seen| best.sequence() < *seen) {
            return Err(RouteError::Stale {
                seen,
                offered: best.sequence(),
            });
        }
        match mark(&self.storage, name).await {
            Some(mark) if compare(&best, &mark).is_lt() => Err(RouteError::Stale {
                seen: mark.sequence(),
                offered: best.sequence(),
            }),
            _ => Ok(best),
        }
    }

    fn take(&self, name: &Name, answer: Result<Record, RouteError>, reach: Reach) -> Option<Known> {
        let asked = rt::monotonic();
        let before = self.known.get(name).and_then(|known| known.record);
        let record = match answer {
            Ok(record) => {
                // What was seen before and is better stays: peers may replay.
                let is_worse = before
                    .as_ref()
                    .is_some_and(|(seen, _)| compare(&record, seen).is_lt());
                let served = ServedRecord::of(&record).map(Arc::new);
                if is_worse {
                    before
                } else {
                    served.map(|served| (record, served))
                }
            }
            // That peers do not have it says nothing about the endpoints.
            Err(RouteError::NotFound { .. }) if reach == Reach::All => before,
            Err(RouteError::NotFound { .. }) => {
                return before.map(|record| Known {
                    record: Some(record),
                    asked,
                });
            }
            Err(error) => {
                tracing::debug!(%name, %error, "a name could not be looked up");
                // Not knowing is no answer: the next one asks anew.
                return before.map(|record| Known {
                    record: Some(record),
                    asked,
                });
            }
        };
        let known = Known { record, asked };
        self.known.insert(*name, known.clone());
        Some(known)
    }
}

/// The store as one of the places that are asked.
struct LocalRouter(Storage);

impl Router for LocalRouter {
    fn label(&self) -> String {
        "local".to_owned()
    }

    fn resolve<'a>(
        &'a self,
        name: &'a Name,
    ) -> perennis_rt::BoxFuture<'a, Result<Record, RouteError>> {
        Box::pin(async move {
            let kept = mark(&self.0, name).await;
            kept.filter(|record| !record.is_expired(rt::now()))
                .ok_or(RouteError::NotFound { name: *name })
        })
    }

    /// Nothing: what is to be kept goes through the write door.
    fn publish<'a>(
        &'a self,
        _: &'a Name,
        _: &'a Record,
    ) -> perennis_rt::BoxFuture<'a, Result<(), RouteError>> {
        Box::pin(async { Ok(()) })
    }
}

/// The best record that was ever kept of a name; it may have ended.
async fn mark(storage: &Storage, name: &Name) -> Option<Record> {
    let kept = storage.kept(*name).await.unwrap_or_else(|error| {
        tracing::error!(%name, %error, "a kept record cannot be read");
        None
    })?;
    Some(kept.record)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::ipns::{RecordFields, create};
    use perennis_shared::sign::SigningKey;
    use perennis_shared::time::Timestamp;
    use tokio::sync::Notify;

    use super::*;

    /// A place that never answers.
    struct Silent;

    impl Router for Silent {
        fn label(&self) -> String {
            "silent".to_owned()
        }

        fn resolve<'a>(
            &'a self,
            _: &'a Name,
        ) -> perennis_rt::BoxFuture<'a, Result<Record, RouteError>> {
            Box::pin(std::future::pending())
        }

        fn publish<'a>(
            &'a self,
            _: &'a Name,
            _: &'a Record,
        ) -> perennis_rt::BoxFuture<'a, Result<(), RouteError>> {
            Box::pin(std::future::pending())
        }
    }

    /// A place that has a record, and gives it at each permit.
    struct Holds(Record, Arc<Notify>);

    impl Router for Holds {
        fn label(&self) -> String {
            format!("sequence {}", self.0.sequence())
        }

        fn resolve<'a>(
            &'a self,
            _: &'a Name,
        ) -> perennis_rt::BoxFuture<'a, Result<Record, RouteError>> {
            Box::pin(async {
                self.1.notified().await;
                Ok(self.0.clone())
            })
        }

        fn publish<'a>(
            &'a self,
            _: &'a Name,
            _: &'a Record,
        ) -> perennis_rt::BoxFuture<'a, Result<(), RouteError>> {
            Box::pin(async { Ok(()) })
        }
    }

    fn key(number: usize) -> SigningKey {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        SigningKey::from_seed(&seed)
    }

    fn name(number: usize) -> Name {
        Name::from_public_key(&key(number).public())
    }

    fn record(sequence: u64) -> Record {
        let fields = RecordFields {
            value: "/ipfs/bafkqaaa",
            sequence,
            validity: Timestamp::from(rt::now() + Duration::from_secs(3_600)),
            ttl: Duration::from_secs(300),
        };
        create(&key(0), &fields).unwrap()
    }

    fn resolve(dir: &std::path::Path, routers: &[Arc<dyn Router>]) -> Arc<Resolve> {
        let composite = || Composite::new(routers.to_vec(), TIMES);
        Arc::new(Resolve {
            storage: Storage::open(dir, &[]).unwrap(),
            all: composite(),
            peers: composite(),
            known: Cache::new(8),
            lookups: Mutex::default(),
            behind: Semaphore::new(BEHIND),
        })
    }

    #[tokio::test]
    async fn a_better_record_is_served_when_it_comes_while_another_place_is_silent() {
        let dir = tempfile::tempdir().unwrap();
        let (old, newer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let resolve = resolve(
            dir.path(),
            &[
                Arc::new(Holds(record(1), Arc::clone(&old))),
                Arc::new(Holds(record(2), Arc::clone(&newer))),
                Arc::new(Silent),
            ],
        );
        let asked = Duration::from_secs(10);
        old.notify_one();
        let first = resolve.record(&name(0), Reach::All).await.unwrap();
        assert_eq!(first.unwrap().sequence, 1);
        newer.notify_one();
        let served = async {
            loop {
                let cached = resolve.cached(&name(0), Reach::All).unwrap();
                if cached.sequence == 2 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let served = rt::timeout(asked, served).await;
        assert!(served.is_ok(), "the better record waits for a silent place");
        // Who asks anew, and hears the old one only, sees it too.
        old.notify_one();
        let fresh = rt::timeout(asked, resolve.fresh(&name(0), Reach::All)).await;
        assert_eq!(fresh.unwrap().unwrap().unwrap().sequence, 2);
    }

    #[tokio::test]
    async fn who_comes_while_too_many_names_are_looked_up_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let resolve = resolve(dir.path(), &[Arc::new(Silent)]);
        let mut lookups = Vec::new();
        for number in 0..LOOKUPS {
            lookups.push(resolve.lookup(&name(number), Reach::All).unwrap());
        }
        let another = name(LOOKUPS);
        let asked = resolve.record(&another, Reach::All).await;
        assert_eq!(asked.unwrap_err(), Unresolved::Busy);
        let asked = resolve.fresh(&another, Reach::All).await;
        assert_eq!(asked.unwrap_err(), Unresolved::Busy);
        // Who asks for one of those waits with the others.
        assert!(resolve.lookup(&name(0), Reach::All).is_ok());
    }
}
