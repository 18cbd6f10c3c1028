//! The provide worker: has what is new told first, and then the regions, each in its turn.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;

use super::{Region, Reprovide};
use crate::storage::StorageError;
use crate::workers::{Context, Parts, Step, Worker};

/// The delay after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// Works for a [`Reprovide`].
pub(crate) struct ReprovideWorker {
    reprovide: Arc<Reprovide>,
    /// Whether what is new was told of, and the regions have their turn.
    is_new_told: bool,
}

impl ReprovideWorker {
    /// None where the DHT is told of nothing.
    pub(crate) fn if_on(parts: &Parts<'_>) -> Option<ReprovideWorker> {
        parts.reprovide.is_on.then(|| ReprovideWorker {
            reprovide: Arc::clone(parts.reprovide),
            is_new_told: false,
        })
    }
}

impl Worker for ReprovideWorker {
    type Error = StorageError;

    fn name(&self) -> String {
        "provide".to_owned()
    }

    fn throttle(&self) -> String {
        format!("{} blocks at once", self.reprovide.config.concurrency)
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, StorageError> {
        let this = &self.reprovide;
        // What fails waits until the regions had their turn.
        if !std::mem::replace(&mut self.is_new_told, false) {
            self.is_new_told = this.tell_new(context).await;
            return Ok(match self.is_new_told {
                true => Step::Again,
                false => Step::idle(RETRY),
            });
        }
        match this.tell_region(context).await? {
            Region::Told => {
                self.is_new_told = true;
                Ok(Step::Again)
            }
            Region::Untold => Ok(Step::idle(RETRY)),
            Region::NotDue(due) => {
                let wait = due - rt::now();
                let has_failed = !this.soon.lock().is_empty();
                Ok(Step::idle(match has_failed {
                    true => wait.min(RETRY),
                    false => wait,
                }))
            }
        }
    }

    async fn notified(&mut self) {
        self.reprovide.wake.notified().await;
    }

    fn retry(&self, _failures: u32) -> Duration {
        RETRY
    }
}
