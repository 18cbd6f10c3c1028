//! Servers that somebody else's document names: so few of one document, one question at a time, and few that come to nothing.
//!
//! Anybody may publish a document that names servers which have nothing to do with it. So that no document makes the node bother
//! them, each host has an allowance: a question uses some of it up, a right block gives that back, and time does. A host that has
//! what it is asked for is asked on and on, one that has not is soon left alone, whatever documents and names lead to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use perennis_rt::BoxFuture;
use perennis_rt::http::Http;
use perennis_sdk::NodeUrl;
use perennis_sdk::exchange::{Exchange, FetchLimits, Source, SourceError};
use perennis_shared::backoff::Backoff;
use perennis_shared::cid::{Block, Cid};
use quick_cache::sync::Cache;

/// Servers of one document that are asked: the first of those it names. Who publishes has a few nodes of their own.
const OF_DOCUMENT: usize = 8;

/// Questions to a host that may come to nothing before it is left alone.
const ALLOWANCE: f64 = 8.0;

/// After how long one more is allowed.
const RENEWED: Duration = Duration::from_secs(10);

/// Hosts that are remembered.
const HOSTS: usize = 4_096;

/// Each question is asked once: what fails may be tried when the fetch is.
const ONCE: Backoff = Backoff {
    base: Duration::from_millis(500),
    max: Duration::from_millis(500),
    attempts: 1,
};

/// The hosts that were asked lately.
pub(super) struct ForeignHosts {
    http: Http,
    hosts: Cache<String, Arc<ForeignHost>>,
}

/// One host, whatever its ports and paths.
struct ForeignHost {
    /// Held while it is asked something.
    asking: tokio::sync::Mutex<()>,
    allowance: Mutex<Allowance>,
}

/// Questions that may be asked.
#[derive(Clone, Copy)]
struct Allowance {
    left: f64,
    at: Instant,
}

/// One server of a document.
struct ForeignSource {
    exchange: Exchange,
    url: NodeUrl,
    host: Arc<ForeignHost>,
}

impl ForeignHosts {
    pub(super) fn new(http: Http) -> ForeignHosts {
        ForeignHosts {
            http,
            hosts: Cache::new(HOSTS),
        }
    }

    /// Those of the servers that are asked.
    pub(super) fn sources(&self, listed: Vec<NodeUrl>) -> Vec<Arc<dyn Source>> {
        let sources = listed.into_iter().take(OF_DOCUMENT).map(|url| {
            let source = ForeignSource {
                exchange: Exchange::new(
                    self.http.clone(),
                    vec![url.clone()],
                    ONCE,
                    FetchLimits::default(),
                ),
                host: self.host(&url),
                url,
            };
            Arc::new(source) as Arc<dyn Source>
        });
        sources.collect()
    }

    fn host(&self, url: &NodeUrl) -> Arc<ForeignHost> {
        let host = url.host().to_ascii_lowercase();
        if let Some(known) = self.hosts.get(&host) {
            return known;
        }
        let new = Arc::new(ForeignHost {
            asking: tokio::sync::Mutex::default(),
            allowance: Mutex::new(Allowance::new(Instant::now())),
        });
        self.hosts.insert(host, Arc::clone(&new));
        new
    }
}

impl Source for ForeignSource {
    fn name(&self) -> String {
        self.url.to_string()
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Block, SourceError>> {
        Box::pin(async move {
            let _turn = self.host.asking.lock().await;
            if !self.host.allowance.lock().use_one(Instant::now()) {
                return Err(SourceError::LeftAlone);
            }
            let block = self.exchange.block(cid).await;
            let block = block.map_err(|error| SourceError::from(Box::new(error)))?;
            self.host.allowance.lock().give_back();
            Ok(block)
        })
    }
}

impl Allowance {
    fn new(now: Instant) -> Allowance {
        Allowance {
            left: ALLOWANCE,
            at: now,
        }
    }

    /// Uses one question up; false where none is left.
    fn use_one(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at);
        let renewed = passed.as_secs_f64() / RENEWED.as_secs_f64();
        self.left = (self.left + renewed).min(ALLOWANCE);
        self.at = now;
        let may_ask = self.left >= 1.0;
        if may_ask {
            self.left -= 1.0;
        }
        may_ask
    }

    /// The last question came to something.
    fn give_back(&mut self) {
        self.left = (self.left + 1.0).min(ALLOWANCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_gives_nothing_is_left_alone_and_one_that_gives_is_asked_on() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        let asked = (0..100).filter(|_| allowance.use_one(now)).count();
        assert_eq!(asked, 8);
        assert!(!allowance.use_one(now + RENEWED / 2));
        assert!(allowance.use_one(now + RENEWED));
        assert!(!allowance.use_one(now + RENEWED));
        // After an hour it is as in the beginning, and not more.
        let later = now + 400 * RENEWED;
        let asked = (0..100).filter(|_| allowance.use_one(later)).count();
        assert_eq!(asked, 8);
        let mut allowance = Allowance::new(now);
        for _ in 0..1_000 {
            assert!(allowance.use_one(now));
            allowance.give_back();
        }
    }
}
