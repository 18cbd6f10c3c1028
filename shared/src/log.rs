//! The signed log above a tag list: who changed what, when, and what came of it.
//!
//! # Entries
//! Each publish adds one [`Entry`]: a block that links the entries it follows, the root of the list's tree after the
//! changes, and the DID document under which it was signed. The IPNS name points at the newest entry, so whoever
//! resolves the name reaches everything. An entry is the DAG-CBOR map `{"sig", "body"}`: `sig` is an Ed25519
//! signature (64 bytes) in the domain [`crate::sign::Domain::LogEntry`] over the bytes of `body`, the map of
//!
//! | name | kind | meaning |
//! |---|---|---|
//! | `did` | text | whose log it is |
//! | `doc` | link | the DID document that lists the key |
//! | `key` | 32 bytes | public key of the device that signed |
//! | `ops` | list, optional | the changes, sorted by key ([`crate::taglist::Op`]) |
//! | `seq` | integer | 1 for the first entry, else one more than the greatest of the entries before |
//! | `prev` | list of links | the entries before, sorted bytewise; several for a merge |
//! | `root` | link or null | the tree after the changes; null for an empty list |
//! | `clock` | integer | hybrid logical clock, above those of the entries before, not below those of its changes |
//! | `changes` | integer | how many changes the entry makes |
//! | `version` | 1 | version of this format |
//! | `compacts` | bytes, optional | binary CID of the head that this compacted log replaces |
//!
//! An entry lists its changes when there are at most [`crate::limits::ENTRY_CHANGES`] of them and they take at
//! most half of [`crate::limits::ENTRY_BYTES`]. A larger import is one entry whose `ops` is absent: the root carries
//! it, and the difference of the roots is what was changed. Merges and compactions have no `ops` either.
//!
//! # Order and merging
//! The stamp of a change is the clock reading when it was made and the key that signed it: an edit made offline and
//! published late does not replace a newer one of the same label that another device has published in between
//! ([`in_effect`]). When two devices have gone on from one entry, [`merge()`] joins the trees row by row, the later stamp of each row staying (see
//! [`crate::taglist::tree::merge`]), and makes an entry that follows both. [`relation`] tells a newer
//! entry from an older one that somebody replays.
//!
//! # Compaction
//! [`compact`] starts a new log: an entry without `prev` that carries the tree root and names the old head
//! as bytes, not as a link, so that pinning the new log does not keep the old one. A reader that holds the old
//! head knows the new log as its successor by that name, the identity's signature and the higher `seq`.
//!
//! Nothing here fetches, stores or reads a clock.

use alloc::boxed::Box;

use crate::{
    cid::Cid,
    codec::CodecError,
    did::{Did, DocumentError},
    limits::LimitExceeded,
    taglist::{ClockError, tree::TreeError},
};

mod append;
mod entry;
mod history;
mod merge;
mod proof;

pub use append::{Appended, Author, append, append_dated, compact, in_effect};
pub use entry::{Entry, EntryKind, UnverifiedEntry};
pub use history::{Relation, builds_on, common_root, follows, history, relation};
pub use merge::merge;
pub use proof::{LabelProof, LabelProofError, ProvenLabel};

/// Why an entry is refused.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not in the form of an entry.
    #[error("not a log entry")]
    Codec(#[from] CodecError),
    /// The DID document cannot be read.
    #[error("the DID document of the log entry is not valid")]
    Document(#[source] Box<DocumentError>),
    /// The document is another one than the entry links.
    #[error("the log entry was signed under another DID document")]
    OtherDocument,
    /// The entry, its document and the name it was reached by are not of one identity.
    #[error("the log entry belongs to {0}")]
    OtherIdentity(Did),
    /// The DID document does not list the key that signed.
    #[error("the key that signed the log entry is not in the DID document")]
    KeyNotAuthorized,
    /// The signature is not one of that key over the entry.
    #[error("the signature of the log entry does not match")]
    Signature,
    /// The entry is dated too far in the future.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// Its sequence number or clock does not follow from the entries before it.
    #[error("the log entry does not follow from the ones before it")]
    Order,
    /// Its tree root is not what its changes make of the tree before.
    #[error("the log entry's changes do not lead to its tree")]
    Root,
}

/// Why a log cannot be read or continued.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A block is not in the view: fetch it, add it and call again.
    #[error("block {0} is missing")]
    Missing(Cid),
    /// An entry is refused.
    #[error("log entry {cid} is not valid")]
    Entry {
        /// The entry's block.
        cid: Cid,
        /// What is wrong with it.
        source: Box<EntryError>,
    },
    /// The tree cannot be read or changed.
    #[error(transparent)]
    Tree(TreeError),
    /// The device's clock and that of the log are too far apart.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// Entries of several identities cannot be in one log.
    #[error("the entries are of different identities")]
    OtherIdentity,
    /// Several heads must be merged before anything else can be done.
    #[error("the log has several heads; merge them first")]
    SeveralHeads,
    /// There are not two different heads to merge.
    #[error("a merge needs at least two different heads")]
    NothingToMerge,
    /// Something is above its limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl LogError {
    /// The block to fetch before the call is made again, when that is all that is wrong.
    pub fn missing(&self) -> Option<Cid> {
        match self {
            LogError::Missing(cid) | LogError::Tree(TreeError::Missing(cid)) => Some(*cid),
            _ => None,
        }
    }

    fn entry(cid: &Cid, source: EntryError) -> LogError {
        LogError::Entry {
            cid: *cid,
            source: Box::new(source),
        }
    }
}

impl From<TreeError> for LogError {
    fn from(error: TreeError) -> LogError {
        match error {
            TreeError::Missing(cid) => LogError::Missing(cid),
            other => LogError::Tree(other),
        }
    }
}

#[cfg(test)]
mod tests;
