//! Why the DHT has no answer, and what became of a put peer by peer.

use std::time::Duration;

use libp2p::PeerId;
use perennis_shared::{
    error::{ErrorKind, Retryable},
    ipns::Name,
};

use super::SendError;
use crate::error::NetError;

/// What became of a record that was put to the closest peers.
#[derive(Debug, Default)]
pub struct PutReport {
    /// Peers that took it.
    pub reached: Vec<PeerId>,
    /// Peers that did not, and why.
    pub failed: Vec<(PeerId, SendError)>,
    /// Peers that had not answered when a quorum had; they may take it yet.
    pub late: usize,
}

/// Why the DHT has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DhtError {
    /// No peer that was asked has a valid record.
    #[error("no record of {name} was found in the DHT")]
    NotFound {
        /// The name.
        name: Name,
    },
    /// There is nobody to ask.
    #[error("no peers of the DHT are known")]
    NoPeers,
    /// Too few of the closest peers took the record.
    #[error("{reached} of {wanted} peers took the record")]
    Quorum {
        /// Peers that took it.
        reached: usize,
        /// Peers that had to.
        wanted: usize,
        /// All that was tried.
        report: Box<PutReport>,
    },
    /// The lookup ran out of time.
    #[error("no answer within {} ms", .after.as_millis())]
    Deadline {
        /// The time it was given.
        after: Duration,
    },
    /// This peer gives no answer.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl DhtError {
    /// A stable name for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::NoPeers => "no_peers",
            Self::Quorum { .. } => "no_quorum",
            Self::Deadline { .. } => "deadline",
            Self::Net(_) => "stopped",
        }
    }
}

impl Retryable for DhtError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::Reject,
            Self::NoPeers | Self::Quorum { .. } | Self::Deadline { .. } => ErrorKind::Retry,
            Self::Net(error) => error.kind(),
        }
    }
}
