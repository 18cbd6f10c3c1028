//! The scrub: reads every block again, slowly, to find damage before a reader does.
//!
//! The reading is the store's, which remembers its place, sets damaged blocks aside and has them fetched again; this paces
//! it. A block that cannot be read ends neither a step nor a round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perennis_rt as rt;
use perennis_shared::error::chain;

use super::timing::is_ahead;
use super::{Context, Parts, Step, Worker, later};
use crate::config::ScrubConfig;
use crate::log_tally::{LogTally, Untold};
use crate::metrics::{Metrics, Upkeep};
use crate::read::Read;
use crate::storage::{ReclaimError, Storage};

/// Most bytes that are read in one step.
const STEP_BYTES: u64 = 4 << 20;

/// Pause when the store fails, before the round goes on.
const PAUSE: Duration = Duration::from_secs(60);

/// Longest sleep: a clock that is set back must not put the next round off for years.
const IDLE: Duration = Duration::from_secs(3_600);

pub(crate) struct ScrubWorker {
    storage: Storage,
    read: Arc<Read>,
    metrics: Arc<Metrics>,
    config: ScrubConfig,
    /// The lines of the round that is under way.
    round: Option<Lines>,
}

/// What the log tells of blocks in one round: of a file that is damaged it would be thousands of lines.
#[derive(Default)]
struct Lines {
    damaged: LogTally,
    unreadable: LogTally,
}

impl Lines {
    /// Tells what was counted of each, as far as it is to be told.
    fn tell(&self, untold: impl Fn(&LogTally) -> Option<Untold>) {
        if let Some(untold) = untold(&self.damaged) {
            tracing::error!("{untold} were found damaged and set aside");
        }
        if let Some(untold) = untold(&self.unreadable) {
            tracing::error!("the disk does not give out {untold}");
        }
    }
}

/// A round has ended, or the node is stopping: nobody tells the rest later.
impl Drop for Lines {
    fn drop(&mut self) {
        self.tell(LogTally::rest);
    }
}

impl Worker for ScrubWorker {
    type Error = ReclaimError;

    fn name(&self) -> String {
        "scrub".to_owned()
    }

    fn throttle(&self) -> String {
        format!("{} bytes a second", self.config.bytes_per_second)
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, ReclaimError> {
        let lines = match self.round.take() {
            Some(lines) => lines,
            None => {
                let wait = self.due().await;
                if !wait.is_zero() {
                    return Ok(idle(wait));
                }
                Lines::default()
            }
        };
        let read = self.read_some(context, &lines).await;
        if let Ok(Some(pause)) = read {
            self.round = Some(lines);
            return Ok(Step::Pause(pause));
        }
        drop(lines);
        self.metrics.damage.upkeep_ended(Upkeep::Scrub, &read);
        read.map(|_| idle(self.config.period))
    }

    fn retry(&self, _failures: u32) -> Duration {
        PAUSE
    }
}

impl ScrubWorker {
    pub(crate) fn new(parts: &Parts<'_>) -> ScrubWorker {
        ScrubWorker {
            storage: parts.storage.clone(),
            read: Arc::clone(parts.read),
            metrics: Arc::clone(parts.metrics),
            config: parts.config.scrub.clone(),
            round: None,
        }
    }

    /// How long to wait for the next round. One that was broken off is due, since it has not ended.
    async fn due(&self) -> Duration {
        let last = self.storage.scrubbed_at().await.unwrap_or_else(|error| {
            tracing::error!(error = %chain(&error), "when the last scrub ended cannot be read");
            None
        });
        let now = rt::now();
        let last = last.filter(|at| !is_ahead(*at, now));
        last.map_or(Duration::ZERO, |at| at + self.config.period - now)
    }

    /// Reads the next blocks; tells how long to pause, or `None` at the end of the round.
    async fn read_some(
        &self,
        context: &Context,
        lines: &Lines,
    ) -> Result<Option<Duration>, ReclaimError> {
        let started = Instant::now();
        let bytes = STEP_BYTES.min(self.config.bytes_per_second);
        let step = self.storage.scrub_step(bytes).await?;
        let metrics = &self.metrics;
        metrics.scrubbed_blocks.add(step.checked_blocks);
        metrics.scrub_damaged_blocks.add(step.damaged.len() as u64);
        metrics
            .scrub_unreadable_blocks
            .add(step.unreadable.len() as u64);
        for cid in &step.damaged {
            if lines.damaged.is_told(rt::monotonic(), None) {
                tracing::error!(%cid, "a damaged block was found and set aside");
            }
            self.read.dropped(cid);
        }
        for cid in &step.unreadable {
            if lines.unreadable.is_told(rt::monotonic(), None) {
                tracing::error!(%cid, "the disk does not give out a block");
            }
        }
        for loss in &step.files {
            tracing::error!(%loss, "a file of the store is not what was written");
        }
        lines.tell(|line| line.untold(rt::monotonic()));
        context.stepped();
        context.working(format!("{} blocks read in this round", step.round_blocks));
        if step.round_done {
            self.storage.save_scrub_end(rt::now()).await?;
            return Ok(None);
        }
        let share = step.checked_bytes as f64 / self.config.bytes_per_second as f64;
        let pause = Duration::from_secs_f64(share).saturating_sub(started.elapsed());
        Ok(Some(pause))
    }
}

/// Waits for the next round.
fn idle(wait: Duration) -> Step {
    Step::Idle {
        wait: wait.min(IDLE),
        next: Some(later(wait)),
    }
}
