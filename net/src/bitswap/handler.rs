//! One connection: streams in, one stream out.
//!
//! It runs in the connection's own task, so that reading, decoding and writing never hold up the swarm. It knows
//! nothing of wants or ledgers. Messages go out one after another on one stream that is kept. A peer may open
//! several and send any number of messages on each; the Go implementation opens one for each message, so there may be as many as
//! answers are waited for. Large messages are read a few at a time, the others wait: a stream that is reset is an answer lost.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt, io,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use libp2p::{
    StreamProtocol,
    core::upgrade::ReadyUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError},
    },
};
use perennis_rt::BoxFuture;
use perennis_shared::{
    error::{ErrorKind, Retryable},
    wire::bitswap::{Message, PROTOCOL},
};

use super::{
    budget::{Budget, Loan},
    frame::{self, Budgets, LARGE_AT_ONCE, ReadError},
};

/// Attempts to send one message, each on a stream of its own after the first has failed.
const ATTEMPTS: u32 = 2;

/// What a connection needs to know.
#[derive(Clone, Debug)]
pub(super) struct HandlerConfig {
    pub(super) inbound_streams: usize,
    pub(super) connection_bytes: usize,
    pub(super) stall: Duration,
    pub(super) shared: Budget,
}

/// What the behaviour tells a connection.
#[derive(Debug)]
pub enum Input {
    /// Send this. The behaviour bounds how many wait.
    Send(Box<Message>),
    /// About so many answers are waited for: so many more streams may be open. With none there is no reason to keep the connection.
    Expect(usize),
}

/// What a connection tells the behaviour.
#[derive(Debug)]
pub enum Output {
    /// A message has come. Its memory is on loan until it is dropped.
    Received(Box<Message>, Loan),
    /// The oldest message that waited has been written.
    Sent,
    /// It could not be, and none behind it.
    SendFailed(SendError),
    /// A stream carried what is no message. It was dropped.
    Garbage(ReadError),
    /// A stream broke in the middle of a message, or was one too many: what it carried is lost.
    Lost,
}

/// Why messages could not be sent to a peer.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The peer does not speak the protocol.
    #[error("the peer does not speak {PROTOCOL}")]
    Unsupported,
    /// No stream could be opened.
    #[error("no stream could be opened")]
    Open,
    /// The stream broke or the peer took no more bytes.
    #[error("the stream broke")]
    Stream(#[from] io::Error),
}

impl Retryable for SendError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unsupported => ErrorKind::Reject,
            Self::Open | Self::Stream(_) => ErrorKind::Retry,
        }
    }
}

type Reading = BoxFuture<'static, (Stream, Result<Option<(Message, Loan)>, ReadError>)>;
type Writing = BoxFuture<'static, (Stream, Box<Message>, io::Result<()>)>;

/// The state of one connection.
pub struct Handler {
    config: HandlerConfig,
    budget: Budget,
    /// Large messages that may be read at once.
    large: Budget,
    inbound: FuturesUnordered<Reading>,
    outbound: Outbound,
    queue: VecDeque<Box<Message>>,
    attempts: u32,
    expected: usize,
    events: VecDeque<Output>,
}

enum Outbound {
    Closed,
    Opening,
    Idle(Stream),
    Writing(Writing),
}

impl Handler {
    pub(super) fn new(config: HandlerConfig) -> Self {
        Self {
            budget: Budget::new(config.connection_bytes),
            large: Budget::new(LARGE_AT_ONCE),
            config,
            inbound: FuturesUnordered::new(),
            outbound: Outbound::Closed,
            queue: VecDeque::new(),
            attempts: 0,
            expected: 0,
            events: VecDeque::new(),
        }
    }

    fn read_from(&mut self, mut stream: Stream) {
        let (own, shared) = (self.budget.clone(), self.config.shared.clone());
        let large = self.large.clone();
        let stall = self.config.stall;
        self.inbound.push(Box::pin(async move {
            let budgets = Budgets {
                own: &own,
                shared: &shared,
                large: &large,
            };
            let read = frame::read(&mut stream, budgets, stall).await;
            (stream, read)
        }));
    }

