//! What the handle asks of the worker. Each command carries the channel of its answer.

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use perennis_shared::wire::kad::Question;
use tokio::sync::oneshot;

use super::{
    dht::Network,
    handle::{ConnectError, NetStatus},
    peers::PeerInfo,
    pubsub::PubsubCommand,
};

pub(super) enum Command {
    Connect {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<(), ConnectError>>,
    },
    Ban {
        peer: PeerId,
        reply: oneshot::Sender<bool>,
    },
    Unban {
        peer: PeerId,
        reply: oneshot::Sender<bool>,
    },
    Peers {
        reply: oneshot::Sender<Vec<PeerInfo>>,
    },
    Status {
        reply: oneshot::Sender<NetStatus>,
    },
    /// The addresses at which a peer is thought to listen.
    Addresses {
        peer: PeerId,
        reply: oneshot::Sender<Vec<Multiaddr>>,
    },
    /// What this peer itself would answer to a question.
    Known {
        network: Network,
        question: Question,
        key: Bytes,
        reply: oneshot::Sender<Answer>,
    },
    /// Keeps a record as if another peer had put it here.
    Keep {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    /// Stops to count as a provider of a key.
    Withdraw {
        key: Vec<u8>,
    },
    /// Tells others that this peer provides a key when they ask it.
    Provide {
        key: Vec<u8>,
    },
    /// About topics.
    Pubsub(PubsubCommand),
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// The answer of one peer of the DHT to a question.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// The bytes it has as the record.
    pub(super) record: Option<Vec<u8>>,
    /// The peers closest to the key that it knows.
    pub(super) closer: Vec<Contact>,
    /// Peers that say they have the block.
    pub(super) providers: Vec<Contact>,
}

/// A peer and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The peer.
    pub peer: PeerId,
    /// Its addresses.
    pub addresses: Vec<Multiaddr>,
}
