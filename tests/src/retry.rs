//! Trying again, for what other processes do in their own time and tell nobody about.
//!
//! A peer's routing table fills a moment after a connection, a record is gossiped when a topic's mesh has formed: neither says so.
//! Whoever waits for such a thing repeats the question until the answer is right, within one limit for all.
//! What our own node does is waited for by its events and by [`crate::node::Node::eventually`], never by a time.

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
