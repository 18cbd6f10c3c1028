//! What a node does by itself: walk and pin, fetch, republish, measure, scrub, reclaim space, look after its folder.
//!
//! Owns what a worker is ([`Worker`]), the one loop that runs them all, the work that waits in a queue ([`Job`]), and what the operator sees of each: name, state,
//! progress, last error, throttle. A worker does one small step at a time, saves where it is, and stops between two steps.
//! No worker may delay a request, and no name or router another. Which workers a node has stands in [`app`](crate::app).

use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::shutdown::Stop;

pub(crate) mod checkpoint;
pub(crate) mod clock;
pub(crate) mod dht_map;
pub(crate) mod fetch;
pub(crate) mod folder;
pub(crate) mod follow;
pub(crate) mod gossip;
mod job;
pub(crate) mod ladder;
pub(crate) mod lapsed;
pub(crate) mod lost_heads;
mod parts;
pub(crate) mod probe;
pub(crate) mod pubsub;
pub(crate) mod reclaim;
pub(crate) mod refetch;
pub(crate) mod rendezvous;
pub(crate) mod reprovide;
pub(crate) mod republish;
pub(crate) mod scan;
pub(crate) mod scrub;
mod status;
#[cfg(test)]
mod testing;
mod timing;
mod worker;

pub(crate) use job::{Job, JobWorker};
pub(crate) use parts::Parts;
pub(crate) use status::WorkerStatus;
pub(crate) use worker::{Context, Step, Worker};

use status::Status;
use timing::{later, spread};

/// The workers of a node that were started.
#[derive(Default)]
pub(crate) struct Workers {
    statuses: Mutex<Vec<Status>>,
}

impl Workers {
    /// How each worker is, in the order they were started.
    pub(crate) fn status(&self) -> Vec<WorkerStatus> {
        self.statuses.lock().iter().map(Status::now).collect()
    }

    /// Starts a worker, which runs until it is done or the node stops.
    pub(crate) fn start(&self, worker: impl Worker, tasks: &mut JoinSet<()>, stop: Stop) {
        let status = Status::new(worker.name(), worker.throttle());
        self.statuses.lock().push(status.clone());
        tasks.spawn(worker::run(worker, status, stop));
    }
}
