//! The pin fetch: brings what is missing below a head from the publisher's sources.
//!
//! A name waits in a durable queue until everything below its head is here. Sources of the configuration are asked
//! first, and those with which the name was followed; then those the publisher's DID document lists, which may only be public
//! addresses; then peers, those that are connected and those that provide the head. Whoever is slow is overtaken by the next. Every
//! block is checked against its CID. What was fetched is stored through the write door: of a list when the graph is complete, in
//! one batch; of a followed name in parts, since it may be large. Of a name that nobody follows, nothing is fetched below a head that is
//! no entry of its own log.
//!
//! Many are fetched at the same time, so that a silent source holds up nobody else: one that waits for its sources lets others go
//! before it ([`turns`]), and the blocks of all share one memory ([`memory`]).

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use perennis_rt as rt;
use perennis_sdk::NodeUrl;
use perennis_shared::backoff::Backoff;
use perennis_shared::cid::{Block, Cid, version_1};
use perennis_shared::did::DidDocument;
use perennis_shared::error::chain;
use perennis_shared::ipns::Name;
use perennis_shared::log::UnverifiedEntry;

use super::status::Status;
use super::{Job, Parts};
use crate::ingest::{FetchedGraph, Ingest, IngestError, WholeGraph};
use crate::metrics::{Metrics, Outcome};
use crate::read::Read;
use crate::routes::Routes;
use crate::storage::queues::{DueWindow, FETCH, TypedQueue};
use crate::storage::walk;
use crate::storage::{DueFetch, FetchAttempt, FetchEnd};
use crate::storage::{NameState, Pin, Shortfall, ShortfallKind};
use crate::storage::{Storage, StorageError};

mod lack;
mod memory;
mod sources;
mod target;
mod turns;

use lack::Lack;
use memory::{FetchMemory, NoMemory, Share};
use sources::{Peers, Sources};
use target::{Fetched, Target};
use turns::{Turn, Turns};

/// How long one block may take from all sources.
const BLOCK: Duration = Duration::from_secs(60);

/// Names at whose blocks is worked at the same time.
const TURNS: usize = 16;

/// How long one of them may wait for its sources before another goes on in its place.
const PATIENCE: Duration = Duration::from_secs(2);

/// Delays after a fetch that did not bring everything.
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(30),
    max: Duration::from_secs(6 * 3_600),
    attempts: u32::MAX,
};

pub(crate) struct FetchJob {
    storage: Storage,
    read: Arc<Read>,
    ingest: Arc<Ingest>,
    metrics: Arc<Metrics>,
    routes: Arc<Routes>,
    memory: FetchMemory,
    turns: Turns,
}

impl FetchJob {
    pub(crate) fn new(parts: &Parts<'_>) -> FetchJob {
        FetchJob {
            storage: parts.storage.clone(),
            read: Arc::clone(parts.read),
            ingest: Arc::clone(parts.ingest),
            metrics: Arc::clone(parts.metrics),
            routes: Arc::clone(parts.routes),
            memory: FetchMemory::new(parts.config.admission.memory_bytes),
            turns: Turns::new(TURNS, PATIENCE),
        }
    }
}

impl Job for FetchJob {
    type Key = Name;
    type Payload = ();
    type Due = DueFetch;

    const QUEUE: TypedQueue<Name> = FETCH;
    const BATCH: usize = 64;
    /// Those that wait for slow sources among them.
    const AT_ONCE: usize = 256;

    fn name(&self) -> String {
        "pin fetch".to_owned()
    }

    fn throttle(&self) -> String {
        format!(
            "{TURNS} names at once and those that wait for slow sources, {FETCHES} blocks of each"
        )
    }

    fn longest(&self) -> Duration {
        RETRY.max
    }

    fn storage(&self) -> &Storage {
        &self.storage
    }

    async fn due(&self, window: DueWindow, limit: usize) -> Result<Vec<DueFetch>, StorageError> {
        self.storage.fetches_due(window, limit).await
    }

    fn key(due: &DueFetch) -> Name {
        due.name
    }

