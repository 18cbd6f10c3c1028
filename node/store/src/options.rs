//! How a store is opened: the sizes that an operator may set, and where the index is held.
//!
//! They are read by whoever opens a store; nothing here opens one.

use crate::kv::IndexOptions;

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Space of a segment, in bytes: 4 to 16 MiB outside tests.
    pub segment_bytes: u64,
    /// Space kept for garbage collection on a full disk, in bytes.
    pub reserve_bytes: u64,
    /// The index is flushed after this many logged bytes; it bounds the replay after a crash.
    pub flush_bytes: u64,
    /// A checkpoint is due after this many logged bytes, or as many as the last one has, whichever is more. What is logged
    /// since the last bounds what is replayed where the index has to be made anew.
    pub checkpoint_bytes: u64,
    /// Where the index is held, and its memory.
    pub index: IndexOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            reserve_bytes: 64 << 20,
            flush_bytes: 128 << 20,
            checkpoint_bytes: 64 << 20,
            index: IndexOptions::default(),
        }
    }
}
