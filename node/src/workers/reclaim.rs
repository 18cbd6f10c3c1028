//! Reclaims space: drops blocks that no head reaches any more, then packs what is left in mostly dead files.
//!
//! Old entries and tree nodes fall out of reach when a log is compacted. A round runs every few hours, counted across starts, and at once
//! when the disk is full: the store has kept space back for that. A full disk is tried again every few seconds, so that
//! the node is back in service soon after somebody has made room. A round that failed has lost nothing and is tried again
//! soon, then later and later; what is dead already is given back even where a collection fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perennis_rt as rt;
use perennis_shared::backoff::Backoff;
use perennis_shared::time::Millis;
use perennis_store::{CollectProgress, Collection};

use super::timing::is_ahead;
use super::{Context, Parts, Step, Worker, later};
use crate::ingest::Ingest;
use crate::metrics::{Metrics, Upkeep};
use crate::storage::{ReclaimError, Storage};

/// A node that has just started has more urgent things to do.
const AFTER_START: Duration = Duration::from_secs(5 * 60);

/// How often a full disk is looked for, and tried again.
const LOOK: Duration = Duration::from_secs(2);

/// Time between two rounds while the disk stays full.
const FULL_PERIOD: Duration = Duration::from_secs(10 * 60);

/// Delays after a round that failed.
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(30),
    max: Duration::from_secs(6 * 60 * 60),
    attempts: u32::MAX,
};

pub(crate) struct ReclaimWorker {
    storage: Storage,
    ingest: Arc<Ingest>,
    metrics: Arc<Metrics>,
    period: Duration,
    /// The next round begins no sooner, unless the disk is full.
    started: Millis,
    /// When the next round begins, whether or not the disk is full; none before it was looked up when the last one ended.
    next: Option<Millis>,
    /// When one begins if it is.
    next_when_full: Millis,
    /// Rounds in a row that failed.
    failures: u32,
    stage: Stage,
}

/// How far a round is.
enum Stage {
    /// None is under way.
    Waiting,
    /// Blocks are looked for that no pin reaches.
    Collecting(Box<Collection>),
    /// The space of dead blocks is given back.
    Compacting(Compaction),
}

/// What a round has come to so far.
struct Compaction {
    dropped_blocks: u64,
    freed_bytes: u64,
    has_collected: bool,
}

impl Worker for ReclaimWorker {
    type Error = ReclaimError;

    fn name(&self) -> String {
        "reclaim".to_owned()
    }

    fn throttle(&self) -> String {
        "at most half of the time".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, ReclaimError> {
        let started = Instant::now();
        let next = match self.next {
            Some(next) => next,
            None => {
                let next = self.first().await?;
                *self.next.insert(next)
            }
        };
        let is_waiting = match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Waiting => !self.begin(next, context).await,
            Stage::Collecting(collection) => {
                self.collect(*collection, context).await;
                false
            }
            Stage::Compacting(compaction) => {
                self.compact(compaction, context).await;
                false
            }
        };
        if is_waiting {
            return Ok(Step::Idle {
                wait: LOOK,
                next: Some(next),
            });
        }
        // As long again for everybody else.
        Ok(Step::Pause(started.elapsed()))
    }
}

impl ReclaimWorker {
    pub(crate) fn new(parts: &Parts<'_>) -> ReclaimWorker {
        ReclaimWorker {
            storage: parts.storage.clone(),
            ingest: Arc::clone(parts.ingest),
            metrics: Arc::clone(parts.metrics),
            period: parts.config.reclaim.period,
            started: rt::now(),
            next: None,
            // A disk that runs full between two rounds is dealt with at once.
            next_when_full: rt::now(),
            failures: 0,
            stage: Stage::Waiting,
        }
    }

    /// When the first round of this run begins: a period after the last one that ended, whichever run that was in.
    async fn first(&self) -> Result<Millis, ReclaimError> {
        let last = self.storage.reclaimed_at().await?;
        Ok(first_round(last, self.started, self.period))
    }

    /// Begins a round where one is due; false when none is.
    async fn begin(&mut self, next: Millis, context: &Context) -> bool {
        let now = rt::now();
        let is_full = match self.storage.is_still_full().await {
            Ok(is_full) => is_full,
            Err(error) => {
                context.failed(&error);
                false
            }
        };
        if !is_full {
            self.next_when_full = now;
        }
        if now < next && !(is_full && now >= self.next_when_full) {
            return false;
        }
        let ingest = Arc::clone(&self.ingest);
        let Some(_no_import) = ingest.without_imports() else {
            context.working("waiting for the end of an import".to_owned());
            return false;
        };
        match self.begin_collection().await {
            Ok(collection) => self.stage = Stage::Collecting(Box::new(collection)),
            Err(error) => self.collected(Err(error), context),
        }
        true
    }

