//! The part of the swarm: it hands streams that are to be opened to a connection, and tells connections when the
//! accepted protocols have changed, so that the other ends hear of it at once.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{ConnectionClosed, ConnectionEstablished},
    },
};
use tokio::sync::mpsc;

use super::{
    connection::{Connection, Input},
    registry::{Registry, Serving},
    streams::{Opening, Streams},
};
use crate::command::{SwarmCommand, WeakCommands};

/// Streams to be opened that may wait for the swarm; more wait at the caller.
const WAITING: usize = 256;

/// The streams of protocols that are registered, as a part of the swarm.
pub(crate) struct Behaviour {
    registry: Arc<Registry>,
    opener: mpsc::Sender<Opening>,
    openings: mpsc::Receiver<Opening>,
    connections: HashMap<PeerId, Vec<ConnectionId>>,
    /// Connections that have yet to be told of a change.
    to_tell: VecDeque<(PeerId, ConnectionId)>,
}

impl Behaviour {
    /// The behaviour, and the tasks that serve streams.
    pub(crate) fn new() -> (Self, Serving) {
        let (registry, serving) = Registry::new();
        let (opener, openings) = mpsc::channel(WAITING);
        let behaviour = Self {
            registry,
            opener,
            openings,
            connections: HashMap::new(),
            to_tell: VecDeque::new(),
        };
        (behaviour, serving)
    }

    /// A handle. It connects with peers by `commands`.
    pub(crate) fn streams(&self, commands: WeakCommands<SwarmCommand>) -> Streams {
        Streams::new(Arc::clone(&self.registry), self.opener.clone(), commands)
    }

    fn connection(&self, peer: PeerId) -> Connection {
        Connection::new(peer, Arc::clone(&self.registry))
    }
}

impl Drop for Behaviour {
    fn drop(&mut self) {
        self.registry.close();
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Connection;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.connection(peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.connection(peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => self
                .connections
                .entry(peer_id)
                .or_default()
                .push(connection_id),
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                remaining_established,
                ..
            }) => {
                if remaining_established == 0 {
                    self.connections.remove(&peer_id);
                } else if let Some(open) = self.connections.get_mut(&peer_id) {
                    open.retain(|id| *id != connection_id);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if self.registry.poll_changed(cx) {
            let open = self.connections.iter();
            let open = open.flat_map(|(peer, ids)| ids.iter().map(|id| (*peer, *id)));
            self.to_tell = open.collect();
        }
        if let Some((peer_id, id)) = self.to_tell.pop_front() {
            return Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(id),
                event: Input::ProtocolsChanged,
            });
        }
        while let Poll::Ready(Some(opening)) = self.openings.poll_recv(cx) {
            let peer_id = opening.peer;
            if self.connections.contains_key(&peer_id) {
                return Poll::Ready(ToSwarm::NotifyHandler {
                    peer_id,
                    handler: NotifyHandler::Any,
                    event: Input::Open(opening),
                });
            }
            opening.end(Err(Opening::lost()));
        }
        Poll::Pending
    }
}
