//! The write door: the only way blocks and records come into the store.
//!
//! Owns the order of checks: admission (who, how often, how large), form (every CID while decoding), the record
//! against the name, the head against the record, completeness, quota, the stored head, and then **one** durable
//! batch with blocks, head, pins and queue rows. Only after it does a caller hear yes. Must never touch: sockets.
//!
//! Invariant: whatever lies below a stored block of a complete name is stored too, since a batch is taken only when
//! every link of its blocks leads into the batch or to a block that is here. So completeness is checked for the
//! blocks of a message alone, whatever the size of the list they belong to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use perennis_rt as rt;
use perennis_shared::cid::{Block, Cid, Multihash, version_1};
use perennis_shared::codec::{self, CodecError};
use perennis_shared::ipns::{
    Ladder, Name, Record, RecordError, UnverifiedRecord, compare, equivocates,
};
use perennis_shared::log::{Entry, UnverifiedEntry};
use perennis_shared::time::Millis;
use tokio::sync::{RwLock, RwLockWriteGuard, Semaphore};

use crate::caller::Caller;
use crate::config::Config;
use crate::keystore::Keystore;
use crate::metrics::{Metrics, Outcome};
use crate::pending_names::PendingNames;
use crate::read::Read;
use crate::storage::FollowState;
use crate::storage::{ChangeError, EndedFetch, Follow, NameChange, Storage};
use crate::storage::{GraphFacts, NameState, Pin, Shortfall, ShortfallKind};

mod admission;
mod error;
mod facts;
mod fetched;
mod follow;
mod import;
mod lead;
mod lost;
mod message;
mod receipt;
mod renew;
#[cfg(test)]
mod tests;

pub(crate) use error::IngestError;
pub(crate) use follow::{Adoption, WholeGraph};
pub(crate) use import::{ImportOutcome, ImportWish, LookProgress};
pub(crate) use message::Message;
pub(crate) use receipt::Receipt;
pub(crate) use renew::Renewal;

use admission::Admission;
use facts::{facts_below, facts_of};

/// Most missing blocks that one refusal lists.
const MISSING_LISTED: usize = 1_000;

/// Writes.
pub(crate) struct Ingest {
    storage: Storage,
    read: Arc<Read>,
    keystore: Arc<Keystore>,
    metrics: Arc<Metrics>,
    admission: Admission,
    memory: Arc<Semaphore>,
    memory_bytes: u64,
    /// Held for reading while a file is imported, whose blocks no pin holds yet, and for writing while a collection begins.
    importing: Arc<RwLock<()>>,
    import_bytes: u64,
    /// Names whose record was stored or that were forgotten.
    pub(crate) changed_names: PendingNames,
    /// Held for writing while a name is forgotten, so that no change made from what was read before brings it back.
    forgetting: RwLock<()>,
    routers: Vec<String>,
    message_bytes: u64,
}

impl Ingest {
    pub(crate) fn new(
        config: &Config,
        storage: Storage,
        read: Arc<Read>,
        keystore: Arc<Keystore>,
        metrics: Arc<Metrics>,
    ) -> Ingest {
        let memory = usize::try_from(config.admission.memory_bytes / message::UNIT_BYTES)
            .unwrap_or(Semaphore::MAX_PERMITS)
            .min(Semaphore::MAX_PERMITS);
        Ingest {
            storage,
            read,
            keystore,
            metrics,
            admission: Admission::new(config),
            memory: Arc::new(Semaphore::new(memory)),
            memory_bytes: config.admission.memory_bytes,
            importing: Arc::default(),
            import_bytes: config.import.max_bytes,
            changed_names: PendingNames::default(),
            forgetting: RwLock::new(()),
            routers: config.routers(),
            message_bytes: config.admission.message_bytes,
        }
    }

    /// Whether a caller may write under a name now. Asked before a body is read.
    pub(crate) fn admit(&self, name: &Name, caller: &Caller) -> Result<(), IngestError> {
        self.admission.admit(name, caller, Instant::now())
    }

