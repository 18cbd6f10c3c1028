//! What a caller may do about an error, and how a person reads it.

use alloc::string::{String, ToString};
use core::error::Error;

/// The choice an error leaves to its caller. It alone decides about backoff, exit codes, HTTP status and `retryable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The same call may succeed later: a deadline passed, a server was busy, a connection broke.
    Retry,
    /// The same call will be refused again until its input or the state it met is changed.
    Reject,
    /// Bytes that should have been right are not. The call must not be repeated against the same source.
    Corrupt,
    /// This installation cannot go on without help: no space, no permission, a newer format.
    Fatal,
}

/// Why an operation that can be tried again failed.
pub trait Retryable {
    /// What the caller may do.
    fn kind(&self) -> ErrorKind;

    /// The pause the other side asked for, when it named one.
    fn retry_after(&self) -> Option<core::time::Duration> {
        None
    }
}

/// An error and its causes in one line, each cause behind a colon. A cause that the text before it ends with is left out.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
