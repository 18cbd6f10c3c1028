//! Which files in the folder of the segments are the log, and which are not.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::disk::{Disk, DiskFile};
use crate::location::{FileNumber, StoreId};
use crate::rows::{FileKind, FileRow, Loss, LossKind};
use crate::segment::{Header, Segment};

use super::lost::last_written;

/// What is known before the files are looked at.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// None where there is no index yet.
    pub(crate) store: Option<StoreId>,
    pub(crate) files: BTreeMap<FileNumber, FileRow>,
    /// The segment of which it is said that a group was acknowledged in it last.
    pub(crate) newest: Option<FileNumber>,
}

/// A segment of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogFile {
    pub(crate) segment: Segment,
}

/// What is in the folder.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Which store they are of; none where there is nothing that says it.
    pub(crate) store: Option<StoreId>,
    /// The segments of the log, by their number.
    pub(crate) log: BTreeMap<FileNumber, LogFile>,
    /// Numbers that are taken by files that are no segments of this store.
    pub(crate) strays: BTreeSet<FileNumber>,
    /// What is wrong with them.
    pub(crate) losses: Vec<Loss>,
}

impl Files {
    fn lost(&mut self, kind: LossKind, number: FileNumber) {
        self.losses.push(Loss::new(kind, number, 0));
    }
}

/// Looks at the files in a folder: at the names of all, and at the headers of those whose salt is not known.
///
/// # Errors
/// The folder or a file cannot be read.
pub(crate) fn survey_files(disk: &dyn Disk, dir: &Path, known: &Known) -> io::Result<Files> {
    let mut numbers: Vec<FileNumber> = disk
        .list(dir)?
        .iter()
        .filter_map(|name| FileNumber::parse(name))
        .collect();
    numbers.sort_unstable();
    let store = match known.store {
        Some(store) => Some(store),
        None => most_common_store(disk, dir, &numbers)?,
    };
    let mut files = Files {
        store,
        ..Files::default()
    };
    let last = numbers.last().copied();
    for number in numbers {
        let row = known.files.get(&number);
        if row.is_some_and(|row| row.kind == FileKind::Format1) {
            continue;
        }
        let file = disk.open(&number.segment_path(dir))?;
        if let Some(salt) = row.and_then(FileRow::salt) {
            let segment = Segment { number, salt, file };
            files.log.insert(number, LogFile { segment });
            continue;
        }
        let headers = Segment::headers(file.as_ref())?;
        let is_ours =
            |header: &&Header| header.number == number && files.store == Some(header.store);
        match headers.iter().flatten().find(is_ours) {
            Some(header) => {
                let segment = Segment {
                    number,
                    salt: header.salt,
                    file,
                };
                files.log.insert(number, LogFile { segment });
            }
            None => {
                files.strays.insert(number);
                let is_newest = known.newest == Some(number);
                if headers.iter().any(Option::is_some) {
                    let kind = if is_newest {
                        LossKind::WrongFile
                    } else {
                        LossKind::StrayFile
                    };
                    files.lost(kind, number);
                } else if is_newest {
                    files.lost(LossKind::UnreadableFile, number);
                } else if !is_empty(file.as_ref())? {
                    // A sync that never ended may have left bytes of its first group and none of its headers. A group is
                    // acknowledged after its sync, and when that is said.
                    let is_last = last == Some(number) && row.is_none();
                    let kind = if is_last {
                        LossKind::TornFile
                    } else {
                        LossKind::UnreadableFile
                    };
                    files.lost(kind, number);
                }
                // One whose making was cut off holds nothing and says nothing.
            }
        }
    }
    Ok(files)
}

/// The store that most of the segments are of, where nothing else says it: somebody may have put another's beside them. Of two
/// with as many, that of the newest.
pub(crate) fn most_common_store(
    disk: &dyn Disk,
    dir: &Path,
    numbers: &[FileNumber],
) -> io::Result<Option<StoreId>> {
    let mut counts: BTreeMap<[u8; 16], (usize, FileNumber)> = BTreeMap::new();
    for number in numbers {
        let file = disk.open(&number.segment_path(dir))?;
        let headers = Segment::headers(file.as_ref())?;
        let header = headers
            .iter()
            .flatten()
            .find(|header| header.number == *number);
        if let Some(header) = header {
            let (count, newest) = counts.entry(header.store.0).or_insert((0, *number));
            *count += 1;
            *newest = *number;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    Ok(most.map(|(store, _)| StoreId(store)))
}

/// Whether a file has nothing but zeros: damage may take all that a segment begins with and leave what follows.
fn is_empty(file: &dyn DiskFile) -> io::Result<bool> {
    Ok(last_written(file, 0, file.length()?)? == 0)
}
