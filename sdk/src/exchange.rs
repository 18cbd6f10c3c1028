//! Fetching blocks by CID, from trustless gateways and from other sources.
//!
//! A gateway is an HTTP server that answers `/ipfs/{cid}` with `format=raw` or `format=car` (trustless
//! gateway specification). No source is trusted: every block is checked against the CID it was asked for, and
//! a source whose bytes do not match is not asked for that block again. A whole DAG is fetched as one CAR where a
//! source offers that; whatever the CAR left out is fetched block by block, from all sources.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use perennis_rt::{
    BoxFuture,
    http::{Http, Request},
};
use perennis_shared::{
    backoff::Backoff,
    cid::{Block, Cid, Multihash, VerifyError, is_identity, version_1},
    codec::{
        self, CodecError,
        car::{CarError, Decoder, Event},
    },
    error::{ErrorKind, Retryable},
    limits::WIRE_BLOCK_BYTES,
};

use crate::{
    node_url::NodeUrl,
    remote::{RemoteError, refusal, with_retries},
    store::{BlockStore, StoreError},
};

mod dag;
#[cfg(feature = "net")]
mod peers;
mod source;

pub use dag::{DagLimits, Held, Progress, Sink, StoreSink, fetch_dag};
use source::Race;
pub use source::Source;

const RAW_TYPE: &str = "application/vnd.ipld.raw";
const CAR_TYPE: &str = "application/vnd.ipld.car";
/// More blocks than this on one level of a DAG are asked for as a CAR.
const SINGLE_BLOCKS: usize = 32;

/// Bounds of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Most blocks of one DAG.
    pub blocks: usize,
    /// Most bytes of one DAG.
    pub bytes: usize,
    /// Blocks asked for at once.
    pub concurrency: usize,
    /// The time one CAR may take.
    pub car_deadline: Duration,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            blocks: 1 << 20,
            bytes: 512 << 20,
            concurrency: 8,
            car_deadline: Duration::from_secs(300),
        }
    }
}

/// Several sources as one.
#[derive(Clone)]
pub struct Exchange {
    gateways: Vec<Gateway>,
    race: Race,
    limits: FetchLimits,
}

/// One trustless gateway.
#[derive(Clone)]
struct Gateway {
    http: Http,
    url: NodeUrl,
    backoff: Backoff,
    limits: FetchLimits,
}

/// Why a block or a DAG could not be had.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No source is configured.
    #[error("block {cid} is not here and there is no source to fetch it from")]
    NoSource {
        /// The block.
        cid: Box<Cid>,
    },
    /// No source gave the block.
    #[error("block {cid} could not be fetched: {}", summary(.failures))]
    Unavailable {
        /// The block.
        cid: Box<Cid>,
        /// What each source answered, under its URL.
        failures: Vec<(String, Arc<SourceError>)>,
    },
    /// A block is what its CID says, but it breaks the rules of its codec, so that its links are unknown.
    #[error("block {cid} cannot be read")]
    Unreadable {
        /// The block.
        cid: Box<Cid>,
        /// The broken rule.
        source: CodecError,
    },
    /// The DAG is larger than this fetch may be.
    #[error("the data below {root} exceed {max} {limit}")]
    TooLarge {
        /// The root of the DAG.
        root: Box<Cid>,
        /// What is bounded: blocks or bytes.
        limit: &'static str,
        /// The bound.
        max: usize,
    },
    /// The client's own store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why one source did not give a block or a CAR.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source failed or refused.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The source sent other bytes than the CID asks for. They were dropped.
    #[error("sent wrong bytes")]
    Wrong(#[from] VerifyError),
    /// The source sent what is no CAR file.
    #[error("sent a malformed CAR file")]
    Car(#[from] CarError),
    /// Peers did not give it.
    #[cfg(feature = "net")]
    #[error(transparent)]
    Peers(#[from] perennis_net::bitswap::BitswapError),
    /// It was not asked, since it has given nothing of late.
    #[error("is not asked for a while, since it has given nothing of late")]
    LeftAlone,
    /// Several sources as one did not give it.
    #[error(transparent)]
    Several(#[from] Box<FetchError>),
    /// The source sent more than was asked for.
    #[error("sent more than {max} {limit}")]
    TooMuch {
        /// What is bounded: blocks or bytes.
        limit: &'static str,
        /// The bound.
        max: usize,
    },
}

impl FetchError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSource { .. } => "no_source",
            Self::Unavailable { .. } => "block_unavailable",
            Self::Unreadable { .. } => "block_unreadable",
            Self::TooLarge { .. } => "dag_too_large",
            Self::Store(error) => error.code(),
        }
    }
}

