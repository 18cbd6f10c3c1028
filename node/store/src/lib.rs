//! Durable store of a perpetual node: blocks in segment files, everything else in RocksDB.
