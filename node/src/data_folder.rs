//! The node's data folder: what is in it before it is opened, and whether it is still the one that was opened.
//!
//! An open file outlives its name: a node whose folder was removed, unmounted or swapped for another goes on writing into
//! files that nobody will find again, and would acknowledge each write. So the folder and its lock file are compared,
//! by device and inode, with what they were at the start: after every commit, before it is acknowledged, and by a worker
//! every second. A disk that is slow makes that wait, and one that fails says something else than "not there": neither is
//! an alarm.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The file that the store locks in its folder.
const LOCK: &str = "LOCK";

/// The folder of the log.
const SEGMENTS: &str = "segments";

/// The folder of packs.
const PACKS: &str = "packs";

/// The folders of a store.
const FOLDERS: [&str; 5] = [SEGMENTS, PACKS, "checkpoints", "index", "lost"];

/// The folders of a store that have files from its first write on.
const STORED: [&str; 3] = [SEGMENTS, PACKS, "checkpoints"];

/// The files of a node that lie in its data folder itself.
const FILES: [&str; 5] = ["FORMAT", "NEWEST", LOCK, "reserve", "node.key"];

/// Something of the wrong kind where the data folder, or a part of it, has to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InTheWay {
    /// A folder has to be there.
    #[error("{} is a file, and has to be a directory", .0.display())]
    File(PathBuf),
    /// A file has to be there.
    #[error("{} is a directory, and has to be a file", .0.display())]
    Folder(PathBuf),
}

impl InTheWay {
    /// A word for machines, stable between versions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(_) => "not_a_directory",
            Self::Folder(_) => "not_a_file",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File(_) => {
                "move the file away and put the directory back from a backup, or give the directory of a node's data with --data"
            }
            Self::Folder(_) => {
                "move the directory away and put the file back from a backup; without one, the node makes those anew that it can"
            }
        }
    }
}

/// What is in the way in the data folder, or in its place; none where nothing is.
pub(crate) fn in_the_way(data: &Path) -> Option<InTheWay> {
    let is_folder = |path: &Path| fs::metadata(path).map(|found| found.is_dir()).ok();
    let mut folders = std::iter::once(data.to_owned()).chain(FOLDERS.map(|name| data.join(name)));
    if let Some(path) = folders.find(|path| is_folder(path) == Some(false)) {
        return Some(InTheWay::File(path));
    }
    let mut files = FILES.into_iter().map(|name| data.join(name));
    let folder = files.find(|path| is_folder(path) == Some(true));
    folder.map(InTheWay::Folder)
}

/// Whether something was stored there, whatever else is missing.
pub(crate) fn has_stored(data: &Path) -> bool {
    STORED
        .into_iter()
        .any(|folder| fs::read_dir(data.join(folder)).is_ok_and(|mut files| files.next().is_some()))
}

/// How many files of blocks there are; a store that runs keeps them open.
pub(crate) fn files_of_blocks(data: &Path) -> u64 {
    let count = |folder| fs::read_dir(data.join(folder)).map_or(0, Iterator::count);
    (count(SEGMENTS) + count(PACKS)) as u64
}

/// The folder that was opened; clones are handles on the same one.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    folder: Identity,
    lock: Identity,
    is_gone: AtomicBool,
}

/// What a file is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// The folder is not the one that was opened any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FolderGone {
    /// There is nothing under its name.
    #[error("{} is not there any more", .0.display())]
    Missing(PathBuf),
    /// There is something else.
    #[error("{} was replaced by another", .0.display())]
    Replaced(PathBuf),
}

impl DataFolder {
    /// The folder of a store that was just opened. Waits for the disk.
    pub(crate) fn of(path: &Path) -> io::Result<DataFolder> {
        Ok(DataFolder {
            inner: Arc::new(Inner {
                folder: Identity::of(path)?,
                lock: Identity::of(&path.join(LOCK))?,
                // Whatever becomes of the working directory.
                path: std::path::absolute(path)?,
                is_gone: AtomicBool::new(false),
            }),
        })
    }

