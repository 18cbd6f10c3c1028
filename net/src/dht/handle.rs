//! The handle on the DHT.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use parking_lot::Mutex;
use perennis_rt as rt;

use super::{DhtProtocol, Local, Network, Sender, Size};
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
    /// It ends with the peer, whoever still has a handle.
    local: Weak<Local>,
    pub(super) sender: Sender,
    pub(super) sizes: Sizes,
}

/// What is known of the size of each network.
pub(super) type Sizes = Arc<Mutex<HashMap<Network, Size>>>;

impl Dht {
    pub(crate) fn new(
        own: PeerId,
        swarm: Commands<SwarmCommand>,
        local: Weak<Local>,
        streams: Streams,
        protocol: &DhtProtocol,
        dial: Duration,
    ) -> Self {
        Self {
            own,
            sender: Sender::new(protocol, streams, swarm.downgrade()),
            swarm,
            dial,
            local,
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

    /// What this peer itself knows, until it has stopped.
    pub(super) fn local(&self) -> Result<Arc<Local>, NetError> {
        self.local.upgrade().ok_or(NetError::Stopped)
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