    async fn work(&self, fetch: DueFetch, status: &Status) -> Result<(), StorageError> {
        status.working(format!("fetching what is missing below {}", fetch.name));
        let failures = fetch.failures.saturating_add(1);
        let attempt = FetchAttempt {
            row: fetch,
            delay: RETRY.delay(failures, rt::jitter()).unwrap_or(RETRY.max),
        };
        let left = match self.attempt(&attempt).await {
            Ok(left) => left,
            // Somebody published meanwhile: the row is looked at again, with what is there now.
            Err(IngestError::Stale { .. }) => Left::Nothing,
            // Somebody unfollowed it meanwhile.
            Err(IngestError::NotFollowed) => Left::End(FetchEnd::Done),
            Err(error @ IngestError::Quota { .. }) => {
                tracing::warn!(name = %attempt.row.name, %error, "what is below a head is not fetched to its end");
                status.failed(&error);
                self.stopped_by(&attempt, Shortfall::quota(&error)).await?
            }
            Err(error) => {
                status.failed(&error);
                Left::End(FetchEnd::Later)
            }
        };
        match left {
            Left::Nothing => Ok(()),
            Left::End(end) => self.storage.fetch_ended(attempt.ends(end)).await,
        }
    }
}

/// What is left to be said about the row of a fetch.
enum Left {
    /// Nothing: the batch that records what the fetch came to has said it.
    Nothing,
    /// It has changed nothing, and its row becomes this.
    End(FetchEnd),
}

impl FetchJob {
    /// Fetches what is missing below one head.
    async fn attempt(&self, attempt: &FetchAttempt) -> Result<Left, IngestError> {
        const DONE: Left = Left::End(FetchEnd::Done);
        let mut place = Place {
            turn: self.turns.take().await,
            share: self.memory.begin(),
        };
        let name = &attempt.row.name;
        let Some(kept) = self.storage.kept(*name).await? else {
            return Ok(DONE);
        };
        let (Some(head), Pin::Queued | Pin::Incomplete { .. }) = (kept.head, kept.facts.pin) else {
            return Ok(DONE);
        };
        // What is followed is brought here whether or not its record has lapsed.
        if kept.valid_until < rt::now() && kept.followed.is_none() {
            return Ok(DONE);
        }
        let held = self.read.held().as_ref();
        let walked = walk(held, head, self.ingest.most_blocks(), || false).await?;
        let Some(walked) = walked else {
            return Ok(Left::End(FetchEnd::Later));
        };
        let mut target = Target {
            attempt,
            kept: &kept,
            bytes: walked.bytes,
            count: walked.blocks,
            opaque: walked.opaque.clone(),
        };
        if walked.is_too_large {
            let lack = Lack::of(self.ingest.too_large(&walked));
            return self.incomplete(&target, lack, FetchEnd::Done).await;
        }
        if walked.has_more_missing && kept.followed.is_none() {
            let cause = "more of its blocks are missing than are fetched at once, and they are stored together";
            let lack = Lack::of(Shortfall::new(ShortfallKind::Memory, None, cause));
            return self.incomplete(&target, lack, FetchEnd::Done).await;
        }
        let peers = Peers::new(&self.routes, head);
        let mut fetched = Fetched::default();
        if walked.missing.contains(&head) {
            match self
                .head(&target, head, &peers, &mut fetched, &mut place)
                .await?
            {
                Head::Here => {}
                Head::Foreign => {
                    let (found, ended) = (FetchedGraph::Foreign, attempt.ends(FetchEnd::Done));
                    let adopted = self
                        .ingest
                        .adopt(name, &kept, Vec::new(), found, Some(ended));
                    return adopted.await.map(|()| Left::Nothing);
                }
                Head::Lacks(lack) => return self.left_incomplete(&target, lack).await,
            }
        }
        let sources = self.sources_of(&kept, &fetched, &peers).await?;
        let wanted: Vec<Cid> = walked
            .missing
            .into_iter()
            .filter(|cid| *cid != head)
            .chain(fetched.ahead(&head, &mut target))
            .collect();
        let lack = self
            .below(wanted, &sources, &mut fetched, &mut target, &mut place)
            .await?;
        if kept.followed.is_some() && !fetched.blocks.is_empty() {
            // What has come stays for the next attempt.
            self.store_part(&mut fetched, &mut target, lack.clone(), &place)
                .await?;
        }
        if let Some(lack) = lack {
            return self.left_incomplete(&target, lack).await;
        }
        if kept.followed.is_some() {
            // Something else may have left a block here without what is below it: only a walk tells.
            self.ingest.settle(name, Some(attempt)).await?;
            return Ok(Left::Nothing);
        }
        let bytes = target.bytes + fetched.bytes;
        let count = target.count + fetched.blocks.len() as u64;
        let whole = WholeGraph {
            blocks: fetched.blocks.into_values().collect(),
            bytes,
            count,
            opaque: target.opaque.take(),
        };
        self.ingest
            .adopt_whole(name, &kept, whole, Some(attempt))
            .await?;
        tracing::info!(%name, "everything below the head is here");
        Ok(Left::Nothing)
    }

