//! The peer: RocksDB with its values in blob files, as it is set up for blocks.

use std::path::Path;

use perennis_shared::cid::{Block, Cid};
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteBatch, WriteOptions};

use crate::Result;

pub(crate) struct Peer(DB);

impl Peer {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        // One cache for tables and values, as RocksDB advises, twice as large as that of the store's index; nothing compressed, as
        // the contents are random.
        let cache = Cache::new_lru_cache(64 << 20);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&cache);
        table.set_bloom_filter(10.0, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::None);
        options.set_enable_blob_files(true);
        options.set_min_blob_size(512);
        options.set_blob_cache(&cache);
        options.set_blob_compression_type(DBCompressionType::None);
        options.set_max_background_jobs(2);
        Ok(Self(DB::open(&options, dir)?))
    }

    /// What it is called, and whether it was built with the processor's CRC-32C: it says so itself at its start, and it may come from
    /// elsewhere than this workspace builds it.
    pub(crate) fn name(dir: &Path) -> Result<&'static str> {
        let told = std::fs::read_to_string(dir.join("LOG"))?;
        let line = told
            .lines()
            .find(|line| line.contains("Fast CRC32 supported:"));
        let line = line.ok_or("RocksDB's LOG does not say which CRC-32C it has")?;
        Ok(match line.contains("Not supported") {
            true => "RocksDB BlobDB, CRC-32C in software",
            false => "RocksDB BlobDB",
        })
    }

    pub(crate) fn put(&self, blocks: &[Block]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for block in blocks {
            batch.put(block.cid().to_bytes(), block.bytes());
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.0.write_opt(batch, &options)?)
    }

    /// Waits until nothing is done behind the caller's back.
    pub(crate) fn settle(&self) -> Result<()> {
        self.0.flush()?;
        self.0.compact_range::<&[u8], &[u8]>(None, None);
        Ok(())
    }

    pub(crate) fn block(&self, cid: &Cid) -> Result<Option<Block>> {
        let Some(bytes) = self.0.get(cid.to_bytes())? else {
            return Ok(None);
        };
        Ok(Some(Block::verified(*cid, bytes)?))
    }
}
