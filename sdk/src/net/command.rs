//! What the handle asks of the worker. Each command carries the channel of its answer.

use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

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
    /// Asks the DHT. Dropping the receiver ends the query.
    Query {
        network: Network,
        query: Query,
        answers: mpsc::UnboundedSender<Answer>,
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

/// A question to the DHT.
#[derive(Clone, Debug)]
pub(super) enum Query {
    Closest { key: Vec<u8> },
    Record { key: Vec<u8> },
    Providers { key: Vec<u8> },
}

/// What came back so far. The end of the channel is the end of the query.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The peers closest to the key, nearest first.
    Closest(Vec<Contact>),
    /// The bytes a peer gave as the record; `None` when it was this peer itself.
    Record(Option<PeerId>, Vec<u8>),
    /// Peers close to the key that have no record.
    Without(Vec<PeerId>),
    /// Peers that say they have the block.
    Providers(Vec<PeerId>),
    /// The query ran out of time; what came before it counts.
    TimedOut,
}

/// A peer and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The peer.
    pub peer: PeerId,
    /// Its addresses.
    pub addresses: Vec<Multiaddr>,
}