impl Retryable for FetchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSource { .. } | Self::TooLarge { .. } => ErrorKind::Reject,
            Self::Unavailable { failures, .. } => {
                let kinds = || failures.iter().map(|(_, error)| error.kind());
                if kinds().any(|kind| kind == ErrorKind::Retry) {
                    ErrorKind::Retry
                } else if kinds().any(|kind| kind == ErrorKind::Reject) {
                    ErrorKind::Reject
                } else {
                    ErrorKind::Corrupt
                }
            }
            Self::Unreadable { .. } => ErrorKind::Corrupt,
            Self::Store(error) => error.kind(),
        }
    }
}

impl Retryable for SourceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Remote(error) => error.kind(),
            #[cfg(feature = "net")]
            Self::Peers(error) => error.kind(),
            Self::Several(error) => error.kind(),
            Self::LeftAlone => ErrorKind::Retry,
            Self::Wrong(_) | Self::Car(_) | Self::TooMuch { .. } => ErrorKind::Corrupt,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Remote(error) => error.retry_after(),
            _ => None,
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Remote(error) if error.is_unreachable())
    }
}

impl Exchange {
    /// Asks `sources` in this order. With none, only what is in the store can be had.
    #[must_use]
    pub fn new(http: Http, sources: Vec<NodeUrl>, backoff: Backoff, limits: FetchLimits) -> Self {
        let gateway = |url| Gateway {
            http: http.clone(),
            url,
            backoff,
            limits,
        };
        let gateways: Vec<Gateway> = sources.into_iter().map(gateway).collect();
        let mut race = Race::default();
        for gateway in gateways.iter().cloned() {
            race.push(Box::new(gateway));
        }
        Self {
            gateways,
            race,
            limits,
        }
    }

    /// Asks `source` for single blocks too, in a race behind those that are here already.
    #[must_use]
    pub fn with_source(mut self, source: impl Source + 'static) -> Self {
        self.race.push(Box::new(source));
        self
    }

    /// One block, from the first source that gives it.
    ///
    /// # Errors
    /// No source gave the right bytes.
    pub async fn block(&self, cid: &Cid) -> Result<Block, FetchError> {
        if is_identity(cid)
            && let Ok(block) = Block::verified(*cid, cid.hash().digest().to_vec())
        {
            return Ok(block);
        }
        if self.race.is_empty() {
            return Err(FetchError::NoSource {
                cid: Box::new(*cid),
            });
        }
        let failed = |failures| FetchError::Unavailable {
            cid: Box::new(*cid),
            failures,
        };
        self.race.block(cid).await.map_err(failed)
    }

