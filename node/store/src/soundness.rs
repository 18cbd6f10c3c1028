//! Whether the files of blocks are those that the index knows, as far as that can be told without reading blocks.
//!
//! A file that is emptied, cut short or swapped is one loss that names it; its blocks are found damaged one by one as well, when
//! they are read.

use std::io;
use std::path::Path;

use crate::disk::Disk;
use crate::rows::{FileKind, FileRow, Loss, LossKind};
use crate::segment::{FileNumber, GROUPS_START, Header, Segment};

/// What is wrong with a file as a whole; none where its length and its header are those of its row.
///
/// # Errors
/// It cannot be read.
pub(crate) fn check_file(
    disk: &dyn Disk,
    dir: &Path,
    number: FileNumber,
    row: &FileRow,
) -> io::Result<Option<Loss>> {
    let file = disk.open(&row.path(number, dir))?;
    let length = file.length()?;
    let (headers, written) = match row.kind {
        FileKind::Log => (
            Segment::headers(file.as_ref())?,
            GROUPS_START + row.used_bytes,
        ),
        // What they begin with says nothing of whose they are; a pack's name is checked with its footer.
        FileKind::Pack | FileKind::Format1 => return Ok(short(number, length, row.used_bytes)),
    };
    let fits = |header: &Header| header.number == number && Some(header.salt) == row.salt();
    let whole: Vec<Header> = headers.into_iter().flatten().collect();
    if whole.iter().any(fits) {
        return Ok(short(number, length, written));
    }
    Ok(match short(number, length, written) {
        // Nothing of what is there says that it is another.
        Some(loss) if whole.is_empty() => Some(loss),
        _ => Some(Loss::new(LossKind::WrongFile, number, 0)),
    })
}

fn short(number: FileNumber, length: u64, written: u64) -> Option<Loss> {
    (length < written).then(|| Loss::new(LossKind::ShortFile, number, length))
}

/// Whether it matters that a file is not as it was: blocks are in it, or rows that no checkpoint has.
pub(crate) fn is_needed(row: &FileRow, checkpointed: u64) -> bool {
    !row.is_dropped && (row.live_bytes > 0 || row.last_group > checkpointed)
}
