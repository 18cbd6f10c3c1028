//! What the peer-to-peer side says to a client.

use perennis_net::dht::DhtError;
use perennis_net::{ConnectError, NetError};

use super::{ClientError, Refusal};
use crate::resolve::Unresolved;

impl ClientError for NetError {
    fn code(&self) -> &'static str {
        "stopping"
    }

    fn message(&self) -> String {
        STOPPED.to_owned()
    }

    fn hint(&self) -> &'static str {
        START
    }
}

const STOPPED: &str = "the peer-to-peer side has stopped";
const START: &str = "start the node again";

impl Refusal {
    /// The peer-to-peer side has stopped, and the node will.
    pub(in crate::http) fn stopping() -> Refusal {
        Refusal::new("stopping", STOPPED, START)
    }
}

impl ClientError for Unresolved {
    fn code(&self) -> &'static str {
        match self {
            Unresolved::Busy => "busy",
            Unresolved::Late => "no_answer",
        }
    }

    fn hint(&self) -> &'static str {
        "try again in a few seconds: whether the name has a record is not known yet"
    }
}

impl ClientError for ConnectError {
    // Whoever does not answer is somebody else.
    const IS_RELAYED: bool = true;

    fn code(&self) -> &'static str {
        ConnectError::code(self)
    }

    fn hint(&self) -> &'static str {
        match self {
            ConnectError::NoPeer { .. } => "end the address with /p2p/ and the peer's id",
            ConnectError::Own => "give the address of another peer",
            ConnectError::Denied { .. } => "unban it, or change p2p.deny and p2p.allow",
            ConnectError::NoAddress { .. } => {
                "give an address, or join a network that knows the peer"
            }
            ConnectError::WrongPeer { .. } => {
                "check the peer id in the address: somebody else answers there"
            }
            _ => "check the address, and that the peer runs and can be reached from here",
        }
    }
}

impl ClientError for DhtError {
    fn code(&self) -> &'static str {
        DhtError::code(self)
    }

    fn hint(&self) -> &'static str {
        match self {
            DhtError::NoPeers => {
                "connect to a peer with `perennis peers connect`, or set p2p.bootstrap"
            }
            DhtError::Quorum { .. } => "try again: peers come and go",
            _ => "try again later",
        }
    }
}
