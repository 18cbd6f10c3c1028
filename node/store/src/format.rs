//! The version of what is on the disk, and the lock that keeps a second process out.
//!
//! The file `FORMAT` holds one line, `perennis-store 2`. A folder of an older version is [migrated](crate::migrate) when the
//! store is opened; one of a newer version is refused.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::disk::Disk;
use crate::store::OpenError;

/// The version this release writes.
pub const FORMAT: u32 = 2;
const FILE: &str = "FORMAT";
const PREFIX: &str = "perennis-store ";

/// Locks the folder for as long as the file is held.
pub(crate) fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("LOCK");
    let refused = |source: io::Error| OpenError::NotWritable {
        dir: dir.to_path_buf(),
        source,
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
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

/// The version of the store in `dir`: the one that this release writes, or one before it; none where there is no store.
///
/// # Errors
/// A later release wrote it, or the file cannot be read or is none of ours.
pub(crate) fn read(dir: &Path) -> Result<Option<u32>, OpenError> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => match parse(&text) {
            Some(found) if found <= FORMAT => Ok(Some(found)),
            Some(found) => Err(OpenError::NewerFormat {
                dir: dir.to_path_buf(),
                found,
                known: FORMAT,
            }),
            None => Err(OpenError::NotAStore { path }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::NotWritable {
            dir: dir.to_path_buf(),
            source,
        }),
    }
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

    use super::*;
    use crate::disk::Real;

    #[test]
    fn a_newer_format_is_refused_with_both_versions_and_another_file_is_no_store() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        write(&Real, dir.path()).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join(FILE)).unwrap(),
            "perennis-store 2\n"
        );
        assert_eq!(read(dir.path()).unwrap(), Some(2));
        fs::write(dir.path().join(FILE), "perennis-store 1\n").unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(1));
        fs::write(dir.path().join(FILE), "perennis-store 3\n").unwrap();
        let error = read(dir.path()).unwrap_err();
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
        for text in [
            "",
            "perennis-store",
            "perennis-store x",
            "perennis-store 0",
            "something else 1",
        ] {
            fs::write(dir.path().join(FILE), text).unwrap();
            assert!(
                matches!(read(dir.path()).unwrap_err(), OpenError::NotAStore { .. }),
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
