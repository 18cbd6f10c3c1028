//! Questions, puts and provider records to many peers: long streams, requests one behind the other.
//!
//! libp2p's behaviour opens a stream for each request, which costs more than the request. Here each peer of each
//! network has two lanes, one for questions and one for what it is to keep: a queue, a task and a stream. The task
//! writes what has gathered, then reads the answers, which come in order. A lane that fails refuses at once for a
//! while, so that a dead peer delays nobody, and one without work closes its stream and ends.
//!
//! Peers that run libp2p's own behaviour refuse a record by silence: it closes the stream but does not wake it. So an answer
//! that is slow to come is waited for aside, with the stream it would come on, and what is behind it goes on another stream:
//! one refused name delays no other.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::AsyncWriteExt;
use libp2p::{Multiaddr, PeerId, Stream};
use parking_lot::Mutex;
use perennis_rt::{self as rt, BoxFuture};
use perennis_shared::{
    error::{ErrorKind, Retryable},
    limits::KAD_MESSAGE_BYTES,
    wire,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Contact, DhtProtocol, Network, server::protocol_of};
use crate::{
    command::{SwarmCommand, WeakCommands},
    error::ConnectError,
    framing::read_frame,
    protocol::{OpenError, Protocol, Streams},
};

/// Requests that may wait for one peer; more wait at the caller.
const WAITING: usize = 64;

/// Lanes that a request is given to, should they end just then.
const LANES: usize = 4;

/// Requests written before their answers are read.
const AHEAD: usize = 32;

/// How long a dial or the opening of a stream may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one answer may take. A peer that runs libp2p's own routing refuses a record by not answering.
const ANSWER: Duration = Duration::from_secs(5);

/// Silence after which an answer is waited for aside, unless the peer is known to be slower.
const SLOW: Duration = Duration::from_millis(500);

/// Answers of one peer that are waited for aside at once.
const ASIDE: usize = 16;

/// Answers in a row that may fail to come before a peer counts as stalled.
const MISSING_ANSWERS: u32 = 3;

/// How long a lane that failed refuses.
const PAUSE: Duration = Duration::from_secs(30);

/// How long a lane without work keeps its stream.
const IDLE: Duration = Duration::from_secs(20);

/// Sends to peers of the DHT; clones share their lanes.
#[derive(Clone)]
pub(super) struct Sender {
    lanes: Arc<Mutex<HashMap<Target, mpsc::Sender<Request>>>>,
    /// What is spoken on each network.
    protocols: Arc<[(Network, Protocol)]>,
    streams: Streams,
    commands: WeakCommands<SwarmCommand>,
}

/// The end of a lane. A peer that is slow to keep something is not slow to be asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Target {
    network: Network,
    peer: PeerId,
    is_question: bool,
}

/// What answers a request.
#[derive(Clone, Debug)]
pub(super) enum Expect {
    /// Nothing: it is done when it is written.
    Nothing,
    /// The same key, from a peer that has kept the record.
    Put(Bytes),
    /// What the peer knows. Whoever asked reads it.
    Knowledge,
}

struct Request {
    frame: Bytes,
    expect: Expect,
    addresses: Vec<Multiaddr>,
    reply: oneshot::Sender<Result<Vec<u8>, SendError>>,
}

/// Why a peer did not take a record.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// It cannot be reached.
    #[error("no connection")]
    Connect(#[source] Arc<ConnectError>),
    /// It opens no stream for this protocol.
    #[error("no stream")]
    Stream(#[source] Arc<OpenError>),
    /// The stream broke: the peer refused the record, or went away.
    #[error("the stream broke")]
    Broken(#[source] Arc<io::Error>),
    /// It answered something else.
    #[error("the answer is not to the question")]
    Answer,
    /// It did not answer in time.
    #[error("no answer within {} ms", .after.as_millis())]
    Deadline {
        /// The time it was given.
        after: Duration,
    },
    /// It failed a moment ago and is left alone.
    #[error("left alone since it failed")]
    Paused,
    /// This peer has stopped.
    #[error("the peer has stopped")]
    Stopped,
}

impl From<ConnectError> for SendError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Deadline { after } => Self::Deadline { after },
            ConnectError::Net(_) => Self::Stopped,
            error => Self::Connect(Arc::new(error)),
        }
    }
}

