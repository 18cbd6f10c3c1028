//! Rows on their way into an index, many in one write.

use std::sync::Arc;

use crate::kv::{Kv, KvBatch, KvError, KvLoad};

/// Bytes of keys and values that are written at once.
const BATCH_BYTES: usize = 1 << 20;
/// What a row takes besides its bytes.
const ROW_BYTES: usize = 64;

/// Fills an index.
#[derive(Debug)]
pub(super) struct Sink {
    load: Box<dyn KvLoad>,
    batch: KvBatch,
    bytes: usize,
}

impl Sink {
    pub(super) fn new(load: Box<dyn KvLoad>) -> Self {
        Self {
            load,
            batch: KvBatch::default(),
            bytes: 0,
        }
    }

    /// Sets a row. Of two with one key the later counts.
    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), KvError> {
        self.bytes += key.len() + value.len() + ROW_BYTES;
        self.batch.put(key, value);
        if self.bytes < BATCH_BYTES {
            return Ok(());
        }
        self.bytes = 0;
        self.load.write(std::mem::take(&mut self.batch))
    }

    /// The index, in order and durable.
    pub(super) fn finish(self) -> Result<Arc<dyn Kv>, KvError> {
        self.load.write(self.batch)?;
        self.load.finish()
    }
}
