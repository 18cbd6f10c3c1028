//! Filling an empty RocksDB with many rows.
//!
//! Rows come in the order of files, so keys come in none. Memtables are as large as the memory of a rebuild allows and
//! are written out as they are; nothing is compacted until all rows are there, and then once. A row is so written
//! twice, where an index in use would rewrite it once for each level that it passes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{BottommostLevelCompaction, CompactOptions};

use super::{Rocks, rocks_options};
use crate::kv::{IndexOptions, Kv, KvBatch, KvError, KvLoad};

/// Bytes of one memtable while an index is filled; there are at most two.
const MEMTABLE_BYTES: usize = 48 << 20;

#[derive(Debug)]
pub(super) struct Load {
    index: Rocks,
    dir: PathBuf,
    options: IndexOptions,
}

impl Load {
    /// # Errors
    /// RocksDB's own; also when there is an index in the folder.
    pub(super) fn begin(dir: &Path, options: &IndexOptions) -> Result<Self, KvError> {
        let mut db = rocks_options(options);
        db.create_if_missing(true);
        db.set_error_if_exists(true);
        db.set_write_buffer_size(MEMTABLE_BYTES.max(options.memtable_bytes));
        db.set_disable_auto_compactions(true);
        // Nothing is to wait for a compaction that does not come.
        db.set_level_zero_slowdown_writes_trigger(i32::MAX);
        db.set_level_zero_stop_writes_trigger(i32::MAX);
        db.set_soft_pending_compaction_bytes_limit(0);
        db.set_hard_pending_compaction_bytes_limit(0);
        // No row is looked for while it is filled.
        db.set_memtable_whole_key_filtering(false);
        db.set_memtable_prefix_bloom_ratio(0.0);
        Ok(Self {
            index: Rocks::open_with(&db, dir)?,
            dir: dir.to_path_buf(),
            options: *options,
        })
    }
}

impl KvLoad for Load {
    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        self.index.write(batch)
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Kv>, KvError> {
        let Self {
            index,
            dir,
            options,
        } = *self;
        index.flush(true)?;
        let mut once = CompactOptions::default();
        once.set_bottommost_level_compaction(BottommostLevelCompaction::Skip);
        once.set_exclusive_manual_compaction(true);
        // It does not say whether it went well: where it did not, the rows are whole all the same, in their first
        // files, and the index in use compacts them bit by bit.
        index
            .db
            .compact_range_opt(None::<&[u8]>, None::<&[u8]>, &once);
        drop(index);
        Ok(Arc::new(Rocks::open(&dir, &options)?))
    }
}