    /// Keeps imports from beginning while a collection of garbage begins; none while one is under way.
    pub(crate) fn without_imports(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.importing.try_write().ok()
    }

    /// Most blocks kept for one name.
    pub(crate) fn most_blocks(&self) -> u64 {
        self.admission.most_blocks()
    }

    /// Begins to receive a publish message.
    pub(crate) fn receive(&self) -> Message {
        Message::new(Arc::clone(&self.memory), self.message_bytes)
    }

    /// Stores a whole publish message.
    #[tracing::instrument(skip_all, fields(%name, route = "http"))]
    pub(crate) async fn publish(
        &self,
        name: &Name,
        message: Message,
    ) -> Result<Receipt, IngestError> {
        let started = Instant::now();
        let result = self.publish_unmeasured(name, message).await;
        self.measure(started, &result);
        result
    }

    async fn publish_unmeasured(
        &self,
        name: &Name,
        message: Message,
    ) -> Result<Receipt, IngestError> {
        let message = message.finish()?;
        // What is known already is acknowledged without a commit.
        self.storage.expect_folder()?;
        let now = rt::now();
        let record = UnverifiedRecord::parse(message.record.bytes())?.verify(name, now)?;
        if record.head() != Some(message.head) {
            return Err(IngestError::OtherHead { head: message.head });
        }
        let rungs = message.rungs.iter().map(|rung| &rung.bytes()[..]);
        let rungs = Ladder::verify(name, &record, rungs)?;
        let received = message.blocks.len() as u64;
        let kept = self.storage.kept(*name).await?;
        let known = self.is_known(name, kept.as_ref(), &record, now).await?;
        let ladder = self
            .ladder_after(name, kept.as_ref(), &record, rungs)
            .await?;
        if let Some(kept) = kept.as_ref().filter(|_| known)
            && kept.facts.pin == Pin::Pinned
            && ladder.is_none()
            // A block may have been damaged since: then this message heals it.
            && self.has_all(&message.blocks).await?
        {
            return Ok(self.receipt(name, &record, kept.stored_at, received, 0));
        }

        let graph = self.graph(name, message.head, message.blocks).await?;
        // What was there before stays until the graph is walked again, which counts exactly.
        let before = kept.as_ref().map(|kept| &kept.facts);
        let facts = GraphFacts {
            bytes: graph.new_bytes + before.map_or(0, |facts| facts.bytes),
            blocks: graph.new.len() as u64 + before.map_or(0, |facts| facts.blocks),
            ..facts_of(&graph.head)
        };
        self.admission.check_size(&facts)?;
        let fresh = graph.new.len() as u64;
        // Whoever publishes here wants the name kept, whether or not it is followed as well.
        let followed = kept.as_ref().and_then(|kept| kept.followed.clone());
        let followed = followed.map(|row| Follow {
            row: FollowState {
                is_published: true,
                ..row
            },
            next: None,
        });
        let change = NameChange {
            facts,
            blocks: graph.new,
            required: graph.required,
            is_new_record: !known,
            ladder,
            followed,
            ..NameChange::of(*name, record.clone(), now)
        };
        self.commit(change, kept.as_ref()).await?;
        Ok(self.receipt(name, &record, now, received, fresh))
    }

    async fn has_all(&self, blocks: &[Block]) -> Result<bool, IngestError> {
        let cids = blocks.iter().map(|block| *block.cid()).collect();
        Ok(self.read.held().absent(cids).await?.is_empty())
    }

    /// Stores a bare record that came by `route`. Blocks below an unknown head are fetched later.
    #[tracing::instrument(name = "publish", skip_all, fields(%name, route = route))]
    pub(crate) async fn put_record(
        &self,
        route: &'static str,
        name: &Name,
        bytes: &[u8],
    ) -> Result<Receipt, IngestError> {
        let started = Instant::now();
        let verify = |now| UnverifiedRecord::parse(bytes)?.verify(name, now);
        let result = self.put_record_unmeasured(name, verify).await;
        self.measure(started, &result);
        result
    }

