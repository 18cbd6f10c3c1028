//! Talking to a server over HTTP: what it refuses, and when to ask again.

use std::{future::Future, time::Duration};

use perennis_rt::{
    self as rt,
    http::{HttpError, Response},
};
use perennis_shared::{
    backoff::Backoff,
    error::{ErrorKind, Retryable},
};
use serde::Deserialize;

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
/// asked for is honoured, up to half a minute; it is not shortened to fit.
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
        match backoff.delay(failures, rt::jitter()) {
            Some(pause) if error.kind() == ErrorKind::Retry && asked <= LONGEST_PAUSE => {
                rt::sleep(pause.max(asked)).await;
            }
            _ => return Err(error),
        }
    }
}
