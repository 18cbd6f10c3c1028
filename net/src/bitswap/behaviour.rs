//! The part of the swarm that exchanges blocks: it hands inputs to the machines and carries out what they say.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    futures::channel::{mpsc, oneshot},
    swarm::{
        ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, NotifyHandler,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure},
        dial_opts::{DialOpts, PeerCondition},
    },
};
use perennis_rt::{self as rt, BoxFuture};
use perennis_shared::{
    cid::Block,
    limits::BITSWAP_MESSAGE_BYTES,
    wire::bitswap::{Message, Payload},
};

use super::{
    BlockSource, Config, Event, Handle,
    budget::{Budget, Loan},
    client::{self, Client, WantId},
    frame::{FIRST_BYTES, LARGE_AT_ONCE},
    handle::{Answer, Command},
    handler::{Handler, HandlerConfig, Input, Output, SendError},
    outbox::Outbox,
    server::{JobResult, Server},
};

/// Commands taken at once before the swarm has its turn again.
const COMMANDS: usize = 1_024;
/// Addresses of peers above which those are forgotten that nobody needs.
const REACHED: usize = 4_096;
/// Messages hashed at once.
const HASHING: usize = 2;
/// Payloads up to this many bytes are hashed where they are: a thread costs more.
const HASHED_HERE: usize = 8 << 10;

/// Bitswap, client and server.
pub struct Behaviour<S> {
    config: Config,
    source: Arc<S>,
    handle: Handle,
    commands: mpsc::UnboundedReceiver<Command>,
    shared: Budget,
    client: Client,
    server: Server,
    peers: HashMap<PeerId, Connected>,
    /// Where this peer has reached those that it is connected with or connects to anew.
    reached: HashMap<PeerId, Multiaddr>,
    /// Peers for whom there may be something to send.
    touched: HashSet<PeerId>,
    replies: HashMap<WantId, oneshot::Sender<Answer>>,
    to_hash: VecDeque<(PeerId, Vec<Payload>, Loan)>,
    hashing: FuturesUnordered<BoxFuture<'static, Hashed>>,
    reading: FuturesUnordered<BoxFuture<'static, JobResult>>,
    timer: Option<(Duration, BoxFuture<'static, ()>)>,
    events: VecDeque<ToSwarm<Event, Input>>,
}

struct Connected {
    /// The first is the one messages go out on.
    connections: Vec<ConnectionId>,
    outbox: Outbox,
    /// Answers that its connection is told to expect.
    expected: usize,
    /// Whether the client counts on it.
    is_usable: bool,
}

struct Hashed {
    peer: PeerId,
    count: usize,
    blocks: Vec<Block>,
}

impl<S: BlockSource> Behaviour<S> {
    /// Serves the blocks of `source`.
    #[must_use]
    pub fn new(source: S, mut config: Config) -> Self {
        let first_parts = LARGE_AT_ONCE * FIRST_BYTES;
        let least = BITSWAP_MESSAGE_BYTES + first_parts;
        config.receive_peer_bytes = config.receive_peer_bytes.max(least);
        config.receive_bytes = config.receive_bytes.max(BITSWAP_MESSAGE_BYTES);
        let (handle, commands) = Handle::new();
        Self {
            source: Arc::new(source),
            handle,
            commands,
            shared: Budget::new(config.receive_bytes),
            client: Client::new(&config),
            server: Server::new(&config),
            peers: HashMap::new(),
            reached: HashMap::new(),
            touched: HashSet::new(),
            replies: HashMap::new(),
            to_hash: VecDeque::new(),
            hashing: FuturesUnordered::new(),
            reading: FuturesUnordered::new(),
            timer: None,
            events: VecDeque::new(),
            config,
        }
    }

    /// Asks for blocks, from anywhere.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Wants of one peer that wait, for blocks that are here or not.
    #[must_use]
    pub fn wants_of(&self, peer: &PeerId) -> usize {
        self.server.wants_of(peer)
    }

    /// Whether a peer waits for blocks, or is waited for.
    #[must_use]
    pub fn is_in_use(&self, peer: &PeerId) -> bool {
        self.server.wants_of(peer) > 0 || self.client.answers_open(peer) > 0
    }

