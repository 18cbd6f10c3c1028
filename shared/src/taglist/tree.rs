//! A list's rows as a deterministic Merkle search tree.
//!
//! # Shape
//! The rows, sorted by key, are cut into leaves; the leaves, each under its separator, are cut into
//! branches, those into branches again, until one node is left: the root. The separator of a row is the
//! shortest beginning of its key that sorts above the key before it, and empty for the list's first row; a
//! node has the separator of its first row, and a child of a branch holds keys from its separator up to
//! the next one. Where to cut is decided from the start of each node by nothing but the items since that start
//! and the next separator, so equal rows give an equal tree, whatever the order of changes that led
//! there. A node ends before a separator:
//!
//! - when it has 12 rows or 14 children;
//! - when the keys and rows of a leaf have 960 bytes or more;
//! - when it has at least 3 rows or 4 children, and the first four bytes of the SHA-256 of the separator, as a
//!   big-endian number, are at most ⌊⌊(2³² − 1) / 4⌋ / 5^level⌋, leaves being level 0.
//!
//! One number decides on all levels: a cut of a level is more likely where the level below is always cut,
//! which keeps the effect of a change in place. The minimum and maximum hold for every list: whoever mines keys
//! whose hashes cut always or never cannot make nodes larger or the tree deeper, only have more nodes rewritten
//! by a change.
//!
//! # Bytes
//! A node is a DAG-CBOR map of `l`, its level (0 for leaves), and `n`, a flat list:
//! - leaf: for each row `shared` (integer), `suffix` (bytes) and the row ([`super::Row`]); the key is the
//!   first `shared` bytes of the key before it and `suffix`; `shared` is the most it can be;
//! - branch: the link of the first child, then for each further child `shared`, `suffix` and link; its
//!   separator is compressed against the separator before it in this list. The first child has the
//!   separator that its parent gives the branch itself.
//!
//! A list without rows has no root.

use alloc::{boxed::Box, vec::Vec};

use crate::{
    cid::{Block, Cid},
    codec::CodecError,
    limits::LimitExceeded,
};

mod apply;
mod cursor;
mod diff;
mod merge;
mod node;
mod proof;
mod read;

pub use apply::{apply, apply_rows, retain};
pub use diff::{Change, DiffPage, diff};
pub use merge::merge;
pub use proof::{Proof, ProofError, Proven, prove};
pub use read::{Lookup, Page, blocks, row, rows, scan};

/// The outcome of changing a tree.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// The new root; `None` for a list without rows.
    pub root: Option<Cid>,
    /// Blocks of the new tree that the old one does not have; children come before their parents.
    pub added: Vec<Block>,
    /// Blocks of the old tree that the new one does not have. Older log entries may still need them.
    pub removed: Vec<Cid>,
}

/// Why a tree cannot be read or changed.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A block is not in the view: fetch it, add it and call again.
    #[error("block {0} is missing")]
    Missing(Cid),
    /// A block is no node of a tree, or not one that belongs in its place.
    #[error("block {cid} is not a node of this tag list")]
    Node {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        source: Box<NodeError>,
    },
    /// The changes are not sorted by key, or two are about one key.
    #[error("the changes are not sorted by key, or two of them are about one key")]
    Unsorted,
    /// The tree would have too many levels.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

/// Why bytes are not a node that belongs in its place in a tree.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Not in the form of a node.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Its level is not one below its parent's.
    #[error("the node is of level {found}, not {expected}")]
    Level {
        /// The level its place asks for.
        expected: u8,
        /// The level it says.
        found: u8,
    },
    /// It holds keys that belong elsewhere.
    #[error("the node holds keys outside the range that its parent gives it")]
    Range,
    /// A row is not in its only form.
    #[error("a row of the node is not valid")]
    Row(#[source] CodecError),
}

#[cfg(test)]
mod tests;
