//! Reclaims space: drops blocks that no head reaches any more, then writes mostly dead segments anew.
//!
//! Old entries and tree nodes fall out of reach when a log is compacted. A round runs every few hours, and at once
//! when the disk is full: the store has kept space back for that. A full disk is tried again every few seconds, so that
//! the node is back in service soon after somebody has made room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perennis_sdk::rt;
use perennis_shared::time::Millis;

use super::{Ending, Stop, Worker, later};
use crate::storage::{ReclaimError, Storage};

/// Time between two rounds.
const PERIOD: Duration = Duration::from_secs(6 * 60 * 60);

/// How often a full disk is looked for, and tried again.
const LOOK: Duration = Duration::from_secs(2);

/// Time between two rounds while the disk stays full.
const FULL_PERIOD: Duration = Duration::from_secs(10 * 60);

pub(super) struct Reclaim {
    pub(super) storage: Storage,
}

impl Reclaim {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        // A disk that runs full between two rounds is dealt with at once.
        let mut next_when_full = rt::now();
        loop {
            // The first round waits as well: a node that just started has more urgent things to do.
            if self.wait(&worker, &mut stop, &mut next_when_full).await || stop.is_now() {
                return;
            }
            if let Err(error) = self.round(&worker, &mut stop).await {
                worker.failed(&error);
            }
            next_when_full = later(FULL_PERIOD);
        }
    }

    /// Waits for the next round; true when the node is stopping.
    async fn wait(&self, worker: &Worker, stop: &mut Stop, next_when_full: &mut Millis) -> bool {
        let next = later(PERIOD);
        worker.waiting(Some(next));
        loop {
            if stop.sleep(LOOK).await {
                return true;
            }
            let now = rt::now();
            let is_full = match self.storage.is_still_full().await {
                Ok(is_full) => is_full,
                Err(error) => {
                    worker.failed(&error);
                    false
                }
            };
            if !is_full {
                *next_when_full = now;
            }
            if now >= next || (is_full && now >= *next_when_full) {
                return false;
            }
        }
    }

    async fn round(&self, worker: &Worker, stop: &mut Stop) -> Result<(), ReclaimError> {
        let mut next = Some(self.storage.collect().await?);
        let mut dropped = 0;
        while let Some(collection) = next {
            let started = Instant::now();
            (next, dropped) = self.storage.collect_step(collection).await?;
            worker.stepped();
            worker.working(format!("{dropped} blocks dropped"));
            if stop.sleep(started.elapsed()).await {
                return Ok(());
            }
        }
        let mut freed = 0;
        loop {
            let started = Instant::now();
            let step = self.storage.compact_step().await?;
            freed += step.freed_bytes;
            worker.stepped();
            worker.working(format!("{dropped} blocks dropped, {freed} bytes freed"));
            if step.done || stop.sleep(started.elapsed()).await {
                return Ok(());
            }
        }
    }
}
