//! Reclaims space: drops blocks that no head reaches any more, then packs what is left in mostly dead files.
//!
//! Old entries and tree nodes fall out of reach when a log is compacted. A round runs every few hours, and at once
//! when the disk is full: the store has kept space back for that. A full disk is tried again every few seconds, so that
//! the node is back in service soon after somebody has made room. A round that failed has lost nothing and is tried again
//! soon, then later and later; what is dead already is given back even where a collection fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perennis_rt as rt;
use perennis_shared::backoff::Backoff;
use perennis_shared::time::Millis;
use perennis_store::{CollectProgress, Collection};

use super::{Ending, Worker, later};
use crate::ingest::Ingest;
use crate::metrics::{Metrics, Upkeep};
use crate::shutdown::Stop;
use crate::storage::{ReclaimError, Storage};

/// Time between two rounds.
const PERIOD: Duration = Duration::from_secs(6 * 60 * 60);

/// How often a full disk is looked for, and tried again.
const LOOK: Duration = Duration::from_secs(2);

/// Time between two rounds while the disk stays full.
const FULL_PERIOD: Duration = Duration::from_secs(10 * 60);

/// Delays after a round that failed.
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(30),
    max: PERIOD,
    attempts: u32::MAX,
};

pub(super) struct Reclaim {
    pub(super) storage: Storage,
    pub(super) ingest: Arc<Ingest>,
    pub(super) metrics: Arc<Metrics>,
}

impl Reclaim {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        // A disk that runs full between two rounds is dealt with at once.
        let mut next_when_full = rt::now();
        let mut failures = 0_u32;
        loop {
            // The first round waits as well: a node that just started has more urgent things to do.
            let wait = match failures {
                0 => PERIOD,
                _ => RETRY.delay(failures, rt::jitter()).unwrap_or(PERIOD),
            };
            let next = later(wait);
            if self
                .wait(&worker, &mut stop, next, &mut next_when_full)
                .await
                || stop.is_now()
            {
                return;
            }
            failures = match self.round(&worker, &mut stop).await {
                Ok(()) => 0,
                Err(_) => failures.saturating_add(1),
            };
            next_when_full = later(FULL_PERIOD);
        }
    }

    /// Waits for the next round; true when the node is stopping.
    async fn wait(
        &self,
        worker: &Worker,
        stop: &mut Stop,
        next: Millis,
        next_when_full: &mut Millis,
    ) -> bool {
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
        let collected = self.collect(worker, stop).await;
        self.told(worker, Upkeep::Collection, &collected);
        let dropped = collected.as_ref().copied().unwrap_or_default();
        if stop.is_now() {
            return Ok(());
        }
        let compacted = self.compact(worker, stop, dropped).await;
        self.told(worker, Upkeep::Compaction, &compacted);
        collected.map(drop).and(compacted)
    }

    fn told<T>(&self, worker: &Worker, task: Upkeep, result: &Result<T, ReclaimError>) {
        self.metrics.damage.kept_up(task, result);
        if let Err(error) = result {
            worker.failed(error);
        }
    }

    /// Drops what no pin reaches; tells how many blocks that were.
    async fn collect(&self, worker: &Worker, stop: &mut Stop) -> Result<u64, ReclaimError> {
        // What a pin that cannot be read keeps is not known: nothing is dropped before it is mended.
        self.ingest.mend_pins().await?;
        let mut collection = self.storage.collect().await?;
        loop {
            let started = Instant::now();
            let progress;
            (collection, progress) = self.storage.collect_step(collection).await?;
            let dropped = progress.dropped_blocks;
            worker.stepped();
            worker.working(format!("{dropped} blocks dropped"));
            if progress.done {
                self.tell(&collection, &progress);
            }
            if progress.done || stop.sleep(started.elapsed()).await {
                return Ok(dropped);
            }
        }
    }

    /// Tells what a collection that has ended was held back by.
    fn tell(&self, collection: &Collection, progress: &CollectProgress) {
        self.metrics.damage.held_back(progress.held_back);
        if progress.are_rows_unread {
            tracing::warn!(
                "rows of pins or of damaged blocks cannot be read, so nothing was dropped; they are mended where they can be"
            );
        }
        if let Some(first) = collection.held_back_by().first() {
            let blocks = progress.held_back;
            tracing::warn!(
                blocks,
                %first,
                "pinned blocks are damaged: what may hang below them was kept until they are fetched again"
            );
        }
    }

    /// Gives the space of dead blocks back.
    async fn compact(
        &self,
        worker: &Worker,
        stop: &mut Stop,
        dropped: u64,
    ) -> Result<(), ReclaimError> {
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
