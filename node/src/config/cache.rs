//! The settings `cache`.

use super::setting::table;
use super::syntax::{MIB, Number, Size, TIB};

table! {
    /// What is kept in memory for reading.
    pub struct CacheConfig at config.cache {
        block_bytes: u64 = 64 * MIB,
            "cache.blocks" as Size(MIB, TIB),
            "verified blocks kept in memory, 1MiB to 1TiB";
        records: usize = 65_536,
            "cache.records" as Number(16, 100_000_000),
            "encoded records kept in memory, 16 to 100,000,000";
    }
}
