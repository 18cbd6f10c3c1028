//! Graphs of blocks as CAR files, and files in many blocks as their bytes, made while they are sent.
//!
//! One block is at hand at a time. A large one goes out in slices of the bytes that are in memory already; small ones are
//! gathered into a part. What a part, a block or the walk takes of the memory for answers is asked for before it
//! is taken; when it is not to be had at once, what was gathered goes out first, so that whoever waits holds nothing
//! that others wait for.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use perennis_shared::cid::{Block, Cid, is_identity};
use perennis_shared::codec::car::{self, CarError};
use perennis_shared::codec::{self, CodecError};
use perennis_shared::error::{ErrorKind, Retryable, chain};
use perennis_shared::limits::{CID_BYTES, LimitExceeded};
use perennis_shared::unixfs::Node;

use super::walk::{Leads, Next, Walk};
use crate::http::answer::{Body, BrokenOff};
use crate::http::memory::{
    ANSWER_PATIENCE, NoRoom, Place, REQUEST_PATIENCE, SMALL_BYTES, SentBlock, Share, WalkShare,
    block_bytes, counted,
};
use crate::http::refusal::{ClientError, INTERNAL};
use crate::http::service::Service;
use crate::read::ReadError;

/// A part is sent when it has this many bytes; a slice of a large block has at most as many.
pub(in crate::http) const PART_BYTES: usize = 64 << 10;

/// Room for a part: the small block that fills it, and what stands before it and before a large block behind it.
const PART_ROOM: usize = PART_BYTES + SMALL_BYTES + 2 * (CID_BYTES + 10);

/// Steps after which others are served, where nothing else makes a walk wait.
const STEPS: usize = 64;

/// The next step for who asks for a block that is not here.
pub(in crate::http) const ABSENT_HINT: &str =
    "this node serves what was published to it; ask the publisher's other nodes";

/// Which part of a graph is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DagScope {
    /// The last block of the path alone.
    Block,
    /// What is needed to read the file or to list the directory there.
    Entity,
    /// Everything below it.
    All,
}

/// What is sent.
pub(in crate::http) struct Selection {
    /// The blocks that lead to the terminus, which are sent before it.
    pub(super) path: Vec<Cid>,
    /// The block where the path ends.
    pub(super) terminus: Cid,
    pub(super) form: Form,
    /// The bytes of the file that are to be read, of an entity; `None` is all.
    pub(super) bytes: Option<Range<u64>>,
    /// Whether a block is sent at each of its places.
    pub(super) repeats: bool,
}

/// What is sent of the blocks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// A CAR with the blocks of a scope.
    Car(DagScope),
    /// What they hold of a file.
    File(FileForm),
}

/// A file of which bytes are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileForm {
    /// How many bytes it has, as its writer claims.
    size: u64,
    /// How many are still to be sent.
    left: u64,
}

impl Selection {
    /// Bytes of the file at a block, which there are as its writer claims.
    pub(in crate::http) fn of_file(terminus: Cid, bytes: Range<u64>, size: u64) -> Selection {
        let length = bytes.end.min(size) - bytes.start;
        // What reaches the end is told by the blocks themselves.
        let end = if bytes.end < size {
            bytes.end
        } else {
            u64::MAX
        };
        Selection {
            path: Vec::new(),
            terminus,
            form: Form::File(FileForm { size, left: length }),
            bytes: Some(bytes.start..end),
            repeats: true,
        }
    }
}

impl DagScope {
    pub(super) const fn name(self) -> &'static str {
        match self {
            DagScope::Block => "block",
            DagScope::Entity => "entity",
            DagScope::All => "all",
        }
    }
}

