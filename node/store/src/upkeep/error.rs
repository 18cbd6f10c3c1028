//! Why a step of upkeep ended. Nothing is lost by any of it: calling again goes on.

use std::io;

use perennis_shared::error::{ErrorKind, Retryable};

use crate::batch::CommitError;
use crate::checkpoint::CheckpointError;
use crate::kv::KvError;
use crate::location::FileNumber;
use crate::pack::PackError;
use crate::read::ReadError;

/// Why a step of compaction, or of garbage collection, ended.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The commit of the step failed.
    #[error("a step of upkeep was not committed")]
    Commit(#[from] CommitError),
    /// A block or the index could not be read.
    #[error("a step of upkeep could not read")]
    Read(#[from] ReadError),
    /// The index failed.
    #[error("the index failed in a step of upkeep")]
    Index(#[from] KvError),
    /// A file of blocks could not be read or removed.
    #[error("file {:08x} of blocks could not be read or removed", file.0)]
    File {
        /// The file.
        file: FileNumber,
        /// What the system said.
        source: io::Error,
    },
    /// A pack could not be written, or was not found on the disk again as it was written.
    #[error("a pack could not be written")]
    Pack(#[from] PackError),
    /// A folder could not be read or changed.
    #[error("a folder of the store could not be read or changed")]
    Folder(#[source] io::Error),
    /// A checkpoint could not be written or read.
    #[error("a checkpoint could not be written or read")]
    Checkpoint(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Pins changed faster than they could be followed. Nothing is wrong; try again later.
    #[error("pins change too fast to collect garbage now")]
    Busy,
}

impl From<CheckpointError> for UpkeepError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Index(error) => Self::Index(error),
            error => Self::Checkpoint(Box::new(error)),
        }
    }
}

impl Retryable for UpkeepError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Busy => ErrorKind::Retry,
            Self::Commit(error) => error.kind(),
            Self::Read(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::Pack(error) => error.kind(),
            Self::File { .. } | Self::Folder(_) | Self::Checkpoint(_) => ErrorKind::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_step_has_its_kind() {
        let io = || io::Error::other("no luck");
        let file = UpkeepError::File {
            file: FileNumber(1),
            source: io(),
        };
        for (error, kind) in [
            (UpkeepError::Busy, ErrorKind::Retry),
            (CommitError::PinsChanged.into(), ErrorKind::Retry),
            (CommitError::Full.into(), ErrorKind::Fatal),
            (ReadError::Index(io().into()).into(), ErrorKind::Fatal),
            (KvError::from(io()).into(), ErrorKind::Fatal),
            (PackError::Version(9).into(), ErrorKind::Reject),
            (file, ErrorKind::Fatal),
            (UpkeepError::Folder(io()), ErrorKind::Fatal),
            (UpkeepError::Checkpoint("no luck".into()), ErrorKind::Fatal),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
