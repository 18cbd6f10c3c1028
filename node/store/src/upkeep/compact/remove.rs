//! Removes files that nothing needs any more.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::block_table::BlockTable;
use crate::clock::wall_clock;
use crate::disk::{Disk, is_lost};
use crate::index::{awaited_files, may_need_packs};
use crate::keys;
use crate::location::FileNumber;
use crate::pack::{Footer, PackError, PackName, is_remains};
use crate::rows::{FileKind, FileRow, has_lost_groups};
use crate::segment::{Header, Segment};
use crate::store::Store;

use super::{CompactStep, UpkeepError};

impl Store {
    /// Removes the files that were dropped, then what is known of them. A crash between the two leaves a row that says so.
    pub(super) fn remove_dropped(&self, step: &mut CompactStep) -> Result<(), UpkeepError> {
        let inner = self.inner();
        let rows = inner.file_rows();
        let dropped = || rows.iter().filter(|(_, row)| row.is_dropped);
        if dropped().next().is_none() {
            return Ok(());
        }
        // The rows that were logged in a segment are needed until checkpoints have them. A pack that came into use after the
        // checkpoints is met again where the index has to be made anew, and says then where its blocks are.
        let removable = self.removable_until()?;
        let needed_until = |row: &FileRow| match row.kind {
            FileKind::Log => row.last_group,
            FileKind::Pack => row.first_group,
            FileKind::Format1 => 0,
        };
        let (waiting, mut removed): (Vec<_>, Vec<_>) =
            dropped().partition(|(_, row)| needed_until(row) > removable);
        // Somebody may put it back, or give it its name again, and it is for the next start to take what is in it.
        let is_full = inner.shared.full.load(Ordering::Acquire);
        let awaited = awaited_files(&inner.shared.index, wall_clock(), is_full)?;
        removed.retain(|(number, _)| !awaited.contains(number));
        let waiting_bytes = waiting.iter().map(|(_, row)| row.used_bytes).sum();
        if waiting_bytes > 0 {
            self.want_checkpoint(waiting_bytes);
        }
        // The highest number stays known when its file is gone: the next start must not give it to another, since the log may
        // still tell of the one that had it.
        let highest = rows.keys().next_back().copied();
        removed.retain(|(number, _)| {
            Some(**number) != highest || inner.disk.open(&inner.path(**number)).is_ok()
        });
        if removed.is_empty() {
            return Ok(());
        }
        // The index says for good that they are not needed, before they go.
        inner.shared.index.kv.flush(true)?;
        // One pack can come into use again under another number, or wait under it as this one did.
        let gone: HashSet<FileNumber> = removed.iter().map(|(number, _)| **number).collect();
        let others = rows.iter().filter(|(number, _)| !gone.contains(*number));
        let used: HashSet<PackName> = others.filter_map(|(_, row)| row.pack_name()).collect();
        for (number, row) in &removed {
            if !row.pack_name().is_some_and(|name| used.contains(&name)) {
                let failed = |source| UpkeepError::File {
                    file: **number,
                    source,
                };
                self.remove_file(&inner.path(**number), step)
                    .map_err(failed)?;
                if row.kind == FileKind::Format1 {
                    remove_table(inner.disk.as_ref(), &inner.segments_dir(), **number)
                        .map_err(failed)?;
                }
            }
            inner.forget_file(**number);
        }
        for (is_pack, dir) in [
            (false, inner.segments_dir()),
            (true, inner.packs().dir().into()),
        ] {
            if removed
                .iter()
                .any(|(_, row)| (row.kind == FileKind::Pack) == is_pack)
            {
                inner.disk.sync_dir(&dir).map_err(UpkeepError::Folder)?;
            }
        }
        for (number, _) in removed {
            if Some(*number) != highest {
                inner.shared.index.forget_file(*number)?;
            }
        }
        Ok(())
    }

    /// Removes files that no row knows: those of a compaction that ended early, and of groups that failed.
    pub(super) fn remove_unknown(&self, step: &mut CompactStep) -> Result<(), UpkeepError> {
        self.remove_unknown_segments(step)?;
        self.remove_unknown_packs(step)
    }

