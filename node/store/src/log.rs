//! The log over all segments: appends groups, and reads them again after a crash.
//!
//! A group lies in one segment and costs one sync. When a write or the sync fails, what reached the disk is not
//! known: the segment is left, the next group goes into a new one and names the last group that was acknowledged,
//! so that a replay passes over the failed one even where it is whole.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennis_shared::cid::{Block, Cid, parse_cid_bytes, write_cid};

use crate::disk::Disk;
use crate::group::{Commit, Op};
use crate::segment::{
    HEADER_BYTES, Kind, Location, RECORD_BYTES, Record, Records, Segment, SegmentNumber,
    write_record_head,
};

/// Blocks from this size on are written from where they lie instead of being copied together.
const LARGE_BYTES: usize = 32 << 10;
/// What was copied together is written when it is this much.
const TOGETHER_BYTES: usize = 256 << 10;

/// A place in the log: behind the last byte of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: SegmentNumber,
    pub(crate) offset: u64,
    pub(crate) group: u64,
}

impl Position {
    /// Before everything.
    pub(crate) const START: Self = Self {
        segment: SegmentNumber(0),
        offset: 0,
        group: 0,
    };

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.segment.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&self.group.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (segment, rest) = bytes.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let group: [u8; 8] = rest.try_into().ok()?;
        Some(Self {
            segment: SegmentNumber(u32::from_le_bytes(*segment)),
            offset: u64::from_le_bytes(*offset),
            group: u64::from_le_bytes(group),
        })
    }
}

/// A group as it lies in the log.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) end: Position,
    pub(crate) previous: u64,
    pub(crate) blocks: Vec<(Cid, Location)>,
    pub(crate) ops: Vec<Op>,
}

/// What the log held behind the position the index knew.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// In their order.
    pub(crate) groups: Vec<Group>,
    /// Groups that were acknowledged and are damaged.
    pub(crate) lost_groups: u64,
}

/// Appends groups.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    open: Option<Open>,
    next_segment: SegmentNumber,
    last_group: u64,
    next_group: u64,
}

#[derive(Debug)]
struct Open {
    segment: Segment,
    offset: u64,
    space: u64,
    /// Whether its name is durable: the first group in it makes it so.
    is_named: bool,
}

