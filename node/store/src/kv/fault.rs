//! What a failure of the index means for who depends on it.

use rocksdb::ErrorKind;

use super::KvError;
use crate::disk::is_full;

impl KvError {
    /// Whether it failed because no space was left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            // RocksDB tells it in its text only.
            Self::Rocks(error) => {
                error.kind() == ErrorKind::IOError && error.as_ref().contains("No space left")
            }
            Self::Io(error) => is_full(error),
            Self::Damaged { .. } => false,
        }
    }

    /// Whether what is stored is damaged, so that trying again will not help and the index has to be made anew from the
    /// log. Not for a disk that is full, busy or read-only, nor for want of memory or file handles.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        match self {
            Self::Rocks(error) => is_damage(error),
            Self::Io(_) => false,
            Self::Damaged { .. } => true,
        }
    }
}

/// What RocksDB says of the operating system's refusals stands at the end of its text, as `strerror` has it.
fn is_damage(error: &rocksdb::Error) -> bool {
    let text = error.as_ref();
    match error.kind() {
        // A file that a manifest names and that is gone is reported as corruption too, with the system's words behind; so
        // is one that could not be opened for want of handles or rights.
        ErrorKind::Corruption => !PASSING.iter().any(|passing| text.contains(passing)),
        ErrorKind::IOError => LASTING.iter().any(|lasting| text.contains(lasting)),
        // `CURRENT` is gone, or names what it should not.
        ErrorKind::InvalidArgument => text.contains("does not exist"),
        _ => false,
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