    /// As [`Ingest::put_record`], for one that was verified where it came in.
    #[tracing::instrument(name = "publish", skip_all, fields(%name, route = route))]
    pub(crate) async fn put_verified(
        &self,
        route: &'static str,
        name: &Name,
        record: Record,
    ) -> Result<Receipt, IngestError> {
        let started = Instant::now();
        let verify = |now| record.still_valid(now);
        let result = self.put_record_unmeasured(name, verify).await;
        self.measure(started, &result);
        result
    }

    async fn put_record_unmeasured(
        &self,
        name: &Name,
        verify: impl FnOnce(Millis) -> Result<Record, RecordError>,
    ) -> Result<Receipt, IngestError> {
        self.storage.expect_folder()?;
        let now = rt::now();
        let record = verify(now)?;
        let kept = self.storage.kept(*name).await?;
        let known = self.is_known(name, kept.as_ref(), &record, now).await?;
        if let Some(kept) = kept.as_ref().filter(|_| known) {
            return Ok(self.receipt(name, &record, kept.stored_at, 0, 0));
        }
        let change = NameChange {
            facts: facts_below(kept.as_ref(), &record),
            ladder: self
                .ladder_after(name, kept.as_ref(), &record, Ladder::default())
                .await?,
            ..NameChange::of(*name, record.clone(), now)
        };
        self.commit(change, kept.as_ref()).await?;
        Ok(self.receipt(name, &record, now, 0, 0))
    }

    /// Stores blocks that were fetched for a head that is kept, and what was found about it. `blocks` hold whatever
    /// was missing below the head; the row of the fetch becomes what it said, in the same batch.
    pub(crate) async fn adopt(
        &self,
        name: &Name,
        kept: &NameState,
        blocks: Vec<Block>,
        found: FetchedGraph,
        fetch: Option<EndedFetch>,
    ) -> Result<(), IngestError> {
        let record = kept.record.clone();
        let facts = match found {
            FetchedGraph::Complete {
                bytes,
                count,
                opaque,
            } => {
                let head = record.head().ok_or(IngestError::NotAMessage("no head"))?;
                let sent = by_hash(&blocks);
                let head = self.examine(name, &head, &sent).await?;
                GraphFacts {
                    bytes,
                    blocks: count,
                    ..facts_of(&head)
                }
                .with_opaque(opaque)
            }
            FetchedGraph::Incomplete { missing, why } => GraphFacts {
                pin: Pin::Incomplete { missing },
                shortfall: Some(why),
                ..kept.facts.clone()
            },
            FetchedGraph::Other {
                bytes,
                count,
                opaque,
            } => GraphFacts {
                bytes,
                blocks: count,
                pin: Pin::Pinned,
                ..GraphFacts::unknown()
            }
            .with_opaque(opaque),
            FetchedGraph::Foreign => GraphFacts {
                pin: Pin::RecordOnly,
                shortfall: Some(Shortfall::new(
                    ShortfallKind::NotFollowed,
                    kept.head,
                    "it points at something else than a list of ours, and nobody follows it",
                )),
                ..GraphFacts::unknown()
            },
        };
        self.admission.check_size(&facts)?;
        let change = NameChange {
            facts,
            blocks,
            is_new_record: false,
            fetch,
            ..NameChange::of(*name, record, kept.stored_at)
        };
        self.commit(change, Some(kept)).await
    }

    /// Compares a record that is valid `now` with the one that is kept: true when it is the same one. One that has ended keeps
    /// its sequence, so that none goes back, but contradicts no other of that sequence any more.
    async fn is_known(
        &self,
        name: &Name,
        kept: Option<&NameState>,
        record: &Record,
        now: Millis,
    ) -> Result<bool, IngestError> {
        let Some(kept) = kept else {
            return Ok(false);
        };
        let stored = &kept.record;
        if stored == record {
            return Ok(true);
        }
        if equivocates(stored, record) && !stored.is_expired(now) {
            self.metrics.equivocations.inc();
            // The store refuses it once more, and keeps it as evidence.
            self.storage.offer(*name, record.clone()).await?;
            return Err(IngestError::Equivocation {
                sequence: record.sequence(),
            });
        }
        if compare(record, stored).is_lt() {
            return Err(IngestError::Stale {
                known: stored.sequence(),
                offered: record.sequence(),
            });
        }
        Ok(false)
    }

