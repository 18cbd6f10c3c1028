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

    /// Whether a stream of this peer is being served.
    pub(crate) fn is_served(&self, peer: &PeerId) -> bool {
        self.registry.is_served(peer)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use futures_util::task::noop_waker_ref;
    use libp2p::core::{ConnectedPoint, transport::PortUse};
    use perennis_rt::BoxFuture;

    use super::*;
    use crate::protocol::{Handler, Protocol, Registration, ServeResult, Stream};

    struct Silent;

    impl Handler for Silent {
        fn serve(&self, _: PeerId, _: Stream) -> BoxFuture<'_, ServeResult> {
            Box::pin(async { Ok(()) })
        }
    }

    fn register(behaviour: &Behaviour, version: &'static str) -> Registration {
        let protocol = Protocol::new("/perennis-test/silent", version);
        let registry = &behaviour.registry;
        registry.register(protocol, Box::new(Silent)).unwrap()
    }

    /// The connections that are told something now.
    fn told(behaviour: &mut Behaviour) -> Vec<ConnectionId> {
        let mut cx = Context::from_waker(noop_waker_ref());
        let mut told = Vec::new();
        while let Poll::Ready(event) = behaviour.poll(&mut cx) {
            match event {
                ToSwarm::NotifyHandler {
                    handler: NotifyHandler::One(id),
                    event: Input::ProtocolsChanged,
                    ..
                } => told.push(id),
                other => panic!("{other:?} tells of no protocols"),
            }
        }
        told
    }

    #[test]
    fn a_change_is_told_on_the_connections_that_are_open_and_on_no_other() {
        let (mut behaviour, _serving) = Behaviour::new();
        let endpoint = ConnectedPoint::Dialer {
            address: Multiaddr::empty(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        };
        let peer_id = PeerId::random();
        let [first, second] = [1, 2].map(ConnectionId::new_unchecked);
        for (other_established, connection_id) in [first, second].into_iter().enumerate() {
            behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established,
            }));
        }
        let _one = register(&behaviour, "1");
        assert_eq!(told(&mut behaviour), [first, second]);
        let close = |behaviour: &mut Behaviour, connection_id, remaining_established| {
            behaviour.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                endpoint: &endpoint,
                cause: None,
                remaining_established,
            }));
        };
        close(&mut behaviour, first, 1);
        let _two = register(&behaviour, "2");
        assert_eq!(told(&mut behaviour), [second]);
        close(&mut behaviour, second, 0);
        let _three = register(&behaviour, "3");
        assert!(told(&mut behaviour).is_empty());
    }
}
