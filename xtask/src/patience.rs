//! Waiting for processes of others, which tell nobody when they are where one wants them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

/// How long a peer may take to come up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Tries again for a while: routing tables fill a moment after a connection.
///
/// # Errors
/// The last attempt failed.
pub(crate) fn until<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(_) if start.elapsed() < PATIENCE / 2 => thread::sleep(Duration::from_millis(250)),
            outcome => return outcome,
        }
    }
}
