//! How far opening the store is: mostly at once, minutes where a large index has to be made anew.

use std::time::{Duration, Instant};

use perennis_store::RebuildProgress;
use serde::Serialize;
use tokio::sync::watch;

/// Time between two lines in the log, and before the first.
const PAUSE: Duration = Duration::from_secs(5);

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Opening {
    stage: &'static str,
    done: u64,
    of: u64,
}

/// Tells how far it is: to who asks for readiness, and now and then in the log.
pub(crate) struct OpeningProgress {
    opening: watch::Sender<Option<Opening>>,
    told: Instant,
}

impl OpeningProgress {
    /// What is told, and where it is seen.
    pub(crate) fn new() -> (OpeningProgress, watch::Receiver<Option<Opening>>) {
        let (opening, seen) = watch::channel(None);
        let told = Instant::now();
        (OpeningProgress { opening, told }, seen)
    }

    pub(crate) fn tell(&mut self, progress: RebuildProgress) {
        let opening = Opening {
            stage: progress.stage.word(),
            done: progress.done,
            of: progress.of,
        };
        self.opening.send_replace(Some(opening));
        if self.told.elapsed() >= PAUSE {
            self.told = Instant::now();
            let Opening { stage, done, of } = opening;
            tracing::info!(stage, done, of, "the store is being opened");
        }
    }
}
