//! The handle on a peer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::OptionFuture};
use libp2p::{Multiaddr, PeerId, TransportError, swarm::DialError};
use parking_lot::{Mutex, RwLock};
use perennis_rt as rt;
use perennis_shared::{
    cid::Cid,
    error::{ErrorKind, Retryable},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    bitswap,
    command::Command,
    config::{NetConfig, peer_of},
    dht::{Network, Sender, Size},
    peers::{Inbound, PeerInfo},
    pubsub::Pubsub,
    transport,
    worker::Worker,
};

/// Commands that may wait for the worker.
const COMMANDS: usize = 1_024;

/// Providers that a fetch looks for.
const PROVIDERS: usize = 10;

/// How long a dial may take.
const DIAL: Duration = Duration::from_secs(15);

/// A handle on a peer; clones are handles on the same one. The peer ends with [`Net::stop`] or with its last handle.
#[derive(Clone)]
pub struct Net {
    pub(super) commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

struct Shared {
    peer: PeerId,
    listening: Arc<RwLock<Vec<Multiaddr>>>,
    sender: Sender,
    sizes: Sizes,
    bitswap: bitswap::Handle,
    pubsub: Option<Pubsub>,
}

/// What is known of the size of each network.
pub(super) type Sizes = Arc<Mutex<HashMap<Network, Size>>>;

/// How a peer does.
#[derive(Clone, Debug)]
pub struct NetStatus {
    /// Addresses it listens on.
    pub listening: Vec<Multiaddr>,
    /// Addresses at which others are known to reach it.
    pub external: Vec<Multiaddr>,
    /// Connected peers.
    pub peers: usize,
    /// Connections that others opened.
    pub inbound: Inbound,
    /// Peers in the routing table of each network it takes part in.
    pub routing: Vec<(Network, usize)>,
    /// Peers that are not spoken to.
    pub banned: Vec<PeerId>,
}

impl Net {
    /// Starts a peer: listens, dials the bootstrap peers, joins the DHT.
    ///
    /// It must be called within a tokio runtime, which runs it.
    ///
    /// # Errors
    /// An address cannot be listened on, or the transports cannot be set up.
    pub async fn start(config: NetConfig) -> Result<Net, StartError> {
        let mut swarm = transport::swarm(&config).await?;
        let peer = *swarm.local_peer_id();
        for address in &config.announce {
            swarm.add_external_address(address.clone());
        }
        let listening = Arc::new(RwLock::new(Vec::new()));
        let (commands, received) = mpsc::channel(COMMANDS);
        let control = swarm.behaviour().streams.new_control();
        let bitswap = swarm.behaviour().bitswap.handle();
        let topics = config.pubsub.as_ref();
        let pubsub = topics.map(|topics| Pubsub::new(topics, &control, commands.downgrade()));
        let worker = Worker::new(
            swarm,
            &config,
            received,
            Arc::clone(&listening),
            pubsub.clone(),
        );
        let worker = worker.listen(&config.listen).await?;
        let answering = pubsub.as_ref().map(|pubsub| pubsub.answer(config.store));
        rt::spawn(worker.run(OptionFuture::from(answering).map(drop)));
        let sender = Sender::new(control, commands.downgrade());
        Ok(Net {
            commands,
            shared: Arc::new(Shared {
                peer,
                listening,
                sender,
                sizes: Sizes::default(),
                bitswap,
                pubsub,
            }),
        })
    }

    /// The id of this peer.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.shared.peer
    }

    /// The addresses this peer listens on, its id at the end of each.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let with_peer = |address: &Multiaddr| address.clone().with_p2p(self.shared.peer).ok();
        self.shared
            .listening
            .read()
            .iter()
            .filter_map(with_peer)
            .collect()
    }

    /// Connects to the peer at the end of an address; does nothing when it is connected.
    ///
    /// # Errors
    /// The address names no peer, or the peer cannot be reached there.
    pub async fn connect_to(&self, address: &Multiaddr) -> Result<PeerId, ConnectError> {
        let peer = peer_of(address).ok_or_else(|| ConnectError::NoPeer {
            address: address.clone(),
        })?;
        self.connect(peer, vec![address.clone()]).await?;
        Ok(peer)
    }

    /// Connects to a peer at these addresses or those that are known of it; does nothing when it is connected.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn connect(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<(), ConnectError> {
        let command = |reply| Command::Connect {
            peer,
            addresses,
            reply,
        };
        let connecting = self.ask(command);
        match rt::timeout(DIAL, connecting).await {
            Ok(answer) => answer?,
            Err(elapsed) => Err(ConnectError::Deadline {
                after: elapsed.after,
            }),
        }
    }

    /// Closes the connections with a peer and takes none any more. False when that was so already.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn ban(&self, peer: PeerId) -> Result<bool, NetError> {
        self.ask(|reply| Command::Ban { peer, reply }).await
    }

    /// Speaks with a peer again. False when it was not banned.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn unban(&self, peer: PeerId) -> Result<bool, NetError> {
        self.ask(|reply| Command::Unban { peer, reply }).await
    }

    /// The connected peers, those connected longest first.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NetError> {
        self.ask(|reply| Command::Peers { reply }).await
    }

    /// How this peer does.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn status(&self) -> Result<NetStatus, NetError> {
        self.ask(|reply| Command::Status { reply }).await
    }

    /// The addresses at which a peer is thought to listen.
    ///
    /// # Errors
    /// The peer has stopped.
    pub async fn addresses_of(&self, peer: PeerId) -> Result<Vec<Multiaddr>, NetError> {
        self.ask(|reply| Command::Addresses { peer, reply }).await
    }

    /// Asks peers for blocks.
    #[must_use]
    pub fn bitswap(&self) -> &bitswap::Handle {
        &self.shared.bitswap
    }

    /// Follows names by gossip; `None` when this peer takes no part.
    #[must_use]
    pub fn pubsub(&self) -> Option<&Pubsub> {
        self.shared.pubsub.as_ref()
    }

    /// A session that fetches what is below `root`: from `peers`, and from those who say in the DHT that they have it,
    /// as they are found. Connected peers are asked when nobody was named.
    #[must_use]
    pub fn fetch_session(&self, root: &Cid, peers: &[PeerId]) -> bitswap::Session {
        let session = self.bitswap().session(peers);
        let (net, root, found) = (self.clone(), *root, session.clone());
        rt::spawn(async move {
            let Ok(providers) = net.find_providers(&root, PROVIDERS).await else {
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

    /// Ends the peer: its connections are closed when this returns.
    pub async fn stop(&self) {
        let _ = self.ask(|reply| Command::Stop { reply }).await;
    }

    pub(super) fn sender(&self) -> &Sender {
        &self.shared.sender
    }

    pub(super) fn sizes(&self) -> &Sizes {
        &self.shared.sizes
    }

    pub(super) async fn tell(&self, command: Command) -> Result<(), NetError> {
        self.commands
            .send(command)
            .await
            .map_err(|_| NetError::Stopped)
    }

    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, NetError> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await?;
        answer.await.map_err(|_| NetError::Stopped)
    }
}

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
    pub(super) fn of_dial(peer: PeerId, error: &Arc<DialError>) -> Self {
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

impl Retryable for ConnectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoPeer { .. } | Self::Own | Self::Denied { .. } => ErrorKind::Reject,
            Self::WrongPeer { .. } => ErrorKind::Corrupt,
            Self::NoAddress { .. } | Self::Dial { .. } | Self::Deadline { .. } => ErrorKind::Retry,
            Self::Net(_) => ErrorKind::Fatal,
        }
    }
}