    /// Bytes of blocks that are read and not sent yet, for all peers.
    #[must_use]
    pub fn bytes_to_send(&self) -> usize {
        self.server.bytes()
    }

    fn command(&mut self, now: Duration, command: Command, out: &mut Vec<client::Output>) {
        match command {
            Command::Open(session, peers) => self.client.open(now, session, &peers, out),
            Command::Close(session) => self.client.close(session, out),
            Command::Want(id, session, cid, reply) => {
                self.replies.insert(id, reply);
                self.client.want(now, id, session, cid, out);
            }
            Command::Cancel(id, session, cid) => {
                if self.replies.remove(&id).is_some() {
                    self.client.cancel(id, session, &cid, out);
                }
            }
            Command::HaveNow(cids) => self.server.have_now(&cids),
            // Nobody waits for the answer any more when it cannot be sent.
            Command::Counts(reply) => drop(reply.send(self.client.counts())),
        }
    }

    fn carry_out(&mut self, out: Vec<client::Output>) {
        let mut out = VecDeque::from(out);
        while let Some(output) = out.pop_front() {
            match output {
                client::Output::Tell(peer, want) => {
                    if let Some(known) = self.peers.get_mut(&peer) {
                        known.outbox.want(want);
                        self.touched.insert(peer);
                    }
                }
                client::Output::Done(id, answer) => {
                    if let Some(reply) = self.replies.remove(&id) {
                        // Whoever has stopped waiting has no use for it.
                        drop(reply.send(answer));
                    }
                }
                // Connected, and found to be of no use: it is given another chance.
                client::Output::Dial(peer) if self.peers.contains_key(&peer) => {
                    let mut more = Vec::new();
                    if let Some(known) = self.peers.get_mut(&peer) {
                        known.is_usable = true;
                    }
                    self.client.connected(rt::monotonic(), peer, &mut more);
                    out.extend(more);
                }
                client::Output::Dial(peer) => {
                    let reached = self.reached.get(&peer).cloned();
                    let opts = DialOpts::peer_id(peer)
                        .condition(PeerCondition::DisconnectedAndNotDialing)
                        .addresses(reached.into_iter().collect())
                        .extend_addresses_through_behaviour()
                        .build();
                    self.events.push_back(ToSwarm::Dial { opts });
                }
                client::Output::Unrequested(peer, blocks) => {
                    let event = Event::Unrequested { peer, blocks };
                    self.events.push_back(ToSwarm::GenerateEvent(event));
                }
            }
        }
    }

    fn received(&mut self, peer: PeerId, message: Message, loan: Loan) {
        let (now, mut out) = (rt::monotonic(), Vec::new());
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        self.touched.insert(peer);
        if !std::mem::replace(&mut known.is_usable, true) {
            self.client.connected(now, peer, &mut out);
        }
        if message.left_out > 0 {
            let left_out = message.left_out;
            let event = Event::TooManyWants { peer, left_out };
            self.events.push_back(ToSwarm::GenerateEvent(event));
        }
        if message.is_full || !message.wants.is_empty() {
            let reply = self.server.wants(peer, message.wants, message.is_full);
            known.outbox.answer(reply.payload, reply.presences);
        }
        let presences = &message.presences;
        self.client.presences(now, &peer, presences, &mut out);
        let payload = self.client.admit(&peer, message.payload, &mut out);
        if !payload.is_empty() {
            self.to_hash.push_back((peer, payload, loan));
        }
        self.carry_out(out);
    }

    fn send_failed(&mut self, peer: PeerId, error: SendError) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        known.is_usable = false;
        let unsent = known.outbox.clear();
        self.server.sent(&peer, unsent);
        let mut out = Vec::new();
        self.client.gone(rt::monotonic(), &peer, &mut out);
        self.carry_out(out);
        let event = Event::Unreachable { peer, error };
        self.events.push_back(ToSwarm::GenerateEvent(event));
        self.touched.insert(peer);
    }

