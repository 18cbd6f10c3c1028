//! Where a client keeps its blocks and its state.
//!
//! A [`BlockStore`] holds verified blocks and small named rows of state. A block is kept once, by its multihash, and found under every
//! CID of that: version and codec are the asker's. One [`Changes`] is applied
//! whole or not at all, and is durable when [`BlockStore::commit`] returns: everything the client promises
//! (a staged label, an outbox that survives the tab) rests on that. The suite in
//! `testing` holds every implementation to it.
//!
//! Nothing damaged leaves a store: blocks are checked against their CIDs, rows against the checksum that [`row`] puts in
//! front of them.

use std::future::Future;

use bytes::Bytes;
use perennis_rt::{MaybeSend, MaybeSync};
use perennis_shared::{
    cid::{Block, Cid, VerifyError},
    codec::CodecError,
    error::{ErrorKind, Retryable},
};

#[cfg(feature = "disk")]
mod disk;
mod memory;
pub mod row;

#[cfg(feature = "disk")]
pub use disk::{Disk, DiskOptions};
pub use memory::Memory;

/// Blocks and named rows, changed together.
///
/// Handles are cheap to share and calls may overlap; commits happen one after another.
pub trait BlockStore: MaybeSend + MaybeSync {
    /// The block under the CID that is asked for, checked against it as it was read, whichever CID of the same multihash it was
    /// put under; none if it is not here.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the stored bytes are not those of the CID, or the backend fails.
    fn block(
        &self,
        cid: &Cid,
    ) -> impl Future<Output = Result<Option<Block>, StoreError>> + MaybeSend;

    /// Several blocks, each as [`BlockStore::block`] gives it, in the order asked for. A backend for which one
    /// trip is cheaper than many has its own.
    ///
    /// # Errors
    /// As [`BlockStore::block`], for the first one that fails.
    fn blocks(
        &self,
        cids: &[Cid],
    ) -> impl Future<Output = Result<Vec<Option<Block>>, StoreError>> + MaybeSend {
        async move {
            let mut blocks = Vec::with_capacity(cids.len());
            for cid in cids {
                blocks.push(self.block(cid).await?);
            }
            Ok(blocks)
        }
    }

    /// Whether bytes are kept for this CID, or for another one of its multihash. They are not read.
    ///
    /// # Errors
    /// The backend fails.
    fn has(&self, cid: &Cid) -> impl Future<Output = Result<bool, StoreError>> + MaybeSend;

    /// Applies all of `changes` or, on an error or a crash, none of it. Durable on return.
    /// A dropped call is applied whole or not at all as well.
    ///
    /// # Errors
    /// The backend fails or is full.
    fn commit(&self, changes: Changes) -> impl Future<Output = Result<(), StoreError>> + MaybeSend;

