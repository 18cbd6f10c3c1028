//! Records of names that are not kept here: asked of the network, kept in memory for a while.
//!
//! An answer younger than its TTL, and not older than a minute, is given as it is. An older one is given too, as long as
//! it is valid, and renewed in the background (RFC 5861, stale-while-revalidate), so that a reader of a known name never
//! waits for the network. Those who ask for one unknown name at a time wait for one lookup. Must never touch: the
//! store. What is resolved here is served, not kept.
//!
//! Only the DHT is asked: two nodes that had each other as delegated routers would otherwise ask in circles.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use perennis_sdk::net::Net;
use perennis_sdk::router::{Dht, RouteError, Router};
use perennis_sdk::rt;
use perennis_shared::ipns::{Name, Record, compare};
use quick_cache::sync::Cache;

use crate::config::Config;
use crate::read::ServedRecord;

/// Longest an answer counts as fresh, whatever its TTL.
const FRESH: Duration = Duration::from_secs(60);

/// How long a name that nobody knows is not asked for again.
const ABSENT: Duration = Duration::from_secs(5);

/// How long those who ask wait.
const DEADLINE: Duration = Duration::from_secs(20);

/// Names that are being looked up at once; more are refused, so that strangers cannot make this node ask for ever.
const LOOKUPS: usize = 256;

type Lookup = Shared<BoxFuture<'static, Option<Known>>>;

/// Resolves names through the network.
pub(crate) struct Resolve {
    router: Option<Arc<dyn Router>>,
    known: Cache<Name, Known>,
    lookups: Mutex<HashMap<Name, Lookup>>,
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
    pub(crate) fn new(config: &Config, net: Net) -> Arc<Resolve> {
        let router = config
            .p2p
            .has_dht()
            .then(|| Arc::new(Dht::new(net)) as Arc<dyn Router>);
        Arc::new(Resolve {
            router,
            known: Cache::new(config.cache.records),
            lookups: Mutex::default(),
        })
    }

    /// A valid record that was resolved before, though perhaps no longer the newest.
    pub(crate) fn cached(self: &Arc<Self>, name: &Name) -> Option<Arc<ServedRecord>> {
        let known = self.known.get(name)?;
        let served = known.valid()?;
        if !known.is_fresh(rt::monotonic())
            && let Some(renewing) = self.lookup(name)
        {
            rt::spawn(renewing.map(drop));
        }
        Some(served)
    }

    /// The best record the network has; `None` when it has none, or there is no network.
    pub(crate) async fn record(self: &Arc<Self>, name: &Name) -> Option<Arc<ServedRecord>> {
        if let Some(served) = self.cached(name) {
            return Some(served);
        }
        if let Some(known) = self.known.get(name)
            && known.is_fresh(rt::monotonic())
        {
            return known.valid();
        }
        let lookup = self.lookup(name)?;
        let known = rt::timeout(DEADLINE, lookup).await.ok()??;
        known.valid()
    }

    /// The lookup of a name that is under way, or a new one.
    fn lookup(self: &Arc<Self>, name: &Name) -> Option<Lookup> {
        let router = Arc::clone(self.router.as_ref()?);
        let mut lookups = self.lookups.lock();
        if let Some(lookup) = lookups.get(name) {
            return Some(lookup.clone());
        }
        if lookups.len() >= LOOKUPS {
            return None;
        }
        let (this, name) = (Arc::clone(self), *name);
        let lookup = async move {
            let answer = router.resolve(&name).await;
            let known = this.take(&name, answer);
            this.lookups.lock().remove(&name);
            known
        };
        let lookup = lookup.boxed().shared();
        lookups.insert(name, lookup.clone());
        // It goes on when nobody waits any more: the next one who asks has use of it.
        rt::spawn(lookup.clone().map(drop));
        Some(lookup)
    }

    fn take(&self, name: &Name, answer: Result<Record, RouteError>) -> Option<Known> {
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
            Err(RouteError::NotFound { .. }) => before,
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
