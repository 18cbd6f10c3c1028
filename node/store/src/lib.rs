//! Durable store of a perpetual node: a log of blocks and rows, packs of blocks that have lasted, and an index.
//!
//! ```text
//! Batch → leader → commit → log: segments/00000001.seg …   one sync for a group of batches
//!                         → index                           what the log says, in order of keys
//! Store ← index, segments, packs                            every block is checked as it is read
//! ```
//!
//! The log comes first and holds everything; the index is what reading it from the start would give, and is
//! replayed from where it got to after a crash. There is one write path, [`Store::commit`], and it acknowledges
//! only what is durable.
//!
//! The index is held on the disk, in RocksDB (the feature `rocksdb`, on by default), or in memory, where each start makes it anew.
//!
//! Its rooms stand in floors and nothing calls upward: docs/ARCHITECTURE.md lists them, from the seams to disk and index to [`Store::open`].
//!
//! This crate knows nothing about networks, asynchronous runtimes, what a head means or who may write.

mod batch;
mod block_table;
mod checkpoint;
mod clock;
mod commit;
#[cfg(test)]
mod crash;
mod damage;
pub mod disk;
mod format;
mod frame;
mod group;
mod index;
mod inspect;
mod keys;
pub mod kv;
pub mod layout;
mod location;
mod log;
mod migrate;
mod open;
mod open_error;
mod options;
mod pack;
mod read;
mod rebuild;
mod reserve;
mod rows;
mod segment;
mod shared;
mod snapshot;
mod soundness;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod upkeep;
mod verify;

pub use batch::{BATCH_BYTES, Batch, Commit, CommitError, KEY_BYTES, OWNER_BYTES};
pub use damage::{DamageCounts, LookedAgain};
pub use format::FORMAT;
pub use frame::CHUNK_BYTES;
pub use inspect::{Inspection, inspect, store_id};
pub use keys::{LOST_HEADS, Queue, REFETCH};
pub use kv::{IndexEngine, IndexOptions};
pub use location::{FileNumber, Location, StoreId};
pub use open_error::OpenError;
pub use options::StoreOptions;
pub use pack::{PACK_BYTES, PACK_ENTRIES, PackError, PackName, verify_pack};
pub use read::ReadError;
pub use rebuild::{RebuildProgress, RebuildStage};
pub use rows::{HeadRow, Loss, LossKind, QuarantineRow, QueueRow, SetAside};
pub use snapshot::{Snapshot, SnapshotError};
pub use store::{Store, StoreState, StoreStats};
pub use upkeep::{
    CheckpointStep, CollectProgress, Collection, CompactStep, ScrubStep, UpkeepError,
};
pub use verify::{
    Finding, FindingKind, Verification, VerifyEvent, VerifyProgress, VerifyStage, verify,
};