    /// The row of this name, if it is set, checked as it was read.
    ///
    /// # Errors
    /// [`StoreError::CorruptRow`] when the row is not what was committed, or the backend fails.
    fn state(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<Bytes>, StoreError>> + MaybeSend;

    /// The names of all rows that begin with `prefix`, ascending by their bytes.
    ///
    /// # Errors
    /// The backend fails.
    fn state_keys(
        &self,
        prefix: &str,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + MaybeSend;

    /// Reads every row and says which are damaged, and how many are gone of which not even the name is left. A backend
    /// that keeps count of its rows has its own.
    ///
    /// # Errors
    /// The backend fails.
    fn check_rows(&self) -> impl Future<Output = Result<RowsCheck, StoreError>> + MaybeSend {
        async move {
            let mut check = RowsCheck::default();
            for name in self.state_keys("").await? {
                match self.state(&name).await {
                    Ok(_) => {}
                    Err(StoreError::CorruptRow { key, what }) => {
                        check.damaged.push(DamagedRow { name: key, what });
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(check)
        }
    }

    /// At most `limit` CIDs that follow `after`, ascending by their binary form: those that blocks were put under first.
    ///
    /// # Errors
    /// The backend fails.
    fn cids(
        &self,
        after: Option<&Cid>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Cid>, StoreError>> + MaybeSend;
}

/// What one commit does. Deletions come first, so a CID in both `delete` and `put` stays; of two rows with
/// one name the later counts.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Blocks to keep. One that is already here, under whichever CID of its multihash, stays under that.
    pub put: Vec<Block>,
    /// Blocks to drop, under whichever CID of the multihash they were put. One that is not here is no error.
    pub delete: Vec<Cid>,
    /// Rows to set, or with no value to clear.
    pub state: Vec<(String, Option<Bytes>)>,
    /// What [`BlockStore::check_rows`] found is known and accepted: rows that are gone are not looked for any more, and
    /// damaged ones that no [`Changes::clear`] can name are dropped.
    pub settle: bool,
}

impl Changes {
    /// No change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps these blocks.
    #[must_use]
    pub fn put(mut self, blocks: impl IntoIterator<Item = Block>) -> Self {
        self.put.extend(blocks);
        self
    }

    /// Drops these blocks.
    #[must_use]
    pub fn delete(mut self, cids: impl IntoIterator<Item = Cid>) -> Self {
        self.delete.extend(cids);
        self
    }

    /// Sets a row.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.state.push((key.into(), Some(value.into())));
        self
    }

    /// Clears a row.
    #[must_use]
    pub fn clear(mut self, key: impl Into<String>) -> Self {
        self.state.push((key.into(), None));
        self
    }

    /// Accepts that rows are gone.
    #[must_use]
    pub fn settle(mut self) -> Self {
        self.settle = true;
        self
    }
}

/// What reading every row found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowsCheck {
    /// Rows that are not what was committed.
    pub damaged: Vec<DamagedRow>,
    /// Rows that were committed and are not there any more, not even their names.
    pub missing: u64,
}

impl RowsCheck {
    /// Nothing is damaged or gone.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.missing == 0
    }
}

/// A row that is not what was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRow {
    /// Its name, as far as that can be read.
    pub name: String,
    /// What is wrong with it.
    pub what: &'static str,
}

/// What a backend reports when it fails.
pub type BackendError = Box<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what was asked.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The stored bytes are not those of the CID. They never reach a caller.
    #[error("the stored bytes of block {cid} are damaged")]
    Corrupt {
        /// The block asked for.
        cid: Box<Cid>,
        /// What the check found.
        source: VerifyError,
    },
    /// A row is not what was committed, or its reader does not understand it. It never reaches a caller.
    #[error("the row {} of the store is damaged ({what}); it held {}", key.escape_debug(), row::holds(key))]
    CorruptRow {
        /// The name of the row.
        key: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A row would be larger than a row may be. Nothing was changed.
    #[error("the row {} cannot be written", key.escape_debug())]
    RowTooLarge {
        /// The name of the row.
        key: String,
        /// What its encoding met.
        source: CodecError,
    },
    /// Rows were committed and are not there any more.
    #[error(
        "{rows} rows of the store are gone, and changes that wait to be published may have been among them"
    )]
    LostRows {
        /// How many.
        rows: u64,
    },
    /// The backend's own structure is damaged, so that nothing in it can be relied on.
    #[error("{place} is damaged")]
    Damaged {
        /// The file or database.
        place: String,
        /// What the backend reported.
        source: BackendError,
    },
    /// Another process holds the store.
    #[error("{place} is in use by another process")]
    Locked {
        /// The file or database.
        place: String,
    },
    /// There is no space left.
    #[error("no space is left for {place}")]
    Full {
        /// The file or database.
        place: String,
        /// What the backend reported.
        source: BackendError,
    },
    /// A later version of this software wrote the store.
    #[error("{place} has format {found}; this version reads up to {known}")]
    NewerFormat {
        /// The file or database.
        place: String,
        /// Its format.
        found: u64,
        /// The newest format this version knows.
        known: u64,
    },
    /// The place cannot be opened: it is missing, not writable, or not a store.
    #[error("{place} cannot be opened")]
    Open {
        /// The file or database.
        place: String,
        /// What the backend reported.
        source: BackendError,
    },
    /// The backend failed otherwise.
    #[error("the store failed to {action}")]
    Backend {
        /// What it was to do.
        action: &'static str,
        /// What it reported.
        source: BackendError,
    },
}

impl StoreError {
    /// Rows are damaged or gone, and the rest of the store can be read.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::CorruptRow { .. } | Self::LostRows { .. })
    }

    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } => "block_damaged",
            Self::CorruptRow { .. } | Self::LostRows { .. } => "state_damaged",
            Self::RowTooLarge { .. } => "row_too_large",
            Self::Damaged { .. } => "store_damaged",
            Self::Locked { .. } => "store_in_use",
            Self::Full { .. } => "store_full",
            Self::NewerFormat { .. } => "newer_format",
            Self::Open { .. } => "store_not_opened",
            Self::Backend { .. } => "store_failed",
        }
    }
}

impl Retryable for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Corrupt { .. }
            | Self::CorruptRow { .. }
            | Self::LostRows { .. }
            | Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Locked { .. } => ErrorKind::Retry,
            Self::RowTooLarge { .. } => ErrorKind::Reject,
            Self::Full { .. }
            | Self::NewerFormat { .. }
            | Self::Open { .. }
            | Self::Backend { .. } => ErrorKind::Fatal,
        }
    }
}
