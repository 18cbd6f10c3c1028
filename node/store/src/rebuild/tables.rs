//! What a file says of the blocks in it.

use std::io;
use std::path::{Path, PathBuf};

use perennis_shared::cid::Multihash;

use crate::block_table::BlockTable;
use crate::disk::Disk;
use crate::layout::packs;
use crate::location::FileNumber;
use crate::log::Groups;
use crate::pack::{Footer, PackError};
use crate::rows::{FileKind, FileRow, Loss, LossKind, Place, owner_tag};
use crate::segment::{GROUPS_START, Segment};

/// Where the files are.
pub(super) struct Folders<'a> {
    disk: &'a dyn Disk,
    segments: PathBuf,
    packs: PathBuf,
}

impl<'a> Folders<'a> {
    pub(super) fn of(disk: &'a dyn Disk, dir: &Path) -> Self {
        Self {
            disk,
            segments: crate::layout::segments(dir),
            packs: packs(dir),
        }
    }
}

/// Takes a block and where it lies. Of two places of one block in a file the later counts.
pub(super) type Take<'a> = &'a mut dyn FnMut(&Multihash, Place);

/// Reads the table of a file. Returns what of it is damaged; none where the file is not there.
///
/// # Errors
/// The file cannot be read now.
pub(super) fn read_table(
    folders: &Folders,
    number: FileNumber,
    row: &FileRow,
    take: Take,
) -> io::Result<Option<Vec<Loss>>> {
    let table = match row.kind {
        FileKind::Log => read_segment(folders, number, row, take),
        FileKind::Pack => read_pack(folders, number, row, take),
        FileKind::Format1 => read_block_table(folders, number, take),
    };
    match table {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        table => table.map(Some),
    }
}

/// The batches of the groups that the checkpoint has. Those behind it are replayed.
fn read_segment(
    folders: &Folders,
    number: FileNumber,
    row: &FileRow,
    take: Take,
) -> io::Result<Vec<Loss>> {
    let Some(salt) = row.salt() else {
        return Ok(Vec::new());
    };
    let segment = Segment::open(folders.disk, &folders.segments, number, salt)?;
    let mut groups = Groups::new(&segment, GROUPS_START, false)?;
    let mut losses = Vec::new();
    while let Some(found) = groups.next()? {
        // A group behind the last that counted in this file failed, or comes later.
        if found.group > row.last_group {
            break;
        }
        for (_, batch) in &found.batches {
            let tag = owner_tag(&batch.owner);
            for entry in &batch.entries {
                let place = Place::new(entry.location(number), tag, entry.codec, &entry.crcs);
                take(&entry.hash, place);
            }
        }
        let here = found.batches.len() as u64;
        // Where both heads are damaged it is not known how many there were.
        let missing = found
            .expected
            .map_or(1, |all| u64::from(all).saturating_sub(here));
        if missing > 0 {
            losses.push(Loss {
                group: found.group,
                batches: missing,
                blocks: found.missing_blocks(),
                ..Loss::new(LossKind::DamagedGroup, number, found.start)
            });
        }
    }
    // What stands behind the last group that counted in this file is none of the checkpoint's.
    let end = GROUPS_START + row.used_bytes;
    if losses.is_empty()
        && let Some(damage) = groups.damage().iter().find(|damage| damage.start < end)
    {
        losses.push(Loss::new(LossKind::UnreadableTable, number, damage.start));
    }
    Ok(losses)
}

/// The table beside a segment of format 1.
fn read_block_table(folders: &Folders, number: FileNumber, take: Take) -> io::Result<Vec<Loss>> {
    // Without the segment its table is of no use.
    folders.disk.open(&number.segment_path(&folders.segments))?;
    let Some(table) = BlockTable::read(folders.disk, &folders.segments, number)? else {
        return Ok(vec![Loss::new(LossKind::UnreadableTable, number, 0)]);
    };
    for entry in &table.entries {
        take(&entry.hash, entry.place(number));
    }
    Ok(Vec::new())
}

/// The entries of a pack.
fn read_pack(
    folders: &Folders,
    number: FileNumber,
    row: &FileRow,
    take: Take,
) -> io::Result<Vec<Loss>> {
    let lost = || Ok(vec![Loss::new(LossKind::UnreadableTable, number, 0)]);
    let Some(name) = row.pack_name() else {
        return lost();
    };
    let file = folders.disk.open(&name.path(&folders.packs))?;
    let footer = match Footer::read(file.as_ref()) {
        // One that ends too early is damaged; other failures may pass.
        Err(PackError::Disk(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
            return Err(error);
        }
        Err(_) => return lost(),
        Ok(footer) => footer,
    };
    for entry in footer.entries() {
        take(&entry.hash(), Place::packed(number, &entry));
    }
    Ok(Vec::new())
}
