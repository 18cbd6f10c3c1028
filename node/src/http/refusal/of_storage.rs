//! What the read door and the store say to a client.

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
            ReadError::Corrupt => {
                "this block is damaged on this node's disk; it was set aside and is fetched again"
                    .to_owned()
            }
            _ => chain(self),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            ReadError::Corrupt => "ask another node meanwhile",
            ReadError::HashNotAllowed(_) => "use a CID with sha2-256",
            ReadError::Storage(error) => error.hint(),
        }
    }
}

impl ClientError for StorageError {
    fn code(&self) -> &'static str {
        StorageError::code(self)
    }

    fn hint(&self) -> &'static str {
        match self {
            StorageError::Full => "make room on the disk of the node's data",
            StorageError::Gone => "use another node: what this one takes would be lost",
            StorageError::Interrupted => "start the node again",
            _ => "look into the node's log",
        }
    }
}
