//! Why a protocol is not accepted, or a stream not opened.

use std::{io, time::Duration};

use perennis_rt as rt;
use perennis_shared::error::{ErrorKind, Retryable};

use super::Protocol;
use crate::error::{ConnectError, NetError};

/// Why a protocol is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// Another handler answers for it.
    #[error("{protocol} has a handler already")]
    Taken {
        /// The protocol.
        protocol: Protocol,
    },
    /// The peer takes no more protocols.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl AcceptError {
    /// A stable name for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "protocol_taken",
            Self::Net(_) => "stopped",
        }
    }
}

impl Retryable for AcceptError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Taken { .. } => ErrorKind::Reject,
            Self::Net(error) => error.kind(),
        }
    }
}

/// Why there is no stream with a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no connection with it.
    #[error("no connection")]
    Connect(#[source] Box<ConnectError>),
    /// It does not speak the protocol.
    #[error("the peer does not speak {protocol}")]
    Unsupported {
        /// The protocol.
        protocol: Protocol,
    },
    /// The connection broke while the stream was being opened.
    #[error("the stream broke while it was being opened")]
    Broken(#[source] io::Error),
    /// The peer did not answer in time.
    #[error("no stream within {} ms", .after.as_millis())]
    Deadline {
        /// The time it was given.
        after: Duration,
    },
    /// This peer gives no answer.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl OpenError {
    /// A stable name for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect(error) => error.code(),
            Self::Unsupported { .. } => "protocol_unsupported",
            Self::Broken(_) => "stream_broken",
            Self::Deadline { .. } => "deadline",
            Self::Net(_) => "stopped",
        }
    }
}

impl From<ConnectError> for OpenError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Deadline { after } => Self::Deadline { after },
            ConnectError::Net(error) => Self::Net(error),
            error => Self::Connect(Box::new(error)),
        }
    }
}

impl From<rt::Elapsed> for OpenError {
    fn from(elapsed: rt::Elapsed) -> Self {
        let rt::Elapsed { after } = elapsed;
        Self::Deadline { after }
    }
}

impl Retryable for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(error) => error.kind(),
            Self::Unsupported { .. } => ErrorKind::Reject,
            Self::Broken(_) | Self::Deadline { .. } => ErrorKind::Retry,
            Self::Net(error) => error.kind(),
        }
    }
}
