//! What the read door and the store say to a client.

use std::error::Error as _;

use perennis_shared::error::chain;

use super::ClientError;
use crate::read::ReadError;
use crate::storage::StorageError;

impl ClientError for ReadError {
    fn code(&self) -> &'static str {
        ReadError::code(self)
    }

    fn message(&self) -> String {
        match self {
            ReadError::Corrupt(_) => {
                "this block is damaged on this node's disk; it was set aside and is fetched again"
                    .to_owned()
            }
            ReadError::Storage(error) => format!("{self}: {}", error.message()),
            ReadError::HashNotAllowed(_) => chain(self),
        }
    }

    fn hides_causes(&self) -> bool {
        match self {
            ReadError::Corrupt(_) => true,
            ReadError::Storage(error) => error.hides_causes(),
            ReadError::HashNotAllowed(_) => false,
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            ReadError::Corrupt(_) => "ask another node meanwhile",
            ReadError::HashNotAllowed(_) => "use a CID with sha2-256",
            ReadError::Storage(error) => error.hint(),
        }
    }
}

impl ClientError for StorageError {
    fn code(&self) -> &'static str {
        StorageError::code(self)
    }

    /// Causes name files of the node, and are for its operator.
    fn message(&self) -> String {
        self.to_string()
    }

    fn hides_causes(&self) -> bool {
        self.source().is_some()
    }

    fn hint(&self) -> &'static str {
        match self {
            StorageError::Full => "make room on the disk of the node's data",
            StorageError::Gone(_) => "use another node: what this one takes would be lost",
            StorageError::Interrupted(_) => "start the node again",
            _ => "look into the node's log",
        }
    }
}
