//! The store as the node uses it: asynchronous, in terms of names, records and routers.
//!
//! Owns the keys of the node's own rows and the numbers of its queues, and keeps waiting for the disk away from the
//! tasks that serve requests. A batch that is durable notifies the workers of the queues that it put rows into. Must never touch: decisions. Whether something may be stored is the write door's.
//!
//! | row | key | value |
//! |---|---|---|
//! | pin | by reason | roots that are kept ([`roots`]) |
//! | meta | `n/`, name | [`GraphFacts`] |
//! | meta | `p/`, number of the router, name | [`PutState`] |
//! | meta | `r/`, number of the router | URL of the router |
//! | meta | `f/`, name | fetches that failed, u32, big-endian |
//! | meta | `d/`, name | when it is forgotten, u64, big-endian, and a record that another peer put here |
//! | meta | `v/`, length and bytes of a key, peer id | a provider of the key that another peer told |
//! | meta | `x/`, CID | when it was fetched, how many blocks and bytes it has, in how many blocks links cannot be read, each u64, big-endian |
//! | meta | `i/`, multihash, codec, name | [`Imported`] |
//! | meta | `l/`, name | the rungs that are kept back |
//! | meta | `w/`, name | [`FollowState`] |
//! | meta | `u/`, name | [`UnclaimedRow`] |
//! | meta | `b/`, name | when it was removed and is taken no more, u64, big-endian |
//! | meta | `scan` | the name the pin scan has walked last |
//! | meta | `reclaimed` | when the last whole round of collecting and packing ended, u64, big-endian
//! | meta | `scrubbed` | when the last round of the scrub ended, u64, big-endian |
//! | meta | `clock` | what the wall clock showed last, and the steady time, each u64, big-endian |
//! | meta | `provided` | when the round of provider records was begun, u64, and the region that is next, u16, big-endian |
//!
//! The queues and their numbers are in [`queues`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_shared::cid::{Block, Cid};
use perennis_shared::error::chain;
use perennis_shared::ipns::{Ladder, Name, Record};
use perennis_shared::time::Millis;
use perennis_store::{
    Batch, HeadRow, IndexEngine, IndexOptions, Queue, RebuildProgress, Store, StoreOptions,
    StoreState,
};
use tokio::sync::oneshot;

use crate::data_folder::DataFolder;
use roots::PinReason;

mod clock;
mod damage;
mod denied;
mod dht;
mod errors;
mod fetched;
mod fetches;
mod follow_state;
mod follows;
mod forgotten;
mod held;
mod imported;
mod keys;
mod ladders;
mod name_state;
mod nullable;
mod provides;
mod put_state;
mod puts;
pub(crate) mod queues;
mod reclaim;
mod roots;
mod rows;
mod scrub;
mod shortfall;
mod snapshots;
mod unclaimed;
mod walk;

use keys::{FACTS, SCAN};
use queues::{FETCH, FinishedRow, Notifications, TypedQueue};

pub use damage::KnownDamage;
pub(crate) use damage::{DamagedBlock, KeptOrLost, LostHead};
pub(crate) use dht::DhtRows;
pub use errors::OpenError;
pub(crate) use errors::{ChangeError, StorageError};
pub(crate) use fetched::Fetched;
pub(crate) use fetches::{DueFetch, EndedFetch, FetchAttempt, FetchEnd};
pub(crate) use follow_state::FollowState;
pub(crate) use forgotten::{Forgotten, NameStanding};
pub(crate) use held::HeldBlocks;
pub(crate) use imported::{Imported, ImportedState};
pub(crate) use ladders::LADDER_LOOK;
pub(crate) use name_state::{GraphFacts, NameState, Pin};
pub(crate) use provides::ProvideRound;
pub(crate) use put_state::PutState;
pub(crate) use puts::QueuedPut;
pub(crate) use reclaim::ReclaimError;
pub(crate) use rows::{TABLES, hex};
pub(crate) use shortfall::{Shortfall, ShortfallKind};
pub(crate) use snapshots::{SnapshotName, SnapshotsError, StoredSnapshot};
pub(crate) use unclaimed::{Held, UnclaimedRow, UnclaimedSums};
pub(crate) use walk::{Walked, links, walk};

/// Names counted in one step at the start.
const COUNTED: usize = 1_024;

/// A handle on the store; clones are handles on the same one.
#[derive(Clone)]
pub(crate) struct Storage {
    store: Store,
    shared: Arc<Shared>,
}