impl From<rt::Elapsed> for SendError {
    fn from(elapsed: rt::Elapsed) -> Self {
        let rt::Elapsed { after } = elapsed;
        Self::Deadline { after }
    }
}

impl Retryable for SendError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(error) => error.kind(),
            Self::Stream(error) => error.kind(),
            Self::Broken(_) | Self::Deadline { .. } | Self::Paused => ErrorKind::Retry,
            Self::Answer => ErrorKind::Corrupt,
            Self::Stopped => ErrorKind::Fatal,
        }
    }
}

impl Sender {
    pub(super) fn new(
        protocol: &DhtProtocol,
        streams: Streams,
        commands: WeakCommands<SwarmCommand>,
    ) -> Self {
        Self {
            lanes: Arc::default(),
            protocols: Network::ALL
                .map(|network| (network, protocol_of(protocol, network)))
                .into(),
            streams,
            commands,
        }
    }

    /// Sends a frame and waits for what it expects: the message that answers it, or none.
    pub(super) async fn send(
        &self,
        network: Network,
        to: Contact,
        frame: Bytes,
        expect: Expect,
    ) -> Result<Vec<u8>, SendError> {
        let (reply, answer) = oneshot::channel();
        let target = Target {
            network,
            peer: to.peer,
            is_question: matches!(expect, Expect::Knowledge),
        };
        let mut request = Request {
            frame,
            expect,
            addresses: to.addresses,
            reply,
        };
        // A lane may end between the two steps; the next one is new. Where that ends too, its task was not even begun:
        // the runtime is stopping.
        for _ in 0..LANES {
            let lane = self.lane(target);
            match lane.send(request).await {
                Ok(()) => return answer.await.unwrap_or(Err(SendError::Stopped)),
                Err(back) => request = back.0,
            }
        }
        Err(SendError::Stopped)
    }

    fn lane(&self, target: Target) -> mpsc::Sender<Request> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(&target).filter(|lane| !lane.is_closed()) {
            return lane.clone();
        }
        let (lane, requests) = mpsc::channel(WAITING);
        lanes.insert(target, lane.clone());
        let worker = Lane {
            sender: self.clone(),
            target,
            requests,
            stream: None,
            health: Arc::default(),
            aside: Arc::new(Semaphore::new(ASIDE)),
        };
        rt::spawn(worker.run());
        lane
    }
}

struct Lane {
    sender: Sender,
    target: Target,
    requests: mpsc::Receiver<Request>,
    stream: Option<Stream>,
    health: Arc<Health>,
    /// Places for answers that are waited for aside.
    aside: Arc<Semaphore>,
}

/// How a peer answers, on all its streams.
#[derive(Default)]
struct Health {
    /// Answers that did not come since the last one that did.
    missing: AtomicU32,
    /// The slowest answer lately, in milliseconds.
    slowest: AtomicU64,
}

impl Health {
    fn answered(&self, after: Duration) {
        self.missing.store(0, Ordering::Relaxed);
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let known = self.slowest.load(Ordering::Relaxed);
        // It forgets slowly that the peer was slow.
        self.slowest
            .store(after.max(known - known / 16), Ordering::Relaxed);
    }

    fn missed(&self) {
        self.missing.fetch_add(1, Ordering::Relaxed);
    }

    fn is_stalled(&self) -> bool {
        self.missing.load(Ordering::Relaxed) >= MISSING_ANSWERS
    }

    /// How long an answer may take before those behind it go another way.
    fn patience(&self) -> Duration {
        let slowest = Duration::from_millis(self.slowest.load(Ordering::Relaxed));
        (2 * slowest).clamp(SLOW, ANSWER)
    }
}

type Reading = BoxFuture<'static, (Stream, io::Result<Vec<u8>>)>;

