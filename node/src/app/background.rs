//! The workers of a node, each made of its parts and started, in the order that the operator sees them in.
//!
//! This list is the one place that says which workers a node has. What they do is theirs.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::read::Read;
use crate::routes::Routes;
use crate::shutdown::Stop;
use crate::storage::Storage;
use crate::workers::checkpoint::CheckpointWorker;
use crate::workers::fetch::FetchJob;
use crate::workers::follow::FollowJob;
use crate::workers::ladder::LadderJob;
use crate::workers::lost_heads::LostHeadsJob;
use crate::workers::map::MapWorker;
use crate::workers::reclaim::ReclaimWorker;
use crate::workers::refetch::RefetchJob;
use crate::workers::reprovide::{Reprovide, ReprovideWorker};
use crate::workers::republish::Republish;
use crate::workers::republish::hot::HotWorker;
use crate::workers::scan::ScanWorker;
use crate::workers::scrub::ScrubWorker;
use crate::workers::{JobWorker, Worker, Workers};

/// What workers are made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) storage: &'a Storage,
    pub(super) read: &'a Arc<Read>,
    pub(super) ingest: &'a Arc<Ingest>,
    pub(super) republish: &'a Arc<Republish>,
    pub(super) reprovide: &'a Arc<Reprovide>,
    pub(super) routes: &'a Arc<Routes>,
    pub(super) metrics: &'a Arc<Metrics>,
}

/// Where workers are started.
pub(super) struct Background {
    pub(super) workers: Workers,
    pub(super) tasks: JoinSet<()>,
    stopped: watch::Receiver<bool>,
}

impl Background {
    pub(super) fn new(stopped: watch::Receiver<bool>) -> Background {
        Background {
            workers: Workers::default(),
            tasks: JoinSet::new(),
            stopped,
        }
    }

    pub(super) fn stop(&self) -> Stop {
        Stop(self.stopped.clone())
    }

    pub(super) fn start(&mut self, worker: impl Worker) {
        let stop = self.stop();
        self.workers.start(worker, &mut self.tasks, stop);
    }

    /// Starts the workers that every node has, and those that its configuration asks for.
    pub(super) fn start_all(&mut self, parts: &Parts<'_>) {
        let config = parts.config;
        let storage = || parts.storage.clone();
        let read = || Arc::clone(parts.read);
        let ingest = || Arc::clone(parts.ingest);
        let metrics = || Arc::clone(parts.metrics);
        let routes = || Arc::clone(parts.routes);
        let scan_wanted = Arc::new(Notify::new());

        self.start(ScanWorker::new(
            storage(),
            read(),
            ingest(),
            metrics(),
            config.pins.scan_period,
            Arc::clone(&scan_wanted),
        ));

        self.start(JobWorker::new(FetchJob::new(
            config,
            parts.storage,
            parts.read,
            parts.ingest,
            parts.routes,
            parts.metrics,
        )));
        self.start(JobWorker::new(RefetchJob::new(
            parts.storage,
            parts.read,
            parts.ingest,
            parts.routes,
            parts.metrics,
            &scan_wanted,
        )));
        self.start(JobWorker::new(LostHeadsJob {
            storage: storage(),
            ingest: ingest(),
            routes: routes(),
            metrics: metrics(),
        }));
        self.start(JobWorker::new(LadderJob {
            storage: storage(),
            ingest: ingest(),
            metrics: metrics(),
        }));
        self.start(JobWorker::new(FollowJob {
            storage: storage(),
            ingest: ingest(),
            routes: routes(),
            metrics: metrics(),
            period: config.follow.period,
        }));
        let republish = parts.republish.workers();
        let has_routers = !republish.is_empty();
        for worker in republish {
            self.start(worker);
        }
        if config.ipns.hot.names > 0 && has_routers {
            self.start(HotWorker::new(Arc::clone(parts.republish)));
        }
        if parts.reprovide.is_on() {
            self.start(ReprovideWorker::new(Arc::clone(parts.reprovide)));
        }
        if config.p2p.accelerated && config.p2p.has_dht() {
            self.start(MapWorker {
                sweep: parts.routes.sweep().clone(),
                metrics: metrics(),
            });
        }
        self.start(ScrubWorker::new(
            storage(),
            read(),
            metrics(),
            config.scrub.clone(),
        ));
        self.start(CheckpointWorker {
            storage: storage(),
            metrics: metrics(),
        });
        self.start(ReclaimWorker::new(storage(), ingest(), metrics()));
    }
}