    /// Keeps why not everything is here, for another attempt.
    async fn left_incomplete(&self, target: &Target<'_>, lack: Lack) -> Result<Left, IngestError> {
        let end = match lack.gives_way {
            true => FetchEnd::Postponed,
            false => FetchEnd::Later,
        };
        self.incomplete(target, lack, end).await
    }

    /// Keeps what has ended a fetch for good. What was fetched before stays.
    async fn stopped_by(
        &self,
        attempt: &FetchAttempt,
        why: Shortfall,
    ) -> Result<Left, StorageError> {
        const DONE: Left = Left::End(FetchEnd::Done);
        let Some(kept) = self.storage.kept(attempt.row.name).await? else {
            return Ok(DONE);
        };
        let target = Target {
            attempt,
            kept: &kept,
            bytes: kept.facts.bytes,
            count: kept.facts.blocks,
            opaque: None,
        };
        match self
            .incomplete(&target, Lack::of(why), FetchEnd::Done)
            .await
        {
            Ok(left) => Ok(left),
            Err(IngestError::Storage(error)) => Err(error),
            // It has changed meanwhile: the row is looked at again.
            Err(_) => Ok(Left::Nothing),
        }
    }

    /// Keeps how many blocks are missing and why, where that is new, and what becomes of the row.
    async fn incomplete(
        &self,
        target: &Target<'_>,
        lack: Lack,
        end: FetchEnd,
    ) -> Result<Left, IngestError> {
        let facts = &target.kept.facts;
        let missing = lack.missing;
        if facts.pin == (Pin::Incomplete { missing }) && facts.shortfall.as_ref() == Some(&lack.why)
        {
            return Ok(Left::End(end));
        }
        self.adopt_incomplete(target, Vec::new(), lack, end).await?;
        Ok(Left::Nothing)
    }

    async fn adopt_incomplete(
        &self,
        target: &Target<'_>,
        blocks: Vec<Block>,
        lack: Lack,
        end: FetchEnd,
    ) -> Result<(), IngestError> {
        let Lack { missing, why, .. } = lack;
        let found = FetchedGraph::Incomplete { missing, why };
        let (name, ended) = (&target.attempt.row.name, target.attempt.ends(end));
        self.ingest
            .adopt(name, target.kept, blocks, found, Some(ended))
            .await
    }

