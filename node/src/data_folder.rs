//! The node's data folder: what is in it before it is opened, and whether it is still the one that was opened.
//!
//! An open file outlives its name: a node whose folder was removed, unmounted or swapped for another goes on writing into
//! files that nobody will find again, and would acknowledge each write. So the folder, its lock file and the folders in it
//! that hold what was acknowledged are compared, by device and inode, with what they were at the start: after every commit, before it
//! is acknowledged, and by a worker every second. A disk that is slow makes that wait, and one that fails says something else than "not there": neither is
//! an alarm.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use perennis_shared::error::{ErrorKind, Retryable};
use perennis_store::layout::{
    FILES, FOLDERS, FORMAT_FILE, INDEX, LOCK, PACKS, SEGMENTS, STORED, VITAL,
};
use serde::Serialize;
use tokio::sync::watch;

/// The file with the node's key.
pub(crate) const KEY_FILE: &str = "node.key";

/// Something of the wrong kind where the data folder, or a part of it, has to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InTheWay {
    /// A folder has to be there.
    #[error("{} is {found}, and has to be a directory", .path.display())]
    NoFolder {
        /// Where it has to be.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// A file has to be there.
    #[error("{} is {found}, and has to be a file", .path.display())]
    NoFile {
        /// Where it has to be.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
}

impl InTheWay {
    /// A word for machines, stable between versions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoFolder { .. } => "not_a_directory",
            Self::NoFile { .. } => "not_a_file",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoFolder { .. } => {
                "move it away and put the directory back from a backup, or give the directory of a node's data with --data"
            }
            Self::NoFile { .. } => {
                "move it away and put the file back from a backup; without one, the node makes those anew that it can"
            }
        }
    }
}

impl Retryable for InTheWay {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoFolder { .. } | Self::NoFile { .. } => ErrorKind::Fatal,
        }
    }
}

/// What is in the way in the data folder, or in its place; none where nothing is. It opens nothing: a pipe would wait for whoever writes
/// into it.
pub fn in_the_way(data: &Path) -> Option<InTheWay> {
    let mut folders = std::iter::once(data.to_owned()).chain(FOLDERS.map(|name| data.join(name)));
    let no_folder = folders.find_map(|path| match kind(&path)? {
        Kind::Folder => None,
        Kind::File => Some(InTheWay::NoFolder {
            path,
            found: "a file",
        }),
        Kind::Other(found) => Some(InTheWay::NoFolder { path, found }),
    });
    let files = FILES.map(|name| data.join(name)).into_iter();
    // RocksDB would wait for whoever writes into a pipe; what is a folder there it passes over.
    let index = fs::read_dir(data.join(INDEX)).into_iter().flatten();
    let index = index.flatten().map(|entry| entry.path());
    let index = index.filter(|path| !path.is_dir());
    let mut files = files.chain([key_file(data)]).chain(index);
    no_folder.or_else(|| {
        files.find_map(|path| match kind(&path)? {
            Kind::File => None,
            Kind::Folder => Some(InTheWay::NoFile {
                path,
                found: "a directory",
            }),
            Kind::Other(found) => Some(InTheWay::NoFile { path, found }),
        })
    })
}

/// The file that holds the node's key.
#[must_use]
pub fn key_file(directory: &Path) -> PathBuf {
    directory.join(KEY_FILE)
}

