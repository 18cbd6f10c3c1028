//! Asking for blocks from anywhere in the program.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use libp2p::{
    PeerId,
    futures::channel::{mpsc, oneshot},
};
use perennis_shared::cid::{Block, Cid, HashFn, is_identity};

use super::{
    client::{Counts, SessionId, WantId},
    error::BitswapError,
};

pub(super) type Answer = Result<Block, BitswapError>;

/// What a handle asks of the behaviour.
#[derive(Debug)]
pub(super) enum Command {
    Open(SessionId, Vec<PeerId>),
    Close(SessionId),
    Want(WantId, SessionId, Cid, oneshot::Sender<Answer>),
    Cancel(WantId, SessionId, Cid),
    HaveNow(Vec<Cid>),
    Counts(oneshot::Sender<Counts>),
}

/// Asks for blocks and offers them. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    ids: Arc<AtomicU64>,
}

impl Handle {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded();
        let ids = Arc::default();
        (Self { commands, ids }, receiver)
    }

    /// One block, from `peers` or, when none are named, from whoever is connected. Named peers that are not connected
    /// are dialled. Dropping the future takes the want back.
    ///
    /// # Errors
    /// As [`Session::block`].
    pub async fn block(&self, cid: &Cid, peers: &[PeerId]) -> Result<Block, BitswapError> {
        self.session(peers).block(cid).await
    }

    /// A session with `peers`, or, when none are named, with whoever is connected. It learns who has what: blocks that
    /// belong together are best fetched in one.
    #[must_use]
    pub fn session(&self, peers: &[PeerId]) -> Session {
        let id = self.id();
        self.send(Command::Open(id, peers.to_vec()));
        Session(Arc::new(Open {
            handle: self.clone(),
            id,
        }))
    }

    /// Tells that these blocks can be read from the source now, so that peers who have asked for them get them.
    pub fn have_now(&self, cids: Vec<Cid>) {
        self.send(Command::HaveNow(cids));
    }

    /// What has come so far, of all sessions.
    ///
    /// # Errors
    /// [`BitswapError::Closed`].
    pub async fn counts(&self) -> Result<Counts, BitswapError> {
        let (reply, counts) = oneshot::channel();
        self.send(Command::Counts(reply));
        counts.await.map_err(|_| BitswapError::Closed)
    }

    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn send(&self, command: Command) {
        // Where nobody listens any more, the reply channel says so.
        drop(self.commands.unbounded_send(command));
    }
}

/// Peers that are asked together. Cheap to clone; clones are the same. It lasts as long as they, and what it wants.
#[derive(Clone, Debug)]
pub struct Session(Arc<Open>);

#[derive(Debug)]
struct Open {
    handle: Handle,
    id: SessionId,
}

impl Session {
    /// Adds peers: providers that were found meanwhile. Wants that wait for somebody to ask go to them.
    pub fn add_peers(&self, peers: &[PeerId]) {
        self.0.handle.send(Command::Open(self.0.id, peers.to_vec()));
    }

    /// One block. Calls may overlap; hundreds should, as each takes a round trip. It is asked for at once,
    /// before the future is first polled, and taken back when that is dropped.
    ///
    /// # Errors
    /// The future gives [`BitswapError::Unsupported`] for a CID that no content is accepted for, and otherwise an error
    /// when no peer has the block or it does not come in time.
    pub fn block(&self, cid: &Cid) -> Wanted {
        if let Some(known) = without_asking(cid) {
            return Wanted {
                origin: Origin::Cid(Some(known)),
            };
        }
        let (handle, session) = (&self.0.handle, self.0.id);
        let id = handle.id();
        let (reply, answer) = oneshot::channel();
        handle.send(Command::Want(id, session, *cid, reply));
        let asked = Asked {
            session: Arc::clone(&self.0),
            id,
            cid: *cid,
            answer,
            is_done: false,
        };
        Wanted {
            origin: Origin::Peers(asked),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.handle.send(Command::Close(self.id));
    }
}

/// A block that is on its way. See [`Session::block`].
#[derive(Debug)]
#[must_use = "dropping it takes the want back"]
pub struct Wanted {
    origin: Origin,
}

/// Where the answer comes from.
#[derive(Debug)]
enum Origin {
    /// The CID alone says it; `None` once it was taken.
    Cid(Option<Answer>),
    Peers(Asked),
}

#[derive(Debug)]
struct Asked {
    session: Arc<Open>,
    id: WantId,
    cid: Cid,
    answer: oneshot::Receiver<Answer>,
    is_done: bool,
}

impl Future for Wanted {
    type Output = Result<Block, BitswapError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.origin {
            Origin::Cid(known) => Poll::Ready(known.take().unwrap_or(Err(BitswapError::Closed))),
            Origin::Peers(asked) => Pin::new(&mut asked.answer).poll(cx).map(|answer| {
                asked.is_done = true;
                answer.unwrap_or(Err(BitswapError::Closed))
            }),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_done {
            let Open { handle, id } = &*self.session;
            handle.send(Command::Cancel(self.id, *id, self.cid));
        }
    }
}

/// What is known of a block from its CID alone.
fn without_asking(cid: &Cid) -> Option<Answer> {
    let unsupported = |source| BitswapError::Unsupported {
        cid: Box::new(*cid),
        source,
    };
    if is_identity(cid) {
        let content = cid.hash().digest().to_vec();
        return Some(Block::verified(*cid, content).map_err(unsupported));
    }
    HashFn::of(cid.hash())
        .err()
        .map(|source| Err(unsupported(source)))
}
