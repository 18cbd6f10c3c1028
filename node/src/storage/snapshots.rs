//! Snapshots of the store, kept in the data folder: written, listed, removed.
//!
//! They lie on the file system of the store, so that they share its files, and each is a data folder of its own without the node's
//! key. What is begun or being removed has a name that is none, and is removed with the next change.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use perennis_rt::{self as rt, Cancelled};
use perennis_shared::error::{ErrorKind, Retryable};
use perennis_shared::time::Millis;
use perennis_store::SnapshotError;
use perennis_store::layout::{FORMAT_FILE, SNAPSHOTS};

use super::Storage;

/// Longest name, in bytes.
const NAME_BYTES: usize = 64;

/// What the name of a snapshot ends with that is not whole.
const PARTIAL: &str = ".partial";

/// A name of a snapshot: a file name that means the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SnapshotName(String);

impl SnapshotName {
    pub(crate) fn parse(text: &str) -> Option<SnapshotName> {
        let is_taken = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = (1..=NAME_BYTES).contains(&text.len())
            && text.bytes().all(is_taken)
            && !text.starts_with(['.', '-'])
            && !text.ends_with(PARTIAL);
        is_name.then(|| SnapshotName(text.to_owned()))
    }

    /// The name of one that is written at a time, when nobody gives it another.
    pub(crate) fn at(time: Millis) -> SnapshotName {
        SnapshotName(time.to_string().replace([':', '.'], "-"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A snapshot that is kept.
#[derive(Clone, Debug)]
pub(crate) struct StoredSnapshot {
    pub(crate) name: SnapshotName,
    pub(crate) path: PathBuf,
    /// When it was whole.
    pub(crate) at: Millis,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// What its removal gives back: the bytes that nothing else shares with it.
    pub(crate) own_bytes: u64,
}

/// Why a snapshot was not written, listed or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotsError {
    #[error("there is a snapshot {} already", .0.as_str())]
    Exists(SnapshotName),
    #[error("there is no snapshot {}", .0.as_str())]
    Missing(SnapshotName),
    #[error("the disk is full")]
    Full,
    #[error("the snapshot could not be written")]
    Store(#[source] SnapshotError),
    #[error("{} could not be read or changed", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the node is stopping")]
    Interrupted(#[from] Cancelled),
}

impl Retryable for SnapshotsError {
    fn kind(&self) -> ErrorKind {
        match self {
            SnapshotsError::Exists(_) | SnapshotsError::Missing(_) => ErrorKind::Reject,
            SnapshotsError::Full | SnapshotsError::Io { .. } => ErrorKind::Fatal,
            SnapshotsError::Store(error) => error.kind(),
            SnapshotsError::Interrupted(_) => ErrorKind::Retry,
        }
    }
}

impl Storage {
    /// Writes a snapshot of all that is acknowledged. Writes wait while the index is copied.
    pub(crate) async fn write_snapshot(
        &self,
        name: SnapshotName,
    ) -> Result<StoredSnapshot, SnapshotsError> {
        let (store, folder) = (self.store.clone(), self.snapshots_dir());
        rt::blocking(move || {
            let failed = |source| io_error(&folder, source);
            rt::files::create_private_folder(&folder).map_err(failed)?;
            remove_partial(&folder)?;
            let path = folder.join(name.as_str());
            store.snapshot(&path).map_err(|error| match error {
                SnapshotError::Exists { .. } => SnapshotsError::Exists(name.clone()),
                SnapshotError::Disk { source, .. }
                    if source.kind() == io::ErrorKind::StorageFull =>
                {
                    SnapshotsError::Full
                }
                error => SnapshotsError::Store(error),
            })?;
            look(&folder, name.clone())?.ok_or(SnapshotsError::Missing(name))
        })
        .await?
    }

    /// All snapshots, by name.
    pub(crate) async fn snapshots(&self) -> Result<Vec<StoredSnapshot>, SnapshotsError> {
        let folder = self.snapshots_dir();
        rt::blocking(move || {
            let mut found = Vec::new();
            for name in names(&folder)? {
                let name = SnapshotName::parse(&name);
                // One that is removed meanwhile is none.
                if let Some(snapshot) = name.and_then(|name| look(&folder, name).transpose()) {
                    found.push(snapshot?);
                }
            }
            found.sort_by(|a: &StoredSnapshot, b| a.name.cmp(&b.name));
            Ok(found)
        })
        .await?
    }

    /// Removes one, and says what it was. It is gone as soon as it is renamed, whatever breaks off the rest.
    pub(crate) async fn remove_snapshot(
        &self,
        name: SnapshotName,
    ) -> Result<StoredSnapshot, SnapshotsError> {
        let folder = self.snapshots_dir();
        rt::blocking(move || {
            let removed = look(&folder, name.clone())?.ok_or(SnapshotsError::Missing(name))?;
            let failed = |source| io_error(&removed.path, source);
            let mut away = removed.path.clone().into_os_string();
            away.push(PARTIAL);
            remove_partial(&folder)?;
            fs::rename(&removed.path, away).map_err(failed)?;
            remove_partial(&folder)?;
            Ok(removed)
        })
        .await?
    }

    fn snapshots_dir(&self) -> PathBuf {
        self.shared.folder.path().join(SNAPSHOTS)
    }
}

/// The names in the folder of snapshots; none where there is no folder.
fn names(folder: &Path) -> Result<Vec<String>, SnapshotsError> {
    let failed = |source| io_error(folder, source);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // What is no text was not put there by a node.
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

/// Removes what is not whole.
fn remove_partial(folder: &Path) -> Result<(), SnapshotsError> {
    for name in names(folder)? {
        if name.ends_with(PARTIAL) {
            let path = folder.join(name);
            fs::remove_dir_all(&path).map_err(|source| io_error(&path, source))?;
        }
    }
    Ok(())
}

/// What a snapshot is; none where there is none of this name.
fn look(folder: &Path, name: SnapshotName) -> Result<Option<StoredSnapshot>, SnapshotsError> {
    let path = folder.join(name.as_str());
    let modified = match fs::metadata(path.join(FORMAT_FILE)) {
        Ok(format) => format.mtime(),
        Err(error) if is_absence(&error) => return Ok(None),
        Err(source) => return Err(io_error(&path, source)),
    };
    let seconds = u64::try_from(modified).unwrap_or_default();
    let mut snapshot = StoredSnapshot {
        name,
        at: Millis(seconds.saturating_mul(1_000)),
        path,
        files: 0,
        bytes: 0,
        own_bytes: 0,
    };
    let mut folders = vec![snapshot.path.clone()];
    while let Some(folder) = folders.pop() {
        let failed = |source| io_error(&folder, source);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let found = entry.metadata().map_err(failed)?;
            if found.is_dir() {
                folders.push(entry.path());
                continue;
            }
            snapshot.files += 1;
            snapshot.bytes += found.len();
            snapshot.own_bytes += if found.nlink() == 1 { found.len() } else { 0 };
        }
    }
    Ok(Some(snapshot))
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn io_error(path: &Path, source: io::Error) -> SnapshotsError {
    if source.kind() == io::ErrorKind::StorageFull {
        return SnapshotsError::Full;
    }
    SnapshotsError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_name_of_a_snapshot_is_a_plain_file_name() {
        for name in ["a", "2026-11-30", "before_upgrade.2", &"x".repeat(64)] {
            assert_eq!(SnapshotName::parse(name).unwrap().as_str(), name);
        }
        let long = "x".repeat(65);
        for name in [
            "",
            ".",
            "..",
            ".x",
            "-x",
            "a/b",
            "a b",
            "ä",
            "a\0",
            "x.partial",
            &long,
        ] {
            assert_eq!(SnapshotName::parse(name), None, "{name:?}");
        }
        let at = SnapshotName::at(Millis(1_790_000_000_123));
        assert_eq!(at.as_str(), "2026-09-21T14-13-20-123Z");
        assert_eq!(SnapshotName::parse(at.as_str()), Some(at));
    }

    #[test]
    fn what_is_not_whole_is_no_snapshot_and_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("one/segments")).unwrap();
        let name = |text| SnapshotName::parse(text).unwrap();
        assert!(look(dir.path(), name("one")).unwrap().is_none());
        fs::write(dir.path().join("one").join(FORMAT_FILE), "2\n").unwrap();
        fs::write(dir.path().join("shared"), "shared").unwrap();
        let link = dir.path().join("one/segments/0");
        fs::hard_link(dir.path().join("shared"), link).unwrap();
        let found = look(dir.path(), name("one")).unwrap().unwrap();
        assert_eq!((found.files, found.bytes, found.own_bytes), (2, 8, 2));

        fs::create_dir_all(dir.path().join("two.partial/index")).unwrap();
        remove_partial(dir.path()).unwrap();
        assert!(!dir.path().join("two.partial").exists());
        assert!(look(dir.path(), name("one")).unwrap().is_some());
    }
}
