//! The checkpoint: writes the rows of the index down when enough was logged since the last time, so that a damaged index can be
//! made anew without all of the log.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::backoff::Backoff;

use super::{Context, Parts, Step, Worker};
use crate::metrics::{Metrics, Upkeep};
use crate::storage::{ReclaimError, Storage};

/// How often it is asked whether one is due.
const LOOK: Duration = Duration::from_secs(5);

/// Delays after one could not be written.
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(10),
    max: Duration::from_secs(600),
    attempts: u32::MAX,
};

pub(crate) struct CheckpointWorker {
    storage: Storage,
    metrics: Arc<Metrics>,
}

impl CheckpointWorker {
    pub(crate) fn new(parts: &Parts<'_>) -> CheckpointWorker {
        CheckpointWorker {
            storage: parts.storage.clone(),
            metrics: Arc::clone(parts.metrics),
        }
    }
}

impl Worker for CheckpointWorker {
    type Error = ReclaimError;

    fn name(&self) -> String {
        "checkpoint".to_owned()
    }

    fn throttle(&self) -> String {
        "one at a time".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, ReclaimError> {
        if self.storage.is_checkpoint_due() {
            context.working("writing the rows of the index down");
            let written = self.storage.checkpoint().await;
            self.metrics
                .damage
                .upkeep_ended(Upkeep::Checkpoint, &written);
            let written = written?;
            if written.damaged > 0 {
                let damaged = written.damaged;
                tracing::warn!(damaged, "damaged checkpoints were removed");
            }
            context.stepped();
            context.working(format!(
                "up to group {}, {} bytes",
                written.group, written.file_bytes
            ));
        }
        Ok(Step::idle(LOOK))
    }

    fn retry(&self, failures: u32) -> Duration {
        RETRY.delay(failures, rt::jitter()).unwrap_or(RETRY.max)
    }
}
