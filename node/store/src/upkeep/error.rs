//! Why a step of upkeep ended. Nothing is lost by any of it: calling again goes on.

use std::io;

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