impl Log {
    /// Reads what lies behind `applied` and goes on from its end. Does not fail for want of space or for damage: the
    /// next group then goes into a new segment.
    ///
    /// # Errors
    /// The disk does not let a segment be read. To go on without it would lose what was acknowledged.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        applied: Position,
    ) -> io::Result<(Self, Replay)> {
        let mut numbers: Vec<_> = disk
            .list(dir)?
            .iter()
            .filter_map(|name| SegmentNumber::parse(name))
            .collect();
        numbers.sort_unstable();
        let last = numbers.last().copied();
        let mut groups = Vec::new();
        let mut end = None;
        // An unreadable record may hold any number up to the highest that was given out.
        let mut highest = applied.group;
        for number in numbers
            .iter()
            .copied()
            .filter(|number| *number >= applied.segment)
        {
            let segment = Segment::open(disk.as_ref(), dir, number)?;
            let from = if number == applied.segment {
                applied.offset
            } else {
                HEADER_BYTES
            };
            let stopped = read_groups(&segment, from, applied.group, &mut groups)?;
            highest = highest.max(stopped.highest_group);
            if Some(number) == last {
                end = Some((segment, stopped.offset));
            }
        }
        let replay = chain(groups, applied.group);
        let last_group = replay
            .groups
            .last()
            .map_or(applied.group, |group| group.end.group);
        let mut log = Self {
            disk,
            dir: dir.to_path_buf(),
            segment_bytes,
            open: None,
            // The segments up to the applied one may all be compacted away; their numbers stay used, because a
            // replay begins at the applied one.
            next_segment: last
                .map_or(applied.segment, |last| last.max(applied.segment))
                .next(),
            last_group,
            next_group: highest.max(last_group) + 1,
        };
        // Who was killed may have left a segment whose name is not durable, and what is in it is seen from now on.
        let is_named = log.disk.sync_dir(dir).is_ok();
        if let Some((segment, offset)) = end.filter(|_| is_named) {
            log.go_on(segment, offset);
        }
        Ok((log, replay))
    }

    /// Goes on in the last segment, where there is still much space in it: what a torn group left is wiped first.
    fn go_on(&mut self, segment: Segment, offset: u64) {
        let space = self.segment_bytes;
        let wiped = segment
            .file
            .truncate(offset)
            .and_then(|()| {
                // It is durable with the first group only.
                if offset == HEADER_BYTES {
                    segment.write_header()
                } else {
                    Ok(())
                }
            })
            .and_then(|()| segment.file.sync());
        if wiped.is_ok()
            && offset < space / 4 * 3
            && segment
                .file
                .reserve(space)
                .and_then(|()| segment.file.sync())
                .is_ok()
        {
            self.open = Some(Open {
                segment,
                offset,
                space,
                is_named: true,
            });
        }
    }

    /// The number of the segment that comes after all that were made.
    pub(crate) fn next_segment(&self) -> SegmentNumber {
        self.next_segment
    }

    /// Writes one group and makes it durable.
    ///
    /// # Errors
    /// The disk's. The group is not acknowledged and will not be seen.
    pub(crate) fn append(&mut self, blocks: &[Block], ops: Vec<Op>) -> io::Result<Group> {
        let commit = Commit {
            previous: self.last_group,
            blocks: u32::try_from(blocks.len()).expect("a group is bounded in bytes"),
            ops,
        };
        let body = commit.to_bytes();
        let records: u64 = blocks
            .iter()
            .map(|block| record_bytes(block.cid(), block.bytes().len()))
            .sum();
        let total = records + (RECORD_BYTES + body.len()) as u64;
        let group = self.next_group;
        // Whatever happens to this group, its number is used up.
        self.next_group += 1;
        self.space_for(total)?;
        let (disk, dir) = (&self.disk, &self.dir);
        let open = self.open.as_mut().expect("it was just opened");
        let written = write_group(open, group, blocks, &body).and_then(|locations| {
            if !open.is_named {
                disk.sync_dir(dir)?;
                open.is_named = true;
            }
            Ok(locations)
        });
        match written {
            Ok(locations) => {
                open.offset += total;
                let end = Position {
                    segment: open.segment.number,
                    offset: open.offset,
                    group,
                };
                self.last_group = group;
                Ok(Group {
                    end,
                    previous: commit.previous,
                    blocks: blocks
                        .iter()
                        .map(|block| *block.cid())
                        .zip(locations)
                        .collect(),
                    ops: commit.ops,
                })
            }
            Err(error) => {
                // If this does not reach the disk either, the next group's `previous` says the same.
                let _ = open.segment.file.truncate(open.offset);
                self.open = None;
                Err(error)
            }
        }
    }

    /// Ends the open segment: it will not change any more.
    pub(crate) fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            // Space that stays reserved is given back when the segment is compacted.
            let _ = open
                .segment
                .file
                .truncate(open.offset)
                .and_then(|()| open.segment.file.sync());
        }
    }

    fn space_for(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(full) = self.open.take_if(|open| open.offset + bytes > open.space) {
            // Whether this is durable does not matter: a rest of zeros says the same.
            let _ = full.segment.file.truncate(full.offset);
        }
        if self.open.is_none() {
            let space = self.segment_bytes.max(HEADER_BYTES + bytes);
            let segment = Segment::create(self.disk.as_ref(), &self.dir, self.next_segment, space)?;
            self.next_segment = self.next_segment.next();
            self.open = Some(Open {
                segment,
                offset: HEADER_BYTES,
                space,
                is_named: false,
            });
        }
        Ok(())
    }
}

fn record_bytes(cid: &Cid, body: usize) -> u64 {
    (RECORD_BYTES + perennis_shared::cid::cid_len(cid) + body) as u64
}

