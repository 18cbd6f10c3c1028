//! The own log: reading entries, following them, adding to them.

use perennis_shared::taglist::{LabelError, tree::TreeError};

use super::{StageError, resolve::ResolveError};
use crate::{
    error::{ErrorKind, Retryable},
    exchange::FetchError,
    store::StoreError,
};

/// Why a list or its log cannot be read.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// There is no current identity.
    #[error("there is no identity here yet")]
    NoIdentity,
    /// The DID or name does not resolve.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A block cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A block is not part of a tag list.
    #[error("the list is not valid")]
    Tree(#[from] TreeError),
    /// The filter matches no possible label.
    #[error("the filter is not valid")]
    Filter(#[from] LabelError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ListError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NoIdentity => "no_identity",
            Self::Resolve(error) => error.code(),
            Self::Fetch(error) => error.code(),
            Self::Tree(_) => "invalid_list",
            Self::Filter(_) => "invalid_filter",
            Self::Store(error) => error.code(),
        }
    }
}

impl Retryable for ListError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoIdentity | Self::Filter(_) => ErrorKind::Reject,
            Self::Resolve(error) => error.kind(),
            Self::Fetch(error) => error.kind(),
            Self::Tree(_) => ErrorKind::Corrupt,
            Self::Store(error) => error.kind(),
        }
    }
}

impl From<StageError> for ListError {
    fn from(error: StageError) -> Self {
        match error {
            StageError::NoIdentity => Self::NoIdentity,
            StageError::Store(error) => error.into(),
        }
    }
}