    async fn commit(
        &self,
        mut change: NameChange,
        before: Option<&NameState>,
    ) -> Result<(), IngestError> {
        let name = change.name;
        let offered = change.record.sequence();
        let _not_forgetting = self.forgetting.read().await;
        let lost = self.storage.lost_head(name).await?;
        // One whose record is lost is counted on.
        let is_new = before.is_none() && lost.is_none();
        match lost {
            // A newer record ends the search for the lost one. The name was admitted before.
            Some(lost) if change.is_new_record => change.finished.push(lost),
            Some(_) => {}
            // It was unfollowed, or is back already.
            None if change.only_if_lost => return Err(IngestError::NotFollowed),
            None if before.is_none() => self.admission.check_names(self.storage.name_count())?,
            None => {}
        }
        // Only followed names are forgotten.
        if let Some(before) = before.and_then(|before| before.followed.as_ref()) {
            let now = self.storage.kept(name).await?;
            let Some(now) = now.and_then(|now| now.followed) else {
                return Err(IngestError::NotFollowed);
            };
            if let Some(follow) = &mut change.followed {
                follow.row.keep_changes(before, &now);
            }
        }
        let is_list = change.facts.is_pinned_list();
        let was_list = before.is_some_and(|kept| kept.facts.is_pinned_list());
        let is_new_record = change.is_new_record;
        let next = change.record.next_name();
        let next_before = before.and_then(|kept| kept.record.next_name());
        change.routers = self.routers.clone();
        let committed = self.storage.commit(change).await;
        committed.map_err(|error| refused(error, offered))?;
        self.read.changed(&name);
        if is_new {
            self.storage.name_added();
        }
        self.metrics.names.add(i64::from(before.is_none()));
        let lists = i64::from(is_list) - i64::from(was_list);
        self.metrics.tag_lists.add(lists);
        if is_new_record {
            self.changed_names.add(name);
            // What it leads to is followed for it, and what it led to may be let go.
            let leads = next.map(|_| name);
            let led = next_before.filter(|before| next != Some(*before));
            self.look_at(leads.into_iter().chain(led)).await?;
        }
        Ok(())
    }

    /// Checks the head and everything below it that is new.
    async fn graph(
        &self,
        name: &Name,
        head: Cid,
        blocks: Vec<Block>,
    ) -> Result<Graph, IngestError> {
        let sent = by_hash(&blocks);
        drop(blocks);
        let examined = self.examine(name, &head, &sent).await?;

        let mut new = Vec::new();
        let mut new_bytes = 0;
        let mut required = Vec::new();
        let mut missing = Vec::new();
        let mut seen = HashSet::from([version_1(&head)]);
        let mut level = vec![head];
        while !level.is_empty() {
            let mut outside = Vec::new();
            let mut next = Vec::new();
            for cid in level {
                // What was sent under another CID of its multihash is the same block.
                let Some(block) = sent.get(cid.hash()).and_then(|block| block.named(&cid)) else {
                    outside.push(cid);
                    continue;
                };
                for link in links(&block)? {
                    if seen.insert(version_1(&link)) {
                        next.push(link);
                    }
                }
                new_bytes += block.bytes().len() as u64;
                new.push(block);
            }
            required.extend_from_slice(&outside);
            missing.extend(self.read.held().absent(outside).await?);
            if missing.len() > MISSING_LISTED {
                break;
            }
            level = next;
        }
        if !missing.is_empty() {
            missing.truncate(MISSING_LISTED);
            return Err(IngestError::Missing { cids: missing });
        }
        // Blocks that nothing leads to are left out: nobody could ask for them, nobody would hold them.
        let fresh = self
            .read
            .held()
            .absent(new.iter().map(|block| *block.cid()).collect())
            .await?;
        let fresh: HashSet<Cid> = fresh.into_iter().collect();
        new.retain(|block| {
            let keep = fresh.contains(block.cid());
            if !keep {
                new_bytes -= block.bytes().len() as u64;
            }
            keep
        });
        Ok(Graph {
            head: examined,
            new,
            new_bytes,
            required,
        })
    }

