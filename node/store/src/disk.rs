//! The seam to files: what the store asks of a disk, and nothing else.
//!
//! [`Real`] is the file system. The tests drive the store through a disk that lies (module `testing`): it forgets
//! what was not synced, tears writes, flips bits, runs full. The contract that every write path relies on:
//! what [`DiskFile::write_at`] wrote is durable once a later [`DiskFile::sync`] has returned, and not before; what
//! changed in a folder (a file made, renamed or removed) is durable once [`Disk::sync_dir`] has returned.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

mod look;
mod real;

pub use look::LookOnly;
pub use real::Real;
pub(crate) use real::WITHOUT_WAITING;

/// Files and folders.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a file, emptying one that is there, with `bytes` of space reserved and reading as zeros.
    ///
    /// # Errors
    /// The file system's; [`io::ErrorKind::StorageFull`] when the space is not there.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// The file system's.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of the files in a folder, in no order.
    ///
    /// # Errors
    /// The file system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Removes a file.
    ///
    /// # Errors
    /// The file system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, replacing one that has it.
    ///
    /// # Errors
    /// The file system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file one more name.
    ///
    /// # Errors
    /// The file system's; hard links must be supported.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// The file system's.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes what changed in a folder durable.
    ///
    /// # Errors
    /// The file system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that nobody can foresee, for the salts of segments.
    ///
    /// # Errors
    /// The system's.
    fn entropy(&self) -> io::Result<[u8; 16]>;
}

/// Whether there was no space for it.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether bytes will not come back: a file that ends too early or is gone. Other failures may pass.
pub(crate) fn is_lost(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound
    )
}

/// Makes a folder whose name is durable, in a folder that is there. One that is there may have been made by a process that was killed.
pub(crate) fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.create_dir(dir)?;
    dir.parent().map_or(Ok(()), |parent| disk.sync_dir(parent))
}

/// An open file, shared by any number of readers and one writer.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// The file system's; [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Reads `length` bytes from `offset`, as [`read_at`](DiskFile::read_at) does, into memory of their own.
    ///
    /// # Errors
    /// As [`read_at`](DiskFile::read_at).
    fn read_vec_at(&self, length: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Writes all of `bytes` at `offset`. Not durable before [`sync`](DiskFile::sync).
    ///
    /// # Errors
    /// The file system's; a part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the written bytes durable.
    ///
    /// # Errors
    /// The file system's. What was written since the last success may be lost, whatever later calls say.
    fn sync(&self) -> io::Result<()>;

    /// Drops what the system holds of the file in memory, so that what is read next comes from where it is durable. What was
    /// not synced stays in memory. A file system that cannot do so goes on reading from memory.
    ///
    /// # Errors
    /// The file system's.
    fn forget_cache(&self) -> io::Result<()>;

    /// Makes what the system holds of the file in memory durable, and drops it: what is read next is on the disk. A sync that
    /// failed leaves bytes in memory that count as written, and no later sync writes them.
    ///
    /// # Errors
    /// The file system's: not all that was read before is on the disk.
    fn settle(&self) -> io::Result<()> {
        let synced = self.sync();
        self.forget_cache()?;
        synced
    }

    /// The length in bytes, reserved space included.
    ///
    /// # Errors
    /// The file system's.
    fn length(&self) -> io::Result<u64>;

    /// Whether the file still lies under the name under which it was opened. What is written to one that does not is found by nobody
    /// who looks there. Where the system cannot tell, as on some network file systems, it says that it does.
    ///
    /// # Errors
    /// The file system's.
    fn has_name(&self) -> io::Result<bool>;

    /// Cuts the file to `bytes`.
    ///
    /// # Errors
    /// The file system's.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Reserves space up to a length of `bytes`; what is new reads as zeros.
    ///
    /// # Errors
    /// The file system's; [`io::ErrorKind::StorageFull`] when the space is not there.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;
    use crate::testing::{LyingDisk, Power};

    #[test]
    fn a_file_has_its_name_until_that_is_gone_or_anothers() {
        let real = tempfile::tempdir().unwrap();
        let lying = LyingDisk::new(&Power::default());
        for (disk, dir) in [
            (&Real as &dyn Disk, real.path()),
            (&lying, Path::new("/lying")),
        ] {
            disk.create_dir(dir).unwrap();
            let [first, second, third] = ["first", "second", "third"].map(|name| dir.join(name));
            let made = disk.create(&first, 0).unwrap();
            let opened = disk.open(&first).unwrap();
            let named = || [&made, &opened].map(|file| file.has_name().unwrap());
            assert_eq!(named(), [true; 2]);
            disk.link(&first, &second).unwrap();
            assert_eq!(named(), [true; 2]);
            // Another name is where nobody looks for it.
            disk.remove(&first).unwrap();
            assert_eq!(named(), [false; 2]);
            disk.rename(&second, &first).unwrap();
            assert_eq!(named(), [true; 2]);
            // Another file takes the name.
            let other = disk.create(&third, 0).unwrap();
            disk.rename(&third, &first).unwrap();
            assert_eq!(named(), [false; 2]);
            assert!(!other.has_name().unwrap());
            assert!(disk.open(&first).unwrap().has_name().unwrap());
        }
    }

    #[test]
    fn nobody_waits_for_the_other_end_of_a_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for disk in [&Real as &dyn Disk, &LookOnly] {
            if let Ok(opened) = disk.open(&pipe) {
                opened.read_vec_at(1, 0).unwrap_err();
            }
        }
    }
}
