//! The workers of a node, in the order that the operator sees them in.
//!
//! This list is the one place that says which workers a node has. What they are made of, whether they are wanted and what
//! they do is theirs.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::shutdown::Stop;
use crate::workers::checkpoint::CheckpointWorker;
use crate::workers::clock::ClockWorker;
use crate::workers::dht_map::DhtMapWorker;
use crate::workers::fetch::FetchJob;
use crate::workers::folder::FolderWorker;
use crate::workers::follow::FollowJob;
use crate::workers::ladder::LadderJob;
use crate::workers::lapsed::LapsedWorker;
use crate::workers::lost_heads::LostHeadsJob;
use crate::workers::probe::ProbeWorker;
use crate::workers::pubsub::PubsubWorker;
use crate::workers::reclaim::ReclaimWorker;
use crate::workers::refetch::RefetchJob;
use crate::workers::rendezvous::RendezvousWorker;
use crate::workers::reprovide::worker::ReprovideWorker;
use crate::workers::republish::hot::HotWorker;
use crate::workers::republish::worker::RepublishWorker;
use crate::workers::scan::ScanWorker;
use crate::workers::scrub::ScrubWorker;
use crate::workers::{Job, JobWorker, Parts, Worker, Workers};

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

    /// Starts the workers that every node has, and those that its configuration asks for.
    pub(super) fn start_all(&mut self, parts: &Parts<'_>) {
        self.worker(ScanWorker::new(parts));
        self.job(FetchJob::new(parts));
        self.job(RefetchJob::new(parts));
        self.job(LostHeadsJob::new(parts));
        self.job(LadderJob::new(parts));
        self.job(FollowJob::new(parts));
        self.workers(LapsedWorker::if_on(parts));
        self.workers(RepublishWorker::of_routers(parts));
        self.workers(HotWorker::if_on(parts));
        self.workers(ReprovideWorker::if_on(parts));
        self.workers(DhtMapWorker::if_on(parts));
        self.worker(ScrubWorker::new(parts));
        self.worker(CheckpointWorker::new(parts));
        self.worker(ClockWorker::new(parts));
        self.worker(ReclaimWorker::new(parts));
        self.workers(PubsubWorker::if_on(parts));
        self.workers(RendezvousWorker::if_on(parts));
        self.worker(ProbeWorker::new(parts));
        self.worker(FolderWorker::new(parts));
        if let Some(gossip) = parts.gossip {
            let heard = Arc::clone(gossip).take_in(self.stop());
            self.tasks.spawn(heard);
        }
    }

    fn job(&mut self, job: impl Job) {
        self.worker(JobWorker::new(job));
    }

    fn workers(&mut self, workers: impl IntoIterator<Item = impl Worker>) {
        for worker in workers {
            self.worker(worker);
        }
    }

    fn worker(&mut self, worker: impl Worker) {
        let stop = self.stop();
        self.workers.start(worker, &mut self.tasks, stop);
    }

    fn stop(&self) -> Stop {
        Stop(self.stopped.clone())
    }
}