/// Why a graph cannot be sent to its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum GraphError {
    #[error("the CAR file cannot be begun")]
    Car(#[from] CarError),
    #[error("block {0} is not here")]
    Absent(Box<Cid>),
    #[error("block {cid} cannot be read")]
    Unreadable { cid: Box<Cid>, source: ReadError },
    #[error("the links of block {cid} cannot be read")]
    Links { cid: Box<Cid>, source: CodecError },
    #[error("the graph is too large")]
    TooLarge(#[from] LimitExceeded),
    #[error(
        "block {cid} holds {} of the file, and what leads to it says {claimed} bytes",
        found.map_or_else(|| "nothing".to_owned(), |found| format!("{found} bytes"))
    )]
    OtherSize {
        cid: Box<Cid>,
        /// None where it is no file, or says of itself nothing that can be.
        found: Option<u64>,
        claimed: u64,
    },
    #[error("the blocks of the file hold {0} bytes less than they say")]
    TooShort(u64),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

impl Retryable for GraphError {
    fn kind(&self) -> ErrorKind {
        match self {
            GraphError::Absent(_) | GraphError::Links { .. } | GraphError::TooLarge(_) => {
                ErrorKind::Reject
            }
            GraphError::OtherSize { .. } | GraphError::TooShort(_) => ErrorKind::Reject,
            GraphError::Unreadable { source, .. } => source.kind(),
            GraphError::NoRoom(error) => error.kind(),
            GraphError::Car(_) => ErrorKind::Fatal,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            GraphError::NoRoom(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// What is said where not even the root of a graph can be sent.
impl ClientError for GraphError {
    fn code(&self) -> &'static str {
        match self {
            GraphError::Absent(_) => "not_found",
            GraphError::Links { .. }
            | GraphError::OtherSize { .. }
            | GraphError::TooShort(_)
            | GraphError::TooLarge(_) => "unreadable_links",
            GraphError::Unreadable { source, .. } => source.code(),
            GraphError::NoRoom(error) => error.code(),
            GraphError::Car(_) => INTERNAL,
        }
    }

    fn message(&self) -> String {
        match self {
            GraphError::Unreadable { source, .. } => source.message(),
            GraphError::NoRoom(error) => error.message(),
            _ => chain(self),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            GraphError::Absent(_) => ABSENT_HINT,
            GraphError::Links { .. }
            | GraphError::OtherSize { .. }
            | GraphError::TooShort(_)
            | GraphError::TooLarge(_) => {
                "ask for the block alone, with format=raw or dag-scope=block"
            }
            GraphError::Unreadable { source, .. } => source.hint(),
            GraphError::NoRoom(error) => error.hint(),
            GraphError::Car(_) => "look into the node's log",
        }
    }

    fn closes(&self) -> bool {
        matches!(self, GraphError::NoRoom(error) if error.closes())
    }
}

/// A graph that is being sent.
pub(in crate::http) struct Graph {
    node: Arc<Service>,
    /// Of a file, with the bytes that are still to be sent.
    form: Form,
    /// What the terminus is, once that is known.
    entity: Option<Entity>,
    walk: Walk,
    walk_share: WalkShare,
    /// The block that is read next.
    next: Option<Next>,
    /// Why nothing follows what was gathered.
    failed: Option<GraphError>,
    /// A share that was waited for; the block or the part at hand takes it.
    reserved: Option<Share>,
    /// What was gathered of the file and not sent.
    part: Vec<u8>,
    part_share: Option<Share>,
    /// What is left of a large block, behind the part.
    rest: Bytes,
    /// Steps since others were let in.
    steps: usize,
    place: Place,
}

/// What more than its first block an entity is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entity {
    /// All below a file.
    File,
    /// The shards of a directory, and none of its entries.
    Shards,
    /// Nothing: a directory of one block, or no UnixFS.
    Block,
}

/// Memory that must be had before the block at hand can be sent.
#[derive(Clone, Copy)]
enum Need {
    Share(usize),
    Walk(usize),
}

/// A block that is here, and whether other answers send it.
enum HeldBlock {
    Sent(Arc<SentBlock>),
    Read(Block),
}

impl HeldBlock {
    fn block(&self) -> &Block {
        match self {
            HeldBlock::Sent(sent) => sent.block(),
            HeldBlock::Read(block) => block,
        }
    }
}

impl Graph {
    /// Begins to send a graph, once there is room for its first part and something of it is at hand.
    pub(in crate::http) async fn begin(
        node: &Arc<Service>,
        selection: Selection,
        place: Place,
    ) -> Result<Graph, GraphError> {
        let terminus = selection.terminus;
        let begins = match (selection.form, selection.bytes) {
            (Form::File(FileForm { size, .. }), bytes) => {
                Next::file(terminus, size, bytes.unwrap_or(0..u64::MAX))
            }
            (Form::Car(_), Some(bytes)) => Next::Part(terminus, bytes),
            (Form::Car(_), None) => Next::Whole(terminus),
        };
        let mut walk = Walk::new(selection.path, begins, selection.repeats);
        let next = walk.next();
        let part = match selection.form {
            Form::Car(_) => car::Writer::new(&[terminus])?.take(),
            Form::File(_) => Vec::new(),
        };
        let mut graph = Graph {
            node: Arc::clone(node),
            form: selection.form,
            entity: None,
            walk,
            walk_share: WalkShare::default(),
            next,
            failed: None,
            reserved: None,
            part,
            part_share: None,
            rest: Bytes::new(),
            steps: 0,
            place,
        };
        while let Some(next) = graph.next.take() {
            while let Some(need) = graph.step(&next).await? {
                graph.wait(need, REQUEST_PATIENCE).await?;
            }
            // Of a file the first blocks may hold none of its bytes.
            if !graph.part.is_empty() || !graph.rest.is_empty() {
                break;
            }
        }
        Ok(graph)
    }

    /// The body of the answer.
    pub(in crate::http) fn into_body(self) -> Body {
        let parts = try_unfold(self, |mut graph| async move {
            match graph.next_part().await {
                Ok(part) => Ok(part.map(|part| (part, graph))),
                Err(error) => Err(graph.broken_off(error)),
            }
        });
        Body::Stream(Box::pin(parts))
    }

    fn broken_off(&self, error: GraphError) -> BrokenOff {
        match error {
            GraphError::OtherSize { .. } | GraphError::TooShort(_) => {
                tracing::info!(error = %chain(&error), "a file lies about its size, and was not sent to its end");
            }
            _ => {
                tracing::debug!(error = %chain(&error), "a graph could not be sent to its end");
            }
        }
        BrokenOff(Box::new(error))
    }

    /// The next part of the file; `None` at its end. Where a block is missing, all before it is sent first.
    async fn next_part(&mut self) -> Result<Option<Bytes>, GraphError> {
        loop {
            if !self.rest.is_empty() || self.part.len() >= PART_BYTES {
                return Ok(Some(self.take()));
            }
            if let Some(error) = self.failed.take() {
                // The server drops what it has not written yet when a body fails, and writes when the body is not ready.
                tokio::task::yield_now().await;
                return Err(error);
            }
            let Some(next) = self.next.take() else {
                if let Form::File(FileForm { left, .. }) = self.form
                    && left > 0
                {
                    self.failed = Some(GraphError::TooShort(left));
                } else if self.part.is_empty() {
                    return Ok(None);
                }
                if self.part.is_empty() {
                    continue;
                }
                return Ok(Some(self.take()));
            };
            let step = self.step(&next).await;
            match step {
                Ok(None) => continue,
                Err(error) => self.failed = Some(error),
                Ok(Some(need)) => {
                    self.next = Some(next);
                    if self.part.is_empty() {
                        let waited = self.wait(need, ANSWER_PATIENCE).await;
                        self.failed = waited.err().map(GraphError::from);
                        continue;
                    }
                }
            }
            if !self.part.is_empty() {
                return Ok(Some(self.take()));
            }
        }
    }

    /// Takes what was gathered, or else a slice of the large block behind it.
    fn take(&mut self) -> Bytes {
        if self.part.is_empty() {
            return self.rest.split_to(self.rest.len().min(PART_BYTES));
        }
        let part = std::mem::take(&mut self.part);
        counted(part, self.place.clone(), self.part_share.take())
    }

    /// Adds a block, and finds the one behind it. What it needs and cannot have at once is given back: nothing has
    /// happened then.
    async fn step(&mut self, next: &Next) -> Result<Option<Need>, GraphError> {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS) {
            // Of blocks in memory none waits for anything, and many of them may hold nothing that is sent.
            tokio::task::yield_now().await;
        }
        let found = self.find(next.cid()).await?;
        let (leads, sent) = self.leads(next, found.block())?;
        if let (Form::File(FileForm { left, .. }), Some(sent)) = (self.form, &sent)
            && sent.len() as u64 > left
        {
            return Err(GraphError::OtherSize {
                cid: Box::new(*next.cid()),
                found: Some(sent.len() as u64),
                claimed: left,
            });
        }
        let answers = &self.node.answers;
        let walk = self.walk.bytes_with(&leads);
        if !answers.grow_now(&mut self.walk_share, walk) {
            return Ok(Some(Need::Walk(walk)));
        }
        if let Some(sent) = sent {
            let length = sent.len();
            let need = if length > SMALL_BYTES {
                self.add_large(found, sent)
            } else {
                self.add_small(&found, sent)
            };
            if let Some(bytes) = need {
                return Ok(Some(Need::Share(bytes)));
            }
            if let Form::File(FileForm { left, .. }) = &mut self.form {
                *left -= length as u64;
            }
        }
        self.walk.descend(next, leads)?;
        self.next = self.walk.next();
        Ok(None)
    }

    async fn find(&self, cid: &Cid) -> Result<HeldBlock, GraphError> {
        if let Some(sent) = self.node.answers.sent(cid) {
            return Ok(HeldBlock::Sent(sent));
        }
        match self.node.read.block(cid).await {
            Ok(Some(block)) => Ok(HeldBlock::Read(block)),
            Ok(None) => Err(GraphError::Absent(Box::new(*cid))),
            Err(source) => Err(GraphError::Unreadable {
                cid: Box::new(*cid),
                source,
            }),
        }
    }

    /// What a block leads to and is sent, and which of its own bytes are.
    fn leads(
        &mut self,
        next: &Next,
        block: &Block,
    ) -> Result<(Leads, Option<Range<usize>>), GraphError> {
        match self.form {
            Form::Car(scope) => {
                // The content of an identity CID stands in the link itself.
                let is_sent = !is_identity(next.cid()) && self.walk.is_to_be_sent(next);
                let leads = self.leads_in_scope(scope, next, block)?;
                Ok((leads, is_sent.then(|| 0..block.bytes().len())))
            }
            Form::File(_) => Graph::leads_of_file(next, block),
        }
    }

    /// What holds the bytes of the file that are wanted. What does not hold as much as the block above claims is refused, so that no
    /// more is read than is sent, and the length that was told is none.
    fn leads_of_file(
        next: &Next,
        block: &Block,
    ) -> Result<(Leads, Option<Range<usize>>), GraphError> {
        let cid = next.cid();
        let node = Node::parse(cid, block.bytes()).map_err(|source| GraphError::Links {
            cid: Box::new(*cid),
            source,
        })?;
        let (wanted, claimed) = match next {
            Next::Claimed(claimed) => (claimed.part.bytes.clone(), claimed.part.size),
            _ => (None, 0),
        };
        let wanted = wanted.unwrap_or(0..u64::MAX);
        let lies = |found| GraphError::OtherSize {
            cid: Box::new(*cid),
            found,
            claimed,
        };
        let Some(Node::File(file)) = node else {
            return Err(lies(None));
        };
        let found = file.size();
        if found != Some(claimed) {
            return Err(lies(found));
        }
        // Below one that holds nothing there is nothing to be sent.
        let is_asked_for = matches!(next, Next::Claimed(claimed) if claimed.is_root());
        let below = if claimed > 0 || is_asked_for {
            file.parts_and_empty_in(&wanted)
        } else {
            Vec::new()
        };
        let own = file.own_in(&wanted);
        Ok((Leads::claimed(below), (!own.is_empty()).then_some(own)))
    }

    /// What of what a block leads to belongs to the scope.
    fn leads_in_scope(
        &mut self,
        scope: DagScope,
        next: &Next,
        block: &Block,
    ) -> Result<Leads, GraphError> {
        let unreadable = |source| GraphError::Links {
            cid: Box::new(*block.cid()),
            source,
        };
        match (next, scope) {
            (Next::Path(_) | Next::Claimed(_), _) | (Next::Whole(_), DagScope::Block) => {
                Ok(Leads::default())
            }
            (Next::Whole(cid), DagScope::All) => {
                let links = codec::links(cid, block.bytes()).map_err(unreadable)?;
                Ok(Leads::whole(links))
            }
            (Next::Whole(cid), DagScope::Entity) => {
                let node = Node::parse(cid, block.bytes()).map_err(unreadable)?;
                Ok(Leads::whole(self.below(node)))
            }
            (Next::Part(cid, bytes), _) => {
                let node = Node::parse(cid, block.bytes()).map_err(unreadable)?;
                let Some(Node::File(file)) = node else {
                    return Ok(Leads::default());
                };
                self.entity = Some(Entity::File);
                Ok(Leads::of_file(file.parts_in(bytes)))
            }
        }
    }

    /// The blocks below one of an entity that belong to it.
    fn below(&mut self, node: Option<Node>) -> Vec<Cid> {
        let (of, below) = match node {
            Some(Node::File(file)) => (Entity::File, file.below().copied().collect()),
            Some(Node::Shard(shard)) => (Entity::Shards, shard.below().copied().collect()),
            _ => (Entity::Block, Vec::new()),
        };
        // What is of another kind than the terminus is no part of it.
        let entity = *self.entity.get_or_insert(of);
        if entity == of { below } else { Vec::new() }
    }

    /// Puts bytes of a block behind the part; says what it needs when it needs more than there is.
    fn add_large(&mut self, found: HeldBlock, bytes: Range<usize>) -> Option<usize> {
        let answers = &self.node.answers;
        let sent = match found {
            HeldBlock::Sent(sent) => sent,
            HeldBlock::Read(block) => match self.reserved.take() {
                Some(share) => answers.send_with(block, share),
                None => match answers.send_now(&block) {
                    Some(sent) => sent,
                    None => return Some(block.bytes().len()),
                },
            },
        };
        self.reserved = None;
        if let Form::Car(_) = self.form {
            car::write_section_head(&mut self.part, sent.block());
        }
        self.rest = block_bytes(sent, self.place.clone()).slice(bytes);
        None
    }

    /// Adds bytes of a block to the part; says what the part needs when it needs more than there is.
    fn add_small(&mut self, found: &HeldBlock, bytes: Range<usize>) -> Option<usize> {
        if self.part_share.is_none() {
            let share = self.reserved.take();
            let Some(share) = share.or_else(|| self.node.answers.share_now(PART_ROOM)) else {
                return Some(PART_ROOM);
            };
            self.part_share = Some(share);
            self.part.reserve_exact(PART_ROOM);
        }
        let block = found.block();
        if let Form::Car(_) = self.form {
            car::write_section_head(&mut self.part, block);
        }
        self.part.extend_from_slice(&block.bytes()[bytes]);
        None
    }

    async fn wait(&mut self, need: Need, patience: Duration) -> Result<(), NoRoom> {
        let answers = &self.node.answers;
        match need {
            Need::Share(bytes) => self.reserved = Some(answers.share(bytes, patience).await?),
            Need::Walk(bytes) => answers.grow(&mut self.walk_share, bytes, patience).await?,
        }
        Ok(())
    }
}