struct Shared {
    folder: DataFolder,
    /// The queue of each router.
    routers: HashMap<String, TypedQueue<Name>>,
    /// Notified when rows were put into queues.
    queues: Notifications,
    names: AtomicU64,
    /// What the names hold that nobody has claimed.
    unclaimed: Mutex<UnclaimedSums>,
    /// Rows that could not be read since the start, by their table.
    unreadable: Mutex<BTreeMap<&'static str, u64>>,
}

/// How much is stored, and whether more can be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreSizes {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) read_only: bool,
    /// What the names hold that nobody has claimed.
    pub(crate) unclaimed: Held,
}

/// What the write door asks for: a record, its blocks, and what follows from it, in one batch.
pub(crate) struct NameChange {
    pub(crate) name: Name,
    pub(crate) record: Record,
    pub(crate) stored_at: Millis,
    pub(crate) facts: GraphFacts,
    pub(crate) blocks: Vec<Block>,
    /// Blocks that must be here, beside those of this change.
    pub(crate) required: Vec<Cid>,
    /// Whether routers are to hear of the record.
    pub(crate) is_new_record: bool,
    pub(crate) routers: Vec<String>,
    /// What the rungs that are kept back become; `None` leaves them.
    pub(crate) ladder: Option<Ladder>,
    /// What is kept about following the name; `None` leaves it.
    pub(crate) followed: Option<Follow>,
    /// The rows of queues that this is done for.
    pub(crate) finished: Vec<FinishedRow>,
    /// Whether it counts only while the head of the name is lost.
    pub(crate) only_if_lost: bool,
    /// The fetch that this is what came of; without one, missing blocks are due to be fetched at once.
    pub(crate) fetch: Option<EndedFetch>,
    /// What is kept of it as a name that nobody has claimed, and what becomes of that.
    pub(crate) unclaimed: UnclaimedChange,
}

/// What becomes of the row of a name that nobody has claimed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnclaimedChange {
    pub(crate) before: Option<UnclaimedRow>,
    /// Without one it is claimed.
    pub(crate) after: Option<UnclaimedRow>,
}

/// What a change does about following a name.
pub(crate) struct Follow {
    pub(crate) row: FollowState,
    /// When its record is looked for next; `None` leaves that.
    pub(crate) next: Option<Millis>,
}

impl NameChange {
    /// A change that stores a record and nothing else yet.
    pub(crate) fn of(name: Name, record: Record, stored_at: Millis) -> NameChange {
        NameChange {
            name,
            record,
            stored_at,
            facts: GraphFacts::unknown(),
            blocks: Vec::new(),
            required: Vec::new(),
            is_new_record: true,
            routers: Vec::new(),
            ladder: None,
            followed: None,
            finished: Vec::new(),
            only_if_lost: false,
            fetch: None,
            unclaimed: UnclaimedChange::default(),
        }
    }
}

impl Storage {
    /// As [`Storage::open_telling`], with an index in memory, telling nobody.
    #[cfg(test)]
    pub(crate) fn open(directory: &Path, routers: &[String]) -> Result<Storage, OpenError> {
        Self::open_telling(directory, IndexEngine::Memory, routers, &mut |_| {})
    }

    /// Opens the store and gives each router its queue, and tells how far it is where that takes time. Waits for the disk.
    pub(crate) fn open_telling(
        directory: &Path,
        index: IndexEngine,
        routers: &[String],
        progress: &mut dyn FnMut(RebuildProgress),
    ) -> Result<Storage, OpenError> {
        let options = StoreOptions {
            index: IndexOptions::on(index),
            ..StoreOptions::default()
        };
        let store = Store::open_telling(directory, &options, progress)?;
        let routers = puts::router_queues(&store, routers)?;
        let folder = DataFolder::of(directory).map_err(|source| OpenError::Folder {
            path: directory.to_owned(),
            source,
        })?;
        let storage = Storage {
            store,
            shared: Arc::new(Shared {
                folder,
                routers,
                names: AtomicU64::new(0),
                unclaimed: Mutex::default(),
                queues: Notifications::new(),
                unreadable: Mutex::default(),
            }),
        };
        *storage.shared.unclaimed.lock() = storage.count_unclaimed()?;
        Ok(storage)
    }

