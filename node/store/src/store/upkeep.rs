//! What is remembered from one step of upkeep to the next, for as long as the store is open.

use std::collections::BTreeSet;

use crate::location::FileNumber;

/// What compaction remembers from one step to the next.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// The collection of garbage that was the last to finish.
    pub(crate) collected: u64,
    /// Files that could not be read since then.
    pub(crate) left_out: BTreeSet<FileNumber>,
    /// Small packs that would not become fewer by being joined.
    pub(crate) settled: BTreeSet<FileNumber>,
}