/// What lies under a name.
enum Kind {
    File,
    Folder,
    Other(&'static str),
}

/// None where there is nothing, or where that cannot be told.
fn kind(path: &Path) -> Option<Kind> {
    let found = match fs::metadata(path) {
        Ok(found) => found.file_type(),
        // A disk that is not mounted, where it is more than a slip.
        Err(error) if is_absence(&error) && path.is_symlink() => {
            return Some(Kind::Other("a symbolic link to nothing"));
        }
        Err(_) => return None,
    };
    Some(if found.is_dir() {
        Kind::Folder
    } else if found.is_file() {
        Kind::File
    } else if found.is_fifo() {
        Kind::Other("a named pipe")
    } else if found.is_socket() {
        Kind::Other("a socket")
    } else {
        Kind::Other("a device")
    })
}

/// Whether something was stored there, whatever else is missing.
pub fn has_stored(data: &Path) -> bool {
    STORED
        .into_iter()
        .any(|folder| fs::read_dir(data.join(folder)).is_ok_and(|mut files| files.next().is_some()))
}

/// The folder of the log where it is missing from a store, which has it from before its format is named.
pub fn missing_log(data: &Path) -> Option<PathBuf> {
    let segments = data.join(SEGMENTS);
    let is_missing = fs::metadata(&segments).is_err_and(|error| is_absence(&error));
    (is_missing && data.join(FORMAT_FILE).exists()).then_some(segments)
}

/// Whether there is an index. A folder with nothing in it is none: RocksDB makes that when it looks for one.
pub fn has_index(data: &Path) -> bool {
    fs::read_dir(data.join(INDEX)).is_ok_and(|mut files| files.next().is_some())
}

/// How many files of blocks there are; a store that runs keeps them open.
pub fn files_of_blocks(data: &Path) -> u64 {
    let count = |folder| fs::read_dir(data.join(folder)).map_or(0, Iterator::count);
    (count(SEGMENTS) + count(PACKS)) as u64
}

/// How much room the disk has on which a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DiskSpace {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes of the whole disk.
    pub total_bytes: u64,
}

/// The room on the disk of a folder that is there.
///
/// # Errors
/// The system does not tell, or there is no such folder.
pub fn disk_space(folder: &Path) -> io::Result<DiskSpace> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(DiskSpace {
        free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
    })
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
    /// One that is made later is known from when it is first seen.
    vital: [(&'static str, OnceLock<Identity>); VITAL.len()],
    is_gone: AtomicBool,
    /// Why it was given up.
    given_up: watch::Sender<Option<FolderGone>>,
}

/// What a file is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// The folder, or a part of it, is not the one that was opened any more.
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
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The folder of a store that was just opened. Waits for the disk.
    pub(crate) fn of(path: &Path) -> io::Result<DataFolder> {
        let vital = VITAL.map(|name| (name, OnceLock::new()));
        for (name, known) in &vital {
            match Identity::of(&path.join(name)) {
                Ok(found) => known.get_or_init(|| found),
                Err(error) if is_absence(&error) => continue,
                Err(error) => return Err(error),
            };
        }
        Ok(DataFolder {
            inner: Arc::new(Inner {
                folder: Identity::of(path)?,
                lock: Identity::of(&path.join(LOCK))?,
                vital,
                // Whatever becomes of the working directory.
                path: std::path::absolute(path)?,
                is_gone: AtomicBool::new(false),
                given_up: watch::Sender::default(),
            }),
        })
    }

    /// Looks whether it is still there with all that it holds, and remembers that. Waits for the disk.
    ///
    /// # Errors
    /// The folder, its lock file or a folder in it is missing, or is another one.
    pub(crate) fn look(&self) -> Result<(), FolderGone> {
        let looked = self.inner.look();
        self.inner.is_gone.store(looked.is_err(), Ordering::Relaxed);
        looked
    }

    /// Whether it was not there when it was last looked for.
    pub(crate) fn is_gone(&self) -> bool {
        self.inner.is_gone.load(Ordering::Relaxed)
    }

    /// It stays away: who waits in [`DataFolder::given_up`] is told why.
    pub(crate) fn give_up(&self, why: FolderGone) {
        self.inner.given_up.send_replace(Some(why));
    }

    /// Waits until it was given up.
    pub(crate) async fn given_up(&self) -> FolderGone {
        let mut given_up = self.inner.given_up.subscribe();
        loop {
            if let Some(why) = given_up.borrow_and_update().clone() {
                return why;
            }
            // This handle keeps the sender, so that it does not end.
            let _ = given_up.changed().await;
        }
    }
}

