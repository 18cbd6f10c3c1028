//! What readers, the committer and upkeep share: the index, and whether the store takes writes.
//!
//! Only who commits changes the index. The rest are flags and counts that anybody may read at any time without waiting,
//! and what happened since a collection of garbage began.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use perennis_shared::cid::Cid;

use crate::index::Index;

mod marks;

pub(crate) use marks::Marks;

/// What readers, the committer and the upkeep share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) index: Index,
    pub(crate) full: AtomicBool,
    /// The index takes no more writes; also set by who finds it damaged.
    pub(crate) failed: Arc<AtomicBool>,
    /// The index takes no writes now, and is asked again.
    pub(crate) stuck: AtomicBool,
    /// Whether there may be a block in quarantine: without one, no put needs to look for its own.
    pub(crate) quarantined: AtomicBool,
    /// Whether there may be a minimum sequence below which heads are refused, because a newer one was lost.
    pub(crate) min_sequences: AtomicBool,
    /// Whether there may be a row that was set aside: when its key is written again, it is forgotten.
    pub(crate) set_aside: AtomicBool,
    /// While garbage is collected.
    pub(crate) young: Mutex<Option<Young>>,
    pub(crate) groups: AtomicU64,
    /// The newest group when the last collection of garbage that was finished began: what is older and alive has outlived it.
    pub(crate) collected: AtomicU64,
    pub(crate) batches: AtomicU64,
    /// Bytes that were logged since the store was opened.
    pub(crate) logged_bytes: AtomicU64,
}

/// What happened since a collection of garbage began.
#[derive(Debug, Default)]
pub(crate) struct Young {
    /// The number of the collection: a later one has a higher.
    pub(crate) generation: u64,
    /// Blocks that were put or required: they stay.
    pub(crate) kept: Marks,
    /// Roots that were pinned, noted once their blocks can be read: they are marked before anything is dropped.
    pub(crate) roots: Vec<Cid>,
}
