//! Talking to a server over HTTP: what it refuses, and when to ask again.

use std::{fmt, future::Future, time::Duration};

use perennis_rt::{
    self as rt,
    http::{HttpError, Request, Response},
};
use perennis_shared::{
    backoff::Backoff,
    error::{ErrorKind, Retryable},
};
use serde::Deserialize;
use zeroize::Zeroizing;

/// Most bytes of a refusal that are read.
const REFUSAL_BYTES: usize = 256 << 10;
/// A server that asks for a longer pause is not asked again by the same call.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a server did not do what it was asked.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No complete answer came.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server answered that it will not.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server's answer is not what the protocol says.
    #[error("the server's answer is not understood: {what}")]
    Answer {
        /// What is wrong with it.
        what: &'static str,
    },
}

/// An answer with an error status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused with status {status} ({code}): {message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The stable name the server gave, or `http_status` when it gave none.
    pub code: String,
    /// What the server says to people.
    pub message: String,
    /// What the server says to do.
    pub hint: Option<String>,
    /// The blocks it lacks (`missing_blocks`), as it spelled them.
    pub missing: Vec<String>,
    /// The pause it asks for.
    pub retry_after: Option<Duration>,
}

impl RemoteError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Http(HttpError::Connect(_)) => "unreachable",
            Self::Http(HttpError::Deadline { .. }) => "deadline",
            Self::Http(HttpError::TooLarge { .. }) => "answer_too_large",
            Self::Http(_) => "connection_broken",
            Self::Refused(refusal) => &refusal.code,
            Self::Answer { .. } => "answer_not_understood",
        }
    }
}

impl Retryable for RemoteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Http(error) => error.kind(),
            Self::Refused(refusal) => kind_of_status(refusal.status),
            Self::Answer { .. } => ErrorKind::Corrupt,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Http(_) | Self::Answer { .. } => None,
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_unreachable())
    }
}

/// The bearer token of a node, which calls that change something there carry (RFC 6750). Wiped when dropped, and never shown.
#[derive(Clone)]
pub struct BearerToken(Zeroizing<String>);

impl BearerToken {
    /// The token in a text, white space around it left out; none where the rest is empty or not of visible ASCII characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let token = text.trim_ascii();
        let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
        (!token.is_empty() && is_visible).then(|| Self(Zeroizing::new(token.to_owned())))
    }

    /// The request, carrying it.
    #[must_use]
    pub fn carried_by(&self, request: Request) -> Request {
        request.with_token(&self.0)
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(..)")
    }
}

/// What may be done about an answer with an error status.
#[must_use]
pub const fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        408 | 425 | 429 | 500 | 502 | 503 | 504 | 507 => ErrorKind::Retry,
        _ => ErrorKind::Reject,
    }
}

/// Reads what a server says about its refusal. What is not in the agreed form is told by its status alone.
pub(crate) async fn refusal(response: Response) -> RemoteError {
    let (status, retry_after) = (response.status(), response.retry_after());
    let body = response.bytes(REFUSAL_BYTES).await.unwrap_or_default();
    let mut refusal = Refusal {
        status,
        code: "http_status".to_owned(),
        message: String::new(),
        hint: None,
        missing: Vec::new(),
        retry_after,
    };
    if let Ok(ErrorBody { error }) = serde_json::from_slice(&body) {
        refusal.code = error.code;
        refusal.message = error.message;
        refusal.hint = error.hint;
        refusal.missing = error.missing.unwrap_or_default();
    }
    refusal.into()
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    hint: Option<String>,
    #[serde(default)]
    missing: Option<Vec<String>>,
}

/// Calls `attempt` until it succeeds, fails in a way no retry helps, or the policy ends. A pause the server
/// asked for is honoured, up to half a minute; it is not shortened to fit. Where nobody is there to be asked, it ends sooner.
pub(crate) async fn with_retries<T, E, F>(
    backoff: &Backoff,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    E: Retryable,
    F: Future<Output = Result<T, E>>,
{
    let mut failures = 0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        failures += 1;
        let asked = error.retry_after().unwrap_or_default();
        let policy = match error.is_unreachable() {
            true => backoff.unreachable(),
            false => *backoff,
        };
        match policy.delay(failures, rt::jitter()) {
            Some(pause) if error.kind() == ErrorKind::Retry && asked <= LONGEST_PAUSE => {
                rt::sleep(pause.max(asked)).await;
            }
            _ => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::cell::Cell;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no luck")]
    struct NoLuck {
        is_unreachable: bool,
    }

    impl Retryable for NoLuck {
        fn kind(&self) -> ErrorKind {
            ErrorKind::Retry
        }

        fn is_unreachable(&self) -> bool {
            self.is_unreachable
        }
    }

    /// How many attempts there were, and how they ended, where the first so many fail.
    async fn attempts(failures: u32, is_unreachable: bool) -> (u32, bool) {
        let backoff = Backoff {
            base: Duration::from_millis(1),
            max: Duration::from_millis(2),
            attempts: 5,
        };
        let made = Cell::new(0);
        let ended = with_retries(&backoff, || {
            made.set(made.get() + 1);
            std::future::ready(match made.get() <= failures {
                true => Err(NoLuck { is_unreachable }),
                false => Ok(()),
            })
        });
        let ended = ended.await;
        (made.get(), ended.is_ok())
    }

    #[tokio::test]
    async fn who_is_not_there_is_asked_less_often_than_who_is_busy() {
        assert_eq!(attempts(9, false).await, (5, false));
        assert_eq!(attempts(9, true).await, (4, false));
        assert_eq!(attempts(3, true).await, (4, true));
    }

    #[test]
    fn a_token_is_visible_ascii_and_never_shown() {
        let token = BearerToken::parse(" 0123456789abcdef\n").unwrap();
        assert_eq!(token.0.as_str(), "0123456789abcdef");
        assert_eq!(format!("{token:?}"), "BearerToken(..)");
        for text in ["", " \n", "two words", "tökén"] {
            assert!(BearerToken::parse(text).is_none(), "{text}");
        }
    }
}
