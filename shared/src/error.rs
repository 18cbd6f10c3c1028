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

impl ErrorKind {
    /// The word for it in what programs read.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reject => "reject",
            Self::Corrupt => "corrupt",
            Self::Fatal => "fatal",
        }
    }

    /// The kind with this word, if there is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Retry, Self::Reject, Self::Corrupt, Self::Fatal]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

/// Why an operation that can be tried again failed.
pub trait Retryable {
    /// What the caller may do.
    fn kind(&self) -> ErrorKind;

    /// The pause the other side asked for, when it named one.
    fn retry_after(&self) -> Option<core::time::Duration> {
        None
    }

    /// Whether no connection came about: nobody was there to be asked, and it is known at once. Who tries again does so sooner
    /// and not for as long ([`Backoff::unreachable`](crate::backoff::Backoff::unreachable)).
    fn is_unreachable(&self) -> bool {
        false
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_word() {
        for (kind, word) in [
            (ErrorKind::Retry, "retry"),
            (ErrorKind::Reject, "reject"),
            (ErrorKind::Corrupt, "corrupt"),
            (ErrorKind::Fatal, "fatal"),
        ] {
            assert_eq!(kind.word(), word);
            assert_eq!(ErrorKind::from_word(word), Some(kind));
        }
        assert_eq!(ErrorKind::from_word("Retry"), None);
    }
}