    /// Opens the store and counts the followed names. Rows that cannot be read mark the index as damaged: it is made anew by opening the
    /// store once more. Waits for the disk.
    pub(crate) fn open_counted(
        directory: &Path,
        index: IndexEngine,
        routers: &[String],
        progress: &mut dyn FnMut(RebuildProgress),
    ) -> Result<(Storage, u64), OpenError> {
        let mut attempt = || {
            let storage = Self::open_telling(directory, index, routers, progress)?;
            let followed = storage.count_followed()?;
            Ok((storage, followed))
        };
        match attempt() {
            Err(OpenError::Rows(_)) => attempt(),
            opened => opened,
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Storage) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let this = self.clone();
        rt::blocking(move || work(&this))
            .await
            .map_err(StorageError::interrupted)?
    }

    /// What is kept about a name.
    pub(crate) async fn kept(&self, name: Name) -> Result<Option<NameState>, StorageError> {
        self.blocking(move |this| {
            let Some(head) = this.store.head(&name)? else {
                return Ok(None);
            };
            this.name_state(&name, head)
        })
        .await
    }

    /// Names behind `after`, in the order of their bytes.
    pub(crate) async fn names(
        &self,
        after: Option<Name>,
        limit: usize,
    ) -> Result<Vec<(Name, NameState)>, StorageError> {
        let mut after = after;
        self.blocking(move |this| {
            loop {
                let heads = this.store.heads(after.as_ref(), limit)?;
                let Some((last, _)) = heads.last() else {
                    return Ok(Vec::new());
                };
                after = Some(*last);
                let mut names = Vec::with_capacity(heads.len());
                for (name, head) in heads {
                    names.extend(this.name_state(&name, head)?.map(|kept| (name, kept)));
                }
                // Only an empty page is the end.
                if !names.is_empty() {
                    return Ok(names);
                }
            }
        })
        .await
    }

