//! The scrub: reads every block again, slowly, to find damage before a reader does.
//!
//! The store checks each block it reads and sets a damaged one aside. The pin scan is rung then: it finds whose block
//! it was, and the pin fetch brings it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perennis_sdk::rt;
use perennis_shared::cid::Cid;
use tokio::sync::Notify;

use super::{Ending, Stop, Worker, later};
use crate::config::ScrubConfig;
use crate::metrics::Metrics;
use crate::read::Read;
use crate::storage::{Storage, StorageError};

/// Blocks between two savings of the place.
const PAGE: usize = 128;

/// Pause when the store fails, before the round goes on.
const PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Scrub {
    pub(super) storage: Storage,
    pub(super) read: Arc<Read>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) damaged: Arc<Notify>,
    pub(super) config: ScrubConfig,
}

impl Scrub {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        loop {
            let wait = match self.due().await {
                Ok(wait) if wait.is_zero() => match self.round(&worker, &mut stop).await {
                    Ok(()) => self.config.period,
                    Err(error) => {
                        worker.failed(&error);
                        PAUSE
                    }
                },
                Ok(wait) => wait,
                Err(error) => {
                    worker.failed(&error);
                    PAUSE
                }
            };
            worker.waiting(Some(later(wait)));
            if stop.is_now() || stop.sleep(wait).await {
                return;
            }
        }
    }

    /// How long to wait for the next round; a round that was begun goes on at once.
    async fn due(&self) -> Result<Duration, StorageError> {
        if self.storage.scrub_place().await?.is_some() {
            return Ok(Duration::ZERO);
        }
        let last = self.storage.scrubbed_at().await?;
        let period = self.config.period.as_millis() as u64;
        let due = last.map_or(0, |at| at.0.saturating_add(period));
        Ok(Duration::from_millis(due.saturating_sub(rt::now().0)))
    }

    async fn round(&self, worker: &Worker, stop: &mut Stop) -> Result<(), StorageError> {
        let mut place = self.storage.scrub_place().await?;
        let mut read = 0_u64;
        loop {
            let started = Instant::now();
            let page = self.storage.scrub_page(place, PAGE).await?;
            let Some(last) = page.last else { break };
            self.metrics
                .scrubbed(page.blocks, page.damaged.len() as u64);
            for cid in &page.damaged {
                tracing::error!(%cid, "a damaged block was found and set aside");
                self.read.dropped(cid);
            }
            if !page.damaged.is_empty() {
                self.damaged.notify_one();
            }
            read += page.blocks;
            worker.stepped();
            worker.working(format!("{read} blocks read"));
            place = Some(last);
            self.storage.save_scrub_place(place).await?;
            let share = page.bytes as f64 / self.config.bytes_per_second as f64;
            let pause = Duration::from_secs_f64(share).saturating_sub(started.elapsed());
            if stop.sleep(pause).await {
                return Ok(());
            }
        }
        self.storage.save_scrub_end(rt::now()).await?;
        Ok(())
    }
}

/// What one step of a scrub has read.
pub(crate) struct ScrubPage {
    pub(crate) last: Option<Cid>,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) damaged: Vec<Cid>,
}
