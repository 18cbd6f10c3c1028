//! Keeps a map of the whole DHT, so that puts need no lookups (`p2p.accelerated`).

use std::sync::Arc;
use std::time::Duration;

use perennis_net::dht::{DhtError, Sweep};
use perennis_rt as rt;

use super::{Context, Parts, Step, Worker, spread};
use crate::metrics::Metrics;

/// Time between two looks through the network. What is known counts for twice that.
const PERIOD: Duration = Duration::from_secs(3_600);

/// The delay after a failure, such as that nobody is connected yet.
const RETRY: Duration = Duration::from_secs(10);

pub(crate) struct DhtMapWorker {
    sweep: Sweep,
    metrics: Arc<Metrics>,
}

impl DhtMapWorker {
    /// None where no map is kept.
    pub(crate) fn if_on(parts: &Parts<'_>) -> Option<DhtMapWorker> {
        let p2p = &parts.config.p2p;
        (p2p.accelerated && p2p.has_dht()).then(|| DhtMapWorker {
            sweep: parts.routes.sweep().clone(),
            metrics: Arc::clone(parts.metrics),
        })
    }
}

impl Worker for DhtMapWorker {
    type Error = DhtError;

    fn name(&self) -> String {
        "dht map".to_owned()
    }

    fn throttle(&self) -> String {
        "16 lookups at once".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, DhtError> {
        context.working("looking through the DHT");
        let Some(mapped) = context.or_stop(self.sweep.map()).await else {
            return Ok(Step::Done);
        };
        let maps = mapped?;
        let peers: usize = maps.iter().map(|map| map.peers).sum();
        let lookups: usize = maps.iter().map(|map| map.lookups).sum();
        tracing::info!(peers, lookups, "the DHT was looked through");
        self.metrics.dht_map_peers.set(peers);
        context.stepped();
        Ok(Step::idle(spread(PERIOD, rt::jitter())))
    }

    fn retry(&self, _failures: u32) -> Duration {
        RETRY
    }
}
