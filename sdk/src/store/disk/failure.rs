//! What went wrong inside a transaction, and how it is told.

use std::{
    any::Any,
    error::Error,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

use super::{FORMAT, StoreError};

/// What went wrong inside a transaction.
pub(super) enum Failure {
    Storage(StorageError),
    /// The file does not hold what this module keeps in it.
    Damaged(Box<dyn Error + Send + Sync>),
    /// A later version wrote the file.
    Newer(u64),
    /// The file is in use.
    Locked,
    Other(Box<dyn Error + Send + Sync>),
}

/// Does `work`. redb takes what it reads from its own pages at its word in many places and panics where that cannot be,
/// so a panic in here says that the file is damaged, and must not end the process.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Failure::Damaged(text_of(&*panic).into())))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the reader gave up").to_owned()
}

impl Failure {
    pub(super) fn at(self, path: &Path, action: &'static str) -> StoreError {
        let place = path.display().to_string();
        match self {
            Self::Storage(StorageError::Io(error)) if is_full(&error) => StoreError::Full {
                place,
                source: Box::new(error),
            },
            // A page that lies outside the file.
            Self::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::UnexpectedEof =>
            {
                StoreError::Damaged {
                    place,
                    source: Box::new(error),
                }
            }
            Self::Storage(error @ StorageError::Corrupted(_)) => StoreError::Damaged {
                place,
                source: Box::new(error),
            },
            Self::Damaged(source) => StoreError::Damaged { place, source },
            Self::Newer(found) => StoreError::NewerFormat {
                place,
                found,
                known: FORMAT,
            },
            Self::Locked => StoreError::Locked { place },
            Self::Storage(error) => StoreError::Backend {
                action,
                source: Box::new(error),
            },
            Self::Other(source) => StoreError::Backend { action, source },
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => Self::Storage(error),
            DatabaseError::DatabaseAlreadyOpen => Self::Locked,
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => Self::Storage(error),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => Self::Storage(error),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => Self::Storage(error),
            // Tables are made with the file and never dropped: one that is gone or of another kind was not dropped by us.
            other => Self::Damaged(Box::new(other)),
        }
    }
}
