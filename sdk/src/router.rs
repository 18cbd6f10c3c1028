//! Finding the newest record of a name.
//!
//! A [`Router`] answers for one place: an HTTP endpoint ([`Http`]), the DHT, the peers that follow a name, what this
//! client has seen before ([`Local`]). [`Composite`] asks many at once. Every record a router gives is verified: signed by the key of
//! its name and not expired. Whether it is the newest is another question, which [`Local`] answers as far as
//! this client can know: it never lets a name go back.

use std::{sync::Arc, time::Duration};

use perennis_rt::{BoxFuture, MaybeSend, MaybeSync};
use perennis_shared::{
    error::{ErrorKind, Retryable},
    ipns::{Name, Record, RecordError},
};

use crate::{remote::RemoteError, store::StoreError};

mod composite;
#[cfg(feature = "net")]
mod dht;
mod http;
mod local;
#[cfg(feature = "net")]
mod pubsub;
mod scores;

pub use composite::{Asked, Composite, CompositeTimes, Gathered, Lookup};
#[cfg(feature = "net")]
pub use dht::Dht;
pub use http::Http;
pub use local::{Local, Observation, Verdict};
pub(crate) use local::{mark_changes, parse_mark};
#[cfg(feature = "net")]
pub use pubsub::PubSub;
pub use scores::{Score, ScoreInput, Scores};

/// One place that keeps records.
pub trait Router: MaybeSend + MaybeSync {
    /// What to call this place when telling people about it, for example its URL.
    fn label(&self) -> String;

    /// The record this place has for `name`: verified, and not expired now.
    fn resolve<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Record, RouteError>>;

    /// Gives `record` to this place to keep for `name`.
    fn publish<'a>(
        &'a self,
        name: &'a Name,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<(), RouteError>>;
}

/// Why a router has no record to give, or does not take one.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// There is no record of this name.
    #[error("no record of {name} was found")]
    NotFound {
        /// The name asked for.
        name: Name,
    },
    /// There is a record of this name, truly signed, and it has ended.
    #[error("the record of {name} ended at {}; {holder} still holds it", .record.validity())]
    Ended {
        /// The name asked for.
        name: Name,
        /// The record.
        record: Box<Record>,
        /// Who holds it: a URL.
        holder: String,
    },
    /// What came back is no valid record of this name.
    #[error("the record is not valid")]
    Record(#[from] RecordError),
    /// The record is valid, but a newer one was seen before: it is a replay.
    #[error("the record has sequence {offered}, but {seen} was seen before")]
    Stale {
        /// The highest sequence seen.
        seen: u64,
        /// The sequence of the record.
        offered: u64,
    },
    /// The server failed or refused.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The place did not answer in time.
    #[error("no answer within {} ms", .after.as_millis())]
    Deadline {
        /// The time it was given.
        after: Duration,
    },
    /// The client's own store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The DHT has no answer.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Dht(perennis_net::dht::DhtError),
    /// The peers that follow the name have no answer.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Pubsub(perennis_net::PubsubError),
    /// Nobody who was asked had a valid record, and not all of them said that there is none.
    #[error("no valid record of {name}: {}", summary(.failures))]
    Nobody {
        /// The name asked for.
        name: Name,
        /// What each of them answered, under its label.
        failures: Vec<(String, Arc<RouteError>)>,
    },
}

impl RouteError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Ended { .. } => "record_ended",
            Self::Record(error) => error.code(),
            Self::Stale { .. } => "stale_record",
            Self::Remote(error) => error.code(),
            Self::Deadline { .. } => "deadline",
            Self::Store(error) => error.code(),
            #[cfg(feature = "net")]
            Self::Dht(error) => error.code(),
            #[cfg(feature = "net")]
            Self::Pubsub(error) => error.code(),
            Self::Nobody { failures, .. } => match failures.as_slice() {
                [(_, only)] => only.code(),
                _ => "no_valid_record",
            },
        }
    }
}

/// Whether a place says that it has no record that is valid now.
pub(crate) fn has_none_valid(error: &RouteError) -> bool {
    matches!(
        error,
        RouteError::NotFound { .. } | RouteError::Record(RecordError::Expired { .. })
    )
}

impl Retryable for RouteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. }
            | Self::Ended { .. }
            | Self::Record(RecordError::Expired { .. }) => ErrorKind::Reject,
            Self::Record(_) => ErrorKind::Corrupt,
            Self::Stale { .. } => ErrorKind::Reject,
            Self::Remote(error) => error.kind(),
            Self::Deadline { .. } => ErrorKind::Retry,
            Self::Store(error) => error.kind(),
            #[cfg(feature = "net")]
            Self::Dht(error) => error.kind(),
            #[cfg(feature = "net")]
            Self::Pubsub(error) => error.kind(),
            Self::Nobody { failures, .. } => {
                // One who may answer later makes it worth asking again.
                let kinds = || failures.iter().map(|(_, error)| error.kind());
                if kinds().any(|kind| kind == ErrorKind::Retry) {
                    ErrorKind::Retry
                } else {
                    kinds().next().unwrap_or(ErrorKind::Reject)
                }
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Remote(error) => error.retry_after(),
            _ => None,
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Remote(error) if error.is_unreachable())
    }
}

#[cfg(feature = "net")]
impl From<perennis_net::dht::DhtError> for RouteError {
    fn from(error: perennis_net::dht::DhtError) -> Self {
        match error {
            perennis_net::dht::DhtError::NotFound { name } => Self::NotFound { name },
            other => Self::Dht(other),
        }
    }
}

#[cfg(feature = "net")]
impl From<perennis_net::PubsubError> for RouteError {
    fn from(error: perennis_net::PubsubError) -> Self {
        use perennis_net::PubsubError;
        match error {
            PubsubError::NotFound { name } => Self::NotFound { name },
            PubsubError::Stale { seen, offered } => Self::Stale { seen, offered },
            PubsubError::Record(error) => Self::Record(error),
            other => Self::Pubsub(other),
        }
    }
}

fn summary(failures: &[(String, Arc<RouteError>)]) -> String {
    if failures.is_empty() {
        return "nobody was asked".to_owned();
    }
    let told: Vec<String> = failures
        .iter()
        .map(|(label, error)| format!("{label}: {error}"))
        .collect();
    told.join("; ")
}