    /// Looks whether it is still there, and remembers that. Waits for the disk.
    ///
    /// # Errors
    /// The folder or its lock file is missing, or is another one.
    pub(crate) fn look(&self) -> Result<(), FolderGone> {
        let inner = &self.inner;
        let looked = inner
            .folder
            .expect_at(&inner.path)
            .and_then(|()| inner.lock.expect_at(&inner.path.join(LOCK)));
        inner.is_gone.store(looked.is_err(), Ordering::Relaxed);
        looked
    }

    /// Whether it was not there when it was last looked for.
    pub(crate) fn is_gone(&self) -> bool {
        self.inner.is_gone.load(Ordering::Relaxed)
    }
}

impl Identity {
    fn of(path: &Path) -> io::Result<Identity> {
        let found = fs::metadata(path)?;
        Ok(Identity {
            device: found.dev(),
            inode: found.ino(),
        })
    }

    fn expect_at(self, path: &Path) -> Result<(), FolderGone> {
        match Identity::of(path) {
            Ok(found) if found == self => Ok(()),
            Ok(_) => Err(FolderGone::Replaced(path.to_owned())),
            Err(error) if is_absence(&error) => Err(FolderGone::Missing(path.to_owned())),
            // A disk that fails, or a folder that may not be looked into now: whoever reads or writes there tells it.
            Err(_) => Ok(()),
        }
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::StaleNetworkFileHandle
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn made(path: &Path) {
        fs::create_dir(path).unwrap();
        fs::write(path.join(LOCK), "").unwrap();
    }

    #[test]
    fn a_folder_that_is_removed_renamed_or_swapped_is_told_and_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let (path, aside) = (place.path().join("data"), place.path().join("aside"));
        made(&path);
        let folder = DataFolder::of(&path).unwrap();
        folder.look().unwrap();
        assert!(!folder.is_gone());

        fs::rename(&path, &aside).unwrap();
        assert_eq!(folder.look(), Err(FolderGone::Missing(path.clone())));
        assert!(folder.is_gone());
        made(&path);
        assert_eq!(folder.look(), Err(FolderGone::Replaced(path.clone())));
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert_eq!(folder.look(), Err(FolderGone::Replaced(path.clone())));
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        folder.look().unwrap();
        assert!(!folder.is_gone());

        // Emptied, as `rm -r` does first.
        fs::remove_file(path.join(LOCK)).unwrap();
        assert_eq!(folder.look(), Err(FolderGone::Missing(path.join(LOCK))));
    }

    #[test]
    fn what_is_of_the_wrong_kind_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        assert_eq!(in_the_way(&path), None);
        fs::write(&path, "").unwrap();
        assert_eq!(in_the_way(&path), Some(InTheWay::File(path.clone())));
        fs::remove_file(&path).unwrap();
        for folder in FOLDERS {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        assert_eq!(in_the_way(&path), None);
        for file in FILES {
            fs::create_dir(path.join(file)).unwrap();
            let found = in_the_way(&path);
            assert_eq!(found, Some(InTheWay::Folder(path.join(file))));
            fs::remove_dir(path.join(file)).unwrap();
            fs::write(path.join(file), "").unwrap();
            assert_eq!(in_the_way(&path), None);
        }
        fs::remove_dir(path.join("packs")).unwrap();
        fs::write(path.join("packs"), "").unwrap();
        let found = in_the_way(&path);
        assert_eq!(found, Some(InTheWay::File(path.join("packs"))));
        assert!(!has_stored(&path));
        fs::write(path.join("segments/00000001.seg"), "").unwrap();
        assert!(has_stored(&path));
    }

    #[test]
    fn what_cannot_be_looked_into_is_no_alarm() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        made(&path);
        let folder = DataFolder::of(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        let looked = folder.look();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        looked.unwrap();
    }
}
