//! Whether the files of blocks are those that the index knows, as far as that can be told without reading blocks.
//!
//! A file that is emptied, cut short or swapped is one loss that names it; its blocks are found damaged one by one as well, when
//! they are read. Frames of the log that are damaged take nothing while the index is whole, but a rebuild would miss what they say.

use std::io;
use std::path::Path;

use crate::disk::Disk;
use crate::location::FileNumber;
use crate::log::Groups;
use crate::rows::{FileKind, FileRow, Loss, LossKind};
use crate::segment::{GROUPS_START, Header, SECOND_HEADER, Segment};

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

/// Looks at the headers of a segment and at the frames of all groups in it that the index has, as they are on the disk. Returns the
/// first that is damaged, and about how many bytes were read.
///
/// # Errors
/// It cannot be read.
pub(crate) fn check_frames(segment: &Segment, row: &FileRow) -> io::Result<(Option<Loss>, u64)> {
    let Segment { number, salt, .. } = *segment;
    segment.file.forget_cache()?;
    let damaged = |offset| Loss::new(LossKind::DamagedFrames, number, offset);
    let mut first = None;
    for (header, offset) in Segment::headers(segment.file.as_ref())?
        .into_iter()
        .zip([0, SECOND_HEADER])
    {
        if header.is_none_or(|header| header.number != number || header.salt != salt) {
            first.get_or_insert_with(|| damaged(offset));
        }
    }
    let end = GROUPS_START + row.used_bytes;
    let mut groups = Groups::new(segment, GROUPS_START, false)?;
    let mut bytes = GROUPS_START;
    while groups.end() < end {
        let Some(found) = groups.next()? else { break };
        let entries = found.batches.iter().flat_map(|(_, batch)| &batch.entries);
        let bodies: u64 = entries.map(|entry| u64::from(entry.length)).sum();
        bytes += (found.end - found.start).saturating_sub(bodies);
        let is_seen = found.start < end;
        if is_seen && !(found.is_whole() && found.has_both_heads(segment)?) {
            first.get_or_insert_with(|| Loss {
                group: found.group,
                ..damaged(found.start)
            });
        }
    }
    let gap = groups.damage().iter().map(|range| range.start).next();
    let gap = gap.or_else(|| (groups.end() < end).then(|| groups.end()));
    if let Some(gap) = gap.filter(|gap| *gap < end) {
        first.get_or_insert_with(|| damaged(gap));
    }
    Ok((first, bytes))
}