    fn remove_unknown_segments(&self, step: &mut CompactStep) -> Result<(), UpkeepError> {
        let inner = self.inner();
        // One of them may have been missing and be back.
        if has_lost_groups(&inner.shared.index.losses()) {
            return Ok(());
        }
        let rows = inner.file_rows();
        // The last that has a row, and those behind it, may be in the making.
        let Some(last) = rows
            .iter()
            .filter(|(_, row)| row.kind == FileKind::Log)
            .map(|(number, _)| *number)
            .next_back()
        else {
            return Ok(());
        };
        let dir = inner.segments_dir();
        let names = inner.disk.list(&dir).map_err(UpkeepError::Folder)?;
        for number in names.iter().filter_map(|name| FileNumber::parse(name)) {
            let failed = |source| UpkeepError::File {
                file: number,
                source,
            };
            if number < last && !rows.contains_key(&number) && !self.is_known(number)? {
                let path = number.segment_path(&dir);
                if self.is_left_over(&path, number).map_err(failed)? {
                    self.remove_file(&path, step).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Whether there is a row of a file, be it one that cannot be read.
    fn is_known(&self, number: FileNumber) -> Result<bool, UpkeepError> {
        let kv = &self.inner().shared.index.kv;
        let row = keys::file(number);
        Ok(kv.value(&row)?.is_some() || kv.value(&keys::set_aside(&row))?.is_some())
    }

    /// Whether a file without a row is one of this store's. What is somebody else's was told at the start and is left alone.
    fn is_left_over(&self, path: &Path, number: FileNumber) -> io::Result<bool> {
        let inner = self.inner();
        let file = inner.disk.open(path)?;
        let store = inner.shared.index.store().map_err(io::Error::other)?;
        let is_ours = |header: &Header| header.number == number && Some(header.store) == store;
        let headers = Segment::headers(file.as_ref())?;
        if headers.iter().flatten().next().is_some() {
            return Ok(headers.iter().flatten().any(is_ours));
        }
        // Its making was cut off: it has nothing in it.
        let length = file.length()?.min(1 << 16);
        let bytes = file.read_vec_at(usize::try_from(length).unwrap_or(0), 0)?;
        Ok(bytes.iter().all(|byte| *byte == 0))
    }

    fn remove_unknown_packs(&self, step: &mut CompactStep) -> Result<(), UpkeepError> {
        let inner = self.inner();
        let dir = inner.packs().dir();
        let rows = inner.file_rows();
        for file in inner.disk.list(dir).map_err(UpkeepError::Folder)? {
            let name = PackName::parse(&file);
            let is_known = name.is_some_and(|name| {
                let mut rows = rows.values();
                rows.any(|row| row.pack_name() == Some(name))
            });
            if is_known || (name.is_none() && !is_remains(&file)) {
                continue;
            }
            let path = dir.join(&file);
            let footer = inner
                .disk
                .open(&path)
                .map_err(PackError::from)
                .and_then(|file| Footer::read(file.as_ref()));
            // A pack has its name only after it was verified. One that is damaged now may be all that is left of its blocks.
            let is_damaged = match footer {
                Err(PackError::Disk(error)) if !is_lost(&error) => continue,
                footer => name.is_some() && footer.is_err(),
            };
            // Nor may it be needed while it is not known what took it into use.
            if is_damaged
                || (name.is_some() && (self.has_unread_files()? || self.may_need_packs()?))
            {
                continue;
            }
            self.remove_file(&path, step).map_err(UpkeepError::Folder)?;
        }
        Ok(())
    }

    fn may_need_packs(&self) -> Result<bool, UpkeepError> {
        let index = &self.inner().shared.index;
        Ok(may_need_packs(index, &index.losses())?)
    }

    /// Whether rows of files could not be read: which packs they name is not known then.
    fn has_unread_files(&self) -> Result<bool, UpkeepError> {
        let inner = self.inner();
        let kv = &inner.shared.index.kv;
        let rows = kv.scan(&[keys::FILE], &keys::end_of(keys::FILE), usize::MAX)?;
        let aside = keys::set_aside(&[keys::FILE]);
        let set_aside = kv.scan(&aside, &keys::end_of_prefix(&aside), 1)?;
        Ok(rows.len() != inner.file_rows().len() || !set_aside.is_empty())
    }

    /// Removes a file. One that is not there is one that was lost or removed before.
    fn remove_file(&self, path: &Path, step: &mut CompactStep) -> io::Result<()> {
        let disk = &self.inner().disk;
        let length = disk.open(path).and_then(|file| file.length());
        match disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
            Ok(()) => {
                step.segments += 1;
                step.freed_bytes += length.unwrap_or(0);
            }
        }
        Ok(())
    }
}

/// Removes the table of a file, where there is one.
fn remove_table(disk: &dyn Disk, dir: &Path, number: FileNumber) -> io::Result<()> {
    match disk.remove(&BlockTable::path(dir, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