    fn connected(&mut self, peer: PeerId, connection: ConnectionId) {
        let known = self.peers.entry(peer).or_insert_with(|| Connected {
            connections: Vec::new(),
            outbox: Outbox::default(),
            expected: 0,
            is_usable: true,
        });
        known.connections.push(connection);
        if known.connections.len() == 1 {
            let mut out = Vec::new();
            self.client.connected(rt::monotonic(), peer, &mut out);
            self.carry_out(out);
        }
    }

    fn disconnected(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        let was_first = known.connections.first() == Some(&connection);
        known.connections.retain(|id| *id != connection);
        if !was_first {
            return;
        }
        let (now, mut out) = (rt::monotonic(), Vec::new());
        let unsent = known.outbox.clear();
        known.expected = 0;
        self.server.sent(&peer, unsent);
        if known.connections.is_empty() {
            self.peers.remove(&peer);
            self.touched.remove(&peer);
            self.server.gone(&peer);
            self.gone(now, peer, &mut out);
        } else {
            // What was asked on the lost connection is asked anew on the next.
            known.is_usable = true;
            self.client.gone(now, &peer, &mut out);
            self.client.connected(now, peer, &mut out);
        }
        self.carry_out(out);
    }

    /// A peer is not connected any more, or could not be.
    fn gone(&mut self, now: Duration, peer: PeerId, out: &mut Vec<client::Output>) {
        self.client.gone(now, &peer, out);
        if !self.client.seeks(&peer) {
            self.reached.remove(&peer);
        }
    }

    /// Begins hashing and reading, as far as that may be done at once.
    fn begin(&mut self) {
        while self.hashing.len() < HASHING
            && let Some((peer, payload, loan)) = self.to_hash.pop_front()
        {
            self.hashing.push(hash(peer, payload, loan));
        }
        while let Some(job) = self.server.next_job() {
            let (source, lease) = (Arc::clone(&self.source), job.lease());
            let (reply, found) = oneshot::channel();
            rt::spawn(async move {
                // The behaviour has gone when nobody takes it.
                drop(reply.send(job.run(&*source).await));
            });
            let found = found.map(move |found| found.unwrap_or_else(|_| lease.broken()));
            self.reading.push(Box::pin(found));
        }
    }

    /// Hands messages to connections that can take one.
    fn flush(&mut self) {
        for peer in self.touched.drain() {
            let Some(known) = self.peers.get_mut(&peer) else {
                continue;
            };
            let Some(first) = known.connections.first() else {
                continue;
            };
            let mut notify = |event| {
                self.events.push_back(ToSwarm::NotifyHandler {
                    peer_id: peer,
                    handler: NotifyHandler::One(*first),
                    event,
                });
            };
            let expected = expected(self.client.answers_open(&peer), known.expected);
            if std::mem::replace(&mut known.expected, expected) != expected {
                notify(Input::Expect(expected));
            }
            while let Some(message) = known.outbox.next(self.config.message_bytes) {
                notify(Input::Send(Box::new(message)));
            }
        }
    }

    /// Whether the timer has to be looked at again.
    fn poll_timer(&mut self, now: Duration, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.client.next_wake() else {
            self.timer = None;
            return false;
        };
        let is_set = self.timer.as_ref().is_some_and(|(at, _)| *at <= due);
        if !is_set {
            let wait = due.saturating_sub(now);
            self.timer = Some((due, Box::pin(rt::sleep(wait))));
        }
        let Some((_, timer)) = &mut self.timer else {
            return false;
        };
        if timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.timer = None;
        let mut out = Vec::new();
        self.client.wake(rt::monotonic(), &mut out);
        self.carry_out(out);
        true
    }

