//! RocksDB as the index.
//!
//! Its own write-ahead log is off: ours, the segment log, comes first and holds all it needs. There is one column
//! family, so memtables reach the disk in the order of the writes, which is what the contract of [`Kv`] asks for.
//! Values are short and random, so nothing is compressed. Memory is bounded: two memtables and one cache, which
//! also holds filters and index blocks.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DB, DBCompressionType, Direction, FlushOptions,
    IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions, checkpoint::Checkpoint,
};

use super::{IndexOptions, Kv, KvBatch, KvError, KvRow, KvSnapshot};
use crate::disk::{Disk as _, Real};

mod fault;
mod home;
mod load;

pub use home::RocksHome;

fn rocks_options(options: &IndexOptions) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(options.cache_bytes));
    table.set_bloom_filter(10.0, false);
    // In parts: the filter of a whole table of a million rows is larger than a shard of the cache, and would be read and
    // checked again for each look-up.
    table.set_partition_filters(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_pin_top_level_index_and_filter(true);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(6);
    table.set_block_size(8 << 10);

    let mut db = Options::default();
    db.set_block_based_table_factory(&table);
    // RocksDB's own default depends on how it was built, and a build without LZ4 does not read a table with it.
    db.set_compression_type(DBCompressionType::None);
    db.set_write_buffer_size(options.memtable_bytes);
    db.set_max_write_buffer_number(2);
    // Most look-ups before a put find nothing.
    db.set_memtable_whole_key_filtering(true);
    db.set_memtable_prefix_bloom_ratio(0.05);
    db.set_max_open_files(options.open_files);
    db.set_max_background_jobs(2);
    // Each compaction of the first level writes the one below it anew: twice as many files as RocksDB waits for by itself.
    db.set_level_zero_file_num_compaction_trigger(8);
    db.set_keep_log_file_num(2);
    db.set_max_log_file_size(1 << 20);
    db.set_bytes_per_sync(1 << 20);
    db.set_level_compaction_dynamic_level_bytes(true);
    db.set_optimize_filters_for_hits(false);
    db
}

/// An index in RocksDB.
#[derive(Debug)]
pub struct Rocks {
    db: DB,
    place: PathBuf,
}

impl Rocks {
    /// Opens the index in a folder, making it when it is not there.
    ///
    /// # Errors
    /// RocksDB's own.
    pub fn open(dir: &Path, options: &IndexOptions) -> Result<Self, KvError> {
        let mut db = rocks_options(options);
        // Where the file is gone that names the others, RocksDB would begin an empty index and remove them.
        db.create_if_missing(!has_tables(dir)?);
        Self::open_with(&db, dir)
    }

    fn open_with(options: &Options, dir: &Path) -> Result<Self, KvError> {
        // RocksDB opens what it makes to whom the umask lets.
        Real.create_dir(dir)?;
        Ok(Self {
            db: DB::open(options, dir)?,
            place: dir.to_path_buf(),
        })
    }

    /// Opens the index in a folder for reading only: nothing in the folder is changed, and what was never flushed is
    /// not seen.
    ///
    /// # Errors
    /// RocksDB's own; also when there is no index.
    pub fn open_to_read(dir: &Path, options: &IndexOptions) -> Result<Self, KvError> {
        // RocksDB would make the folder.
        if !dir.exists() {
            let reason = "it is not there".to_owned();
            return Err(KvError::Damaged { reason });
        }
        Ok(Self {
            db: DB::open_for_read_only(&rocks_options(options), dir, false)?,
            place: dir.to_path_buf(),
        })
    }

    fn apply(&self, rows: WriteBatch) -> Result<(), KvError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        Ok(self.db.write_opt(rows, &options)?)
    }

    /// The folder it is in.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }
}

impl Kv for Rocks {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.db.get(key)?)
    }

    fn values(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        if let [key] = keys {
            return Ok(vec![self.value(key)?]);
        }
        // Filters are looked at once for all of them.
        let values = self.db.multi_get(keys).into_iter();
        Ok(values.collect::<Result<_, _>>()?)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<KvRow>, KvError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        let rows = self
            .db
            .iterator_opt(IteratorMode::From(from, Direction::Forward), options);
        rows.take(limit)
            .map(|row| {
                row.map(|(key, value)| (key.into(), value.into()))
                    .map_err(Into::into)
            })
            .collect()
    }

    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        let mut rows = WriteBatch::default();
        for (key, value) in &batch.rows {
            match value {
                Some(value) => rows.put(key, value),
                None => rows.delete(key),
            }
        }
        self.apply(rows)
    }

    fn write_rows(&self, rows: &[(&[u8], Option<&[u8]>)]) -> Result<(), KvError> {
        let mut batch = WriteBatch::default();
        for (key, value) in rows {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        self.apply(batch)
    }

    fn flush(&self, wait: bool) -> Result<(), KvError> {
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        Ok(self.db.flush_opt(&options)?)
    }

    fn snapshot(&self) -> Result<Box<dyn KvSnapshot + '_>, KvError> {
        Ok(Box::new(RocksSnapshot(self.db.snapshot())))
    }

    fn copy_to(&self, dir: &Path) -> Result<(), KvError> {
        // With no log of its own, what is only in memory must be flushed into the copy: 0 forces that.
        Checkpoint::new(&self.db)?.create_checkpoint_with_log_size(dir, 0)?;
        // RocksDB makes the folder itself, as the umask says; the one that it is in is shut already.
        Ok(fs::set_permissions(dir, Permissions::from_mode(0o700))?)
    }
}

/// Whether there are rows in the folder of an index that were flushed.
fn has_tables(dir: &Path) -> Result<bool, KvError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        if Path::new(&entry?.file_name())
            .extension()
            .is_some_and(|kind| kind == "sst")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Bytes that are read ahead where many rows are read in a row.
const READ_AHEAD_BYTES: usize = 256 << 10;

struct RocksSnapshot<'a>(rocksdb::Snapshot<'a>);

impl fmt::Debug for RocksSnapshot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RocksSnapshot")
            .field(&self.0.sequence_number())
            .finish()
    }
}

impl KvSnapshot for RocksSnapshot<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.0.get(key)?)
    }

    fn page(&self, from: &[u8], to: &[u8], bytes: usize) -> Result<Vec<KvRow>, KvError> {
        // RocksDB asserts it.
        if from >= to {
            return Ok(Vec::new());
        }
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to);
        options.fill_cache(false);
        options.set_readahead_size(bytes.min(READ_AHEAD_BYTES));
        let mut rows = Vec::new();
        let mut taken = 0;
        let mode = IteratorMode::From(from, Direction::Forward);
        for row in self.0.iterator_opt(mode, options) {
            let (key, value) = row?;
            taken += key.len() + value.len();
            rows.push((key.into(), value.into()));
            if taken >= bytes {
                break;
            }
        }
        Ok(rows)
    }
}