    /// What is kept about the name of a head. One whose record cannot be read is set aside like any row that cannot, and the
    /// name is looked for elsewhere.
    fn name_state(&self, name: &Name, head: HeadRow) -> Result<Option<NameState>, StorageError> {
        let record = match name_state::record_of(&head) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(%name, error = %chain(&error), "the row of a name is damaged; its record is looked for elsewhere");
                self.store.set_head_aside(name, &head);
                return Ok(None);
            }
        };
        // A row that cannot be read is as one that was never written: the pin scan walks the name and writes it anew.
        let facts = self.row(&key(FACTS, name.as_bytes()), GraphFacts::from_bytes)?;
        Ok(Some(NameState {
            sequence: head.sequence,
            head: head.head(),
            valid_until: head.valid_until,
            stored_at: head.stored_at,
            record,
            facts: facts.unwrap_or_else(GraphFacts::unknown),
            followed: self.followed(name)?,
        }))
    }

    /// Whether the key of a name has signed two values with one sequence.
    pub(crate) async fn has_evidence(&self, name: Name) -> Result<bool, StorageError> {
        self.blocking(move |this| Ok(!this.store.evidence(&name)?.is_empty()))
            .await
    }

    /// Makes a change durable, all of it or nothing.
    pub(crate) async fn commit(&self, change: NameChange) -> Result<(), ChangeError> {
        let name = change.name;
        let reason = PinReason::Head(name);
        let mut batch = reason.batch();
        // First: what the change puts into the same queue stays.
        for finished in &change.finished {
            finished.take_out(&mut batch);
        }
        if let Some(ladder) = &change.ladder {
            ladders::set(&mut batch, &name, ladder, &change.record, rt::now())?;
        }
        if let Some(follow) = &change.followed {
            follows::set(&mut batch, &name, follow)?;
        }
        unclaimed::set(&mut batch, &name, change.unclaimed)?;
        let row = HeadRow::new(&change.record, change.stored_at);
        if let Some(head) = row.head() {
            match change.facts.pin {
                Pin::Pinned | Pin::Opaque => reason.pin(&mut batch, head),
                // What comes in bit by bit is held as well.
                Pin::Queued | Pin::Incomplete { .. } => {
                    if change.fetch.is_none() {
                        FETCH.put(&mut batch, &name, rt::now(), &());
                    }
                    reason.pin_unstored(&mut batch, head);
                }
                Pin::RecordOnly => reason.unpin(&mut batch),
            }
        } else {
            // What it pointed at before is kept for it no longer.
            reason.unpin(&mut batch);
        }
        if let Some(fetch) = &change.fetch {
            fetch.apply(&mut batch);
        }
        let facts = change.facts.to_bytes().map_err(StorageError::from)?;
        batch.put_meta(&key(FACTS, name.as_bytes()), facts);
        batch.put_head(name, row);
        for block in change.blocks {
            batch.put_block(block);
        }
        for cid in change.required {
            batch.require(cid);
        }
        if change.is_new_record {
            for router in &change.routers {
                if let Some(queue) = self.shared.routers.get(router) {
                    queue.put(&mut batch, &name, rt::now(), &());
                }
            }
        }
        self.submit(batch).await
    }

    /// Hands a record to the store that it will refuse and keep as evidence.
    pub(crate) async fn offer(&self, name: Name, record: Record) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.put_head(name, HeadRow::new(&record, rt::now()));
        match self.submit(batch).await {
            Err(ChangeError::Storage(error)) => Err(error),
            _ => Ok(()),
        }
    }

    async fn submit(&self, batch: Batch) -> Result<(), ChangeError> {
        if self.shared.folder.is_gone() {
            self.expect_folder()?;
        }
        let (answer, answered) = oneshot::channel();
        let queues: BTreeSet<Queue> = batch.enqueued().collect();
        let shared = Arc::clone(&self.shared);
        self.store.submit(batch, move |result| {
            if result.is_ok() {
                queues
                    .into_iter()
                    .for_each(|queue| shared.queues.notify(queue));
            }
            // A receiver that is gone has nothing to be told.
            drop(answer.send(result));
        });
        match answered.await {
            Ok(result) => {
                result?;
                // What was made durable in a folder that nobody finds again is not acknowledged.
                Ok(self.expect_folder()?)
            }
            Err(error) => Err(StorageError::interrupted(error).into()),
        }
    }

    async fn write(&self, batch: Batch) -> Result<(), StorageError> {
        match self.submit(batch).await {
            Ok(()) => Ok(()),
            Err(error) => Err(error.without_conditions()),
        }
    }

    /// The name the pin scan has walked last; `None` between two rounds.
    pub(crate) async fn scan_place(&self) -> Result<Option<Name>, StorageError> {
        self.blocking(|this| this.row(SCAN, Name::from_bytes)).await
    }

    pub(crate) async fn save_scan_place(&self, place: Option<Name>) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        match place {
            Some(name) => batch.put_meta(SCAN, name.to_bytes()),
            None => batch.delete_meta(SCAN),
        };
        self.write(batch).await
    }

    /// Counts the names that are kept, those whose record is lost included. Waits for the disk.
    pub(crate) fn count_names(&self, is_stopping: impl Fn() -> bool) -> Result<(), StorageError> {
        let mut place = None;
        let mut names = 0;
        while !is_stopping() {
            let rows = self.store.heads(place.as_ref(), COUNTED)?;
            names += rows.len() as u64;
            // A page may lack rows that cannot be read: only an empty one is the end.
            match rows.last() {
                Some((last, _)) => place = Some(*last),
                None => break,
            }
        }
        names += self.count_lost()?;
        self.shared.names.fetch_add(names, Ordering::Relaxed);
        Ok(())
    }

    /// Counts a name more, where they are fewer than that; tells how many they are where they are not.
    pub(crate) fn add_name(&self, most: u64) -> Result<(), u64> {
        let add = |names| (names < most).then_some(names + 1);
        let names = &self.shared.names;
        let added = names.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        added.map(drop)
    }

    pub(crate) fn names_removed(&self, names: u64) {
        self.shared.names.fetch_sub(names, Ordering::Relaxed);
    }

    /// What the names hold that nobody has claimed.
    pub(crate) fn unclaimed_sums(&self) -> &Mutex<UnclaimedSums> {
        &self.shared.unclaimed
    }

    pub(crate) fn name_count(&self) -> u64 {
        self.shared.names.load(Ordering::Relaxed)
    }

    /// Its folder is still the one that was opened.
    pub(crate) fn expect_folder(&self) -> Result<(), StorageError> {
        let looked = self.shared.folder.look();
        looked.map_err(StorageError::Gone)
    }

    /// The folder it lies in.
    pub(crate) fn folder(&self) -> &DataFolder {
        &self.shared.folder
    }

    /// Why it takes no writes now.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        if self.shared.folder.is_gone() {
            return Some("data_folder_gone");
        }
        match self.store.state() {
            StoreState::Writable => None,
            StoreState::Full => Some("disk_full"),
            StoreState::Failed => Some("store_failed"),
        }
    }

    pub(crate) fn sizes(&self) -> StoreSizes {
        let stats = self.store.stats();
        StoreSizes {
            blocks: stats.blocks,
            bytes: stats.segment_bytes,
            read_only: stats.state != StoreState::Writable,
            unclaimed: self.shared.unclaimed.lock().total,
        }
    }
}

fn key(table: &[u8], rest: &[u8]) -> Vec<u8> {
    [table, rest].concat()
}
