//! An index that dies with the power, and the place where it lives.
//!
//! Each call of either that changes something is a point at which the power can go; what is read costs none.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::durable::Durable;
use super::power::{Loss, Power, Step};
use crate::kv::{Kv, KvBatch, KvError, KvHome, KvLoad, KvRow, KvSnapshot, Memory};

/// The index in memory over what is [`Durable`], on the same power as a [`LyingDisk`](super::LyingDisk).
#[derive(Debug)]
pub struct MortalKv {
    live: Memory,
    durable: Durable,
    power: Power,
}

impl MortalKv {
    /// The index as the last crash or the last close left it.
    #[must_use]
    pub fn open(durable: &Durable, power: &Power) -> Self {
        durable.flush();
        Self {
            live: durable.rows().into_iter().collect(),
            durable: durable.clone(),
            power: power.clone(),
        }
    }

    /// Leaves in `durable` what a power cut leaves: the first of the writes that were not flushed.
    pub fn lose(durable: &Durable, loss: Loss) {
        let pending = durable.pending();
        durable.crash(loss.dice(pending as u64).prefix(pending));
    }

    fn step(&self) -> Result<(), KvError> {
        step(&self.power)
    }
}

fn step(power: &Power) -> Result<(), KvError> {
    match power.step() {
        Step::Go => Ok(()),
        Step::Cut | Step::Off => Err(io::Error::other("the power is off").into()),
        Step::Fail(kind) => Err(io::Error::from(kind).into()),
    }
}

impl Kv for MortalKv {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.durable.check(key, &[key, &[0]].concat())?;
        self.live.value(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<KvRow>, KvError> {
        self.durable.check(from, to)?;
        self.live.scan(from, to, limit)
    }

    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        self.step()?;
        self.durable.write(batch.clone());
        self.live.write(batch)
    }

    fn flush(&self, wait: bool) -> Result<(), KvError> {
        self.step()?;
        // Begun is not done: only a flush that is waited for counts in a crash.
        if wait {
            self.durable.flush();
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn KvSnapshot + '_>, KvError> {
        Ok(Box::new(MortalSnapshot {
            rows: self.live.snapshot()?,
            durable: &self.durable,
        }))
    }

    fn copy_to(&self, dir: &Path) -> Result<(), KvError> {
        self.step()?;
        self.live.copy_to(dir)
    }
}

#[derive(Debug)]
struct MortalSnapshot<'a> {
    rows: Box<dyn KvSnapshot + 'a>,
    durable: &'a Durable,
}

impl KvSnapshot for MortalSnapshot<'_> {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.durable.check(key, &[key, &[0]].concat())?;
        self.rows.value(key)
    }

    fn page(&self, from: &[u8], to: &[u8], bytes: usize) -> Result<Vec<KvRow>, KvError> {
        self.durable.check(from, to)?;
        self.rows.page(from, to, bytes)
    }
}

/// The place of [`MortalKv`] indexes. Clones are the same place.
#[derive(Clone, Debug)]
pub struct MortalHome {
    shelf: Arc<Mutex<Shelf>>,
    power: Power,
}

/// Which index has which name: as it is durable, and after each change since.
#[derive(Debug, Default)]
struct Shelf {
    kept: Names,
    changes: Vec<Names>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    used: Option<Durable>,
    new: Option<Durable>,
    condemned: Option<String>,
}

impl Shelf {
    fn seen(&self) -> &Names {
        self.changes.last().unwrap_or(&self.kept)
    }

    fn change(&mut self, change: impl FnOnce(&mut Names)) {
        let mut names = self.seen().clone();
        change(&mut names);
        self.changes.push(names);
    }

    fn sync(&mut self) {
        self.kept = self.seen().clone();
        self.changes.clear();
    }
}

impl MortalHome {
    /// A place without an index.
    #[must_use]
    pub fn new(power: &Power) -> Self {
        Self {
            shelf: Arc::default(),
            power: power.clone(),
        }
    }

