//! What RocksDB's errors mean to the store: whether the disk is full, and whether what is stored is damaged.
//!
//! Much of it stands in their text only, so words are looked for here and nowhere else. What is not known passes for something that
//! may pass: an index that is taken for damaged is made anew, which costs more than asking again.

use rocksdb::ErrorKind;

use crate::kv::{EngineError, EngineFault, KvError};

impl From<rocksdb::Error> for KvError {
    fn from(error: rocksdb::Error) -> Self {
        let fault = fault(&error);
        Self::Engine(EngineError::new(error, fault))
    }
}

/// What RocksDB says of the operating system's refusals stands at the end of its text, as `strerror` has it.
fn fault(error: &rocksdb::Error) -> EngineFault {
    let text = error.as_ref();
    let is_damage = match error.kind() {
        ErrorKind::IOError if text.contains("No space left") => return EngineFault::Full,
        // A file that a manifest names and that is gone is reported as corruption too, with the system's words behind; so
        // is one that could not be opened for want of handles or rights.
        ErrorKind::Corruption => !PASSING.iter().any(|passing| text.contains(passing)),
        ErrorKind::IOError => LASTING.iter().any(|lasting| text.contains(lasting)),
        // `CURRENT` is gone, or names what it should not.
        ErrorKind::InvalidArgument => text.contains("does not exist"),
        _ => false,
    };
    if is_damage {
        EngineFault::Damage
    } else {
        EngineFault::Other
    }
}

/// Refusals that end when their cause does.
const PASSING: [&str; 6] = [
    "No space left on device",
    "Disk quota exceeded",
    "Too many open files",
    "Cannot allocate memory",
    "Permission denied",
    "Read-only file system",
];

/// Refusals that stay: a file is gone, or the disk cannot read what is on it.
const LASTING: [&str; 2] = ["No such file or directory", "Input/output error"];
