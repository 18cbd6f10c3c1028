//! Where an index lives, and how another takes its place.
//!
//! An index can be made anew from the log. The new one is filled beside the old, under another name, and takes its
//! place when it is whole; until then the old one stays as it is, and an attempt that was broken off is begun again.

use std::fmt;
use std::sync::Arc;

use super::{Kv, KvBatch, KvError};

/// The place of an index.
pub trait KvHome: Send + Sync + fmt::Debug {
    /// Whether an index here outlives the process. One that does not is made anew by each start, and nothing is told of that.
    fn is_kept(&self) -> bool {
        true
    }

    /// Opens the index that is in use, and makes an empty one where there is none. Removes what an attempt to make one
    /// anew left.
    ///
    /// # Errors
    /// The index's own. [`KvError::is_damaged`] where it is not whole, or was [condemned](KvHome::condemn).
    fn open(&self) -> Result<Arc<dyn Kv>, KvError>;

    /// Opens the index that is in use for reading only; none where there is none. Nothing is changed, and what was never
    /// flushed is not seen.
    ///
    /// # Errors
    /// As [`open`](KvHome::open).
    fn read(&self) -> Result<Option<Arc<dyn Kv>>, KvError>;

    /// As [`read`](KvHome::read), for who takes it for damage that there is none.
    ///
    /// # Errors
    /// As [`open`](KvHome::open); also where there is none.
    fn open_to_read(&self) -> Result<Arc<dyn Kv>, KvError> {
        let reason = || "it is not there".to_owned();
        self.read()?
            .ok_or_else(|| KvError::Damaged { reason: reason() })
    }

    /// Opens the index that is in use for reading only, also where it was condemned; none where there is none. What it says is for who
    /// can check it.
    ///
    /// # Errors
    /// The index's own: it cannot be opened at all.
    fn read_condemned(&self) -> Result<Option<Arc<dyn Kv>>, KvError>;

    /// Marks the index that is in use as damaged, durably: it is not opened again, and the mark goes with it when
    /// another takes its place. It may be open.
    ///
    /// # Errors
    /// The file system's.
    fn condemn(&self, reason: &str) -> Result<(), KvError>;

    /// Takes the mark from the index that is in use, where it has one.
    ///
    /// # Errors
    /// The file system's.
    fn acquit(&self) -> Result<(), KvError>;

    /// Begins an empty index beside the one in use. What an earlier attempt left is removed.
    ///
    /// # Errors
    /// The index's own.
    fn begin(&self) -> Result<Box<dyn KvLoad>, KvError>;

    /// Begins an empty index of this name, for rows that have to be put in order. What has the name is removed.
    ///
    /// # Errors
    /// The index's own.
    fn begin_scratch(&self, name: &str) -> Result<Box<dyn KvLoad>, KvError>;

    /// Removes the index of this name, where there is one. It must not be open.
    ///
    /// # Errors
    /// The file system's.
    fn remove_scratch(&self, name: &str) -> Result<(), KvError>;

    /// Puts the new index in the place of the one in use, durably, and removes that. Neither may be open.
    ///
    /// # Errors
    /// The file system's; the new one is in use then, or neither is and [`open`](KvHome::open) makes an empty one.
    fn replace(&self) -> Result<(), KvError>;
}

/// An index while it is filled: many rows in any order.
pub trait KvLoad: Send + fmt::Debug {
    /// Adds rows. Of two with one key the later counts.
    ///
    /// # Errors
    /// The index's own.
    fn write(&self, batch: KvBatch) -> Result<(), KvError>;

    /// Puts the rows in order, makes them durable, and opens the index for ordinary use.
    ///
    /// # Errors
    /// The index's own.
    fn finish(self: Box<Self>) -> Result<Arc<dyn Kv>, KvError>;
}
