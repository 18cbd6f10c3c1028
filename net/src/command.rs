//! What is asked of the task that owns the swarm, and the channels that carry it.
//!
//! [`SwarmCommand`] is about connections; the DHT and pubsub have commands of their own, each with its own channel. A
//! command carries the channel of its answer. The peer runs for as long as a sender of [`SwarmCommand`] lives, so
//! tasks that must not keep it running hold a [`WeakCommands`].
//!
//! Must never touch: what a protocol says. A protocol that is added through [`crate::protocol`] needs no command.

use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::{ConnectError, NetError},
    peers::PeerInfo,
    status::NetStatus,
};

/// Commands that may wait for the worker.
const WAITING: usize = 1_024;

/// What is asked about connections.
pub(crate) enum SwarmCommand {
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
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// A channel for commands, and where the worker takes them.
pub(crate) fn channel<C>() -> (Commands<C>, mpsc::Receiver<C>) {
    let (commands, received) = mpsc::channel(WAITING);
    (Commands(commands), received)
}

/// Carries commands to the worker.
pub(crate) struct Commands<C>(mpsc::Sender<C>);

/// The same, for who must not keep the peer running.
pub(crate) struct WeakCommands<C>(mpsc::WeakSender<C>);

impl<C> Commands<C> {
    pub(crate) fn downgrade(&self) -> WeakCommands<C> {
        WeakCommands(self.0.downgrade())
    }

    pub(crate) async fn tell(&self, command: C) -> Result<(), NetError> {
        self.0.send(command).await.map_err(|_| NetError::Stopped)
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> C,
    ) -> Result<T, NetError> {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply)).await?;
        answer.await.map_err(|_| NetError::Stopped)
    }
}

impl<C> WeakCommands<C> {
    /// Asks, and waits for the answer; whoever waits does not keep the peer running.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> C,
    ) -> Result<T, NetError> {
        let (reply, answer) = oneshot::channel();
        let commands = self.0.upgrade().ok_or(NetError::Stopped)?;
        Commands(commands).tell(command(reply)).await?;
        answer.await.map_err(|_| NetError::Stopped)
    }
}

impl WeakCommands<SwarmCommand> {
    /// Connects to a peer at these addresses or those that are known of it; does nothing when it is connected. It waits
    /// for as long as that takes: whoever calls sets the deadline.
    pub(crate) async fn connect(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> Result<(), ConnectError> {
        let connecting = self.ask(|reply| SwarmCommand::Connect {
            peer,
            addresses,
            reply,
        });
        connecting.await?
    }
}

impl<C> Clone for Commands<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Clone for WeakCommands<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