/// Writes the records of a group, small ones together, and syncs.
fn write_group(
    open: &Open,
    group: u64,
    blocks: &[Block],
    commit: &[u8],
) -> io::Result<Vec<Location>> {
    let mut locations = Vec::with_capacity(blocks.len());
    let small: usize = blocks
        .iter()
        .map(|block| block.bytes().len())
        .filter(|length| *length < LARGE_BYTES)
        .sum();
    let heads = (blocks.len() + 1) * (RECORD_BYTES + 64) + commit.len();
    let mut together =
        Vec::with_capacity((small + heads).min(TOGETHER_BYTES + LARGE_BYTES + commit.len()));
    let mut key = Vec::with_capacity(64);
    let mut offset = open.offset;
    for block in blocks {
        let body = block.bytes();
        key.clear();
        write_cid(&mut key, block.cid());
        write_record_head(&mut together, Kind::Block, group, &key, body);
        locations.push(Location {
            segment: open.segment.number,
            offset: u32::try_from(offset + together.len() as u64)
                .expect("a segment is far below 4 GiB"),
            length: u32::try_from(body.len()).expect("a block has at most 2 MiB"),
        });
        if body.len() < LARGE_BYTES {
            together.extend_from_slice(body);
        } else {
            offset += flush(open, offset, &mut together)?;
            open.segment.file.write_at(body, offset)?;
            offset += body.len() as u64;
        }
        if together.len() >= TOGETHER_BYTES {
            offset += flush(open, offset, &mut together)?;
        }
    }
    write_record_head(&mut together, Kind::Commit, group, &[], commit);
    together.extend_from_slice(commit);
    flush(open, offset, &mut together)?;
    open.segment.file.sync()?;
    Ok(locations)
}

fn flush(open: &Open, offset: u64, together: &mut Vec<u8>) -> io::Result<u64> {
    open.segment.file.write_at(together, offset)?;
    let length = together.len() as u64;
    together.clear();
    Ok(length)
}

/// Where reading a segment stopped.
struct Stopped {
    /// Behind the last whole group.
    offset: u64,
    highest_group: u64,
}

/// Reads the whole groups of a segment. Damage between them is passed over.
fn read_groups(
    segment: &Segment,
    from: u64,
    above: u64,
    groups: &mut Vec<Group>,
) -> io::Result<Stopped> {
    let mut records = Records::new(segment, from)?;
    let mut stopped = Stopped {
        offset: from,
        highest_group: above,
    };
    let mut blocks: Vec<(u64, Cid, Location)> = Vec::new();
    loop {
        let Some(record) = records.next()? else {
            blocks.clear();
            if records.resync(above)? {
                continue;
            }
            return Ok(stopped);
        };
        stopped.highest_group = stopped.highest_group.max(record.group);
        match record.kind {
            Kind::Block => {
                if let Some((cid, location)) = block_of(segment, &record) {
                    blocks.push((record.group, cid, location));
                }
            }
            Kind::Commit => {
                let whole: Vec<_> = std::mem::take(&mut blocks)
                    .into_iter()
                    .filter(|(group, ..)| *group == record.group)
                    .map(|(_, cid, location)| (cid, location))
                    .collect();
                let commit = Commit::from_bytes(&record.body)
                    .filter(|commit| commit.blocks as usize == whole.len());
                if let Some(commit) = commit.filter(|_| record.group > above) {
                    stopped.offset = records.offset();
                    groups.push(Group {
                        end: Position {
                            segment: segment.number,
                            offset: stopped.offset,
                            group: record.group,
                        },
                        previous: commit.previous,
                        blocks: whole,
                        ops: commit.ops,
                    });
                }
            }
        }
    }
}

fn block_of(segment: &Segment, record: &Record) -> Option<(Cid, Location)> {
    let location = Location {
        segment: segment.number,
        offset: u32::try_from(record.body_offset).ok()?,
        length: u32::try_from(record.body.len()).ok()?,
    };
    Some((parse_cid_bytes(&record.key).ok()?, location))
}

