//! What a worker is, and the one loop that runs it.
//!
//! A worker says who it is and does one step at a time; the loop does what all of them need: it shows the operator how the
//! worker is, tries again later after a step that failed, waits, wakes the worker before its time when it is notified, and
//! stops it between two steps. A step that waits for others waits with [`Context::or_stop`], so that stopping is quick.
//! Must never touch: what the work is.

use std::error::Error;
use std::time::Duration;

use perennis_shared::time::Millis;

use super::status::Status;
use super::timing::{IDLE, later};
use crate::shutdown::Stop;

/// Something that the node does by itself, again and again.
pub(crate) trait Worker: Send + 'static {
    /// Why a step fails.
    type Error: Error + Send;

    /// Its name, for the operator.
    fn name(&self) -> String;

    /// How it holds itself back, for the operator.
    fn throttle(&self) -> String;

    /// Does the next small piece of work, or finds that there is none.
    fn step(
        &mut self,
        context: &mut Context,
    ) -> impl Future<Output = Result<Step, Self::Error>> + Send;

    /// Waits until there may be something to do before the time that the last step said. May be dropped at any moment. A
    /// notification that comes during a step must not be lost: the wait after it ends at once.
    fn notified(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// How long to wait after so many steps in a row that failed.
    fn retry(&self, failures: u32) -> Duration {
        let _ = failures;
        IDLE
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done and there may be more: the next step follows at once.
    Again,
    /// Something was done and there may be more; the next step follows after this pause, which nothing shortens, so that the
    /// worker has only its share of the time.
    Pause(Duration),
    /// There is nothing to do now.
    Idle {
        /// The next step follows after this wait, or when the worker is notified.
        wait: Duration,
        /// When the operator is told that it runs next.
        next: Option<Millis>,
    },
    /// The worker has ended.
    Done,
}

impl Step {
    /// Nothing is to be done for so long, as the operator is told.
    pub(super) fn idle(wait: Duration) -> Step {
        Step::Idle {
            wait,
            next: Some(later(wait)),
        }
    }

    /// The worker waits for what comes, and looks by itself after so long; no moment is told.
    pub(super) fn listen(wait: Duration) -> Step {
        Step::Idle { wait, next: None }
    }
}

/// What a step is given: where it tells what it is at, and how it learns that the node is stopping.
pub(crate) struct Context {
    status: Status,
    stop: Stop,
}

impl Context {
    pub(super) fn new(status: Status, stop: Stop) -> Context {
        Context { status, stop }
    }

    /// Where tasks of the step tell what they do.
    pub(super) fn status(&self) -> &Status {
        &self.status
    }

    /// It is in a step; `progress` tells people which.
    pub(super) fn working(&self, progress: impl Into<String>) {
        self.status.working(progress);
    }

    /// Something was done.
    pub(super) fn stepped(&self) {
        self.status.stepped();
    }

    /// Something failed. The worker goes on.
    pub(super) fn failed(&self, error: &dyn Error) {
        self.status.failed(error);
    }

    /// Waits for a future; `None` when the node is stopping first. The step ends then, and there is no other.
    pub(super) async fn or_stop<F: Future>(&mut self, future: F) -> Option<F::Output> {
        self.stop.or(future).await
    }

    /// Whether the node is stopping, for loops without a wait.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }
}

/// Runs a worker until it is done or the node stops.
pub(super) async fn run<W: Worker>(mut worker: W, status: Status, stop: Stop) {
    let _stopped = StoppedOnDrop(status.clone());
    let mut context = Context::new(status, stop);
    let mut failures = 0_u32;
    while !context.stop.is_now() {
        let step = match worker.step(&mut context).await {
            Ok(step) => {
                failures = 0;
                step
            }
            Err(error) => {
                context.failed(&error);
                failures = failures.saturating_add(1);
                Step::idle(worker.retry(failures))
            }
        };
        if context.stop.is_now() {
            return;
        }
        match step {
            Step::Again => {}
            Step::Pause(pause) => {
                // Whether it is time to stop is asked before the next step.
                let _ = context.stop.sleep(pause).await;
            }
            Step::Idle { wait, next } => {
                context.status.waiting(next);
                let notified = tokio::time::timeout(wait, worker.notified());
                let _ = context.stop.or(notified).await;
            }
            Step::Done => return,
        }
    }
}

/// Tells that a worker has ended, however it ended.
struct StoppedOnDrop(Status);

impl Drop for StoppedOnDrop {
    fn drop(&mut self) {
        self.0.stopped();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::VecDeque;
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::sync::{Notify, watch};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// Does what was written down for it.
    struct Scripted {
        steps: VecDeque<io::Result<Step>>,
        notify: Arc<Notify>,
        /// The failures in a row, each time it was asked when to try again.
        retries: Arc<Mutex<Vec<u32>>>,
    }

    impl Worker for Scripted {
        type Error = io::Error;

        fn name(&self) -> String {
            "scripted".into()
        }

        fn throttle(&self) -> String {
            "none".into()
        }

        async fn step(&mut self, context: &mut Context) -> io::Result<Step> {
            context.working(format!("{} left", self.steps.len()));
            context.stepped();
            self.steps.pop_front().unwrap_or(Ok(Step::Done))
        }

        async fn notified(&mut self) {
            self.notify.notified().await;
        }

        fn retry(&self, failures: u32) -> Duration {
            self.retries.lock().push(failures);
            Duration::ZERO
        }
    }

    struct Running {
        status: Status,
        notify: Arc<Notify>,
        retries: Arc<Mutex<Vec<u32>>>,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    fn start(steps: impl IntoIterator<Item = io::Result<Step>>) -> Running {
        let notify = Arc::new(Notify::new());
        let retries = Arc::default();
        let worker = Scripted {
            steps: steps.into_iter().collect(),
            notify: Arc::clone(&notify),
            retries: Arc::clone(&retries),
        };
        let (stop, stopped) = watch::channel(false);
        let status = Status::new(worker.name(), worker.throttle());
        let task = tokio::spawn(run(worker, status.clone(), Stop(stopped)));
        Running {
            status,
            notify,
            retries,
            stop,
            task,
        }
    }

    fn shown(status: &Status) -> serde_json::Value {
        serde_json::to_value(status.now()).unwrap()
    }

    /// Lets a worker come to where it waits.
    async fn settle() {
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn steps_follow_each_other_until_the_worker_is_done() {
        let none = Duration::ZERO;
        let running = start([Ok(Step::Again), Ok(Step::Pause(none)), Ok(Step::idle(none))]);
        running.task.await.unwrap();
        let shown = shown(&running.status);
        assert_eq!(shown["done"], 4);
        assert_eq!(shown["state"], "stopped");
        assert_eq!(shown["progress"], "0 left");
        assert!(shown["nextRun"].is_null());
    }

    #[tokio::test]
    async fn a_notification_during_a_step_ends_the_wait_after_it() {
        let running = start([Ok(Step::idle(DAY))]);
        running.notify.notify_one();
        running.task.await.unwrap();
        assert_eq!(shown(&running.status)["done"], 2);
    }

    #[tokio::test]
    async fn a_notification_ends_no_pause() {
        let running = start([Ok(Step::Pause(DAY))]);
        running.notify.notify_one();
        settle().await;
        assert!(!running.task.is_finished());
        assert_eq!(shown(&running.status)["state"], "working");
        running.stop.send(true).unwrap();
        running.task.await.unwrap();
    }

    #[tokio::test]
    async fn a_step_that_fails_is_told_and_tried_again_later_and_later() {
        let failure = || Err(io::Error::other("no luck"));
        let running = start([failure(), failure(), Ok(Step::Again), failure()]);
        running.task.await.unwrap();
        assert_eq!(*running.retries.lock(), [1, 2, 1]);
        assert_eq!(shown(&running.status)["lastError"], "no luck");
    }

    #[tokio::test]
    async fn a_worker_that_waits_tells_so_and_stops_at_once() {
        for (waiting, is_told) in [(Step::idle(DAY), true), (Step::listen(DAY), false)] {
            let running = start([Ok(waiting)]);
            settle().await;
            let waiting = shown(&running.status);
            assert_eq!(waiting["state"], "waiting");
            assert_eq!(waiting["nextRun"].is_string(), is_told);
            running.stop.send(true).unwrap();
            running.task.await.unwrap();
            assert_eq!(shown(&running.status)["done"], 1);
        }
    }
}
