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
use perennis_shared::cid::{Block, Cid};
use perennis_shared::codec;
use perennis_shared::did::DidDocument;
use perennis_shared::ipns::Name;
use perennis_shared::log::UnverifiedEntry;

use super::status::Status;
use super::{Job, Parts};
use crate::ingest::{FetchedGraph, Ingest, IngestError};
use crate::metrics::{Metrics, Outcome};
use crate::read::Read;
use crate::routes::{Dial, Routes};
use crate::storage::queues::{DueWindow, FETCH, TypedQueue};
use crate::storage::{DueFetch, FetchAttempt, FetchEnd};
use crate::storage::{NameState, Pin};
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
        if walked.is_too_large {
            return Ok(DONE);
        }
        let mut target = Target {
            attempt,
            kept: &kept,
            bytes: walked.bytes,
            count: walked.blocks,
        };
        let mut fetched = Fetched::default();
        if walked.missing.contains(&head) && !self.head(&kept, head, &mut fetched).await? {
            return self.incomplete(&target, 1, FetchEnd::Later).await;
        }
        let sources = self.sources_of(&kept, &fetched).await?;
        let wanted: Vec<Cid> = walked
            .missing
            .into_iter()
            .filter(|cid| *cid != head)
            .chain(fetched.ahead(&head))
            .collect();
        let missing = match self
            .below(wanted, &sources, &mut fetched, &mut target)
            .await
        {
            Err(error @ IngestError::Quota { .. }) => {
                tracing::warn!(%name, %error, "what is below the head is not fetched to its end");
                return self.incomplete(&target, 1, FetchEnd::Done).await;
            }
            missing => missing?,
        };
        if kept.followed.is_some() && !fetched.blocks.is_empty() {
            // What has come stays for the next attempt.
            self.store_part(&mut fetched, &mut target, missing).await?;
        }
        if missing > 0 {
            return self.incomplete(&target, missing, FetchEnd::Later).await;
        }
        if kept.followed.is_some() {
            // Something else may have left a block here without what is below it: only a walk tells.
            self.ingest.settle(name, Some(attempt)).await?;
            return Ok(Left::Nothing);
        }
        let bytes = target.bytes + fetched.bytes;
        let count = target.count + fetched.blocks.len() as u64;
        let blocks = fetched.blocks.into_values().collect();
        self.ingest
            .adopt_whole(name, &kept, blocks, bytes, count, Some(attempt))
            .await?;
        tracing::info!(%name, "everything below the head is here");
        Ok(Left::Nothing)
    }

    /// Keeps how many blocks are missing, where that is new, and what becomes of the row.
    async fn incomplete(
        &self,
        target: &Target<'_>,
        missing: u64,
        end: FetchEnd,
    ) -> Result<Left, IngestError> {
        if target.kept.facts.pin == (Pin::Incomplete { missing }) {
            return Ok(Left::End(end));
        }
        self.adopt_incomplete(target, Vec::new(), missing, end)
            .await?;
        Ok(Left::Nothing)
    }

    async fn adopt_incomplete(
        &self,
        target: &Target<'_>,
        blocks: Vec<Block>,
        missing: u64,
        end: FetchEnd,
    ) -> Result<(), IngestError> {
        let found = FetchedGraph::Incomplete { missing };
        let (name, ended) = (&target.attempt.row.name, target.attempt.ends(end));
        self.ingest
            .adopt(name, target.kept, blocks, found, Some(ended))
            .await
    }

    /// Fetches the head and the DID document from the operator's sources and those that were known before.
    async fn head(
        &self,
        kept: &NameState,
        head: Cid,
        fetched: &mut Fetched,
    ) -> Result<bool, IngestError> {
        let sources = self.sources_of(kept, fetched).await?;
        let Some(entry) = self.one(&head, &sources).await else {
            return Ok(false);
        };
        // What is no entry of ours is found out when everything is looked at; its blocks are not fetched.
        let document = UnverifiedEntry::parse(&entry)
            .map(|entry| *entry.document())
            .ok();
        fetched.take(entry);
        if let Some(document) = document
            && self.read.block(&document).await?.is_none()
            && let Some(document) = self.one(&document, &sources).await
        {
            fetched.take(document);
        }
        Ok(true)
    }

    /// Fetches a level of the graph after the other; tells how many blocks could not be had.
    async fn below(
        &self,
        wanted: Vec<Cid>,
        sources: &Sources,
        fetched: &mut Fetched,
        target: &mut Target<'_>,
    ) -> Result<u64, IngestError> {
        let mut missing = 0;
        let mut seen: HashSet<Cid> = fetched.blocks.keys().copied().collect();
        let mut level: Vec<Cid> = wanted.into_iter().filter(|cid| seen.insert(*cid)).collect();
        while !level.is_empty() {
            let absent = self.read.held().absent(level).await?;
            let mut next = Vec::new();
            for cids in absent.chunks(FETCHES) {
                let asked = cids.iter().map(|cid| self.one(cid, sources));
                for block in futures_util::future::join_all(asked).await {
                    let Some(block) = block else {
                        missing += 1;
                        continue;
                    };
                    next.extend(links(&block).into_iter().filter(|link| seen.insert(*link)));
                    fetched.take(block);
                }
                // Who lacks these lacks the rest; others wait.
                if missing >= LACKED {
                    return Ok(missing);
                }
                let count = target.count + fetched.blocks.len() as u64;
                self.ingest
                    .check_size(target.bytes + fetched.bytes, count)?;
                if target.kept.followed.is_some() && fetched.bytes > PART_BYTES {
                    self.store_part(fetched, target, missing).await?;
                }
                if fetched.bytes > self.memory_bytes {
                    return Ok(missing.max(1));
                }
            }
            level = next;
        }
        Ok(missing)
    }

    /// Stores what was fetched so far of a followed name, parents before what is below them, so that all of it is held
    /// by the pin of the head.
    async fn store_part(
        &self,
        fetched: &mut Fetched,
        target: &mut Target<'_>,
        missing: u64,
    ) -> Result<(), IngestError> {
        target.bytes += std::mem::take(&mut fetched.bytes);
        target.count += fetched.blocks.len() as u64;
        let blocks = std::mem::take(&mut fetched.blocks).into_values().collect();
        self.adopt_incomplete(target, blocks, missing.max(1), FetchEnd::GoesOn)
            .await
    }

    async fn one(&self, cid: &Cid, sources: &Sources) -> Option<Block> {
        let all = [&sources.trusted, &sources.guarded, &sources.peers];
        for exchange in all.into_iter().flatten() {
            let asked = rt::timeout(BLOCK, exchange.block(cid)).await;
            let Ok(answer) = asked else {
                tracing::debug!(%cid, "a block did not come in time");
                continue;
            };
            match answer {
                Ok(block) if codec::validate_block(&block).is_ok() => {
                    self.metrics.pin_fetches.inc(Outcome::Ok);
                    return Some(block);
                }
                // Every source has the same bytes.
                Ok(_) => {
                    tracing::debug!(%cid, "a block breaks the rules of its codec");
                    break;
                }
                Err(error) => tracing::debug!(%cid, %error, "a block could not be fetched"),
            }
        }
        self.metrics.pin_fetches.inc(Outcome::Failed);
        None
    }

    async fn sources_of(
        &self,
        kept: &NameState,
        fetched: &Fetched,
    ) -> Result<Sources, IngestError> {
        let mut listed = Vec::new();
        let known = fetched.blocks.values().find_map(|block| {
            let head = UnverifiedEntry::parse(block).ok()?;
            fetched.blocks.get(head.document()).cloned()
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
    blocks: HashMap<Cid, Block>,
    bytes: u64,
}

impl Fetched {
    fn take(&mut self, block: Block) {
        let length = block.bytes().len() as u64;
        if self.blocks.insert(*block.cid(), block).is_none() {
            self.bytes += length;
        }
    }

    /// What the fetched blocks lead to.
    fn ahead(&self, head: &Cid) -> Vec<Cid> {
        let entry = self.blocks.get(head).into_iter();
        let rest = self.blocks.values().filter(|block| block.cid() != head);
        entry.chain(rest).flat_map(links).collect()
    }
}

fn urls<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<NodeUrl> {
    texts.filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
