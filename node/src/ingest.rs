//! The write door: the only way blocks and records come into the store.
//!
//! Owns the order of checks: admission (who, how often, how large), form (every CID while decoding), the record
//! against the name, the head against the record, completeness, quota, the stored head, and then **one** durable
//! batch with blocks, head, pins and queue rows. Only after it does a caller hear yes. Must never touch: sockets.
//!
//! Invariant: whatever lies below a stored block of a complete name is stored too, since a batch is taken only when
//! every link of its blocks leads into the batch or to a block that is here. So completeness is checked for the
//! blocks of a message alone, whatever the size of the list they belong to.

use std::sync::Arc;
use std::time::Instant;

use perennis_rt as rt;
use perennis_shared::cid::Block;
use perennis_shared::ipns::{
    Ladder, Name, Record, RecordError, UnverifiedRecord, compare, equivocates,
};
use perennis_shared::time::Millis;
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, RwLock, RwLockWriteGuard};

use crate::caller::Caller;
use crate::clock::Clock;
use crate::config::Config;
use crate::groups::Shares;
use crate::keystore::Keystore;
use crate::metrics::{Metrics, Outcome, Removal};
use crate::pending_names::PendingNames;
use crate::read::Read;
use crate::storage::FollowState;
use crate::storage::{ChangeError, EndedFetch, Follow, NameChange, Storage};
use crate::storage::{GraphFacts, NameState, Pin, Shortfall, ShortfallKind};

mod admission;
mod clock;
mod error;
mod facts;
mod fetched;
mod follow;
mod graph;
mod import;
mod lead;
mod lost;
mod message;
mod name_locks;
mod receipt;
mod removal;
mod renew;
#[cfg(test)]
mod tests;
mod unclaimed;

pub(crate) use error::IngestError;
pub(crate) use follow::{Adoption, WholeGraph};
pub(crate) use graph::FetchedGraph;
pub(crate) use import::{ImportOutcome, ImportWish, LookProgress};
pub(crate) use message::Message;
pub(crate) use receipt::Receipt;
pub(crate) use renew::Renewal;
use unclaimed::group_of;

use admission::Admission;
use facts::{facts_below, facts_of};
use graph::by_hash;
use name_locks::NameLocks;
use removal::Removed;

