//! What a failure of the index means for who depends on it.
//!
//! The store asks two things of a failure: whether the disk is full, and whether what is stored is damaged. An engine knows its own
//! errors and answers both where it hands one on; nobody else looks into them.

use std::error::Error;
use std::fmt;

use perennis_shared::error::{ErrorKind, Retryable};

use super::KvError;
use crate::disk::is_full;

/// What an engine's error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineFault {
    /// No space was left.
    Full,
    /// What is stored is damaged, or gone in part: trying again does not help.
    Damage,
    /// Anything else: it may pass.
    Other,
}

/// An engine's own error, with what the store has to know of it.
#[derive(Debug)]
pub struct EngineError {
    source: Box<dyn Error + Send + Sync>,
    fault: EngineFault,
}

impl EngineError {
    /// An error that means this.
    #[must_use]
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>, fault: EngineFault) -> Self {
        Self {
            source: source.into(),
            fault,
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // Its text is this one's already.
        self.source.source()
    }
}

impl KvError {
    /// Whether it failed because no space was left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Engine(error) => error.fault == EngineFault::Full,
            Self::Io(error) => is_full(error),
            Self::Behind(error) => error.is_full(),
            Self::Damaged { .. } | Self::NotKept => false,
        }
    }

    /// Whether what is stored is damaged, so that trying again will not help and the index has to be made anew from the
    /// log. Not for a disk that is full, busy or read-only, nor for want of memory or file handles.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        match self {
            Self::Engine(error) => error.fault == EngineFault::Damage,
            Self::Behind(error) => error.is_damaged(),
            Self::Io(_) | Self::NotKept => false,
            Self::Damaged { .. } => true,
        }
    }
}

impl Retryable for KvError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Engine(error) => match error.fault {
                EngineFault::Damage => ErrorKind::Corrupt,
                EngineFault::Full | EngineFault::Other => ErrorKind::Fatal,
            },
            Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Behind(error) => error.kind(),
            Self::Io(_) | Self::NotKept => ErrorKind::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_failure_of_the_index_has_its_kind() {
        let engine = |fault| KvError::from(EngineError::new("no luck", fault));
        let damaged = KvError::Damaged {
            reason: "a bit".to_owned(),
        };
        for (error, kind) in [
            (engine(EngineFault::Full), ErrorKind::Fatal),
            (engine(EngineFault::Damage), ErrorKind::Corrupt),
            (engine(EngineFault::Other), ErrorKind::Fatal),
            (KvError::Io(io::Error::other("no luck")), ErrorKind::Fatal),
            (
                KvError::Behind(Arc::new(engine(EngineFault::Damage))),
                ErrorKind::Corrupt,
            ),
            (damaged, ErrorKind::Corrupt),
            (KvError::NotKept, ErrorKind::Fatal),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