impl Lane {
    async fn run(mut self) {
        while let Some(first) = self.next().await {
            let mut batch = VecDeque::from([first]);
            while batch.len() < AHEAD
                && let Ok(next) = self.requests.try_recv()
            {
                batch.push_back(next);
            }
            while !batch.is_empty() {
                if self.health.is_stalled() {
                    for request in batch.drain(..) {
                        let _ = request.reply.send(Err(SendError::Paused));
                    }
                    self.stream = None;
                    self.pause().await;
                    break;
                }
                let Err(error) = self.exchange(&mut batch).await else {
                    continue;
                };
                self.stream = None;
                let is_dead = matches!(error, SendError::Connect(_) | SendError::Stream(_));
                // A refusal breaks the stream: the request it was for fails, those behind it are sent again.
                if let Some(failed) = batch.pop_front() {
                    let _ = failed.reply.send(Err(error.clone()));
                }
                if is_dead {
                    for request in batch.drain(..) {
                        let _ = request.reply.send(Err(error.clone()));
                    }
                    self.pause().await;
                }
            }
        }
    }

    /// The next request; `None` ends the lane, and nothing is left in its queue then.
    async fn next(&mut self) -> Option<Request> {
        if let Ok(request) = rt::timeout(IDLE, self.requests.recv()).await {
            return request;
        }
        let mut lanes = self.sender.lanes.lock();
        if let Ok(request) = self.requests.try_recv() {
            return Some(request);
        }
        self.requests.close();
        if lanes.get(&self.target).is_some_and(mpsc::Sender::is_closed) {
            lanes.remove(&self.target);
        }
        drop(lanes);
        // What was sent between the two steps is still here.
        self.requests.try_recv().ok()
    }

    /// Writes the requests and reads their answers. What was answered, or is waited for aside, leaves the queue; when it
    /// fails, the first of those left did. What is left after a success has to be sent again.
    async fn exchange(&mut self, batch: &mut VecDeque<Request>) -> Result<(), SendError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let addresses = batch.front().map(|request| request.addresses.clone());
                self.open(addresses.unwrap_or_default()).await?
            }
        };
        let length: usize = batch.iter().map(|request| request.frame.len()).sum();
        let mut frames = Vec::with_capacity(length);
        for request in batch.iter() {
            frames.extend_from_slice(&request.frame);
        }
        let written = patient(PATIENCE, async {
            stream.write_all(&frames).await?;
            stream.flush().await
        });
        // A peer that refuses one of them resets the stream while the others are written. Answers to those before it came
        // first, and may be read yet.
        let broken = match written.await {
            Err(error @ SendError::Broken(_)) => Some(error),
            written => written.map(|()| None)?,
        };
        while let Some(request) = batch.pop_front() {
            if matches!(request.expect, Expect::Nothing) {
                if let Some(broken) = broken {
                    batch.push_front(request);
                    return Err(broken);
                }
                let _ = request.reply.send(Ok(Vec::new()));
                continue;
            }
            let asked = Instant::now();
            let mut reading: Reading = Box::pin(read_answer(stream));
            let mut read = rt::timeout(self.health.patience(), &mut reading).await;
            if read.is_err() {
                if let Ok(place) = Arc::clone(&self.aside).try_acquire_owned() {
                    let health = Arc::clone(&self.health);
                    rt::spawn(wait_aside(request, reading, health, place));
                    return Ok(());
                }
                read = rt::timeout(ANSWER, &mut reading).await;
            }
            let answer = match read {
                Ok((back, answer)) => {
                    stream = back;
                    answer
                }
                Err(elapsed) => {
                    self.health.missed();
                    batch.push_front(request);
                    return Err(elapsed.into());
                }
            };
            let answer = match judge(answer, &request.expect) {
                Ok(answer) => answer,
                Err(error) => {
                    batch.push_front(request);
                    return Err(error);
                }
            };
            self.health.answered(asked.elapsed());
            let _ = request.reply.send(Ok(answer));
        }
        if broken.is_none() {
            self.stream = Some(stream);
        }
        Ok(())
    }

    async fn open(&mut self, addresses: Vec<Multiaddr>) -> Result<Stream, SendError> {
        let Target { network, peer, .. } = self.target;
        let Sender {
            protocols,
            streams,
            commands,
            ..
        } = &self.sender;
        rt::timeout(PATIENCE, commands.connect(peer, addresses)).await??;
        let mut protocols = protocols.iter();
        let (_, protocol) = protocols
            .find(|(of, _)| *of == network)
            .expect("each network has its protocol");
        let opened = rt::timeout(PATIENCE, streams.open_connected(peer, protocol)).await;
        let opened = opened.unwrap_or_else(|elapsed| Err(elapsed.into()));
        opened.map_err(|error| SendError::Stream(Arc::new(error)))
    }

    /// Refuses what comes for a while.
    async fn pause(&mut self) {
        let refusing = async {
            while let Some(request) = self.requests.recv().await {
                let _ = request.reply.send(Err(SendError::Paused));
            }
        };
        let _ = rt::timeout(PAUSE, refusing).await;
        self.health.missing.store(0, Ordering::Relaxed);
    }
}

