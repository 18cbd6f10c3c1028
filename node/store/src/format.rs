//! The version of what is on the disk, and the lock that keeps a second process out.
//!
//! The file `FORMAT` holds one line, `perennis-store 2`. A folder of an older version is [migrated](crate::migrate) when the
//! store is opened; one of a newer version is refused.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::disk::{Disk, WITHOUT_WAITING};
use crate::layout::{FORMAT_FILE as FILE, LOCK};
use crate::open_error::OpenError;

/// The version this release writes.
pub const FORMAT: u32 = 2;
const PREFIX: &str = "perennis-store ";
const MOST_BYTES: usize = 256;

/// Locks the folder for as long as the file is held.
pub(crate) fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let refused = |source: io::Error| OpenError::NotWritable {
        dir: dir.to_path_buf(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(WITHOUT_WAITING)
        .open(path)
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            dir: dir.to_path_buf(),
        }),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}

/// Takes the lock where its file is; makes none.
pub(crate) fn lock_if_there(dir: &Path) -> Result<Option<File>, OpenError> {
    let refused = |source: io::Error| OpenError::NotWritable {
        dir: dir.to_path_buf(),
        source,
    };
    let file = match File::open(dir.join(LOCK)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            dir: dir.to_path_buf(),
        }),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}

/// The version of the store in `dir`: the one that this release writes, or one before it; none where there is no store.
///
/// # Errors
/// A later release wrote it, or the file cannot be read or is none of ours.
pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<u32>, OpenError> {
    let path = dir.join(FILE);
    let text = match read_text(disk, &path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(OpenError::NotWritable {
                dir: dir.to_path_buf(),
                source,
            });
        }
    };
    match parse(&text) {
        // As a power cut leaves it on some file systems: it says no more than where it is missing.
        None if text.is_empty() => Ok(None),
        Some(found) if found <= FORMAT => Ok(Some(found)),
        Some(found) => Err(OpenError::NewerFormat {
            dir: dir.to_path_buf(),
            found,
            known: FORMAT,
        }),
        None => Err(OpenError::NotAStore { path }),
    }
}

/// What the file says; something that names none where it is longer than any that does.
fn read_text(disk: &dyn Disk, path: &Path) -> io::Result<String> {
    let file = disk.open(path)?;
    let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
    if length > MOST_BYTES {
        return Ok("too long".to_owned());
    }
    let text = file.read_vec_at(length, 0)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn parse(text: &str) -> Option<u32> {
    text.strip_prefix(PREFIX)?
        .trim_end()
        .parse()
        .ok()
        .filter(|version| *version > 0)
}

/// Writes the version whole and durably: under another name first.
///
/// # Errors
/// The disk's.
pub(crate) fn write(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let new = dir.join("FORMAT.new");
    let file = disk.create(&new, 0)?;
    file.write_at(format!("{PREFIX}{FORMAT}\n").as_bytes(), 0)?;
    file.sync()?;
    disk.rename(&new, &dir.join(FILE))?;
    disk.sync_dir(dir)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use super::*;
    use crate::disk::Real;

    #[test]
    fn a_newer_format_is_refused_with_both_versions_and_another_file_is_no_store() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&Real, dir.path()).unwrap(), None);
        write(&Real, dir.path()).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join(FILE)).unwrap(),
            "perennis-store 2\n"
        );
        assert_eq!(read(&Real, dir.path()).unwrap(), Some(2));
        fs::write(dir.path().join(FILE), "perennis-store 1\n").unwrap();
        assert_eq!(read(&Real, dir.path()).unwrap(), Some(1));
        fs::write(dir.path().join(FILE), "perennis-store 3\n").unwrap();
        let error = read(&Real, dir.path()).unwrap_err();
        assert!(
            matches!(
                error,
                OpenError::NewerFormat {
                    found: 3,
                    known: 2,
                    ..
                }
            ),
            "{error}"
        );
        fs::write(dir.path().join(FILE), "").unwrap();
        assert_eq!(read(&Real, dir.path()).unwrap(), None);
        for text in [
            "perennis-store",
            "perennis-store x",
            "perennis-store 0",
            "something else 1",
            "perennis-store 1 1",
            &"perennis-store 1".repeat(99),
        ] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert!(
                matches!(
                    read(&Real, dir.path()).unwrap_err(),
                    OpenError::NotAStore { .. }
                ),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_second_opener_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(OpenError::Locked { .. })));
        drop(held);
        lock(dir.path()).unwrap();
    }
}
