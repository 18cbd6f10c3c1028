//! What a running node consists of: the parts that requests are answered with, below the server and above everything else.
//!
//! It is put together in [`app`](crate::app) and read by [`http`](crate::http). Must never touch: work of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use perennis_shared::time::Millis;

use crate::clock::Clock;
use crate::config::Config;
use crate::damage::Damage;
use crate::demand::SharedDemand;
use crate::ingest::Ingest;
use crate::keystore::Keystore;
use crate::metrics::Metrics;
use crate::probe::Probe;
use crate::read::Read;
use crate::resolve::Resolve;
use crate::routes::Routes;
use crate::storage::{Storage, StoreSizes};
use crate::swarm::Swarm;
use crate::token::Tokens;
use crate::workers::Workers;
use crate::workers::reprovide::Reprovide;
use crate::workers::republish::Republish;

/// Everything a running node consists of.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) read: Arc<Read>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) keystore: Arc<Keystore>,
    pub(crate) metrics: Arc<Metrics>,
    /// What is damaged.
    pub(crate) damage: Damage,
    pub(crate) republish: Arc<Republish>,
    pub(crate) reprovide: Arc<Reprovide>,
    /// How often each name is asked for.
    pub(crate) demand: SharedDemand,
    /// Where records are put and found, and what is below them.
    pub(crate) routes: Arc<Routes>,
    /// How fast records are published and found through each route.
    pub(crate) probe: Arc<Probe>,
    pub(crate) workers: Workers,
    pub(crate) clock: Arc<Clock>,
    pub(crate) swarm: Swarm,
    pub(crate) resolve: Arc<Resolve>,
    pub(crate) tokens: Tokens,
    pub(crate) started_at: Millis,
    pub(crate) storage: Storage,
    pub(crate) stopping: AtomicBool,
}

impl Node {
    /// Why the node takes no writes now; empty when it does.
    pub(crate) fn not_ready(&self) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if self.stopping.load(Ordering::Relaxed) {
            reasons.push("stopping");
        }
        reasons.extend(self.storage.trouble());
        reasons
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(crate) fn storage_sizes(&self) -> StoreSizes {
        self.storage.sizes()
    }

    pub(crate) fn name_count(&self) -> u64 {
        self.storage.name_count()
    }
}
