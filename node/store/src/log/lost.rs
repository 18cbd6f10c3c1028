//! The folder `lost`: bytes that stood behind the last whole group of a segment, and segments that were only begun.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile, make_dir};
use crate::layout::LOST;
use crate::location::FileNumber;
use crate::rows::LossKind;
use crate::segment::Segment;

use super::Files;

/// Bytes that are copied at once.
const COPY_BYTES: u64 = 1 << 20;
/// Most files that are kept; the oldest go first.
const FILES: usize = 16;

/// Moves all from `from` on out of a segment, into a file of its own. Returns how many bytes that were.
///
/// The copy is durable before the segment is cut.
pub(super) fn move_tail(
    disk: &dyn Disk,
    segments: &Path,
    segment: &Segment,
    from: u64,
) -> io::Result<u64> {
    let file = segment.file.as_ref();
    let bytes = copy_tail(disk, segments, (segment.number, file), from)?;
    file.truncate(from)?;
    file.sync()?;
    Ok(bytes)
}

/// Moves a segment out of the way that was being begun when the process ended: once there are others behind it, it would look like one
/// whose headers were damaged. One that cannot be moved, for want of space or rights, stays, and the next start tries again.
pub(crate) fn move_torn(disk: &dyn Disk, segments: &Path, files: &mut Files) {
    for loss in &mut files.losses {
        if loss.kind == LossKind::TornFile
            && let Ok(bytes) = move_file(disk, segments, loss.file)
        {
            loss.moved_bytes = bytes;
            files.strays.remove(&loss.file);
        }
    }
}

fn move_file(disk: &dyn Disk, segments: &Path, number: FileNumber) -> io::Result<u64> {
    let path = number.segment_path(segments);
    let file = disk.open(&path)?;
    let bytes = copy_tail(disk, segments, (number, file.as_ref()), 0)?;
    disk.remove(&path)?;
    disk.sync_dir(segments)?;
    Ok(bytes)
}

/// Copies all from `from` on to the last byte that is not zero, into a file of its own, durably. Returns how many bytes
/// that were.
///
/// # Errors
/// The disk's.
pub(crate) fn copy_tail(
    disk: &dyn Disk,
    segments: &Path,
    (number, file): (FileNumber, &dyn DiskFile),
    from: u64,
) -> io::Result<u64> {
    let bytes = last_written(file, from, file.length()?)?.saturating_sub(from);
    if bytes == 0 {
        return Ok(0);
    }
    let dir = folder(segments);
    make_dir(disk, &dir)?;
    forget_oldest(disk, &dir)?;
    let path = next_path(disk, &dir, &format!("{:08x}-{from:08x}", number.0))?;
    let copy = disk.create(&path, bytes)?;
    let mut at = 0;
    while at < bytes {
        let part = usize::try_from(COPY_BYTES.min(bytes - at)).map_err(io::Error::other)?;
        copy.write_at(&file.read_vec_at(part, from + at)?, at)?;
        at += part as u64;
    }
    copy.sync()?;
    disk.sync_dir(&dir)?;
    Ok(bytes)
}

/// The path of a copy that is none yet, behind all of its place: a number whose segment was moved as a whole is used again, and so
/// may a place be.
fn next_path(disk: &dyn Disk, dir: &Path, place: &str) -> io::Result<PathBuf> {
    let names = disk.list(dir)?;
    let copies = names.iter().filter_map(|name| copy_of(name));
    let here = copies.filter(|(other, _)| *other == place);
    let name = match here.map(|(_, copy)| copy).max() {
        None => format!("{place}.bytes"),
        Some(last) => format!("{place}.{}.bytes", last.saturating_add(1)),
    };
    Ok(dir.join(name))
}

/// Of which place a copy is, and the how many-th there.
fn copy_of(name: &str) -> Option<(&str, u64)> {
    let name = name.strip_suffix(".bytes")?;
    match name.split_once('.') {
        None => Some((name, 0)),
        Some((place, copy)) => Some((place, copy.parse().ok()?)),
    }
}

/// The folder beside that of the segments.
fn folder(segments: &Path) -> PathBuf {
    segments.with_file_name(LOST)
}

/// Behind the last byte that is not zero.
pub(super) fn last_written(file: &dyn DiskFile, from: u64, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > from {
        let part = COPY_BYTES.min(end - from);
        let length = usize::try_from(part).map_err(io::Error::other)?;
        let bytes = file.read_vec_at(length, end - part)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(end - part + last as u64 + 1);
        }
        end -= part;
    }
    Ok(from)
}

fn forget_oldest(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let mut names = disk.list(dir)?;
    names.retain(|name| copy_of(name).is_some());
    names.sort_unstable_by(|one, other| copy_of(one).cmp(&copy_of(other)));
    let many = names.len().saturating_sub(FILES - 1);
    for name in &names[..many] {
        disk.remove(&dir.join(name))?;
    }
    Ok(())
}