    /// What is left after the power was cut, as a place on other power.
    #[must_use]
    pub fn survivors(&self, loss: Loss, power: &Power) -> Self {
        let shelf = self.shelf.lock();
        let left = loss.dice(7).prefix(shelf.changes.len());
        let names = match left {
            0 => &shelf.kept,
            left => &shelf.changes[left - 1],
        };
        let fork = |durable: &Durable| {
            let durable = durable.fork();
            MortalKv::lose(&durable, loss);
            durable
        };
        let kept = Names {
            used: names.used.as_ref().map(fork),
            new: names.new.as_ref().map(fork),
            condemned: names.condemned.clone(),
        };
        Self {
            shelf: Arc::new(Mutex::new(Shelf {
                kept,
                changes: Vec::new(),
            })),
            power: power.clone(),
        }
    }

    /// What is durable of the index in use.
    #[must_use]
    pub fn used(&self) -> Option<Durable> {
        self.shelf.lock().seen().used.clone()
    }

    /// Puts a copy of another index in the place of the one in use, as who restores an old folder does.
    pub fn put(&self, other: &Durable) {
        let mut shelf = self.shelf.lock();
        shelf.change(|names| names.used = Some(other.fork()));
        shelf.sync();
    }

    /// Loses the index in use, as a folder that somebody removed.
    pub fn remove(&self) {
        let mut shelf = self.shelf.lock();
        shelf.change(|names| {
            names.used = None;
            names.condemned = None;
        });
        shelf.sync();
    }

    fn step(&self) -> Result<(), KvError> {
        step(&self.power)
    }
}

impl KvHome for MortalHome {
    fn open(&self) -> Result<Arc<dyn Kv>, KvError> {
        self.step()?;
        let mut shelf = self.shelf.lock();
        if let Some(reason) = shelf.seen().condemned.clone() {
            return Err(KvError::Damaged { reason });
        }
        let used = shelf.seen().used.clone();
        shelf.change(|names| names.new = None);
        let used = match used {
            Some(used) => used,
            None => {
                let made = Durable::default();
                shelf.change(|names| names.used = Some(made.clone()));
                self.step()?;
                shelf.sync();
                made
            }
        };
        Ok(Arc::new(MortalKv::open(&used, &self.power)))
    }

    fn read(&self) -> Result<Option<Arc<dyn Kv>>, KvError> {
        let used = self.used();
        // What is only in memory would not be seen by who reads the files.
        let used = used.map(|used| MortalKv::open(&used.fork(), &self.power));
        Ok(used.map(|used| Arc::new(used) as Arc<dyn Kv>))
    }

    fn read_condemned(&self) -> Result<Option<Arc<dyn Kv>>, KvError> {
        self.read()
    }

    fn condemn(&self, reason: &str) -> Result<(), KvError> {
        let mut shelf = self.shelf.lock();
        shelf.change(|names| names.condemned = Some(reason.to_owned()));
        self.step()?;
        shelf.sync();
        Ok(())
    }

    fn acquit(&self) -> Result<(), KvError> {
        self.step()?;
        let mut shelf = self.shelf.lock();
        shelf.change(|names| names.condemned = None);
        shelf.sync();
        Ok(())
    }

    fn begin(&self) -> Result<Box<dyn KvLoad>, KvError> {
        self.step()?;
        let new = Durable::default();
        self.shelf
            .lock()
            .change(|names| names.new = Some(new.clone()));
        Ok(Box::new(MortalKv::open(&new, &self.power)))
    }

    fn begin_scratch(&self, _: &str) -> Result<Box<dyn KvLoad>, KvError> {
        self.step()?;
        Ok(Box::new(MortalKv::open(&Durable::default(), &self.power)))
    }

    fn remove_scratch(&self, _: &str) -> Result<(), KvError> {
        self.step()
    }

    fn replace(&self) -> Result<(), KvError> {
        self.step()?;
        let mut shelf = self.shelf.lock();
        shelf.change(|names| {
            names.used = None;
            names.condemned = None;
        });
        self.step()?;
        shelf.change(|names| names.used = names.new.take());
        self.step()?;
        shelf.sync();
        Ok(())
    }
}

impl KvLoad for MortalKv {
    fn write(&self, batch: KvBatch) -> Result<(), KvError> {
        Kv::write(self, batch)
    }

    fn finish(self: Box<Self>) -> Result<Arc<dyn Kv>, KvError> {
        self.flush(true)?;
        Ok(Arc::new(*self))
    }
}