    /// Reads the head, and checks that it was signed by the identity whose name it is.
    async fn examine(
        &self,
        name: &Name,
        head: &Cid,
        sent: &HashMap<Multihash, Block>,
    ) -> Result<Entry, IngestError> {
        let missing = |cid: Cid| IngestError::Missing { cids: vec![cid] };
        let entry = self.block(sent, head).await?;
        let entry = entry.ok_or_else(|| missing(*head))?;
        let entry = UnverifiedEntry::parse(&entry)?;
        let document = self.block(sent, entry.document()).await?;
        let document = document.ok_or_else(|| missing(*entry.document()))?;
        Ok(entry.verify(name, &document, rt::now())?)
    }

    async fn block(
        &self,
        sent: &HashMap<Multihash, Block>,
        cid: &Cid,
    ) -> Result<Option<Block>, IngestError> {
        match sent.get(cid.hash()).and_then(|block| block.named(cid)) {
            Some(block) => Ok(Some(block)),
            None => Ok(self.read.block(cid).await?),
        }
    }

    fn receipt(
        &self,
        name: &Name,
        record: &Record,
        stored_at: Millis,
        received: u64,
        new: u64,
    ) -> Receipt {
        Receipt::sign(&self.keystore, name, record, stored_at, received, new)
    }

    fn measure(&self, started: Instant, result: &Result<Receipt, IngestError>) {
        let outcome = match result {
            Ok(_) => Outcome::Ok,
            Err(error) if error.is_failure() => Outcome::Failed,
            Err(_) => Outcome::Refused,
        };
        self.metrics.published(outcome, started.elapsed());
    }
}

/// The new part of a graph, checked.
struct Graph {
    head: Entry,
    new: Vec<Block>,
    new_bytes: u64,
    /// Blocks that are here already and that the new ones lead to.
    required: Vec<Cid>,
}

/// What a walk from a head found.
#[derive(Debug)]
pub(crate) enum FetchedGraph {
    /// Everything below it, what was fetched included.
    Complete {
        bytes: u64,
        count: u64,
        /// A block whose links cannot be read, if there is one.
        opaque: Option<Shortfall>,
    },
    /// Some blocks could not be had.
    Incomplete {
        missing: u64,
        /// Which, and why.
        why: Shortfall,
    },
    /// It is no log of ours.
    Foreign,
    /// It is no log of ours, the name is followed, and everything below it is here, what was fetched included.
    Other {
        bytes: u64,
        count: u64,
        /// A block whose links cannot be read, if there is one.
        opaque: Option<Shortfall>,
    },
}

fn refused(error: ChangeError, offered: u64) -> IngestError {
    match error {
        ChangeError::Stale { known } => IngestError::Stale { known, offered },
        ChangeError::Equivocation => IngestError::Equivocation { sequence: offered },
        ChangeError::Missing(cids) => IngestError::Missing { cids },
        ChangeError::TooLarge(limit) => IngestError::TooLarge(limit),
        ChangeError::Full => IngestError::Full,
        ChangeError::Storage(error) => IngestError::Storage(error),
    }
}

fn by_hash(blocks: &[Block]) -> HashMap<Multihash, Block> {
    blocks
        .iter()
        .map(|block| (*block.cid().hash(), block.clone()))
        .collect()
}

fn links(block: &Block) -> Result<Vec<Cid>, CodecError> {
    codec::links(block.cid(), block.bytes())
}
