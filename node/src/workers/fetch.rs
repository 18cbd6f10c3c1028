//! The pin fetch: brings what is missing below a head from the publisher's sources.
//!
//! A name waits in a durable queue until everything below its head is here. Sources of the configuration are asked
//! first, then those the publisher's DID document lists, which may only be public addresses; for a name that is
//! followed also the sources it was followed with, and other peers. Every block is checked against its CID. What was
//! fetched is stored through the write door: of a list when the graph is complete, in one batch; of a followed name in
//! parts, since it may be large.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_sdk::NodeUrl;
use perennis_sdk::exchange::Exchange;
use perennis_shared::backoff::Backoff;
use perennis_shared::cid::{Block, Cid, Multihash, version_1};
use perennis_shared::did::DidDocument;
use perennis_shared::error::chain;
use perennis_shared::ipns::Name;
use perennis_shared::log::UnverifiedEntry;

use super::status::Status;
use super::{Job, Parts};
use crate::ingest::{FetchedGraph, Ingest, IngestError, WholeGraph};
use crate::metrics::{Metrics, Outcome};
use crate::read::Read;
use crate::routes::{Dial, Routes};
use crate::storage::queues::{DueWindow, FETCH, TypedQueue};
use crate::storage::{DueFetch, FetchAttempt, FetchEnd};
use crate::storage::{NameState, Pin, Shortfall, ShortfallKind};
use crate::storage::{Storage, StorageError};
use crate::storage::{links, walk};

/// How long one block may take from one kind of sources.
const BLOCK: Duration = Duration::from_secs(60);

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
    memory_bytes: u64,
}

impl FetchJob {
    pub(crate) fn new(parts: &Parts<'_>) -> FetchJob {
        FetchJob {
            storage: parts.storage.clone(),
            read: Arc::clone(parts.read),
            ingest: Arc::clone(parts.ingest),
            metrics: Arc::clone(parts.metrics),
            routes: Arc::clone(parts.routes),
            memory_bytes: parts.config.admission.memory_bytes,
        }
    }
}

impl Job for FetchJob {
    type Key = Name;
    type Payload = ();
    type Due = DueFetch;

    const QUEUE: TypedQueue<Name> = FETCH;
    const BATCH: usize = 16;
    const AT_ONCE: usize = 1;

    fn name(&self) -> String {
        "pin fetch".to_owned()
    }

