//! The scrub: reads every block again, slowly, to find damage before a reader does.
//!
//! The reading is the store's, which remembers its place, sets damaged blocks aside and has them fetched again; this paces
//! it. A block that cannot be read ends neither a step nor a round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perennis_rt as rt;
use perennis_shared::error::chain;

use super::{Ending, Worker, later};
use crate::config::ScrubConfig;
use crate::log_tally::{LogTally, Untold};
use crate::metrics::{Metrics, Upkeep};
use crate::read::Read;
use crate::shutdown::Stop;
use crate::storage::{ReclaimError, Storage};

/// Most bytes that are read in one step.
const STEP_BYTES: u64 = 4 << 20;

/// Pause when the store fails, before the round goes on.
const PAUSE: Duration = Duration::from_secs(60);

/// Longest sleep: a clock that is set back must not put the next round off for years.
const IDLE: Duration = Duration::from_secs(3_600);

pub(super) struct Scrub {
    pub(super) storage: Storage,
    pub(super) read: Arc<Read>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) config: ScrubConfig,
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

impl Scrub {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        loop {
            let wait = match self.due().await {
                wait if wait.is_zero() => {
                    let round = self.round(&worker, &mut stop).await;
                    match &round {
                        Ok(false) => return,
                        _ => self.metrics.damage.kept_up(Upkeep::Scrub, &round),
                    }
                    match round {
                        Ok(_) => self.config.period,
                        Err(error) => {
                            worker.failed(&error);
                            PAUSE
                        }
                    }
                }
                wait => wait,
            };
            worker.waiting(Some(later(wait)));
            if stop.is_now() || stop.sleep(wait.min(IDLE)).await {
                return;
            }
        }
    }

    /// How long to wait for the next round. One that was broken off is due, since it has not ended.
    async fn due(&self) -> Duration {
        let last = self.storage.scrubbed_at().await.unwrap_or_else(|error| {
            tracing::error!(error = %chain(&error), "when the last scrub ended cannot be read");
            None
        });
        let now = rt::now();
        let period = self.config.period.as_millis() as u64;
        let due = last.map_or(0, |at| at.0.min(now.0).saturating_add(period));
        Duration::from_millis(due.saturating_sub(now.0))
    }

    /// Reads to the end of the round; false when the node is stopping first.
    async fn round(&self, worker: &Worker, stop: &mut Stop) -> Result<bool, ReclaimError> {
        let lines = Lines::default();
        let ended = self.steps(worker, stop, &lines).await;
        lines.tell(LogTally::rest);
        ended
    }

    async fn steps(
        &self,
        worker: &Worker,
        stop: &mut Stop,
        lines: &Lines,
    ) -> Result<bool, ReclaimError> {
        let bytes = STEP_BYTES.min(self.config.bytes_per_second);
        loop {
            let started = Instant::now();
            let step = self.storage.scrub_step(bytes).await?;
            self.metrics.scrubbed(
                step.checked_blocks,
                step.damaged.len() as u64,
                step.unreadable.len() as u64,
            );
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
            worker.stepped();
            worker.working(format!("{} blocks read in this round", step.round_blocks));
            if step.round_done {
                self.storage.save_scrub_end(rt::now()).await?;
                return Ok(true);
            }
            let share = step.checked_bytes as f64 / self.config.bytes_per_second as f64;
            let pause = Duration::from_secs_f64(share).saturating_sub(started.elapsed());
            if stop.sleep(pause).await {
                return Ok(false);
            }
        }
    }
}
