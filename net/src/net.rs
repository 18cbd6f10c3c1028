//! The handle on a peer.

use std::{sync::Arc, time::Duration};

use libp2p::{Multiaddr, PeerId, Stream};
use parking_lot::RwLock;
use perennis_rt as rt;
use perennis_shared::cid::Cid;

use crate::{
    bitswap,
    command::{Commands, SwarmCommand},
    config::{NetConfig, peer_of},
    dht::Dht,
    error::{ConnectError, NetError, StartError},
    peers::PeerInfo,
    protocol::{AcceptError, Handler, OpenError, Protocol, Registration, Streams},
    pubsub::Pubsub,
    status::NetStatus,
    swarm::{self, Started},
};

/// Providers that a fetch looks for.
const PROVIDERS: usize = 10;

/// A handle on a peer; clones are handles on the same one. The peer ends with [`Net::stop`] or with its last handle.
#[derive(Clone)]
pub struct Net(Arc<Handles>);

struct Handles {
    peer: PeerId,
    listening: Arc<RwLock<Vec<Multiaddr>>>,
    commands: Commands<SwarmCommand>,
    /// How long a caller waits for a connection or a stream.
    dial: Duration,
    dht: Dht,
    streams: Streams,
    bitswap: bitswap::Handle,
    pubsub: Option<Pubsub>,
}

impl Net {
    /// Starts a peer: listens, dials the bootstrap peers, joins the DHT.
    ///
    /// It must be called within a tokio runtime, which runs it.
    ///
    /// # Errors
    /// An address cannot be listened on, or the transports cannot be set up.
    pub async fn start(config: NetConfig) -> Result<Net, StartError> {
        let dial = config.dial;
        let protocol = config.dht_protocol.clone();
        let Started {
            peer,
            listening,
            commands,
            dht,
            streams,
            bitswap,
            pubsub,
        } = swarm::start(config).await?;
        Ok(Net(Arc::new(Handles {
            peer,
            listening,
            dht: Dht::new(
                peer,
                commands.clone(),
                dht,
                streams.clone(),
                &protocol,
                dial,
            ),
            commands,
            dial,
            streams,
            bitswap,
            pubsub,
        })))
    }

    /// The id of this peer.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.0.peer
    }

    /// The addresses this peer listens on, its id at the end of each.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let with_peer = |address: &Multiaddr| address.clone().with_p2p(self.0.peer).ok();
        self.0
            .listening
            .read()
            .iter()
            .filter_map(with_peer)
            .collect()
    }

    /// Connects to the peer at the end of an address, within [`NetConfig::dial`]; does nothing when it is connected.
    ///
    /// # Errors
    /// The address names no peer, or the peer cannot be reached there in time.
    pub async fn connect_to(&self, address: &Multiaddr) -> Result<PeerId, ConnectError> {
        let peer = peer_of(address).ok_or_else(|| ConnectError::NoPeer {
            address: address.clone(),
        })?;
        self.connect(peer, vec![address.clone()]).await?;
        Ok(peer)
    }

    /// Connects to a peer at these addresses or those that are known of it, within [`NetConfig::dial`]; does nothing when
    /// it is connected.
    ///
    /// # Errors
    /// It cannot be reached in time.
    pub async fn connect(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<(), ConnectError> {
        let commands = self.0.commands.downgrade();
        rt::timeout(self.0.dial, commands.connect(peer, addresses)).await?
    }

    /// Closes the connections with a peer and takes none any more. False when that was so already.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn ban(&self, peer: PeerId) -> Result<bool, NetError> {
        self.0
            .commands
            .ask(|reply| SwarmCommand::Ban { peer, reply })
            .await
    }

    /// Speaks with a peer again. False when it was not banned.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn unban(&self, peer: PeerId) -> Result<bool, NetError> {
        self.0
            .commands
            .ask(|reply| SwarmCommand::Unban { peer, reply })
            .await
    }

    /// The connected peers, those connected longest first.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NetError> {
        self.0
            .commands
            .ask(|reply| SwarmCommand::Peers { reply })
            .await
    }

    /// How this peer does.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn status(&self) -> Result<NetStatus, NetError> {
        self.0
            .commands
            .ask(|reply| SwarmCommand::Status { reply })
            .await
    }

    /// The addresses at which a peer is thought to listen.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn addresses_of(&self, peer: PeerId) -> Result<Vec<Multiaddr>, NetError> {
        self.0
            .commands
            .ask(|reply| SwarmCommand::Addresses { peer, reply })
            .await
    }

    /// Has a handler answer the streams that other peers open for a protocol, until the registration is dropped or this
    /// peer ends. Connected peers are told of the protocol.
    ///
    /// # Errors
    /// Another handler is registered for it, or the peer has stopped.
    pub fn accept(
        &self,
        protocol: Protocol,
        handler: impl Handler,
    ) -> Result<Registration, AcceptError> {
        self.0.streams.accept(protocol, handler)
    }

    /// Opens a stream for a protocol, and connects before that, at the addresses that are known, where it has to: both
    /// within [`NetConfig::dial`]. How long the stream lasts is up to the caller, and to the other end.
    ///
    /// # Errors
    /// The peer cannot be reached in time, does not speak the protocol, or this one has stopped.
    pub async fn open(&self, peer: PeerId, protocol: &Protocol) -> Result<Stream, OpenError> {
        rt::timeout(self.0.dial, self.0.streams.open(peer, protocol)).await?
    }

    /// Looks up and puts records and providers in the DHT.
    #[must_use]
    pub fn dht(&self) -> &Dht {
        &self.0.dht
    }

    /// Asks peers for blocks.
    #[must_use]
    pub fn bitswap(&self) -> &bitswap::Handle {
        &self.0.bitswap
    }

    /// Follows names by gossip; `None` when this peer takes no part.
    #[must_use]
    pub fn pubsub(&self) -> Option<&Pubsub> {
        self.0.pubsub.as_ref()
    }

    /// A session that fetches what is below `root`: from `peers`, and from those who say in the DHT that they have it,
    /// as they are found. Connected peers are asked when nobody was named.
    #[must_use]
    pub fn fetch_session(&self, root: &Cid, peers: &[PeerId]) -> bitswap::Session {
        let session = self.bitswap().session(peers);
        let (net, root, found) = (self.clone(), *root, session.clone());
        rt::spawn(async move {
            let Ok(providers) = net.dht().find_providers(&root, PROVIDERS).await else {
                return;
            };
            let own = net.peer_id();
            let peers: Vec<PeerId> = providers
                .providers
                .iter()
                .map(|provider| provider.peer)
                .filter(|peer| *peer != own)
                .collect();
            for provider in providers.providers {
                // One that cannot be reached is left to the session, which asks the others.
                let _ = net.connect(provider.peer, provider.addresses).await;
            }
            found.add_peers(&peers);
        });
        session
    }

    /// Ends the peer: when this returns its connections are closed, and the handlers of its protocols are gone with all
    /// that they held.
    pub async fn stop(&self) {
        let _ = self
            .0
            .commands
            .ask(|reply| SwarmCommand::Stop { reply })
            .await;
    }
}

impl From<Net> for Dht {
    fn from(net: Net) -> Self {
        net.dht().clone()
    }
}