    fn throttle(&self) -> String {
        format!("one name at a time, {FETCHES} blocks at once")
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
        let mut fetched = Fetched::default();
        if walked.missing.contains(&head)
            && let Err(why) = self.head(&kept, head, &mut fetched).await?
        {
            return self
                .incomplete(&target, Lack::of(why), FetchEnd::Later)
                .await;
        }
        let sources = self.sources_of(&kept, &fetched).await?;
        let wanted: Vec<Cid> = walked
            .missing
            .into_iter()
            .filter(|cid| *cid != head)
            .chain(fetched.ahead(&head, &mut target))
            .collect();
        let lack = self
            .below(wanted, &sources, &mut fetched, &mut target)
            .await?;
        if kept.followed.is_some() && !fetched.blocks.is_empty() {
            // What has come stays for the next attempt.
            self.store_part(&mut fetched, &mut target, lack.clone())
                .await?;
        }
        if let Some(lack) = lack {
            return self.incomplete(&target, lack, FetchEnd::Later).await;
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
        let Lack { missing, why } = lack;
        let found = FetchedGraph::Incomplete { missing, why };
        let (name, ended) = (&target.attempt.row.name, target.attempt.ends(end));
        self.ingest
            .adopt(name, target.kept, blocks, found, Some(ended))
            .await
    }

    /// Fetches the head and the DID document from the operator's sources and those that were known before. Tells why where the
    /// head could not be had.
    async fn head(
        &self,
        kept: &NameState,
        head: Cid,
        fetched: &mut Fetched,
    ) -> Result<Result<(), Shortfall>, IngestError> {
        let sources = self.sources_of(kept, fetched).await?;
        let entry = match self.one(&head, &sources).await {
            Ok(entry) => entry,
            Err(why) => return Ok(Err(why)),
        };
        // What is no entry of ours is found out when everything is looked at; its blocks are not fetched.
        let document = UnverifiedEntry::parse(&entry)
            .map(|entry| *entry.document())
            .ok();
        fetched.take(entry);
        if let Some(document) = document
            && self.read.block(&document).await?.is_none()
            && let Ok(document) = self.one(&document, &sources).await
        {
            fetched.take(document);
        }
        Ok(Ok(()))
    }

    /// Fetches a level of the graph after the other; tells how many blocks could not be had, and why the first.
    async fn below(
        &self,
        wanted: Vec<Cid>,
        sources: &Sources,
        fetched: &mut Fetched,
        target: &mut Target<'_>,
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
                for block in futures_util::future::join_all(asked).await {
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
                if target.kept.followed.is_some() && fetched.bytes > PART_BYTES {
                    self.store_part(fetched, target, lack.clone()).await?;
                }
                if fetched.bytes > self.memory_bytes {
                    let cause = format!(
                        "its blocks are stored together, and are more than the {} bytes of admission.memory",
                        self.memory_bytes
                    );
                    let why = Shortfall::new(ShortfallKind::Memory, None, cause);
                    return Ok(Some(lack.unwrap_or_else(|| Lack::of(why))));
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
            .await
    }

    /// One block, or what each kind of sources said instead.
    async fn one(&self, cid: &Cid, sources: &Sources) -> Result<Block, Shortfall> {
        let all = [&sources.trusted, &sources.guarded, &sources.peers];
        let mut refusals = Vec::new();
        for exchange in all.into_iter().flatten() {
            match rt::timeout(BLOCK, exchange.block(cid)).await {
                Ok(Ok(block)) => {
                    self.metrics.pin_fetches.inc(Outcome::Ok);
                    return Ok(block);
                }
                Ok(Err(error)) => {
                    tracing::debug!(%cid, %error, "a block could not be fetched");
                    refusals.push(chain(&error));
                }
                Err(_) => {
                    tracing::debug!(%cid, "a block did not come in time");
                    let seconds = BLOCK.as_secs();
                    refusals.push(format!("block {cid} did not come within {seconds} s"));
                }
            }
        }
        self.metrics.pin_fetches.inc(Outcome::Failed);
        Err(if refusals.is_empty() {
            let cause = format!("block {cid} is not here, and no source is known for it");
            Shortfall::new(ShortfallKind::NoSource, Some(*cid), cause)
        } else {
            let cause = refusals.join("; ");
            Shortfall::new(ShortfallKind::Unavailable, Some(*cid), cause)
        })
    }

    async fn sources_of(
        &self,
        kept: &NameState,
        fetched: &Fetched,
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
        let exchange = |dial: Dial, sources: Vec<NodeUrl>| {
            (!sources.is_empty()).then(|| self.routes.exchange(dial, sources))
        };
        Ok(Sources {
            trusted: exchange(Dial::Any, trusted),
            guarded: exchange(Dial::Public, listed),
            peers: kept.head.filter(|_| kept.followed.is_some()).map(|head| {
                let peers = self.routes.exchange(Dial::Public, Vec::new());
                peers.with_source(self.routes.providers(&head))
            }),
        })
    }
}

/// Blocks that could not be had, after which a name is put off.
const LACKED: u64 = 16;

/// Blocks asked for at once.
const FETCHES: usize = 8;

/// Bytes of a followed name's blocks that are stored in one batch.
const PART_BYTES: u64 = 8 << 20;

/// The name whose blocks are fetched, and how much of it is stored.
struct Target<'a> {
    attempt: &'a FetchAttempt,
    kept: &'a NameState,
    bytes: u64,
    count: u64,
    /// The first block whose links cannot be read.
    opaque: Option<Shortfall>,
}

impl Target<'_> {
    /// What a block leads to. One whose links cannot be read leads nowhere, which is told.
    fn links(&mut self, block: &Block) -> Vec<Cid> {
        links(block).unwrap_or_else(|error| {
            let opaque = || Shortfall::opaque(*block.cid(), &error);
            self.opaque.get_or_insert_with(opaque);
            Vec::new()
        })
    }
}

/// How many blocks could not be had, and why the first of them.
#[derive(Clone)]
struct Lack {
    missing: u64,
    why: Shortfall,
}

impl Lack {
    fn of(why: Shortfall) -> Lack {
        Lack { missing: 1, why }
    }

    /// One more.
    fn more(before: Option<Lack>, why: Shortfall) -> Lack {
        match before {
            Some(before) => Lack {
                missing: before.missing + 1,
                ..before
            },
            None => Lack::of(why),
        }
    }
}

struct Sources {
    trusted: Option<Exchange>,
    guarded: Option<Exchange>,
    /// Other peers; only for what is followed, since its owner has named nobody.
    peers: Option<Exchange>,
}

/// Blocks that were fetched and are not stored yet.
#[derive(Default)]
struct Fetched {
    blocks: HashMap<Multihash, Block>,
    bytes: u64,
}

impl Fetched {
    fn take(&mut self, block: Block) {
        let length = block.bytes().len() as u64;
        if self.blocks.insert(*block.cid().hash(), block).is_none() {
            self.bytes += length;
        }
    }

    /// What the fetched blocks lead to.
    fn ahead(&self, head: &Cid, target: &mut Target<'_>) -> Vec<Cid> {
        let entry = self.blocks.get(head.hash()).into_iter();
        let rest = self.blocks.values().filter(|block| block.cid() != head);
        entry
            .chain(rest)
            .flat_map(|block| target.links(block))
            .collect()
    }
}

fn urls<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<NodeUrl> {
    texts.filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
