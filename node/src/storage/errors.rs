//! Why the store did not answer, did not change, or did not open.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use perennis_shared::cid::Cid;
use perennis_shared::codec::CodecError;
use perennis_shared::error::{ErrorKind, Retryable};
use perennis_shared::limits::LimitExceeded;
use perennis_store::{CommitError, OpenError as StoreOpenError, ReadError};

use crate::data_folder::FolderGone;

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StorageError {
    /// The stored bytes are not those of the CID; the block was set aside.
    #[error("a stored block is damaged")]
    Corrupt(#[source] ReadError),
    /// It could not be read.
    #[error("the store could not be read")]
    Read(#[source] ReadError),
    /// It could not be written.
    #[error("the store could not be written")]
    Commit(#[source] CommitError),
    /// There is no space.
    #[error("the disk is full")]
    Full,
    /// A row of ours cannot be understood.
    #[error("a row of the store is damaged")]
    Row(#[from] CodecError),
    /// The data folder, or a part of it, is not there any more.
    #[error("the node's data folder, or a part of it, is gone")]
    Gone(#[source] FolderGone),
    /// The node is stopping.
    #[error("the node is stopping")]
    Interrupted(#[source] Box<dyn Error + Send + Sync>),
}

impl StorageError {
    /// What was asked for did not come to its end, since the node is stopping or the task for it panicked.
    pub(crate) fn interrupted(cause: impl Into<Box<dyn Error + Send + Sync>>) -> StorageError {
        StorageError::Interrupted(cause.into())
    }

    /// A word for programs, stable between versions; `internal` where nobody outside can do anything with the cause.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            StorageError::Full => "disk_full",
            StorageError::Gone(_) => "data_folder_gone",
            StorageError::Interrupted(_) => "stopping",
            StorageError::Corrupt(_)
            | StorageError::Read(_)
            | StorageError::Commit(_)
            | StorageError::Row(_) => "internal",
        }
    }
}

impl Retryable for StorageError {
    fn kind(&self) -> ErrorKind {
        match self {
            StorageError::Corrupt(_) | StorageError::Row(_) => ErrorKind::Corrupt,
            StorageError::Read(error) => error.kind(),
            StorageError::Commit(error) => error.kind(),
            StorageError::Full | StorageError::Gone(_) => ErrorKind::Fatal,
            StorageError::Interrupted(_) => ErrorKind::Retry,
        }
    }
}

impl From<ReadError> for StorageError {
    fn from(error: ReadError) -> StorageError {
        match error {
            ReadError::Corrupt { .. } => StorageError::Corrupt(error),
            other => StorageError::Read(other),
        }
    }
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ChangeError {
    /// A newer record is kept.
    #[error("a record with sequence {known} is kept")]
    Stale { known: u64 },
    /// Another value with the same sequence is kept.
    #[error("another value with the same sequence is kept")]
    Equivocation,
    /// Blocks that must be here are not.
    #[error("required blocks are not here")]
    Missing(Vec<Cid>),
    /// It is more than one batch takes.
    #[error("the change is too large")]
    TooLarge(#[source] LimitExceeded),
    /// There is no space.
    #[error("the disk is full")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ChangeError {
    /// Why a change was not made that has no head, requires no block and is small, so that nothing but the store can refuse it.
    pub(super) fn without_conditions(self) -> StorageError {
        match self {
            ChangeError::Storage(error) => error,
            ChangeError::Stale { .. }
            | ChangeError::Equivocation
            | ChangeError::Missing(_)
            | ChangeError::TooLarge(_)
            | ChangeError::Full => StorageError::Full,
        }
    }
}

impl Retryable for ChangeError {
    fn kind(&self) -> ErrorKind {
        match self {
            ChangeError::Stale { .. }
            | ChangeError::Equivocation
            | ChangeError::Missing(_)
            | ChangeError::TooLarge(_) => ErrorKind::Reject,
            ChangeError::Full => ErrorKind::Fatal,
            ChangeError::Storage(error) => error.kind(),
        }
    }
}

impl From<CommitError> for ChangeError {
    fn from(error: CommitError) -> ChangeError {
        match error {
            CommitError::Stale { stored, .. } => ChangeError::Stale { known: stored },
            CommitError::Equivocation { .. } => ChangeError::Equivocation,
            CommitError::MissingBlocks(cids) => ChangeError::Missing(cids),
            CommitError::TooLarge(limit) => ChangeError::TooLarge(limit),
            CommitError::Full => ChangeError::Full,
            other => ChangeError::Storage(StorageError::Commit(other)),
        }
    }
}

/// Why the node's store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreOpenError),
    /// The folder cannot be looked at.
    #[error("the data directory {} cannot be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system reported.
        source: io::Error,
    },
    /// Its rows cannot be read.
    #[error("the store's rows cannot be read")]
    Rows(#[source] ReadError),
    /// Its rows cannot be written.
    #[error("the store's rows cannot be written")]
    Commit(#[source] CommitError),
    /// More routers were configured over time than there are queues.
    #[error("more than 200 different routers were configured for this data directory")]
    TooManyRouters,
}

impl OpenError {
    /// A word for machines, stable between versions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            OpenError::Store(StoreOpenError::Locked { .. }) => "data_in_use",
            OpenError::Store(StoreOpenError::NewerFormat { .. }) => "newer_format",
            OpenError::Store(StoreOpenError::NotWritable { .. }) | OpenError::Folder { .. } => {
                "data_directory"
            }
            OpenError::Store(StoreOpenError::NotAStore { .. }) => "not_a_store",
            OpenError::Store(StoreOpenError::Full { .. }) => "disk_full",
            OpenError::Store(StoreOpenError::OlderFormat { .. }) => "older_format",
            OpenError::Store(StoreOpenError::Migration { .. }) => "migration_failed",
            OpenError::Store(StoreOpenError::Gone { .. }) => "store_gone",
            OpenError::Store(StoreOpenError::NotWrittenDown { .. }) => "index_not_written_down",
            _ => "store",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            OpenError::Store(StoreOpenError::Locked { .. }) => {
                "another node uses this directory: stop it, or give another directory with --data"
            }
            OpenError::Store(StoreOpenError::NewerFormat { .. }) => {
                "run the version of perennis that wrote it, or a later one; this one changes nothing"
            }
            OpenError::Store(StoreOpenError::NotWritable { .. }) | OpenError::Folder { .. } => {
                "make the directory writable for the node's user, or give another one with --data"
            }
            OpenError::Store(StoreOpenError::NotAStore { .. }) => {
                "give the data directory of a node, or an empty one, with --data"
            }
            OpenError::Store(StoreOpenError::Full { .. }) => {
                "free a few MiB on that disk and start again; nothing was lost"
            }
            OpenError::Store(StoreOpenError::OlderFormat { .. }) => {
                "start the node once: it brings the store to the present format"
            }
            OpenError::Store(StoreOpenError::Migration { .. }) => {
                "nothing was changed: mend the cause above and start again, restore the directory from a snapshot, or go on with the release that wrote it"
            }
            OpenError::Store(StoreOpenError::Gone { .. }) => {
                "put the folders `segments` and `index` back, restore a snapshot, or move the directory away to begin anew"
            }
            OpenError::Store(StoreOpenError::NotWrittenDown { .. }) => {
                "nothing was changed: mend the cause above, such as a full disk, and ask again"
            }
            OpenError::TooManyRouters => "start with a new data directory, or remove routers",
            _ => "look at the cause above; restore the directory from a snapshot if it is damaged",
        }
    }
}

impl Retryable for OpenError {
    /// As of the store, and fatal for all that is the node's own: a person has to look.
    fn kind(&self) -> ErrorKind {
        match self {
            OpenError::Store(error) => error.kind(),
            OpenError::Folder { .. }
            | OpenError::Rows(_)
            | OpenError::Commit(_)
            | OpenError::TooManyRouters => ErrorKind::Fatal,
        }
    }
}

#[cfg(test)]
mod tests;