    async fn begin_collection(&self) -> Result<Collection, ReclaimError> {
        // What a pin that cannot be read keeps is not known: nothing is dropped before it is mended.
        self.ingest.mend_pins().await?;
        self.storage.collect().await
    }

    /// Drops some of what no pin reaches.
    async fn collect(&mut self, collection: Collection, context: &Context) {
        let (collection, progress) = match self.storage.collect_step(collection).await {
            Ok(stepped) => stepped,
            Err(error) => return self.collected(Err(error), context),
        };
        let dropped = progress.dropped_blocks;
        context.stepped();
        context.working(format!("{dropped} blocks dropped"));
        if progress.done {
            self.tell(&collection, &progress);
            self.collected(Ok(dropped), context);
        } else {
            self.stage = Stage::Collecting(Box::new(collection));
        }
    }

    /// A collection has ended. What is dead already is given back even where it failed.
    fn collected(&mut self, collected: Result<u64, ReclaimError>, context: &Context) {
        self.told(context, Upkeep::Collection, &collected);
        self.stage = Stage::Compacting(Compaction {
            has_collected: collected.is_ok(),
            dropped_blocks: collected.unwrap_or_default(),
            freed_bytes: 0,
        });
    }

    /// Gives some of the space of dead blocks back.
    async fn compact(&mut self, mut compaction: Compaction, context: &Context) {
        let compacted = match self.storage.compact_step().await {
            Ok(step) => {
                compaction.freed_bytes += step.freed_bytes;
                let (dropped, freed) = (compaction.dropped_blocks, compaction.freed_bytes);
                context.stepped();
                context.working(format!("{dropped} blocks dropped, {freed} bytes freed"));
                if !step.done {
                    self.stage = Stage::Compacting(compaction);
                    return;
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.told(context, Upkeep::Compaction, &compacted);
        self.end(compaction.has_collected && compacted.is_ok(), context)
            .await;
    }

    /// The round has ended; says when the next one begins.
    async fn end(&mut self, is_whole: bool, context: &Context) {
        if is_whole && let Err(error) = self.storage.save_reclaim_end(rt::now()).await {
            // On a full disk, mostly. The next start begins a round a little sooner than it had to.
            context.failed(&error);
        }
        self.failures = match is_whole {
            true => 0,
            false => self.failures.saturating_add(1),
        };
        let wait = match self.failures {
            0 => self.period,
            failures => RETRY
                .delay(failures, rt::jitter())
                .map_or(self.period, |delay| delay.min(self.period)),
        };
        self.next = Some(later(wait));
        self.next_when_full = later(FULL_PERIOD);
    }

    fn told<T>(&self, context: &Context, task: Upkeep, result: &Result<T, ReclaimError>) {
        self.metrics.damage.upkeep_ended(task, result);
        if let Err(error) = result {
            context.failed(error);
        }
    }

    /// Tells what a collection that has ended was held back by.
    fn tell(&self, collection: &Collection, progress: &CollectProgress) {
        self.metrics.damage.held_back_blocks.set(progress.held_back);
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
}

/// When a run that began at `started` begins its first round, where the last one ended at `last`.
fn first_round(last: Option<Millis>, started: Millis, period: Duration) -> Millis {
    let soon = started + AFTER_START.min(period);
    match last {
        // There was none yet: what a new node holds is no garbage.
        None => started + period,
        // By a clock that was ahead.
        Some(last) if is_ahead(last, started) => soon,
        Some(last) => (last + period).max(soon),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn rounds_are_counted_across_starts() {
        let started = Millis(1_800_000_000_000);
        let first = |last| first_round(last, started, 6 * HOUR);
        assert_eq!(first(None), started + 6 * HOUR);
        let ago = |time: Duration| Some(Millis(started.0 - time.as_millis() as u64));
        assert_eq!(first(ago(2 * HOUR)), started + 4 * HOUR);
        assert_eq!(first(ago(100 * HOUR)), started + AFTER_START);
        assert_eq!(first(Some(started + 1_000 * HOUR)), started + AFTER_START);
        let minute = Duration::from_secs(60);
        assert_eq!(first_round(ago(HOUR), started, minute), started + minute);
    }
}