    /// Fetches the head and the DID document from those who are known before that. Of a name that nobody follows both must be there,
    /// and the name's own.
    async fn head(
        &self,
        target: &Target<'_>,
        head: Cid,
        peers: &Arc<Peers>,
        fetched: &mut Fetched,
        place: &mut Place<'_>,
    ) -> Result<Head, IngestError> {
        let kept = target.kept;
        let is_followed = kept.followed.is_some();
        // A value with a path behind its CID is none of a list of ours.
        if !is_followed && kept.record.head().is_none() {
            return Ok(Head::Foreign);
        }
        let sources = self.sources_of(kept, fetched, peers).await?;
        let block = match place.fetch(self.one(&head, &sources)).await {
            Ok(block) => block,
            Err(lack) => return Ok(Head::Lacks(lack)),
        };
        fetched.take(block.clone());
        let entry = match UnverifiedEntry::parse(&block) {
            Ok(entry) => entry,
            // What is below is fetched whatever it is.
            Err(_) if is_followed => return Ok(Head::Here),
            Err(_) => return Ok(Head::Foreign),
        };
        let cid = *entry.document();
        let document = match self.read.block(&cid).await? {
            Some(document) => document,
            None => match place.fetch(self.one(&cid, &sources)).await {
                Ok(document) => {
                    fetched.take(document.clone());
                    document
                }
                Err(_) if is_followed => return Ok(Head::Here),
                Err(lack) => return Ok(Head::Lacks(lack)),
            },
        };
        let name = &target.attempt.row.name;
        match is_followed || entry.verify(name, &document, rt::now()).is_ok() {
            true => Ok(Head::Here),
            false => Ok(Head::Foreign),
        }
    }

    /// Fetches a level of the graph after the other; tells how many blocks could not be had, and why the first.
    async fn below(
        &self,
        wanted: Vec<Cid>,
        sources: &Sources,
        fetched: &mut Fetched,
        target: &mut Target<'_>,
        place: &mut Place<'_>,
    ) -> Result<Option<Lack>, IngestError> {
        let mut lack: Option<Lack> = None;
        let come = fetched.blocks.values();
        let mut seen: HashSet<Cid> = come.map(|block| version_1(block.cid())).collect();
        let mut level: Vec<Cid> = wanted
            .into_iter()
            .filter(|cid| seen.insert(version_1(cid)))
            .collect();
        while !level.is_empty() {
            let absent = self.read.held().absent(level).await?;
            let mut next = Vec::new();
            for cids in absent.chunks(FETCHES) {
                let asked = cids.iter().map(|cid| self.one(cid, sources));
                let asked = async { Ok(futures_util::future::join_all(asked).await) };
                let blocks = match place.fetch(asked).await {
                    Ok(blocks) => blocks,
                    Err(gives_way) => return Ok(Some(lack.unwrap_or(gives_way))),
                };
                let before = fetched.bytes;
                for block in blocks {
                    let block = match block {
                        Ok(block) => block,
                        Err(why) => {
                            lack = Some(Lack::more(lack, why));
                            continue;
                        }
                    };
                    let links = target.links(&block).into_iter();
                    next.extend(links.filter(|link| seen.insert(version_1(link))));
                    fetched.take(block);
                }
                // Who lacks these lacks the rest; others wait.
                if lack.as_ref().is_some_and(|lack| lack.missing >= LACKED) {
                    return Ok(lack);
                }
                let count = target.count + fetched.blocks.len() as u64;
                self.ingest
                    .check_size(target.bytes + fetched.bytes, count)?;
                let is_followed = target.kept.followed.is_some();
                if is_followed && fetched.bytes > PART_BYTES {
                    self.store_part(fetched, target, lack.clone(), place)
                        .await?;
                } else if let Err(why) = place.share.grow(fetched.bytes - before).await {
                    // What can be stored needs no memory any more.
                    if !is_followed {
                        return Ok(Some(lack.unwrap_or_else(|| self.no_memory(why))));
                    }
                    self.store_part(fetched, target, lack.clone(), place)
                        .await?;
                }
            }
            level = next;
        }
        Ok(lack)
    }

    /// Stores what was fetched so far of a followed name, parents before what is below them, so that all of it is held
    /// by the pin of the head.
    async fn store_part(
        &self,
        fetched: &mut Fetched,
        target: &mut Target<'_>,
        lack: Option<Lack>,
        place: &Place<'_>,
    ) -> Result<(), IngestError> {
        target.bytes += std::mem::take(&mut fetched.bytes);
        target.count += fetched.blocks.len() as u64;
        let blocks = std::mem::take(&mut fetched.blocks).into_values().collect();
        let under_way = || {
            let cause = "it is being fetched";
            Lack::of(Shortfall::new(ShortfallKind::Awaited, None, cause))
        };
        let lack = lack.unwrap_or_else(under_way);
        self.adopt_incomplete(target, blocks, lack, FetchEnd::GoesOn)
            .await?;
        place.share.clear();
        Ok(())
    }