    fn write_to(&mut self, mut stream: Stream, message: Box<Message>) {
        let stall = self.config.stall;
        self.outbound = Outbound::Writing(Box::pin(async move {
            let pieces = message.encode();
            let written = frame::write(&mut stream, &pieces, stall).await;
            (stream, message, written)
        }));
    }

    fn failed(&mut self, error: SendError) {
        self.outbound = Outbound::Closed;
        self.queue.clear();
        self.attempts = 0;
        self.events.push_back(Output::SendFailed(error));
    }

    /// Writes what waits. Whether a stream has to be opened for that.
    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            match std::mem::replace(&mut self.outbound, Outbound::Closed) {
                Outbound::Writing(mut writing) => {
                    let Poll::Ready((stream, message, written)) = writing.as_mut().poll(cx) else {
                        self.outbound = Outbound::Writing(writing);
                        return false;
                    };
                    match written {
                        Ok(()) => {
                            self.attempts = 0;
                            self.outbound = Outbound::Idle(stream);
                            self.events.push_back(Output::Sent);
                        }
                        // A peer may have closed a stream that rested; one that takes no bytes will take none again.
                        Err(error) if self.attempts < ATTEMPTS && !is_timeout(&error) => {
                            self.queue.push_front(message);
                        }
                        Err(error) => self.failed(error.into()),
                    }
                }
                Outbound::Idle(stream) => match self.queue.pop_front() {
                    Some(message) => self.write_to(stream, message),
                    None => {
                        self.outbound = Outbound::Idle(stream);
                        return false;
                    }
                },
                Outbound::Closed if self.queue.is_empty() => return false,
                Outbound::Closed => {
                    self.attempts += 1;
                    self.outbound = Outbound::Opening;
                    return true;
                }
                Outbound::Opening => {
                    self.outbound = Outbound::Opening;
                    return false;
                }
            }
        }
    }

    fn poll_inbound(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((stream, read))) = self.inbound.poll_next_unpin(cx) {
            match read {
                Ok(Some((message, loan))) => {
                    self.read_from(stream);
                    let message = Box::new(message);
                    self.events.push_back(Output::Received(message, loan));
                    return;
                }
                Ok(None) => {}
                Err(error) if error.is_garbage() => {
                    self.events.push_back(Output::Garbage(error));
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "a stream was dropped");
                    self.events.push_back(Output::Lost);
                    return;
                }
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Input;
    type ToBehaviour = Output;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new(PROTOCOL)), ())
    }

    fn connection_keep_alive(&self) -> bool {
        let is_busy = matches!(self.outbound, Outbound::Opening | Outbound::Writing(_));
        self.expected > 0 || is_busy || !self.queue.is_empty()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Output>> {
        if self.poll_outbound(cx) {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: self.listen_protocol(),
            });
        }
        if self.events.is_empty() {
            self.poll_inbound(cx);
        }
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event)),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, input: Input) {
        match input {
            Input::Send(message) => self.queue.push_back(message),
            Input::Expect(answers) => self.expected = answers,
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(opened) => {
                let mut stream = opened.protocol;
                stream.ignore_for_keep_alive();
                if self.inbound.len() < self.config.inbound_streams + self.expected {
                    self.read_from(stream);
                } else {
                    // It is dropped, and so reset.
                    self.events.push_back(Output::Lost);
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(opened) => {
                let mut stream = opened.protocol;
                stream.ignore_for_keep_alive();
                self.outbound = Outbound::Idle(stream);
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                let error = match error {
                    StreamUpgradeError::NegotiationFailed => SendError::Unsupported,
                    StreamUpgradeError::Io(error) => SendError::Stream(error),
                    StreamUpgradeError::Timeout => SendError::Open,
                    StreamUpgradeError::Apply(never) => {
                        let never: Infallible = never;
                        match never {}
                    }
                };
                self.failed(error);
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("inbound", &self.inbound.len())
            .field("queue", &self.queue.len())
            .finish_non_exhaustive()
    }
}
