//! The probe worker: makes rounds of the latency probe, on its schedule and when somebody wants one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use tokio::time::Instant;

use super::{Context, Parts, Step, Worker, spread};
use crate::probe::Probe;

/// Longest wait for the first round, and for the next while there is nobody to try a route with.
const SOON: Duration = Duration::from_secs(60);

pub(crate) struct ProbeWorker {
    probe: Arc<Probe>,
    /// When the next round is due; without one they are made when they are wanted.
    due: Option<Instant>,
    /// Whether somebody wants a round.
    is_wanted: bool,
}

impl ProbeWorker {
    pub(crate) fn new(parts: &Parts<'_>) -> ProbeWorker {
        let mut worker = ProbeWorker {
            probe: Arc::clone(parts.probe),
            due: None,
            is_wanted: false,
        };
        // A node that has just started knows nobody yet.
        worker.put_off(SOON);
        worker
    }

    /// Makes the next round due after its period, or after so long where that is shorter.
    fn put_off(&mut self, longest: Duration) {
        let pause = self.probe.period().map(|period| period.min(longest));
        self.due = pause.and_then(|pause| Instant::now().checked_add(spread(pause, rt::jitter())));
    }

    async fn round(&mut self, context: &mut Context) -> Step {
        let name = self.probe.name();
        context.working(format!("publishing and resolving {name}"));
        self.probe.rounds.send_modify(|rounds| rounds.begun += 1);
        let Some(measured) = context.or_stop(self.probe.round()).await else {
            return Step::Done;
        };
        context.stepped();
        let (told, longest) = match measured {
            0 => ("nobody is there to try a route with".to_owned(), SOON),
            routes => (format!("{routes} routes measured"), Duration::MAX),
        };
        context.working(told);
        self.probe.rounds.send_modify(|rounds| rounds.ended += 1);
        self.put_off(longest);
        Step::Again
    }
}

/// Whoever waits for a round is told that none comes any more, however the worker has ended.
impl Drop for ProbeWorker {
    fn drop(&mut self) {
        self.probe
            .rounds
            .send_modify(|rounds| rounds.are_over = true);
    }
}

impl Worker for ProbeWorker {
    type Error = Infallible;

    fn name(&self) -> String {
        "probe".to_owned()
    }

    fn throttle(&self) -> String {
        "all routes at once, one round at a time".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, Infallible> {
        let wait = self
            .due
            .map(|due| due.saturating_duration_since(Instant::now()));
        let is_due = wait.is_some_and(|wait| wait.is_zero());
        if std::mem::take(&mut self.is_wanted) || is_due {
            return Ok(self.round(context).await);
        }
        Ok(wait.map_or(Step::listen(Duration::MAX), Step::idle))
    }

    async fn notified(&mut self) {
        self.probe.wanted.notified().await;
        self.is_wanted = true;
    }
}
