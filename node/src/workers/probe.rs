//! The probe worker: makes rounds of the latency probe, on its schedule and when somebody wants one.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use tokio::sync::watch;

use super::republish::spread;
use super::{Ending, Worker, later};
use crate::probe::{Probe, Rounds};
use crate::shutdown::Stop;

/// Longest wait for the first round, and for the next while there is nobody to try a route with.
const SOON: Duration = Duration::from_secs(60);

pub(crate) struct ProbeWorker {
    pub(crate) probe: Arc<Probe>,
    /// Whoever waits for a round sees that there comes none when this is dropped.
    pub(crate) rounds: watch::Sender<Rounds>,
}

impl ProbeWorker {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        let probe = &self.probe;
        // A node that has just started knows nobody yet.
        let mut pause = probe.period().map(|period| period.min(SOON));
        loop {
            let wait = pause.map(|pause| spread(pause, rt::jitter()));
            worker.waiting(wait.map(later));
            let rung = probe.wanted.notified();
            let rested = async {
                match wait {
                    // Rung or not, it is time.
                    Some(wait) => drop(tokio::time::timeout(wait, rung).await),
                    None => rung.await,
                }
            };
            if stop.or(rested).await.is_none() {
                return;
            }
            worker.working(format!("publishing and resolving {}", probe.name()));
            self.rounds.send_modify(|rounds| rounds.begun += 1);
            let Some(measured) = stop.or(probe.round()).await else {
                return;
            };
            worker.stepped();
            let (told, longest) = match measured {
                0 => ("nobody is there to try a route with".to_owned(), SOON),
                routes => (format!("{routes} routes measured"), Duration::MAX),
            };
            worker.working(told);
            self.rounds.send_modify(|rounds| rounds.ended += 1);
            pause = probe.period().map(|period| period.min(longest));
        }
    }
}
