//! Why a store cannot be opened: one enum for all that opening goes through, from the lock of the folder to the index.
//!
//! What a person does about it depends on which it is, so each says the folder and keeps its cause. Nothing here looks at a folder.

use std::io;
use std::path::PathBuf;

use perennis_shared::error::{ErrorKind, Retryable};

use crate::kv::KvError;

/// Why a store cannot be opened.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{} is in use by another process", dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
    },
    /// A later release wrote it.
    #[error("{} has format {found}; this release reads up to {known}", dir.display())]
    NewerFormat {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this release knows.
        known: u32,
    },
    /// It is of an earlier format, and is looked at only. Opening it migrates it.
    #[error("{} has format {found}; opening it brings it to format {known}", dir.display())]
    OlderFormat {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this release.
        known: u32,
    },
    /// The file that names the format is not one of ours.
    #[error("{} does not name a store's format", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The folder cannot be made or written to.
    #[error("{} cannot be written to", dir.display())]
    NotWritable {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is not even the little space that opening takes.
    #[error("no space is left to open {}", dir.display())]
    Full {
        /// The folder.
        dir: PathBuf,
        /// What the index said.
        source: KvError,
    },
    /// The index cannot be opened.
    #[error("the index in {} cannot be opened", dir.display())]
    Index {
        /// The folder of the store.
        dir: PathBuf,
        /// What it said.
        source: KvError,
    },
    /// The index was to be made anew, and what only the present one knows could not be written down first. Nothing was changed.
    #[error(
        "what only the index in {} knows could not be written down, so it was not made anew",
        dir.display()
    )]
    NotWrittenDown {
        /// The folder.
        dir: PathBuf,
        /// What failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The index is damaged, and cannot be made anew from the log now.
    #[error("the index in {} is damaged ({reason}) and could not be made anew", dir.display())]
    Rebuild {
        /// The folder of the store.
        dir: PathBuf,
        /// What is wrong with the index.
        reason: String,
        /// Why it could not be made anew.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is of an older format and cannot be brought to the present one now. Nothing was changed.
    #[error("{} is of an older format and could not be migrated", dir.display())]
    Migration {
        /// The folder of the store.
        dir: PathBuf,
        /// Why it could not be migrated.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A store was there: its log and its index are gone, and no checkpoint is left from which to make another index.
    #[error(
        "the log and the index of the store in {} are gone (its folders segments and index), and there is no checkpoint: put them back, restore a snapshot, or move the folder away to begin anew",
        dir.display()
    )]
    Gone {
        /// The folder of the store.
        dir: PathBuf,
    },
    /// The segments cannot be read.
    #[error("the segments in {} cannot be read", dir.display())]
    Segments {
        /// The folder of the store.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Retryable for OpenError {
    /// What stands in the way waits for a person, damage too: what can be mended without one was mended before this is told. A
    /// newer format is no trouble of this installation: it is refused, and nothing was touched.
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NewerFormat { .. } => ErrorKind::Reject,
            Self::Locked { .. }
            | Self::OlderFormat { .. }
            | Self::NotAStore { .. }
            | Self::NotWritable { .. }
            | Self::Full { .. }
            | Self::Index { .. }
            | Self::NotWrittenDown { .. }
            | Self::Rebuild { .. }
            | Self::Migration { .. }
            | Self::Gone { .. }
            | Self::Segments { .. } => ErrorKind::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_kind() {
        let dir = || PathBuf::from("/data");
        let io = || io::Error::other("no luck");
        let cause = || "no luck".into();
        for (error, kind) in [
            (OpenError::Locked { dir: dir() }, ErrorKind::Fatal),
            (
                OpenError::NewerFormat {
                    dir: dir(),
                    found: 9,
                    known: 2,
                },
                ErrorKind::Reject,
            ),
            (
                OpenError::OlderFormat {
                    dir: dir(),
                    found: 1,
                    known: 2,
                },
                ErrorKind::Fatal,
            ),
            (OpenError::NotAStore { path: dir() }, ErrorKind::Fatal),
            (
                OpenError::NotWritable {
                    dir: dir(),
                    source: io(),
                },
                ErrorKind::Fatal,
            ),
            (
                OpenError::Full {
                    dir: dir(),
                    source: io().into(),
                },
                ErrorKind::Fatal,
            ),
            (
                OpenError::Index {
                    dir: dir(),
                    source: io().into(),
                },
                ErrorKind::Fatal,
            ),
            (
                OpenError::NotWrittenDown {
                    dir: dir(),
                    source: cause(),
                },
                ErrorKind::Fatal,
            ),
            (
                OpenError::Rebuild {
                    dir: dir(),
                    reason: "a bit".to_owned(),
                    source: cause(),
                },
                ErrorKind::Fatal,
            ),
            (
                OpenError::Migration {
                    dir: dir(),
                    source: cause(),
                },
                ErrorKind::Fatal,
            ),
            (OpenError::Gone { dir: dir() }, ErrorKind::Fatal),
            (
                OpenError::Segments {
                    dir: dir(),
                    source: io(),
                },
                ErrorKind::Fatal,
            ),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