    /// The blocks below `roots` that `store` lacks, the roots among them. All of them are needed: the result
    /// together with the store holds the DAGs whole. Nothing is stored.
    ///
    /// # Errors
    /// A block cannot be had or read, or the bounds are exceeded.
    pub async fn missing_below<S: BlockStore>(
        &self,
        store: &S,
        roots: &[Cid],
    ) -> Result<Vec<Block>, FetchError> {
        let mut walk = Walk::new(roots);
        let mut offered: HashMap<Multihash, Block> = HashMap::new();
        let mut fetched = Vec::new();
        let mut bytes = 0_usize;
        let mut tried_car = HashSet::new();
        loop {
            let mut absent = Vec::new();
            while let Some(cid) = walk.next() {
                // Another codec of the same bytes may be asked for later.
                let come = offered.get(cid.hash());
                if let Some(block) = come.and_then(|block| block.named(&cid)) {
                    walk.follow(&block)?;
                    bytes += block.bytes().len();
                    fetched.push(block);
                    self.check(roots, fetched.len(), bytes)?;
                } else if let Some(block) = sound(store.block(&cid).await)? {
                    walk.follow(&block)?;
                } else {
                    absent.push(cid);
                }
            }
            let Some(first) = absent.first().copied() else {
                return Ok(fetched);
            };
            // A root that is missing is likely to be missing with all that is below it, and many missing blocks
            // are cheaper in one file, even if some of it is here.
            let is_bulk = absent.len() > SINGLE_BLOCKS;
            let is_wanted = |root: &&Cid| is_bulk || absent.contains(*root);
            let is_root = roots
                .iter()
                .filter(is_wanted)
                .find(|root| tried_car.insert(**root));
            if let Some(root) = is_root.copied() {
                offered.extend(self.car_of_any(&root).await);
                walk.again(absent);
                continue;
            }
            let blocks = self.blocks(&absent, self.limits.concurrency).await;
            for block in blocks {
                let block = block?;
                offered.insert(*block.cid().hash(), block);
            }
            debug_assert!(
                offered.contains_key(first.hash()),
                "every absent block was fetched"
            );
            walk.again(absent);
        }
    }

    /// Several blocks, `concurrency` at a time, in no order.
    pub(crate) async fn blocks(
        &self,
        cids: &[Cid],
        concurrency: usize,
    ) -> Vec<Result<Block, FetchError>> {
        let fetch = |cid| -> BoxFuture<'_, _> { Box::pin(self.block(cid)) };
        let fetches: Vec<BoxFuture<'_, _>> = cids.iter().map(fetch).collect();
        stream::iter(fetches)
            .buffer_unordered(concurrency)
            .collect()
            .await
    }

    /// What the sources send as a CAR of `root`: of the first that sends anything useful. It may lack blocks
    /// and hold others; each is what its CID says.
    async fn car_of_any(&self, root: &Cid) -> HashMap<Multihash, Block> {
        for gateway in &self.gateways {
            let mut blocks = HashMap::new();
            let outcome = gateway.car(root, &mut blocks).await;
            if let Err(error) = &outcome {
                tracing::debug!(source = %gateway.url, %root, %error, "a CAR was not complete");
            }
            if blocks.contains_key(root.hash()) {
                return blocks;
            }
        }
        HashMap::new()
    }

    fn check(&self, roots: &[Cid], blocks: usize, bytes: usize) -> Result<(), FetchError> {
        let bounds = [
            ("blocks", self.limits.blocks, blocks),
            ("bytes", self.limits.bytes, bytes),
        ];
        for (limit, max, actual) in bounds {
            if actual > max {
                let root = Box::new(roots.first().copied().unwrap_or_default());
                return Err(FetchError::TooLarge { root, limit, max });
            }
        }
        Ok(())
    }
}

impl Gateway {
    async fn raw(&self, cid: &Cid) -> Result<Block, SourceError> {
        let url = self.url.at(&format!("ipfs/{cid}?format=raw"));
        let request = Request::get(url).accepting(RAW_TYPE);
        let response = self.http.send(request).await.map_err(RemoteError::from)?;
        if response.status() != 200 {
            return Err(refusal(response).await.into());
        }
        let body = response.bytes(WIRE_BLOCK_BYTES).await;
        Ok(Block::verified(*cid, body.map_err(RemoteError::from)?)?)
    }

