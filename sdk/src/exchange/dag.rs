//! Fetching a whole DAG through a pipeline.
//!
//! Hundreds of blocks are asked for at once, bounded in number and in bytes; what has come is handed to a [`Sink`] in
//! batches, so that a store can commit many at once, while the next are fetched. What the sink has is not asked
//! for, so a fetch that broke off goes on where it was. When a block cannot be had, what came before is kept.

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use perennis_rt::{BoxFuture, MaybeSend, MaybeSync};
use perennis_shared::{
    cid::{Block, Cid, Codec, is_identity, version_1},
    codec,
};

use super::{FetchError, Source, SourceError};
use crate::store::{BlockStore, Changes, StoreError};

/// CIDs the sink is asked about at once: it may answer with as many of the largest blocks.
const CHECKED: usize = 32;
/// Absent blocks beside which it is not asked about more.
const READY: usize = 256;
/// Size that is assumed of blocks before any has come.
const FIRST_GUESS: usize = 256 << 10;

/// Where the blocks of a DAG are kept.
pub trait Sink: MaybeSend + MaybeSync {
    /// What is here of each of these, in the order asked for.
    ///
    /// # Errors
    /// The store fails.
    fn held(&self, cids: &[Cid])
    -> impl Future<Output = Result<Vec<Held>, StoreError>> + MaybeSend;

    /// Keeps these blocks, all or none. Each has been verified. Calls do not overlap.
    ///
    /// # Errors
    /// The store fails.
    fn keep(&self, blocks: Vec<Block>) -> impl Future<Output = Result<(), StoreError>> + MaybeSend;
}

/// What a sink has of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing: it is fetched.
    Absent,
    /// The block. What is below it is looked at.
    Block(Block),
    /// The block and everything below it: a leaf, or a DAG that is known to be whole.
    Whole,
}

/// Keeps blocks in a client's store. A damaged block there is fetched anew.
#[derive(Clone, Copy, Debug)]
pub struct StoreSink<'a, S>(pub &'a S);

impl<S: BlockStore> Sink for StoreSink<'_, S> {
    async fn held(&self, cids: &[Cid]) -> Result<Vec<Held>, StoreError> {
        let mut held = Vec::with_capacity(cids.len());
        for cid in cids {
            let is_leaf = cid.codec() == Codec::Raw.code();
            held.push(if is_leaf && self.0.has(cid).await? {
                Held::Whole
            } else if is_leaf {
                Held::Absent
            } else {
                super::sound(self.0.block(cid).await)?.map_or(Held::Absent, Held::Block)
            });
        }
        Ok(held)
    }

    async fn keep(&self, blocks: Vec<Block>) -> Result<(), StoreError> {
        self.0.commit(Changes::new().put(blocks)).await
    }
}

/// Bounds of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct DagLimits {
    /// Most blocks of the DAG, those that are here already among them.
    pub blocks: usize,
    /// Most bytes that are fetched.
    pub bytes: u64,
    /// Blocks asked for at once.
    pub in_flight: usize,
    /// Bytes asked for at once, by the size of the blocks that have come.
    pub in_flight_bytes: usize,
    /// Bytes of one batch for the sink. Twice as many are held at most: one batch is kept, one grows.
    pub batch_bytes: usize,
}

impl Default for DagLimits {
    fn default() -> Self {
        Self {
            blocks: 1 << 20,
            bytes: 64 << 30,
            in_flight: 384,
            in_flight_bytes: 16 << 20,
            batch_bytes: 4 << 20,
        }
    }
}

/// How far a fetch has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Blocks fetched.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that were here already, as far as they had to be looked at.
    pub held: u64,
    /// Blocks known to be missing and not fetched yet.
    pub left: u64,
    /// Blocks that are kept and whose links cannot be read, so that what is below them is not known.
    pub opaque: u64,
    /// The first of those.
    pub first_opaque: Option<Cid>,
}

/// Fetches what `sink` lacks of the DAGs below `roots`. On return the sink has all of it. `progress` is called after
/// each block; it must return at once. A block whose links cannot be read is kept like any other and counted.
///
/// # Errors
/// A block cannot be had, the sink fails, or the DAG is larger than `limits` allows.
pub async fn fetch_dag<S, K>(
    source: &S,
    roots: &[Cid],
    sink: &K,
    limits: DagLimits,
    progress: impl FnMut(Progress),
) -> Result<Progress, FetchError>
where
    S: Source + ?Sized,
    K: Sink,
{
    let mut fetch = Fetch {
        source,
        sink,
        limits,
        root: roots.first().copied().unwrap_or_default(),
        seen: HashSet::new(),
        unchecked: Vec::new(),
        absent: VecDeque::new(),
        steps: FuturesUnordered::new(),
        in_flight: 0,
        average: FIRST_GUESS,
        batch: Vec::new(),
        batch_bytes: 0,
        is_keeping: false,
        is_checking: false,
        done: Progress::default(),
        progress,
    };
    let outcome = match fetch.follow(roots.iter().copied()) {
        Ok(()) => fetch.run().await,
        Err(error) => Err(error),
    };
    let kept = fetch.finish().await;
    outcome.and(kept).map(|()| fetch.done)
}

struct Fetch<'a, S: ?Sized, K, P> {
    source: &'a S,
    sink: &'a K,
    limits: DagLimits,
    root: Cid,
    seen: HashSet<Cid>,
    /// Found as links, the next last. The sink has not been asked about them.
    unchecked: Vec<Cid>,
    absent: VecDeque<Cid>,
    steps: FuturesUnordered<BoxFuture<'a, Step>>,
    in_flight: usize,
    average: usize,
    batch: Vec<Block>,
    batch_bytes: usize,
    is_keeping: bool,
    is_checking: bool,
    done: Progress,
    progress: P,
}

