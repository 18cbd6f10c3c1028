//! Keeps a map of the whole DHT, so that puts need no lookups (`p2p.accelerated`).

use std::sync::Arc;
use std::time::Duration;

use perennis_net::dht::Sweep;
use perennis_rt as rt;

use super::republish::spread;
use super::{Ending, Worker, later};
use crate::metrics::Metrics;
use crate::shutdown::Stop;

/// Time between two looks through the network. What is known counts for twice that.
const PERIOD: Duration = Duration::from_secs(3_600);

/// The delay after a failure, such as that nobody is connected yet.
const RETRY: Duration = Duration::from_secs(10);

pub(super) struct MapWorker {
    pub(super) sweep: Sweep,
    pub(super) metrics: Arc<Metrics>,
}

impl MapWorker {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        loop {
            worker.working("looking through the DHT");
            let Some(mapped) = stop.or(self.sweep.map()).await else {
                return;
            };
            let wait = match mapped {
                Ok(maps) => {
                    let peers: usize = maps.iter().map(|map| map.peers).sum();
                    let lookups: usize = maps.iter().map(|map| map.lookups).sum();
                    tracing::info!(peers, lookups, "the DHT was looked through");
                    self.metrics.mapped(peers);
                    worker.stepped();
                    spread(PERIOD, rt::jitter())
                }
                Err(error) => {
                    worker.failed(&error);
                    RETRY
                }
            };
            worker.waiting(Some(later(wait)));
            if stop.sleep(wait).await {
                return;
            }
        }
    }
}