    /// Reads a CAR into `blocks` as far as it goes.
    async fn car(
        &self,
        root: &Cid,
        blocks: &mut HashMap<Multihash, Block>,
    ) -> Result<(), SourceError> {
        let url = self.url.at(&format!("ipfs/{root}?format=car"));
        let request = Request::get(url)
            .accepting(CAR_TYPE)
            .within(self.limits.car_deadline);
        let response = self.http.send(request).await.map_err(RemoteError::from)?;
        if response.status() != 200 {
            return Err(refusal(response).await.into());
        }
        if !response.is(CAR_TYPE) {
            let what = "a CAR was asked for and something else came";
            return Err(RemoteError::Answer { what }.into());
        }
        let mut body = response.into_body();
        let mut decoder = Decoder::new();
        let mut bytes = 0_usize;
        while let Some(chunk) = body.chunk().await.map_err(RemoteError::from)? {
            bytes += chunk.len();
            self.check_sent("bytes", self.limits.bytes, bytes)?;
            decoder.push(&chunk);
            while let Some(event) = decoder.next_event()? {
                if let Event::Block(block) = event {
                    blocks.insert(*block.cid().hash(), block);
                    self.check_sent("blocks", self.limits.blocks, blocks.len())?;
                }
            }
        }
        Ok(decoder.finish()?)
    }

    fn check_sent(&self, limit: &'static str, max: usize, sent: usize) -> Result<(), SourceError> {
        if sent > max {
            return Err(SourceError::TooMuch { limit, max });
        }
        Ok(())
    }
}

impl Source for Gateway {
    fn name(&self) -> String {
        self.url.to_string()
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Block, SourceError>> {
        Box::pin(with_retries(&self.backoff, || self.raw(cid)))
    }
}

/// All its sources as one.
impl Source for Exchange {
    fn name(&self) -> String {
        "all sources".to_owned()
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Block, SourceError>> {
        Box::pin(async { Ok(Exchange::block(self, cid).await.map_err(Box::new)?) })
    }
}

/// A walk over a DAG, nearest blocks first, each once.
pub(crate) struct Walk {
    seen: HashSet<Cid>,
    next: VecDeque<Cid>,
}

impl Walk {
    pub(crate) fn new(roots: &[Cid]) -> Self {
        let mut walk = Self {
            seen: HashSet::new(),
            next: VecDeque::new(),
        };
        walk.add(roots.iter().copied());
        walk
    }

    /// The next block to visit. Content held by a CID itself is not a block, and never comes.
    pub(crate) fn next(&mut self) -> Option<Cid> {
        self.next.pop_front()
    }

    /// The next blocks to visit, as many as are worth one trip to a store.
    pub(crate) fn next_several(&mut self) -> Vec<Cid> {
        const SEVERAL: usize = 256;
        self.next.drain(..self.next.len().min(SEVERAL)).collect()
    }

    /// Goes on to what a visited block links to.
    pub(crate) fn follow(&mut self, block: &Block) -> Result<(), FetchError> {
        let links = codec::links(block.cid(), block.bytes());
        self.add(links.map_err(|source| FetchError::Unreadable {
            cid: Box::new(*block.cid()),
            source,
        })?);
        Ok(())
    }

    /// Visits these, which could not be visited before, once more.
    fn again(&mut self, cids: Vec<Cid>) {
        self.next.extend(cids);
    }

    fn add(&mut self, cids: impl IntoIterator<Item = Cid>) {
        for cid in cids {
            if !is_identity(&cid) && self.seen.insert(version_1(&cid)) {
                self.next.push_back(cid);
            }
        }
    }
}

/// A damaged block in the own store counts as missing, so that it is fetched anew.
fn sound(read: Result<Option<Block>, StoreError>) -> Result<Option<Block>, StoreError> {
    match read {
        Err(StoreError::Corrupt { cid, .. }) => {
            tracing::warn!(%cid, "a stored block is damaged");
            Ok(None)
        }
        other => other,
    }
}

fn summary(failures: &[(String, Arc<SourceError>)]) -> String {
    let told: Vec<String> = failures
        .iter()
        .map(|(source, error)| format!("{source}: {error}"))
        .collect();
    told.join("; ")
}