    /// Does what can be done now. Whether anything was.
    fn step(&mut self, cx: &mut Context<'_>) -> bool {
        let (now, mut out) = (rt::monotonic(), Vec::new());
        let mut is_busy = false;
        for _ in 0..COMMANDS {
            let Poll::Ready(Some(command)) = self.commands.poll_next_unpin(cx) else {
                break;
            };
            self.command(now, command, &mut out);
            is_busy = true;
        }
        while let Poll::Ready(Some(hashed)) = self.hashing.poll_next_unpin(cx) {
            let Hashed {
                peer,
                count,
                blocks,
            } = hashed;
            self.client.blocks(now, &peer, count, blocks, &mut out);
            self.touched.insert(peer);
            is_busy = true;
        }
        self.carry_out(out);
        while let Poll::Ready(Some(found)) = self.reading.poll_next_unpin(cx) {
            let (peer, reply) = self.server.finished(found);
            if let Some(known) = self.peers.get_mut(&peer) {
                known.outbox.answer(reply.payload, reply.presences);
                self.touched.insert(peer);
            }
            is_busy = true;
        }
        is_busy |= self.poll_timer(now, cx);
        let begun = self.hashing.len() + self.reading.len();
        self.begin();
        is_busy |= self.hashing.len() + self.reading.len() > begun;
        self.flush();
        is_busy
    }
}

/// How many answers a connection should expect of a peer that owes so many: never too few, and rounded, so that it is not told of each.
fn expected(open: usize, known: usize) -> usize {
    match open {
        0 => 0,
        open if open <= known && known <= open.next_power_of_two() * 4 => known,
        open => open.next_power_of_two(),
    }
}

/// Finds out which blocks a message holds. Their memory stays on loan until that is known.
fn hash(peer: PeerId, payload: Vec<Payload>, loan: Loan) -> BoxFuture<'static, Hashed> {
    let count = payload.len();
    let bytes: usize = payload.iter().map(|payload| payload.data().len()).sum();
    let hash = move || {
        let blocks = payload.into_iter();
        let blocks = blocks
            .filter_map(|payload| payload.into_block().ok())
            .collect();
        drop(loan);
        Hashed {
            peer,
            count,
            blocks,
        }
    };
    Box::pin(async move {
        if bytes <= HASHED_HERE {
            return hash();
        }
        rt::blocking(hash).await.unwrap_or(Hashed {
            peer,
            count,
            blocks: Vec::new(),
        })
    })
}

impl<S: BlockSource> NetworkBehaviour for Behaviour<S> {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if self.reached.len() >= REACHED {
            // Who was asked no more while it was sought, or was refused by another behaviour.
            let (peers, client) = (&self.peers, &self.client);
            let reached = &mut self.reached;
            reached.retain(|peer, _| peers.contains_key(peer) || client.seeks(peer));
        }
        self.reached.insert(peer, address.clone());
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => self.connected(peer_id, connection_id),
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                ..
            }) => self.disconnected(peer_id, connection_id),
            FromSwarm::DialFailure(DialFailure {
                peer_id: Some(peer),
                error,
                ..
            }) => {
                // A dial that was not needed, or is under way already, says nothing about the peer.
                let is_moot = matches!(error, DialError::DialPeerConditionFalse(_));
                if !is_moot && !self.peers.contains_key(&peer) {
                    let mut out = Vec::new();
                    self.gone(rt::monotonic(), peer, &mut out);
                    self.carry_out(out);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        let known = self.peers.get_mut(&peer);
        let is_first = known
            .as_ref()
            .is_some_and(|known| known.connections.first() == Some(&connection));
        match event {
            Output::Received(message, loan) => self.received(peer, *message, loan),
            Output::Sent => {
                if let Some(known) = known.filter(|_| is_first) {
                    let sent = known.outbox.sent();
                    self.server.sent(&peer, sent);
                    self.touched.insert(peer);
                }
            }
            Output::SendFailed(error) if is_first => self.send_failed(peer, error),
            Output::SendFailed(_) => {}
            Output::Lost => self.client.lost(rt::monotonic(), &peer),
            Output::Garbage(error) => {
                let event = Event::Garbage { peer, error };
                self.events.push_back(ToSwarm::GenerateEvent(event));
            }
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            if !self.step(cx) && self.events.is_empty() {
                return Poll::Pending;
            }
        }
    }
}

impl<S> Behaviour<S> {
    fn handler(&self) -> Handler {
        Handler::new(HandlerConfig {
            inbound_streams: self.config.inbound_streams,
            connection_bytes: self.config.receive_peer_bytes,
            stall: self.config.stall,
            shared: self.shared.clone(),
        })
    }
}

impl<S> fmt::Debug for Behaviour<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour")
            .field("peers", &self.peers.len())
            .field("client", &self.client)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}
