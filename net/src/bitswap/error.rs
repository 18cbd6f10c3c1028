//! Why a block could not be had from peers.

use std::time::Duration;

use perennis_shared::{
    cid::{Cid, VerifyError},
    error::{ErrorKind, Retryable},
};

/// Why a block could not be had from peers.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BitswapError {
    /// The network has been shut down.
    #[error("the network has been shut down")]
    Closed,
    /// No peer is connected that could be asked, and none could be reached.
    #[error("there is no peer to ask for block {cid}")]
    NoPeers {
        /// The block.
        cid: Box<Cid>,
    },
    /// Every peer that was asked has said that it does not have it, or has gone.
    #[error("none of {asked} peers has block {cid}")]
    NotFound {
        /// The block.
        cid: Box<Cid>,
        /// How many peers were asked.
        asked: usize,
    },
    /// Peers were asked and nothing came.
    #[error("block {cid} did not come within {} ms", .after.as_millis())]
    Timeout {
        /// The block.
        cid: Box<Cid>,
        /// How long it was waited for.
        after: Duration,
    },
    /// Too much is wanted at once.
    #[error("{max} blocks are wanted already")]
    TooManyWants {
        /// The most that may be.
        max: usize,
    },
    /// The CID is of a kind whose content is not accepted.
    #[error("block {cid} cannot be asked for")]
    Unsupported {
        /// The block.
        cid: Box<Cid>,
        /// What is wrong with its hash.
        source: VerifyError,
    },
}

impl BitswapError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "network_closed",
            Self::NoPeers { .. } => "no_peers",
            Self::NotFound { .. } => "block_not_found",
            Self::Timeout { .. } => "block_timeout",
            Self::TooManyWants { .. } => "too_many_wants",
            Self::Unsupported { .. } => "hash_not_allowed",
        }
    }
}

impl Retryable for BitswapError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoPeers { .. }
            | Self::NotFound { .. }
            | Self::Timeout { .. }
            | Self::TooManyWants { .. } => ErrorKind::Retry,
            Self::Unsupported { .. } => ErrorKind::Reject,
            Self::Closed => ErrorKind::Fatal,
        }
    }
}
