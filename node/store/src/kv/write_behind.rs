//! Takes the index off the path of an acknowledgement.
//!
//! The log is what makes a batch durable; an ordered engine costs as much again for each row. So a write is put into a map,
//! which is read before the engine, and one thread writes what was gathered there as one batch: [`GATHERED_BYTES`] at a time, or
//! what there is after [`GATHERED_FOR`]. Rows that each group changes again are written once. What a crash leaves is the effect of the first *n*
//! writes still, since batches follow each other and each is whole or absent. Who asks for more than single rows (a scan, a snapshot, a flush, a copy)
//! waits until the engine has all that was written before.
//!
//! Where the engine refuses, what was gathered stays readable, further writes are refused with the engine's error, and a flush that is waited for
//! tries again.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use super::{Kv, KvBatch, KvError, KvRow, KvSnapshot};

/// Bytes of rows that are written together, where they come fast.
const GATHERED_BYTES: usize = 256 << 10;

/// Bytes of rows from which a writer waits for the engine.
const MOST_BYTES: usize = 2 << 20;

/// How long rows wait for others, where they come slowly.
const GATHERED_FOR: Duration = Duration::from_millis(20);

type Rows = HashMap<Vec<u8>, Option<Vec<u8>>>;

/// An index whose writes are done behind the caller.
pub struct WriteBehind {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    index: Arc<dyn Kv>,
    /// What the engine does not have yet. Who locks both locks the state first.
    rows: RwLock<Behind>,
    /// Whether there may be such rows. Set before a write returns, and cleared once the engine has all.
    is_behind: AtomicBool,
    state: Mutex<State>,
    /// Something is to be done by the thread.
    work: Condvar,
    /// The thread has done something.
    done: Condvar,
}

#[derive(Default)]
struct Behind {
    /// What comes now.
    gathered: Rows,
    /// What is being written.
    writing: Arc<Rows>,
}

#[derive(Default)]
struct State {
    /// Bytes of the rows that are gathered.
    bytes: usize,
    /// Batches taken, and how many of these the engine has.
    taken: u64,
    written: u64,
    /// How many somebody waits for.
    wanted: u64,
    /// The engine is to begin to flush.
    is_flush_due: bool,
    is_closing: bool,
    /// The thread is gone.
    is_ended: bool,
    error: Option<Arc<KvError>>,
}

impl WriteBehind {
    /// Takes writes for an index.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(index: Arc<dyn Kv>) -> Result<Self, KvError> {
        let inner = Arc::new(Inner {
            index,
            rows: RwLock::default(),
            is_behind: AtomicBool::new(false),
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let of_thread = Ended(Arc::clone(&inner));
        let thread = thread::Builder::new()
            .name("index".to_owned())
            .spawn(move || of_thread.0.run())?;
        Ok(Self {
            inner,
            thread: Some(thread),
        })
    }
}

/// The thread, which leaves nobody waiting for it where the engine panicked.
struct Ended(Arc<Inner>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.state.lock().is_ended = true;
        self.0.done.notify_all();
    }
}

impl Inner {
    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            let is_idle = state.written == state.taken && !state.is_flush_due;
            if is_idle && state.is_closing {
                return;
            }
            // After an error nothing is tried before somebody asks for it.
            if is_idle || (state.error.is_some() && !state.is_closing) {
                self.work.wait(&mut state);
                continue;
            }
            let is_awaited = state.wanted > state.written || state.is_closing;
            if !is_awaited && state.bytes < GATHERED_BYTES && !state.is_flush_due {
                self.work.wait_for(&mut state, GATHERED_FOR);
            }
            self.write_gathered(&mut state);
            if state.error.is_some() && state.is_closing {
                return;
            }
        }
    }

    /// Writes what was gathered, without holding anybody up meanwhile.
    fn write_gathered(&self, state: &mut MutexGuard<'_, State>) {
        let taken = state.taken;
        let (rows, is_all) = {
            let mut behind = self.rows.write();
            // What an error left there is older, and is written first.
            if behind.writing.is_empty() {
                behind.writing = Arc::new(std::mem::take(&mut behind.gathered));
                state.bytes = 0;
            }
            (Arc::clone(&behind.writing), behind.gathered.is_empty())
        };
        let flushes = is_all && std::mem::take(&mut state.is_flush_due);
        let tried = MutexGuard::unlocked(state, || {
            if !rows.is_empty() {
                let mut sorted: Vec<_> = rows
                    .iter()
                    .map(|(key, value)| (key.as_slice(), value.as_deref()))
                    .collect();
                // Neighbours in a memtable find their place faster one after the other.
                sorted.sort_unstable();
                self.index.write_rows(&sorted)?;
            }
            match flushes {
                true => self.index.flush(false),
                false => Ok(()),
            }
        });
        match tried {
            Ok(()) => {
                let mut behind = self.rows.write();
                behind.writing = Arc::default();
                if behind.gathered.is_empty() {
                    self.is_behind.store(false, Ordering::Release);
                }
                if is_all {
                    state.written = taken;
                }
            }
            Err(error) => state.error = Some(Arc::new(error)),
        }
        self.done.notify_all();
    }

    /// Waits until the engine has all that was written until now.
    fn drain(&self) -> Result<(), KvError> {
        self.drained(self.state.lock())
    }

    fn drained(&self, mut state: MutexGuard<'_, State>) -> Result<(), KvError> {
        let wanted = state.taken;
        state.wanted = state.wanted.max(wanted);
        loop {
            if state.written >= wanted {
                return Ok(());
            }
            refuse(&state)?;
            self.work.notify_one();
            self.done.wait(&mut state);
        }
    }

    /// The value of a key that the engine does not have yet; `None` of one that is not changed here.
    fn value_behind(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        if !self.is_behind.load(Ordering::Acquire) {
            return None;
        }
        self.rows.read().value(key)
    }
}

