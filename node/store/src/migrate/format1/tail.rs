//! What the log of format 1 holds behind the place that its index had reached.
//!
//! The store has written down where to begin: in the segment of `applied` at its offset, in each later one behind the
//! header. From there groups are read one behind the other, and a segment is left at the first record that is not
//! whole. The next segment is read all the same: where it begins was chosen by nobody outside either, and each group
//! names the one before it, so that what is missing between the two is known and is told.

use std::io;
use std::path::Path;

use super::change::{Format1Change, GroupEnd};
use super::segment::{Broken, HEADER_BYTES, Record, Records, Segment};
use crate::disk::Disk;
use crate::location::{FileNumber, Location};
use crate::log::Position;

/// A group that was acknowledged, or, as the last one, may have been.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) number: u64,
    /// Binary CIDs, and where their blocks lie.
    pub(crate) blocks: Vec<(Vec<u8>, Location)>,
    pub(crate) changes: Vec<Format1Change>,
}

/// Bytes that were written to a segment behind its last whole group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) file: FileNumber,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Whether it is what is left of one group that was being written, as far as that can be told.
    pub(crate) is_torn: bool,
}

/// Groups that a later one names as acknowledged and that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The last group before.
    pub(crate) after: u64,
    /// The last one that is missing.
    pub(crate) until: u64,
    /// Where they may be.
    pub(crate) unread: Vec<Unread>,
}

/// How the reading ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The last group that was taken.
    pub(crate) last_group: u64,
    /// How many were.
    pub(crate) groups: u64,
    pub(crate) gaps: Vec<Gap>,
    /// What lies behind the last group of all. It was torn when the process ended, or is damaged.
    pub(crate) unread: Vec<Unread>,
    /// The place to which the index knows the log, where the segment of that place ends before it.
    pub(crate) cut: Option<Position>,
}

/// Reads the groups behind `applied` in their order. `numbers` are the segments that are there, ascending.
///
/// # Errors
/// The disk's, and what `each` returns.
pub(crate) fn read_tail<E: From<io::Error>>(
    disk: &dyn Disk,
    dir: &Path,
    numbers: &[FileNumber],
    applied: Position,
    mut each: impl FnMut(Group) -> Result<(), E>,
) -> Result<Tail, E> {
    let mut chain = Chain {
        tail: Tail {
            last_group: applied.group,
            ..Tail::default()
        },
        waiting: None,
    };
    for number in numbers.iter().filter(|number| **number >= applied.file) {
        let Some(segment) = Segment::open(disk, dir, *number)? else {
            continue;
        };
        let mut end = HEADER_BYTES;
        if *number == applied.file {
            end = applied.offset;
            chain.tail.cut = (applied.offset > segment.length).then_some(applied);
        }
        let mut groups = Groups::new(&segment, end);
        while let Some((previous, group)) = groups.next()? {
            if !chain.take(previous, group, &mut each)? {
                break;
            }
            end = groups.records.offset();
        }
        let bytes = segment.written_behind(end)?;
        if bytes > 0 {
            chain.tail.unread.push(Unread {
                file: *number,
                offset: end,
                bytes,
                is_torn: is_torn(groups.records)?,
            });
        }
    }
    if let Some(last) = chain.waiting.take() {
        chain.give(last, &mut each)?;
    }
    Ok(chain.tail)
}

/// The groups so far. The newest waits until a later one says that it was acknowledged.
struct Chain {
    tail: Tail,
    waiting: Option<Group>,
}

impl Chain {
    /// Takes the next group in. False where it does not follow what came before and is therefore none of this log.
    fn take<E>(
        &mut self,
        previous: u64,
        group: Group,
        each: &mut impl FnMut(Group) -> Result<(), E>,
    ) -> Result<bool, E> {
        let newest = self.waiting.as_ref().map(|waiting| waiting.number);
        let follows = self.tail.last_group <= previous
            && previous < group.number
            && newest.is_none_or(|newest| newest < group.number);
        if !follows {
            return Ok(false);
        }
        if let Some(waiting) = self.waiting.take_if(|waiting| waiting.number <= previous) {
            self.give(waiting, each)?;
        }
        let unread = std::mem::take(&mut self.tail.unread);
        if self.tail.last_group < previous {
            self.tail.gaps.push(Gap {
                after: self.tail.last_group,
                until: previous,
                unread,
            });
            // Whatever comes next, these are not missed again.
            self.tail.last_group = previous;
        }
        // One that still waits was passed over: it failed, and the next segment was begun.
        self.waiting = Some(group);
        Ok(true)
    }

    fn give<E>(
        &mut self,
        group: Group,
        each: &mut impl FnMut(Group) -> Result<(), E>,
    ) -> Result<(), E> {
        self.tail.last_group = group.number;
        self.tail.groups += 1;
        each(group)
    }
}

/// Whether what could not be read is the last group, cut off: nothing follows it but what could be the rest of it.
fn is_torn(mut records: Records) -> io::Result<bool> {
    let mut has_ended = match records.broken()? {
        Broken::Nothing => return Ok(true),
        Broken::Other => return Ok(false),
        Broken::Record { ends_group, end } => {
            records.pass_to(end);
            ends_group
        }
    };
    while let Some(record) = records.next()? {
        if has_ended {
            // Another group was written behind, so that this one was acknowledged.
            return Ok(false);
        }
        has_ended = matches!(record, Record::GroupEnd { .. });
    }
    Ok(true)
}

/// The whole groups of one segment.
struct Groups<'a> {
    segment: &'a Segment,
    records: Records<'a>,
}

impl<'a> Groups<'a> {
    fn new(segment: &'a Segment, offset: u64) -> Self {
        Self {
            segment,
            records: Records::new(segment, offset),
        }
    }

    /// The next group and the one that it names as the one before.
    fn next(&mut self) -> io::Result<Option<(u64, Group)>> {
        let mut blocks = Vec::new();
        while let Some(record) = self.records.next()? {
            match record {
                Record::Block {
                    group,
                    key,
                    offset,
                    length,
                } => {
                    let Ok(offset) = u32::try_from(offset) else {
                        return Ok(None);
                    };
                    let location = Location {
                        file: self.segment.number,
                        offset,
                        length,
                    };
                    blocks.push((group, (key, location)));
                }
                Record::GroupEnd { group, body } => {
                    let is_one = blocks.iter().all(|(number, _)| *number == group);
                    let end = GroupEnd::from_bytes(&body)
                        .filter(|end| is_one && end.blocks as usize == blocks.len());
                    return Ok(end.map(|end| {
                        let group = Group {
                            number: group,
                            blocks: blocks.into_iter().map(|(_, block)| block).collect(),
                            changes: end.changes,
                        };
                        (end.previous, group)
                    }));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
