//! Trying again, for what other processes do in their own time and tell nobody about.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How long a peer may take to come up.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(120);

/// How long an attempt is repeated.
const REPEAT_FOR: Duration = Duration::from_secs(60);

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// Tries again for a minute: routing tables fill a moment after a connection.
///
/// # Errors
/// The last attempt failed.
pub fn until_ok<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < REPEAT_FOR => thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}
