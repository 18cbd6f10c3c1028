//! The part of one connection: it negotiates streams, in the connection's own task. Streams are negotiated beside each
//! other, so a peer that is slow about one protocol holds up no other.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    io,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    PeerId, Stream, StreamProtocol,
    core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError},
    },
};

use super::{OpenError, registry::Registry, streams::Opening};

/// What the behaviour tells a connection.
#[derive(Debug)]
pub(crate) enum Input {
    /// Open this stream.
    Open(Opening),
    /// Other protocols are accepted now. That it is told is enough: the connection looks for itself.
    ProtocolsChanged,
}

/// Negotiates the streams of one connection.
pub(crate) struct Connection {
    peer: PeerId,
    registry: Arc<Registry>,
    openings: VecDeque<Opening>,
}

impl Connection {
    pub(super) fn new(peer: PeerId, registry: Arc<Registry>) -> Self {
        Self {
            peer,
            registry,
            openings: VecDeque::new(),
        }
    }
}

impl ConnectionHandler for Connection {
    type FromBehaviour = Input;
    type ToBehaviour = Infallible;
    type InboundProtocol = Registered;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opening;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(Registered(self.registry.names()), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Opening, Infallible>> {
        while let Some(opening) = self.openings.pop_front() {
            // Whoever asked may have given up since.
            if !opening.reply.is_closed() {
                let upgrade = ReadyUpgrade::new(opening.protocol.wire_name());
                return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                    protocol: SubstreamProtocol::new(upgrade, opening),
                });
            }
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, input: Input) {
        match input {
            Input::Open(opening) => self.openings.push_back(opening),
            Input::ProtocolsChanged => {}
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Opening>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(opened) => {
                let (stream, name) = opened.protocol;
                self.registry.serve(self.peer, &name, stream);
            }
            ConnectionEvent::FullyNegotiatedOutbound(opened) => {
                opened.info.end(Ok(opened.protocol));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let error = match error {
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported {
                        protocol: info.protocol.clone(),
                    },
                    StreamUpgradeError::Io(error) => OpenError::Broken(error),
                    StreamUpgradeError::Timeout => {
                        OpenError::Broken(io::ErrorKind::TimedOut.into())
                    }
                    StreamUpgradeError::Apply(never) => match never {},
                };
                info.end(Err(error));
            }
            _ => {}
        }
    }
}

/// The protocols that are accepted, for the negotiation of a stream that the other end opens.
pub(crate) struct Registered(Arc<[StreamProtocol]>);

impl UpgradeInfo for Registered {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        Vec::from(&*self.0).into_iter()
    }
}

impl InboundUpgrade<Stream> for Registered {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}
