//! Snapshots: a folder that opens as a store of its own, as of one commit.
//!
//! Segments that are sealed are linked, not copied: they do not change any more, whoever holds them. Only the last is
//! copied, because a store that is opened goes on writing in its last segment. The folder is put together under
//! another name and gets its own when it is complete and durable.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennis_shared::error::{ErrorKind, Retryable};

use crate::batch::CommitError;
use crate::block_table::BlockTable;
use crate::checkpoint::HeldCheckpoints;
use crate::commit::Work;
use crate::format;
use crate::layout::{CHECKPOINTS, INDEX, packs, segments};
use crate::location::FileNumber;
use crate::log::Newest;
use crate::rows::FileKind;
use crate::store::Store;

/// Bytes that are copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Why there is no snapshot.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is something at the place of the snapshot.
    #[error("{} is there already; name a folder that does not exist", dir.display())]
    Exists {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder could not be written.
    #[error("the snapshot could not be written to {}", dir.display())]
    Disk {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The index could not be copied.
    #[error("the index could not be copied")]
    Index(#[from] CommitError),
}

impl Retryable for SnapshotError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Exists { .. } => ErrorKind::Reject,
            Self::Disk { .. } => ErrorKind::Fatal,
            Self::Index(error) => error.kind(),
        }
    }
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Files of blocks in it: segments and packs.
    pub segments: u64,
    /// Those that share their bytes with the store.
    pub linked_segments: u64,
}

impl Store {
    /// Writes a snapshot of all that is acknowledged into `dir`, which must not exist. Commits wait while the index
    /// is copied; segments are linked where both folders are on one file system, else copied.
    ///
    /// # Errors
    /// The folder is there, or cannot be written. What was begun is removed.
    pub fn snapshot(&self, dir: &Path) -> Result<Snapshot, SnapshotError> {
        if fs::symlink_metadata(dir).is_ok() {
            return Err(SnapshotError::Exists {
                dir: dir.to_path_buf(),
            });
        }
        // No compaction may remove a segment before it is linked, and no checkpoint may be newer than the copy of the index.
        let _upkeep = self.inner().upkeep.lock();
        let checkpoints = self.inner().checkpointing.hold();
        let partial = partial(dir);
        let snapshot = self
            .snapshot_into(&partial, &checkpoints)
            .and_then(|snapshot| {
                fs::rename(&partial, dir)
                    .and_then(|()| sync_dir(parent(dir)))
                    .map_err(|source| failed(dir, source))?;
                Ok(snapshot)
            });
        snapshot.inspect_err(|_| {
            // A rest that cannot be removed is not mistaken for a snapshot: it has another name.
            let _ = fs::remove_dir_all(&partial);
        })
    }

    fn snapshot_into(
        &self,
        dir: &Path,
        checkpoints: &HeldCheckpoints,
    ) -> Result<Snapshot, SnapshotError> {
        let inner = self.inner();
        let failed = |source| failed(dir, source);
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        inner.disk.create_dir(&segments(dir)).map_err(failed)?;
        let (next, end) = inner.ask(|reply| Work::Copy(dir.join(INDEX), reply))?;
        let names = inner.disk.list(&inner.segments_dir()).map_err(failed)?;
        let mut numbers: Vec<_> = names
            .iter()
            .filter_map(|name| FileNumber::parse(name))
            .filter(|number| *number < next)
            .collect();
        numbers.sort_unstable();
        // A store that is opened goes on in the last segment that is its own, which may not be the last in the folder.
        // Segments of format 1 are written to by nobody.
        let rows = inner.file_rows();
        let logs = rows.iter().filter(|(_, row)| row.kind == FileKind::Log);
        let last = logs.map(|(number, _)| *number).next_back();
        let stays = |number: &FileNumber| {
            last.is_some_and(|last| *number < last)
                || rows
                    .get(number)
                    .is_some_and(|row| row.kind == FileKind::Format1)
        };
        let mut snapshot = Snapshot::default();
        for number in &numbers {
            let from = number.segment_path(&inner.segments_dir());
            let to = number.segment_path(&segments(dir));
            let disk = inner.disk.as_ref();
            let linked = if stays(number) {
                link_or_copy(disk, &from, &to)
            } else {
                copy(disk, &from, &to).map(|()| false)
            };
            let linked = linked.map_err(failed)?;
            snapshot.segments += 1;
            snapshot.linked_segments += u64::from(linked);
        }
        for name in names.iter().filter(|name| BlockTable::is_table(name)) {
            let (from, to) = (inner.segments_dir().join(name), segments(dir).join(name));
            link_or_copy(inner.disk.as_ref(), &from, &to).map_err(failed)?;
        }
        sync_dir(&segments(dir)).map_err(failed)?;
        self.snapshot_packs(&packs(dir), &mut snapshot)
            .map_err(failed)?;
        self.snapshot_checkpoints(&dir.join(CHECKPOINTS), checkpoints)
            .map_err(failed)?;
        if let Ok(Some(store)) = inner.shared.index.store()
            && end.offset > 0
        {
            let mut newest = Newest::new(Arc::clone(&inner.disk), dir, store);
            newest.say(end.file, end.group).map_err(failed)?;
        }
        format::write(inner.disk.as_ref(), dir).map_err(failed)?;
        sync_dir(dir).map_err(failed)?;
        Ok(snapshot)
    }
}