/// Waits for a slow answer while the lane goes on.
async fn wait_aside(
    request: Request,
    reading: Reading,
    health: Arc<Health>,
    place: OwnedSemaphorePermit,
) {
    let asked = Instant::now();
    let judged = match rt::timeout(ANSWER, reading).await {
        Ok((_, answer)) => judge(answer, &request.expect),
        Err(elapsed) => Err(elapsed.into()),
    };
    match &judged {
        Ok(_) => health.answered(SLOW + asked.elapsed()),
        Err(SendError::Deadline { .. }) => health.missed(),
        // A refusal in words is an answer.
        Err(_) => {}
    }
    drop(place);
    let _ = request.reply.send(judged);
}

fn judge(answer: io::Result<Vec<u8>>, expect: &Expect) -> Result<Vec<u8>, SendError> {
    let answer = answer.map_err(|error| SendError::Broken(Arc::new(error)))?;
    if let Expect::Put(key) = expect
        && !wire::kad::is_put_answer(&answer, key).unwrap_or(false)
    {
        return Err(SendError::Answer);
    }
    Ok(answer)
}

/// Reads one message; the stream comes back with it, since whoever waits may give up and leave it to another.
async fn read_answer(mut stream: Stream) -> (Stream, io::Result<Vec<u8>>) {
    let answer = read_frame(&mut stream, KAD_MESSAGE_BYTES).await;
    (stream, answer)
}

async fn patient<T>(
    patience: Duration,
    io: impl Future<Output = io::Result<T>>,
) -> Result<T, SendError> {
    let done = rt::timeout(patience, io).await?;
    done.map_err(|error| SendError::Broken(Arc::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::NetError;

    #[test]
    fn what_is_spoken_is_what_the_routing_tables_speak() {
        let dht = "/an/example"
            .parse()
            .expect("it is the beginning of a name");
        for dht in [DhtProtocol::default(), dht] {
            for network in Network::ALL {
                assert_eq!(protocol_of(&dht, network).to_string(), dht.name(network));
            }
        }
    }

    #[test]
    fn what_a_caller_may_do_follows_from_what_went_wrong() {
        let peer = PeerId::random();
        let after = ANSWER;
        let protocol = protocol_of(&DhtProtocol::default(), Network::Lan);
        for (error, kind) in [
            (ConnectError::Own.into(), ErrorKind::Reject),
            (ConnectError::NoAddress { peer }.into(), ErrorKind::Retry),
            (ConnectError::Deadline { after }.into(), ErrorKind::Retry),
            (
                ConnectError::from(NetError::Stopped).into(),
                ErrorKind::Fatal,
            ),
            (
                SendError::Stream(Arc::new(OpenError::Unsupported { protocol })),
                ErrorKind::Reject,
            ),
            (SendError::Answer, ErrorKind::Corrupt),
            (rt::Elapsed { after }.into(), ErrorKind::Retry),
            (SendError::Paused, ErrorKind::Retry),
        ] {
            assert_eq!(error.kind(), kind, "{error:?}");
        }
    }
}