    /// Why a fetch ends that got no memory.
    fn no_memory(&self, why: NoMemory) -> Lack {
        match why {
            NoMemory::GivesWay => Lack::giving_way(),
            NoMemory::TooLarge => {
                let cause = format!(
                    "its blocks are stored together, and are more than the {} bytes of admission.memory",
                    self.memory.bytes()
                );
                Lack::of(Shortfall::new(ShortfallKind::Memory, None, cause))
            }
        }
    }

    /// One block, or what the sources said instead.
    async fn one(&self, cid: &Cid, sources: &Sources) -> Result<Block, Shortfall> {
        let (kind, cause) = match rt::timeout(BLOCK, sources.all.block(cid)).await {
            Ok(Ok(block)) => {
                self.metrics.pin_fetches.inc(Outcome::Ok);
                return Ok(block);
            }
            Ok(Err(error)) => {
                tracing::debug!(%cid, %error, "a block could not be fetched");
                if sources.are_nobody(&error) {
                    let cause = format!(
                        "block {cid} is not here, no source is known for it, and there is no peer to ask"
                    );
                    (ShortfallKind::NoSource, cause)
                } else {
                    (ShortfallKind::Unavailable, chain(&error))
                }
            }
            Err(_) => {
                tracing::debug!(%cid, "a block did not come in time");
                let seconds = BLOCK.as_secs();
                let cause = format!(
                    "block {cid} did not come within {seconds} s from {}",
                    sources.names
                );
                (ShortfallKind::Unavailable, cause)
            }
        };
        self.metrics.pin_fetches.inc(Outcome::Failed);
        Err(Shortfall::new(kind, Some(*cid), cause))
    }

    async fn sources_of(
        &self,
        kept: &NameState,
        fetched: &Fetched,
        peers: &Arc<Peers>,
    ) -> Result<Sources, IngestError> {
        let mut listed = Vec::new();
        let known = fetched.blocks.values().find_map(|block| {
            let head = UnverifiedEntry::parse(block).ok()?;
            fetched.blocks.get(head.document().hash()).cloned()
        });
        let document = match (known, kept.facts.document) {
            (Some(block), _) => Some(block),
            (None, Some(cid)) => self.read.block(&cid).await?,
            (None, None) => None,
        };
        if let Some(block) = document
            && let Ok(document) = DidDocument::from_block(&block)
        {
            listed = urls(document.sources());
        }
        // The operator has named both.
        let followed = kept.followed.iter().flat_map(|row| &row.sources);
        let mut trusted = self.routes.gateways().to_vec();
        trusted.extend(urls(followed.map(String::as_str)));
        Ok(Sources::new(
            &self.routes,
            trusted,
            listed,
            Arc::clone(peers),
        ))
    }
}

/// What was found of a head.
enum Head {
    /// What is below it is to be fetched.
    Here,
    /// It is no entry of the name's own log, and nobody follows the name.
    Foreign,
    /// It could not be had.
    Lacks(Lack),
}

/// What a fetch has while it is under way.
struct Place<'a> {
    turn: Turn<'a>,
    share: Share<'a>,
}

impl Place<'_> {
    /// Waits for blocks, unless what has come already is to be given up for a fetch that was begun earlier.
    async fn fetch<T>(
        &mut self,
        blocks: impl Future<Output = Result<T, Shortfall>>,
    ) -> Result<T, Lack> {
        let asked_back = pin!(self.share.asked_back());
        let blocks = pin!(self.turn.wait_for(blocks));
        match select(blocks, asked_back).await {
            Either::Left((blocks, _)) => blocks.map_err(Lack::of),
            Either::Right(_) => Err(Lack::giving_way()),
        }
    }
}

/// Blocks that could not be had, after which a name is put off.
const LACKED: u64 = 16;

/// Blocks asked for at once.
const FETCHES: usize = 8;

/// Bytes of a followed name's blocks that are stored in one batch.
const PART_BYTES: u64 = 8 << 20;

fn urls<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<NodeUrl> {
    texts.filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
