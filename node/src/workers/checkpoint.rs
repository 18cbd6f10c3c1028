//! The checkpoint: writes the rows of the index down when enough was logged since the last time, so that a damaged index can be
//! made anew without all of the log.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::backoff::Backoff;

use super::{Ending, Worker, later};
use crate::metrics::{Metrics, Upkeep};
use crate::shutdown::Stop;
use crate::storage::Storage;

/// How often it is asked whether one is due.
const LOOK: Duration = Duration::from_secs(5);

/// Delays after one could not be written.
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(10),
    max: Duration::from_secs(600),
    attempts: u32::MAX,
};

pub(super) struct Checkpoint {
    pub(super) storage: Storage,
    pub(super) metrics: Arc<Metrics>,
}

impl Checkpoint {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        let mut failures = 0_u32;
        loop {
            let mut wait = LOOK;
            if self.storage.is_checkpoint_due() {
                worker.working("writing the rows of the index down");
                let step = self.storage.checkpoint().await;
                self.metrics.damage.kept_up(Upkeep::Checkpoint, &step);
                match step {
                    Ok(step) => {
                        failures = 0;
                        if step.damaged > 0 {
                            let damaged = step.damaged;
                            tracing::warn!(damaged, "damaged checkpoints were removed");
                        }
                        worker.stepped();
                        worker.working(format!(
                            "up to group {}, {} bytes",
                            step.group, step.file_bytes
                        ));
                    }
                    Err(error) => {
                        worker.failed(&error);
                        failures = failures.saturating_add(1);
                        wait = RETRY.delay(failures, rt::jitter()).unwrap_or(RETRY.max);
                    }
                }
            }
            worker.waiting(Some(later(wait)));
            if stop.is_now() || stop.sleep(wait).await {
                return;
            }
        }
    }
}