enum Step {
    Checked(Vec<Cid>, Result<Vec<Held>, StoreError>),
    Fetched(Cid, Result<Block, SourceError>),
    Kept(Result<(), StoreError>),
}

impl<S, K, P> Fetch<'_, S, K, P>
where
    S: Source + ?Sized,
    K: Sink,
    P: FnMut(Progress),
{
    async fn run(&mut self) -> Result<(), FetchError> {
        loop {
            self.begin();
            let Some(step) = self.steps.next().await else {
                return Ok(());
            };
            self.take(step)?;
        }
    }

    /// Keeps what has come. Blocks that are still on their way are given up.
    async fn finish(&mut self) -> Result<(), FetchError> {
        while self.is_keeping
            && let Some(step) = self.steps.next().await
        {
            if let Step::Kept(kept) = step {
                self.is_keeping = false;
                kept?;
            }
        }
        self.steps.clear();
        if self.batch.is_empty() {
            return Ok(());
        }
        Ok(self.sink.keep(std::mem::take(&mut self.batch)).await?)
    }

    fn begin(&mut self) {
        let (source, sink) = (self.source, self.sink);
        if !self.is_checking && self.absent.len() < READY && !self.unchecked.is_empty() {
            self.is_checking = true;
            let at = self.unchecked.len().saturating_sub(CHECKED);
            let mut cids = self.unchecked.split_off(at);
            cids.reverse();
            self.steps.push(Box::pin(async move {
                let held = sink.held(&cids).await;
                Step::Checked(cids, held)
            }));
        }
        let is_full = self.batch_bytes >= self.limits.batch_bytes;
        if !self.is_keeping && is_full {
            self.is_keeping = true;
            self.batch_bytes = 0;
            let batch = std::mem::take(&mut self.batch);
            self.steps
                .push(Box::pin(async move { Step::Kept(sink.keep(batch).await) }));
        }
        while self.may_ask()
            && let Some(cid) = self.absent.pop_front()
        {
            self.in_flight += 1;
            self.steps.push(Box::pin(async move {
                let block = source.block(&cid).await;
                Step::Fetched(cid, block)
            }));
        }
    }

    fn may_ask(&self) -> bool {
        let bytes = (self.in_flight + 1) * self.average;
        self.in_flight == 0 && self.batch_bytes < self.limits.batch_bytes
            || self.in_flight < self.limits.in_flight
                && bytes <= self.limits.in_flight_bytes
                && (self.batch_bytes < self.limits.batch_bytes || !self.is_keeping)
    }

    fn take(&mut self, step: Step) -> Result<(), FetchError> {
        match step {
            Step::Checked(cids, held) => {
                self.is_checking = false;
                for (cid, held) in cids.into_iter().zip(held?) {
                    match held {
                        Held::Absent => self.absent.push_back(cid),
                        Held::Whole => self.done.held += 1,
                        Held::Block(block) => {
                            self.done.held += 1;
                            self.follow_block(&block)?;
                        }
                    }
                }
            }
            Step::Fetched(cid, block) => {
                self.in_flight -= 1;
                let block = block.map_err(|error| self.unavailable(cid, error))?;
                let size = block.bytes().len();
                self.average = (self.average * 7 + size) / 8;
                self.done.blocks += 1;
                self.done.bytes += size as u64;
                self.batch_bytes += size + 128;
                self.follow_block(&block)?;
                self.batch.push(block);
                self.check()?;
            }
            Step::Kept(kept) => {
                self.is_keeping = false;
                kept?;
            }
        }
        self.done.left = (self.unchecked.len() + self.absent.len() + self.in_flight) as u64;
        (self.progress)(self.done);
        Ok(())
    }

    fn follow_block(&mut self, block: &Block) -> Result<(), FetchError> {
        match codec::links(block.cid(), block.bytes()) {
            Ok(links) => self.follow(links),
            Err(error) => {
                let cid = *block.cid();
                tracing::debug!(%cid, %error, "the links of a block cannot be read");
                self.done.opaque += 1;
                self.done.first_opaque.get_or_insert(cid);
                Ok(())
            }
        }
    }

    /// Depth first, so that what is known and not fetched stays small.
    fn follow(&mut self, links: impl IntoIterator<Item = Cid>) -> Result<(), FetchError> {
        let at = self.unchecked.len();
        let new = links
            .into_iter()
            .filter(|cid| !is_identity(cid) && self.seen.insert(version_1(cid)));
        self.unchecked.extend(new);
        self.unchecked[at..].reverse();
        self.check()
    }

    fn check(&self) -> Result<(), FetchError> {
        let bytes = usize::try_from(self.limits.bytes).unwrap_or(usize::MAX);
        let (limit, max) = if self.seen.len() > self.limits.blocks {
            ("blocks", self.limits.blocks)
        } else if self.done.bytes > self.limits.bytes {
            ("bytes", bytes)
        } else {
            return Ok(());
        };
        let root = Box::new(self.root);
        Err(FetchError::TooLarge { root, limit, max })
    }

    fn unavailable(&self, cid: Cid, error: SourceError) -> FetchError {
        FetchError::Unavailable {
            cid: Box::new(cid),
            failures: vec![(self.source.name(), error.into())],
        }
    }
}

#[cfg(test)]
mod tests;
