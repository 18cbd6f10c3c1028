//! The handle on the DHT, and what it asks of the task that owns the routing tables.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_shared::wire::kad::Question;
use tokio::sync::oneshot;

use super::{Network, Sender, Size};
use crate::{
    command::{Commands, SwarmCommand},
    error::{ConnectError, NetError},
    peers::Contact,
    protocol::Streams,
    status::NetStatus,
};

/// A handle on the DHT; clones are handles on the same one. The peer runs for as long as one is there.
#[derive(Clone)]
pub struct Dht {
    own: PeerId,
    swarm: Commands<SwarmCommand>,
    dial: Duration,
    pub(super) table: Commands<DhtCommand>,
    pub(super) sender: Sender,
    pub(super) sizes: Sizes,
}

/// What is known of the size of each network.
pub(super) type Sizes = Arc<Mutex<HashMap<Network, Size>>>;

/// What is asked of the routing tables and of what is stored beside them.
pub(crate) enum DhtCommand {
    /// What this peer itself would answer to a question.
    Answer {
        network: Network,
        question: Question,
        key: Bytes,
        reply: oneshot::Sender<Answer>,
    },
    /// Stores a record as if another peer had put it here.
    Store { key: Vec<u8>, value: Vec<u8> },
    /// Tells others that this peer provides a key when they ask it.
    Provide { key: Vec<u8> },
    /// Stops to count as a provider of a key.
    Withdraw { key: Vec<u8> },
}

/// The answer of one peer of the DHT to a question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The bytes it has as the record.
    pub(crate) record: Option<Vec<u8>>,
    /// The peers closest to the key that it knows.
    pub(crate) closer: Vec<Contact>,
    /// Peers that say they have the block.
    pub(crate) providers: Vec<Contact>,
}

impl Dht {
    pub(crate) fn new(
        own: PeerId,
        swarm: Commands<SwarmCommand>,
        table: Commands<DhtCommand>,
        streams: Streams,
        dial: Duration,
    ) -> Self {
        Self {
            own,
            sender: Sender::new(streams, swarm.downgrade()),
            swarm,
            dial,
            table,
            sizes: Sizes::default(),
        }
    }

    /// The id of this peer.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.own
    }

    /// Connects to a peer; does nothing when it is connected.
    pub(crate) async fn connect(&self, contact: Contact) -> Result<(), ConnectError> {
        let Contact { peer, addresses } = contact;
        let commands = self.swarm.downgrade();
        rt::timeout(self.dial, commands.connect(peer, addresses)).await?
    }

    pub(super) async fn status(&self) -> Result<NetStatus, NetError> {
        self.swarm.ask(|reply| SwarmCommand::Status { reply }).await
    }

    pub(super) async fn addresses_of(&self, peer: PeerId) -> Result<Vec<Multiaddr>, NetError> {
        self.swarm
            .ask(|reply| SwarmCommand::Addresses { peer, reply })
            .await
    }
}