impl Behind {
    fn value(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        let gathered = self.gathered.get(key);
        gathered.or_else(|| self.writing.get(key)).cloned()
    }
}

/// Refuses where the engine has.
fn refuse(state: &State) -> Result<(), KvError> {
    match &state.error {
        Some(error) => Err(KvError::Behind(Arc::clone(error))),
        None if state.is_ended => Err(io::Error::other("the thread of the index has ended").into()),
        None => Ok(()),
    }
}

impl Kv for WriteBehind {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        match self.inner.value_behind(key) {
            Some(value) => Ok(value),
            None => self.inner.index.value(key),
        }
    }

    fn values(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        if !self.inner.is_behind.load(Ordering::Acquire) {
            return self.inner.index.values(keys);
        }
        let known: Vec<_> = {
            let behind = self.inner.rows.read();
            keys.iter().map(|key| behind.value(key)).collect()
        };
        let missed = keys.iter().zip(&known).filter(|(_, known)| known.is_none());
        let missed: Vec<Vec<u8>> = missed.map(|(key, _)| key.clone()).collect();
        let mut read = self.inner.index.values(&missed)?.into_iter();
        let values = known.into_iter();
        Ok(values
            .map(|known| known.unwrap_or_else(|| read.next().flatten()))
            .collect())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<KvRow>, KvError> {
        self.inner.drain()?;
        self.inner.index.scan(from, to, limit)
    }

    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        if batch.rows.is_empty() {
            return Ok(());
        }
        let length = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        let rows = batch.rows.iter();
        let bytes: usize = rows.map(|(key, value)| key.len() + length(value)).sum();
        let mut state = self.inner.state.lock();
        refuse(&state)?;
        while state.bytes >= MOST_BYTES {
            self.inner.done.wait(&mut state);
            refuse(&state)?;
        }
        let before = state.bytes;
        {
            let mut behind = self.inner.rows.write();
            behind.gathered.extend(batch.rows);
            self.inner.is_behind.store(true, Ordering::Release);
        }
        state.bytes += bytes;
        state.taken += 1;
        if before == 0 || (before < GATHERED_BYTES && state.bytes >= GATHERED_BYTES) {
            self.inner.work.notify_one();
        }
        Ok(())
    }

    fn flush(&self, wait: bool) -> Result<(), KvError> {
        let mut state = self.inner.state.lock();
        if !wait {
            refuse(&state)?;
            state.is_flush_due = true;
            self.inner.work.notify_one();
            return Ok(());
        }
        state.error = None;
        self.inner.drained(state)?;
        self.inner.index.flush(true)
    }

    fn snapshot(&self) -> Result<Box<dyn KvSnapshot + '_>, KvError> {
        self.inner.drain()?;
        self.inner.index.snapshot()
    }

    fn copy_to(&self, dir: &Path) -> Result<(), KvError> {
        self.inner.drain()?;
        self.inner.index.copy_to(dir)
    }
}

impl fmt::Debug for WriteBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WriteBehind");
        shown.field("index", &self.inner.index);
        shown.finish_non_exhaustive()
    }
}

impl Drop for WriteBehind {
    /// What is not written by then is in the log.
    fn drop(&mut self) {
        self.inner.state.lock().is_closing = true;
        self.inner.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // It panics where the engine did, and that was told.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
