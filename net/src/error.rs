//! Why a peer does not start, gives no answer, or has no connection with another one. What a protocol has to report
//! beside that is in its own room.

use std::{sync::Arc, time::Duration};

use libp2p::{Multiaddr, PeerId, TransportError, swarm::DialError};
use perennis_rt as rt;
use perennis_shared::error::{ErrorKind, Retryable};

/// Why the peer gives no answer at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// It has stopped.
    #[error("the peer has stopped")]
    Stopped,
}

impl Retryable for NetError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Stopped => ErrorKind::Fatal,
        }
    }
}

/// Why a peer does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the transport reported.
        source: TransportError<std::io::Error>,
    },
    /// A transport cannot be set up.
    #[error("a transport cannot be set up")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Retryable for StartError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { .. } | Self::Transport(_) => ErrorKind::Fatal,
        }
    }
}

/// Why there is no connection with a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address does not end with a peer id.
    #[error("{address} names no peer: it must end with /p2p/ and a peer id")]
    NoPeer {
        /// The address.
        address: Multiaddr,
    },
    /// The peer is this one.
    #[error("that is this peer itself")]
    Own,
    /// The peer is banned, or not on the list of those that are allowed.
    #[error("{peer} is not spoken to")]
    Denied {
        /// The peer.
        peer: PeerId,
    },
    /// No address of the peer is known.
    #[error("no address of {peer} is known")]
    NoAddress {
        /// The peer.
        peer: PeerId,
    },
    /// Somebody else answers at its address.
    #[error("{address} is of {found}, not of {wanted}")]
    WrongPeer {
        /// The peer that was wanted.
        wanted: PeerId,
        /// The peer that answered.
        found: PeerId,
        /// Where.
        address: Multiaddr,
    },
    /// It could not be dialled.
    #[error("{peer} cannot be reached")]
    Dial {
        /// The peer.
        peer: PeerId,
        /// What went wrong at each address.
        source: Arc<DialError>,
    },
    /// It did not answer in time.
    #[error("no connection within {} ms", .after.as_millis())]
    Deadline {
        /// The time it was given.
        after: Duration,
    },
    /// This peer gives no answer.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl ConnectError {
    /// Why a dial failed.
    pub(crate) fn of_dial(peer: PeerId, error: &Arc<DialError>) -> Self {
        match error.as_ref() {
            DialError::NoAddresses => Self::NoAddress { peer },
            DialError::LocalPeerId { .. } => Self::Own,
            DialError::Denied { .. } => Self::Denied { peer },
            DialError::WrongPeerId { obtained, address } => Self::WrongPeer {
                wanted: peer,
                found: *obtained,
                address: address.clone(),
            },
            _ => Self::Dial {
                peer,
                source: Arc::clone(error),
            },
        }
    }

    /// A stable name for scripts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPeer { .. } => "no_peer_id",
            Self::Own => "own_peer",
            Self::Denied { .. } => "peer_denied",
            Self::NoAddress { .. } => "no_address",
            Self::WrongPeer { .. } => "wrong_peer",
            Self::Dial { .. } => "unreachable",
            Self::Deadline { .. } => "deadline",
            Self::Net(_) => "stopped",
        }
    }
}

impl From<rt::Elapsed> for ConnectError {
    fn from(elapsed: rt::Elapsed) -> Self {
        let rt::Elapsed { after } = elapsed;
        Self::Deadline { after }
    }
}

impl Retryable for ConnectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoPeer { .. } | Self::Own | Self::Denied { .. } => ErrorKind::Reject,
            Self::WrongPeer { .. } => ErrorKind::Corrupt,
            Self::NoAddress { .. } | Self::Dial { .. } | Self::Deadline { .. } => ErrorKind::Retry,
            Self::Net(error) => error.kind(),
        }
    }
}
