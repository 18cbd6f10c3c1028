//! Rows on their way into an index, many in one write.

use crate::kv::{Kv, KvBatch, KvError};

/// Bytes of keys and values that are written at once.
const BATCH_BYTES: usize = 1 << 20;
/// What a row takes besides its bytes.
const ROW_BYTES: usize = 64;

/// Writes rows into an index.
#[derive(Debug)]
pub(super) struct Sink<'a> {
    kv: &'a dyn Kv,
    batch: KvBatch,
    bytes: usize,
}

impl<'a> Sink<'a> {
    pub(super) fn new(kv: &'a dyn Kv) -> Self {
        Self {
            kv,
            batch: KvBatch::default(),
            bytes: 0,
        }
    }

    /// Sets a row. It can be read once the sink was [finished](Sink::finish).
    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), KvError> {
        self.bytes += key.len() + value.len() + ROW_BYTES;
        self.batch.put(key, value);
        if self.bytes < BATCH_BYTES {
            return Ok(());
        }
        self.finish()
    }

    /// Writes what is left.
    pub(super) fn finish(&mut self) -> Result<(), KvError> {
        self.bytes = 0;
        self.kv.write(std::mem::take(&mut self.batch))
    }
}