impl Store {
    /// Links or copies the packs: what is in them never changes. Those that were dropped and are still there are needed where the index of
    /// the snapshot has to be made anew.
    fn snapshot_packs(&self, dir: &Path, snapshot: &mut Snapshot) -> io::Result<()> {
        let inner = self.inner();
        inner.disk.create_dir(dir)?;
        let mut names = BTreeMap::new();
        for row in inner.file_rows().values() {
            if let Some(name) = row.pack_name() {
                *names.entry(name).or_insert(true) &= row.is_dropped;
            }
        }
        for (name, is_dropped) in names {
            let (from, to) = (name.path(inner.packs().dir()), name.path(dir));
            let linked = match link_or_copy(inner.disk.as_ref(), &from, &to) {
                Err(error) if is_dropped && error.kind() == io::ErrorKind::NotFound => continue,
                linked => linked?,
            };
            snapshot.segments += 1;
            snapshot.linked_segments += u64::from(linked);
        }
        sync_dir(dir)
    }

    /// And the checkpoints, which do not change either.
    fn snapshot_checkpoints(&self, dir: &Path, checkpoints: &HeldCheckpoints) -> io::Result<()> {
        self.inner().disk.create_dir(dir)?;
        for path in checkpoints.paths()? {
            if let Some(name) = path.file_name() {
                link_or_copy(self.inner().disk.as_ref(), &path, &dir.join(name))?;
            }
        }
        sync_dir(dir)
    }
}

/// Gives a file that does not change another name, or copies it where that cannot be. Whether they are one file.
fn link_or_copy(disk: &dyn crate::disk::Disk, from: &Path, to: &Path) -> io::Result<bool> {
    if disk.link(from, to).is_ok() {
        return Ok(true);
    }
    copy(disk, from, to)?;
    Ok(false)
}

fn copy(disk: &dyn crate::disk::Disk, from: &Path, to: &Path) -> io::Result<()> {
    let from = disk.open(from)?;
    let length = from.length()?;
    let to = disk.create(to, length)?;
    let mut offset = 0;
    let mut bytes = vec![0; COPY_BYTES];
    while offset < length {
        let part = usize::try_from(length - offset).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
        from.read_at(&mut bytes[..part], offset)?;
        to.write_at(&bytes[..part], offset)?;
        offset += part as u64;
    }
    to.sync()
}

fn partial(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".partial");
    dir.with_file_name(name)
}

fn parent(dir: &Path) -> &Path {
    dir.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

fn failed(dir: &Path, source: io::Error) -> SnapshotError {
    SnapshotError::Disk {
        dir: dir.to_path_buf(),
        source,
    }
}

#[cfg(all(test, feature = "rocksdb"))]
mod tests;

#[cfg(test)]
mod kinds {
    use super::*;

    #[test]
    fn every_reason_for_no_snapshot_has_its_kind() {
        let dir = PathBuf::from("/snapshot");
        let disk = failed(&dir, io::Error::other("no luck"));
        for (error, kind) in [
            (SnapshotError::Exists { dir }, ErrorKind::Reject),
            (disk, ErrorKind::Fatal),
            (CommitError::Full.into(), ErrorKind::Fatal),
            (CommitError::Closed.into(), ErrorKind::Retry),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
