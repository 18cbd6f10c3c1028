//! How a worker is, as the operator sees it in `/v1/status`.
//!
//! Owns the words and the moments that are shown. Must never touch: when a worker runs. That is the loop's.

use std::sync::Arc;

use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_shared::error::chain;
use perennis_shared::time::Millis;
use serde::Serialize;

/// The status of one worker; clones are handles on the same one.
#[derive(Clone)]
pub(crate) struct Status {
    shown: Arc<Mutex<WorkerStatus>>,
}

/// How a worker is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkerStatus {
    name: String,
    state: Activity,
    /// What it is at, for people.
    progress: Option<String>,
    /// Steps done since the start.
    done: u64,
    /// How it holds itself back.
    throttle: String,
    last_error: Option<String>,
    last_error_at: Option<String>,
    next_run: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Activity {
    /// It is in a step.
    Working,
    /// It waits for time to pass or for something to do.
    Waiting,
    /// It has ended.
    Stopped,
}

impl Status {
    /// A worker that has not done anything yet.
    pub(super) fn new(name: String, throttle: String) -> Status {
        Status {
            shown: Arc::new(Mutex::new(WorkerStatus {
                name,
                state: Activity::Waiting,
                progress: None,
                done: 0,
                throttle,
                last_error: None,
                last_error_at: None,
                next_run: None,
            })),
        }
    }

    /// How it is now.
    pub(super) fn now(&self) -> WorkerStatus {
        self.shown.lock().clone()
    }

    /// It is in a step; `progress` tells people which.
    pub(super) fn working(&self, progress: impl Into<String>) {
        let mut shown = self.shown.lock();
        shown.state = Activity::Working;
        shown.progress = Some(progress.into());
        shown.next_run = None;
    }

    /// It waits, until then or for something to do.
    pub(super) fn waiting(&self, until: Option<Millis>) {
        let mut shown = self.shown.lock();
        shown.state = Activity::Waiting;
        shown.next_run = until.map(|until| until.to_string());
    }

    /// It has ended.
    pub(super) fn stopped(&self) {
        let mut shown = self.shown.lock();
        shown.state = Activity::Stopped;
        shown.next_run = None;
    }

    /// Something was done.
    pub(super) fn stepped(&self) {
        self.shown.lock().done += 1;
    }

    /// Something failed. The worker goes on.
    pub(super) fn failed(&self, error: &dyn std::error::Error) {
        let text = chain(error);
        let mut shown = self.shown.lock();
        tracing::warn!(worker = %shown.name, error = %text, "a step failed");
        shown.last_error = Some(text);
        shown.last_error_at = Some(rt::now().to_string());
    }
}
