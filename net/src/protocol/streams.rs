//! The handle: protocols are accepted through it, and streams opened.

use std::{io, sync::Arc};

use libp2p::{PeerId, Stream};
use tokio::sync::{mpsc, oneshot};

use super::{AcceptError, Handler, OpenError, Protocol, Registration, registry::Registry};
use crate::{
    command::{SwarmCommand, WeakCommands},
    error::NetError,
};

/// Accepts protocols and opens streams; clones do the same. It does not keep the peer running.
#[derive(Clone)]
pub(crate) struct Streams {
    registry: Arc<Registry>,
    openings: mpsc::Sender<Opening>,
    commands: WeakCommands<SwarmCommand>,
}

/// A stream that is to be opened with a connected peer.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(super) peer: PeerId,
    pub(super) protocol: Protocol,
    pub(super) reply: oneshot::Sender<Result<Stream, OpenError>>,
}

impl Streams {
    pub(super) fn new(
        registry: Arc<Registry>,
        openings: mpsc::Sender<Opening>,
        commands: WeakCommands<SwarmCommand>,
    ) -> Self {
        Self {
            registry,
            openings,
            commands,
        }
    }

    /// Has a handler answer the streams that others open for a protocol, until the registration is dropped.
    pub(crate) fn accept(
        &self,
        protocol: Protocol,
        handler: impl Handler,
    ) -> Result<Registration, AcceptError> {
        self.registry.register(protocol, Box::new(handler))
    }

    /// Opens a stream, and connects before that where it has to. It waits for as long as both take: whoever calls sets
    /// the deadline.
    pub(crate) async fn open(
        &self,
        peer: PeerId,
        protocol: &Protocol,
    ) -> Result<Stream, OpenError> {
        self.commands.connect(peer, Vec::new()).await?;
        self.open_connected(peer, protocol).await
    }

    /// Opens a stream with a peer that is connected, without a deadline either.
    pub(crate) async fn open_connected(
        &self,
        peer: PeerId,
        protocol: &Protocol,
    ) -> Result<Stream, OpenError> {
        let (reply, opened) = oneshot::channel();
        let opening = Opening {
            peer,
            protocol: protocol.clone(),
            reply,
        };
        let sent = self.openings.send(opening).await;
        sent.map_err(|_| NetError::Stopped)?;
        // The connection closed and took the question with it.
        opened.await.unwrap_or_else(|_| Err(Opening::lost()))
    }
}

impl Opening {
    /// There is no connection, or not any more.
    pub(super) fn lost() -> OpenError {
        OpenError::Broken(io::ErrorKind::NotConnected.into())
    }

    /// Tells what became of it. Whoever waited may have given up.
    pub(super) fn end(self, opened: Result<Stream, OpenError>) {
        let _ = self.reply.send(opened);
    }
}