/// Writes.
pub(crate) struct Ingest {
    storage: Storage,
    read: Arc<Read>,
    keystore: Arc<Keystore>,
    metrics: Arc<Metrics>,
    clock: Arc<Clock>,
    admission: Admission,
    /// The memory for messages, in units.
    memory: Arc<Shares>,
    memory_bytes: u64,
    /// Held for reading while a file is imported, whose blocks no pin holds yet, and for writing while a collection begins.
    importing: Arc<RwLock<()>>,
    import_bytes: u64,
    /// Names whose record was stored or that were forgotten.
    pub(crate) changed_names: PendingNames,
    /// Held for writing while followed names are forgotten, so that what leads to what stays as it was read.
    forgetting: RwLock<()>,
    /// The names that are being changed. A name is locked before `forgetting` is.
    changing: NameLocks,
    /// Held by the one who has unclaimed names go to make room.
    making_room: Mutex<()>,
    /// The names that were removed last.
    removed: Cache<Name, Removed>,
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
        clock: Arc<Clock>,
    ) -> Ingest {
        let units = |bytes| bytes / message::UNIT_BYTES;
        // The largest message of one group fits whatever others send, also where it has many small blocks.
        let largest = 2 * units(config.admission.message_bytes);
        let memory = Shares::new(units(config.admission.memory_bytes), largest);
        Ingest {
            storage,
            read,
            keystore,
            metrics,
            clock,
            admission: Admission::new(config),
            memory,
            memory_bytes: config.admission.memory_bytes,
            importing: Arc::default(),
            import_bytes: config.import.max_bytes,
            changed_names: PendingNames::default(),
            forgetting: RwLock::new(()),
            changing: NameLocks::default(),
            making_room: Mutex::default(),
            removed: Cache::new(removal::REMEMBERED),
            routers: config.routers(),
            message_bytes: config.admission.message_bytes,
        }
    }

    /// Whether a name may be written now by this caller. Asked before a body is read, and counted for the caller alone: whether it
    /// speaks for the name is not known yet.
    pub(crate) async fn admit(&self, name: &Name, caller: &Caller) -> Result<(), IngestError> {
        self.admission.admit(name, caller, Instant::now())?;
        match self.storage.is_denied(*name).await? {
            Some(_) => Err(IngestError::Denied),
            None => Ok(()),
        }
    }

    /// Keeps imports from beginning while a collection of garbage begins; none while one is under way.
    pub(crate) fn without_imports(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.importing.try_write().ok()
    }

    /// Most blocks kept for one name.
    pub(crate) fn most_blocks(&self) -> u64 {
        self.admission.most_blocks()
    }

    /// Begins to receive a publish message, from a caller or from the operator.
    pub(crate) fn receive(&self, caller: Option<&Caller>) -> Message {
        let group = caller.and_then(group_of);
        Message::new(self.memory.none(group), self.message_bytes)
    }

    /// Stores a whole publish message.
    #[tracing::instrument(skip_all, fields(%name, route = "http"))]
    pub(crate) async fn publish(
        &self,
        name: &Name,
        message: Message,
        caller: &Caller,
    ) -> Result<Receipt, IngestError> {
        let started = Instant::now();
        let result = self.publish_unmeasured(name, message, caller).await;
        let result = result.map_err(|error| self.with_clock(error));
        self.measure(started, &result);
        result
    }

    async fn publish_unmeasured(
        &self,
        name: &Name,
        message: Message,
        caller: &Caller,
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
        if !known {
            self.admission.admit_signed(name, Instant::now())?;
        }

        let graph = self.graph(name, message.head, message.blocks).await?;
        // What was there before stays until the graph is walked again, which counts exactly. Of a name that is new, what others have
        // brought counts as well.
        let (blocks, bytes) = match &kept {
            Some(kept) => (
                kept.facts.blocks + graph.new.len() as u64,
                kept.facts.bytes + graph.new_bytes,
            ),
            None => graph.sent,
        };
        let facts = GraphFacts {
            bytes,
            blocks,
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
        self.commit_from(change, kept.as_ref(), Some(caller))
            .await?;
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
        caller: &Caller,
    ) -> Result<Receipt, IngestError> {
        let started = Instant::now();
        let verify = |now| UnverifiedRecord::parse(bytes)?.verify(name, now);
        let result = self.put_record_unmeasured(name, verify, Some(caller)).await;
        let result = result.map_err(|error| self.with_clock(error));
        self.measure(started, &result);
        result
    }

    /// As [`Ingest::put_record`], for one that came from a peer and was verified where it came in. It is taken of a name that is kept.
    #[tracing::instrument(name = "publish", skip_all, fields(%name, route = route))]
    pub(crate) async fn put_verified(
        &self,
        route: &'static str,
        name: &Name,
        record: Record,
    ) -> Result<Receipt, IngestError> {
        let started = Instant::now();
        let verify = |now| record.still_valid(now);
        let result = self.put_record_unmeasured(name, verify, None).await;
        self.measure(started, &result);
        result
    }

    async fn put_record_unmeasured(
        &self,
        name: &Name,
        verify: impl FnOnce(Millis) -> Result<Record, RecordError>,
        caller: Option<&Caller>,
    ) -> Result<Receipt, IngestError> {
        self.storage.expect_folder()?;
        let now = rt::now();
        let record = verify(now)?;
        let kept = self.storage.kept(*name).await?;
        let known = self.is_known(name, kept.as_ref(), &record, now).await?;
        if let Some(kept) = kept.as_ref().filter(|_| known) {
            return Ok(self.receipt(name, &record, kept.stored_at, 0, 0));
        }
        if caller.is_some() {
            self.admission.admit_signed(name, Instant::now())?;
        }
        let change = NameChange {
            facts: facts_below(kept.as_ref(), &record),
            ladder: self
                .ladder_after(name, kept.as_ref(), &record, Ladder::default())
                .await?,
            ..NameChange::of(*name, record.clone(), now)
        };
        self.commit_from(change, kept.as_ref(), caller).await?;
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

    /// As [`Ingest::commit_from`], of the node itself.
    async fn commit(
        &self,
        change: NameChange,
        before: Option<&NameState>,
    ) -> Result<(), IngestError> {
        self.commit_from(change, before, None).await
    }

    /// Makes a change that somebody writes, from what was read before, unless the name was removed since.
    async fn commit_from(
        &self,
        mut change: NameChange,
        before: Option<&NameState>,
        caller: Option<&Caller>,
    ) -> Result<(), IngestError> {
        let name = change.name;
        let offered = change.record.sequence();
        let _changing = self.changing.lock(&name).await;
        let _not_forgetting = self.forgetting.read().await;
        let standing = self.storage.standing(name).await?;
        // One whose record is lost is counted on.
        let is_new = !standing.is_kept && standing.lost.is_none();
        match &standing.lost {
            // A newer record ends the search for the lost one. The name was admitted before.
            Some(lost) if change.is_new_record => change.finished.push(lost.clone()),
            Some(_) => {}
            // It was unfollowed, or is back already.
            None if change.only_if_lost => return Err(IngestError::NotFollowed),
            None => {}
        }
        if is_new {
            if standing.denied.is_some() {
                return Err(IngestError::Denied);
            }
            // It was removed since it was read, or a peer told of a name that nobody keeps here.
            if before.is_some() || (caller.is_none() && change.followed.is_none()) {
                return Err(IngestError::NotKept);
            }
        }
        if let Some(before) = before.and_then(|before| before.followed.as_ref()) {
            let Some(now) = &standing.followed else {
                return Err(IngestError::NotFollowed);
            };
            if let Some(follow) = &mut change.followed {
                follow.row.keep_changes(before, now);
            }
        }
        let counted = is_new.then(|| self.count_name()).transpose()?;
        let unclaimed = self.claim(&change, &standing, is_new, caller);
        // What is here already is counted again, and takes no room.
        let is_recount = caller.is_none() && change.blocks.is_empty();
        let room = match is_recount {
            true => self.recounted(unclaimed),
            false => self.room_for(&name, unclaimed).await?,
        };
        change.unclaimed = room.change();
        let is_list = change.facts.is_pinned_list();
        let was_list = before.is_some_and(|kept| kept.facts.is_pinned_list());
        let is_new_record = change.is_new_record;
        let next = change.record.next_name();
        let next_before = before.and_then(|kept| kept.record.next_name());
        change.routers = self.routers.clone();
        let committed = self.storage.commit(change).await;
        committed.map_err(|error| refused(error, offered))?;
        room.keep();
        counted.into_iter().for_each(CountedName::keep);
        self.read.changed(&name);
        self.metrics.names.add(i64::from(!standing.is_kept));
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

    /// Counts a name that comes, where there may be one more.
    fn count_name(&self) -> Result<CountedName<'_>, IngestError> {
        let allowed = self.admission.rules.max_names;
        match self.storage.add_name(allowed) {
            Ok(()) => Ok(CountedName {
                storage: &self.storage,
                is_kept: false,
            }),
            Err(names) => Err(IngestError::Quota {
                what: "names",
                setting: "admission.max-names",
                needed: names + 1,
                allowed,
            }),
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

/// A name that is counted before it comes, and no more where it does not.
struct CountedName<'a> {
    storage: &'a Storage,
    is_kept: bool,
}

impl CountedName<'_> {
    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for CountedName<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.storage.names_removed(1);
        }
    }
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