/// Keeps the groups that were acknowledged, or may have been: those that no later group passes over.
fn chain(groups: Vec<Group>, applied: u64) -> Replay {
    let mut replay = Replay::default();
    let mut expected = None;
    for group in groups.into_iter().rev() {
        match expected {
            Some(expected) if group.end.group > expected => continue,
            Some(expected) if group.end.group < expected => replay.lost_groups += 1,
            _ => {}
        }
        expected = Some(group.previous);
        replay.groups.push(group);
    }
    if expected.is_some_and(|expected| expected > applied) {
        replay.lost_groups += 1;
    }
    replay.groups.reverse();
    replay
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::cid::Codec;

    use super::*;
    use crate::disk::Real;

    const SPACE: u64 = 4096;

    fn open(dir: &Path, applied: Position) -> (Log, Replay) {
        Log::open(Arc::new(Real), dir, SPACE, applied).unwrap()
    }

    fn block(text: &str) -> Block {
        Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap()
    }

    fn numbers(replay: &Replay) -> Vec<u64> {
        replay.groups.iter().map(|group| group.end.group).collect()
    }

    #[test]
    fn what_was_appended_is_replayed_in_order_and_from_any_position() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, replay) = open(dir.path(), Position::START);
        assert!(replay.groups.is_empty());
        let mut ends = Vec::new();
        // More than fits into one segment.
        for round in 0..12 {
            let ops = vec![Op::Put(vec![round], vec![round])];
            ends.push(
                log.append(&[block(&"x".repeat(900 + usize::from(round)))], ops)
                    .unwrap()
                    .end,
            );
        }
        drop(log);
        let (_, replay) = open(dir.path(), Position::START);
        assert_eq!(numbers(&replay), (1..=12).collect::<Vec<_>>());
        assert_eq!(replay.lost_groups, 0);
        let (_, replay) = open(dir.path(), ends[6]);
        assert_eq!(numbers(&replay), (8..=12).collect::<Vec<_>>());
        assert_eq!(replay.groups[0].ops, [Op::Put(vec![7], vec![7])]);
    }

    #[test]
    fn numbers_go_on_after_a_restart_and_a_torn_group_is_wiped() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path(), Position::START);
        let end = log.append(&[block("one")], vec![]).unwrap().end;
        let mut torn = Vec::new();
        let key = block("two").cid().to_bytes();
        write_record_head(&mut torn, Kind::Block, 2, &key, b"two");
        let file = Segment::open(&Real, dir.path(), end.segment).unwrap().file;
        file.write_at(&[torn.as_slice(), b"two"].concat(), end.offset)
            .unwrap();
        drop(log);
        let (mut log, replay) = open(dir.path(), Position::START);
        assert_eq!(numbers(&replay), [1]);
        assert_eq!(log.append(&[block("three")], vec![]).unwrap().end.group, 3);
        drop(log);
        let (_, replay) = open(dir.path(), Position::START);
        assert_eq!(numbers(&replay), [1, 3]);
        assert_eq!(replay.lost_groups, 0);
    }

    #[test]
    fn damage_between_groups_is_counted_and_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path(), Position::START);
        let ends: Vec<_> = ["one", "two", "three"]
            .map(|text| log.append(&[block(text)], vec![]).unwrap().end)
            .into();
        let file = Segment::open(&Real, dir.path(), ends[0].segment)
            .unwrap()
            .file;
        file.write_at(b"\xff", ends[0].offset + 30).unwrap();
        drop(log);
        let (_, replay) = open(dir.path(), Position::START);
        assert_eq!(numbers(&replay), [1, 3]);
        assert_eq!(replay.lost_groups, 1);
    }

    #[test]
    fn a_group_that_a_later_one_passes_over_is_not_replayed() {
        let group = |group, previous| Group {
            end: Position {
                segment: SegmentNumber(1),
                offset: 0,
                group,
            },
            previous,
            blocks: vec![],
            ops: vec![],
        };
        let replay = chain(vec![group(5, 4), group(6, 5), group(7, 5), group(8, 7)], 4);
        assert_eq!(numbers(&replay), [5, 7, 8]);
        assert_eq!(replay.lost_groups, 0);
    }
}
