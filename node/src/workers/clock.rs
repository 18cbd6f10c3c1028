//! The clock worker: looks at the clocks, tells a jump, and writes down how far they are.
//!
//! Rows of queues that a wrong clock has written need nobody to look for them: they are due by being too far ahead. Names
//! that left a queue because their records seemed to have ended are put in again by the pin scan, which begins a round after a jump.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use tokio::sync::Notify;

use super::{Context, Parts, Step, Worker};
use crate::clock::{Clock, ClockJump};
use crate::metrics::Metrics;
use crate::storage::{Storage, StorageError};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(10);

/// Between two writings: a process that is killed has lost less than the clock is followed by at once.
const WRITE: Duration = Duration::from_secs(600);

pub(crate) struct ClockWorker {
    clock: Arc<Clock>,
    storage: Storage,
    metrics: Arc<Metrics>,
    scan_wanted: Arc<Notify>,
    /// The monotonic clock at the last writing.
    written: Option<Duration>,
}

impl ClockWorker {
    pub(crate) fn new(parts: &Parts<'_>) -> ClockWorker {
        ClockWorker {
            clock: Arc::clone(parts.clock),
            storage: parts.storage.clone(),
            metrics: Arc::clone(parts.metrics),
            scan_wanted: Arc::clone(&parts.scan_wanted),
            written: None,
        }
    }
}

impl Worker for ClockWorker {
    type Error = StorageError;

    fn name(&self) -> String {
        "clock".to_owned()
    }

    fn throttle(&self) -> String {
        "one look in 10 seconds".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, StorageError> {
        if let Some(jump) = self.clock.look() {
            tell(&jump);
            self.metrics.clock_jumps.inc();
            self.scan_wanted.notify_one();
            self.written = None;
        }
        let now = rt::monotonic();
        if self
            .written
            .is_none_or(|then| now.saturating_sub(then) >= WRITE)
        {
            context.working("writing down what the clock shows");
            self.storage.save_clock_mark(self.clock.mark()).await?;
            self.written = Some(now);
            context.stepped();
        }
        Ok(Step::listen(LOOK))
    }
}

fn tell(jump: &ClockJump) {
    let (now, seconds) = (jump.at, jump.by.as_secs());
    if jump.is_forward {
        tracing::warn!(
            %now, seconds,
            "the clock went forward: it was set, or the machine slept; rungs of ladders are released by a time that follows it slowly"
        );
    } else {
        tracing::warn!(
            %now, seconds,
            "the clock is behind what it has shown: it was wrong then, or is now; what was put off too far is done at once"
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::pin::pin;

    use futures_util::poll;

    use super::*;
    use crate::clock::ClockMark;
    use crate::workers::testing::{TestParts, context};

    #[tokio::test]
    async fn a_clock_behind_the_run_before_is_told_and_begins_a_scan() {
        let node = TestParts::new(|_| {}).await;
        let ahead = rt::now() + Duration::from_secs(100 * 86_400);
        let clock = Clock::new(Some(ClockMark {
            seen: ahead,
            steady: ahead,
        }));
        let scan_wanted = Arc::new(Notify::new());
        let mut worker = ClockWorker {
            clock: Arc::new(clock),
            scan_wanted: Arc::clone(&scan_wanted),
            ..ClockWorker::new(&node.parts())
        };
        let (mut context, _, _stop) = context();
        worker.step(&mut context).await.unwrap();
        assert!(poll!(pin!(scan_wanted.notified())).is_ready());
        assert_eq!(node.count("clock_jumps_total"), 1);
        // What it shows now counts from here on.
        let mark = node.storage.clock_mark().await.unwrap().unwrap();
        assert!(mark.seen < ahead && mark.steady == ahead);
        worker.step(&mut context).await.unwrap();
        assert!(poll!(pin!(scan_wanted.notified())).is_pending());
        assert_eq!(node.count("clock_jumps_total"), 1);
    }
}
