//! An index that dies with the power.

use std::io;
use std::path::Path;

use super::power::{Loss, Power, Step};
use crate::kv::{Durable, Kv, KvBatch, KvError, Memory, Row};

/// The index in memory, on the same power as a [`LyingDisk`](super::LyingDisk).
#[derive(Debug)]
pub struct MortalKv {
    inner: Memory,
    power: Power,
}

impl MortalKv {
    /// The index over what is durable.
    #[must_use]
    pub fn open(durable: &Durable, power: &Power) -> Self {
        Self {
            inner: Memory::open(durable),
            power: power.clone(),
        }
    }

    /// Leaves in `durable` what a power cut leaves: the first of the writes that were not flushed.
    pub fn lose(durable: &Durable, loss: Loss) {
        let pending = durable.pending();
        durable.crash(loss.dice(pending as u64).prefix(pending));
    }

    fn step(&self) -> Result<(), KvError> {
        match self.power.step() {
            Step::Go => Ok(()),
            Step::Cut | Step::Off => Err(io::Error::other("the power is off").into()),
            Step::Fail(kind) => Err(io::Error::from(kind).into()),
        }
    }
}

impl Kv for MortalKv {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.inner.value(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, KvError> {
        self.inner.scan(from, to, limit)
    }

    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        self.step()?;
        self.inner.write(batch)
    }

    fn flush(&self, wait: bool) -> Result<(), KvError> {
        self.step()?;
        self.inner.flush(wait)
    }

    fn copy_to(&self, dir: &Path) -> Result<(), KvError> {
        self.step()?;
        self.inner.copy_to(dir)
    }
}