impl Inner {
    fn look(&self) -> Result<(), FolderGone> {
        self.folder.expect_at(&self.path)?;
        self.lock.expect_at(&self.path.join(LOCK))?;
        for (name, known) in &self.vital {
            let path = self.path.join(name);
            match known.get() {
                Some(known) => known.expect_at(&path)?,
                None => {
                    if let Ok(found) = Identity::of(&path) {
                        known.get_or_init(|| found);
                    }
                }
            }
        }
        Ok(())
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

    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn made(path: &Path) {
        fs::create_dir(path).unwrap();
        fs::write(path.join(LOCK), "").unwrap();
    }

    #[test]
    fn whatever_is_in_the_way_waits_for_a_person() {
        let (path, found) = (PathBuf::from("/data"), "a file");
        let folder = InTheWay::NoFolder {
            path: path.clone(),
            found,
        };
        for found in [folder, InTheWay::NoFile { path, found }] {
            assert_eq!(found.kind(), ErrorKind::Fatal, "{found}");
        }
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
    fn a_folder_in_it_that_is_removed_renamed_or_swapped_is_told_and_comes_back() {
        let place = tempfile::tempdir().unwrap();
        let (path, aside) = (place.path().join("data"), place.path().join("aside"));
        made(&path);
        for name in VITAL {
            fs::create_dir(path.join(name)).unwrap();
        }
        let folder = DataFolder::of(&path).unwrap();
        folder.look().unwrap();
        for name in VITAL {
            let inside = path.join(name);
            fs::rename(&inside, &aside).unwrap();
            assert_eq!(folder.look(), Err(FolderGone::Missing(inside.clone())));
            assert!(folder.is_gone());
            fs::create_dir(&inside).unwrap();
            assert_eq!(folder.look(), Err(FolderGone::Replaced(inside.clone())));
            fs::remove_dir(&inside).unwrap();
            fs::rename(&aside, &inside).unwrap();
            folder.look().unwrap();
            assert!(!folder.is_gone());
        }
    }

    #[test]
    fn a_folder_in_it_that_is_made_later_is_watched_from_then_on() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        made(&path);
        let folder = DataFolder::of(&path).unwrap();
        folder.look().unwrap();
        let checkpoints = path.join("checkpoints");
        fs::create_dir(&checkpoints).unwrap();
        folder.look().unwrap();
        fs::remove_dir(&checkpoints).unwrap();
        assert_eq!(folder.look(), Err(FolderGone::Missing(checkpoints)));
    }

    #[test]
    fn what_is_of_the_wrong_kind_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("data");
        assert_eq!(in_the_way(&path), None);
        fs::write(&path, "").unwrap();
        let no_folder = |path: &Path, found| {
            let path = path.to_owned();
            Some(InTheWay::NoFolder { path, found })
        };
        assert_eq!(in_the_way(&path), no_folder(&path, "a file"));
        fs::remove_file(&path).unwrap();
        symlink(place.path().join("nothing"), &path).unwrap();
        let dangling = no_folder(&path, "a symbolic link to nothing");
        assert_eq!(in_the_way(&path), dangling);
        fs::remove_file(&path).unwrap();
        for folder in FOLDERS {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        assert_eq!(in_the_way(&path), None);
        for file in FILES.into_iter().chain(["node.key"]) {
            let file = path.join(file);
            let no_file = |found| {
                let path = file.clone();
                Some(InTheWay::NoFile { path, found })
            };
            fs::create_dir(&file).unwrap();
            assert_eq!(in_the_way(&path), no_file("a directory"));
            fs::remove_dir(&file).unwrap();
            let mode = Mode::RUSR | Mode::WUSR;
            mknodat(CWD, &file, FileType::Fifo, mode, 0).unwrap();
            assert_eq!(in_the_way(&path), no_file("a named pipe"));
            fs::remove_file(&file).unwrap();
            drop(UnixListener::bind(&file).unwrap());
            assert_eq!(in_the_way(&path), no_file("a socket"));
            fs::remove_file(&file).unwrap();
            symlink(place.path().join("nothing"), &file).unwrap();
            assert_eq!(in_the_way(&path), no_file("a symbolic link to nothing"));
            fs::remove_file(&file).unwrap();
            symlink("/dev/null", &file).unwrap();
            assert_eq!(in_the_way(&path), no_file("a device"));
            fs::remove_file(&file).unwrap();
            fs::write(&file, "").unwrap();
            assert_eq!(in_the_way(&path), None);
        }
        let current = path.join(INDEX).join("CURRENT");
        mknodat(CWD, &current, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let no_file = InTheWay::NoFile {
            path: current.clone(),
            found: "a named pipe",
        };
        assert_eq!(in_the_way(&path), Some(no_file));
        fs::remove_file(&current).unwrap();
        fs::create_dir(&current).unwrap();
        assert_eq!(in_the_way(&path), None);
        fs::remove_dir(path.join("packs")).unwrap();
        fs::write(path.join("packs"), "").unwrap();
        let found = in_the_way(&path);
        assert_eq!(found, no_folder(&path.join("packs"), "a file"));
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
