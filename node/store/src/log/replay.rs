//! Which groups of the log count, and what is lost of them.
//!
//! A group is proven acknowledged by a later group that names it as `previous`, by a later frame in the same segment (a
//! segment is left where a group fails), by a close mark, or by what is said of the end of the log. A group that is proven and damaged gives its whole batches; the
//! others are told. A last group that is proven by nothing counts whole or not at all.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::io;
use std::path::Path;

use perennis_shared::cid::Multihash;

use crate::disk::{Disk, DiskFile};
use crate::group::{Op, SetHead};
use crate::keys;
use crate::location::{FileNumber, Location};
use crate::rows::{Loss, LossKind, owner_tag};
use crate::segment::Segment;

use super::lost::{last_written, move_tail};
use super::reader::{FoundGroup, Groups};
use super::survey::Files;
use super::{Group, Heard, Logged, Newest, Position, Said};

/// Of this many bytes at the end of a group one at least is not zero: the mark of its end, or the last name in it, which at most a
/// sequence and what fills up follow.
const LAST_BYTES: u64 = 24;

/// What a replay found.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Where writing goes on; none where a new segment is begun.
    pub(crate) end: Option<(Segment, u64)>,
    /// The last group that counts.
    pub(crate) last_group: u64,
    /// No frame has a higher one.
    pub(crate) highest_group: u64,
    /// No file has a higher number, but strays.
    pub(crate) highest_file: FileNumber,
    /// Groups that were applied.
    pub(crate) replayed: u64,
    /// What is lost.
    pub(crate) losses: Vec<Loss>,
    /// Heads that were set by lost batches, and neither set nor deleted since: binary name and sequence.
    pub(crate) min_sequences: BTreeMap<Vec<u8>, u64>,
    /// Names whose head was set by a lost batch, and set or deleted by a later one.
    pub(crate) lifted: BTreeSet<Vec<u8>>,
    /// Copies of blocks that are damaged.
    pub(crate) damaged: Vec<(Multihash, Location)>,
    /// Segments before the end of the index that are there again after they were missed.
    pub(crate) returned: Vec<Segment>,
    /// Whether something in it was acknowledged for certain.
    pub(crate) is_begun: bool,
}

/// What is found out of a group that counts, and of what is missing before it. Once the group is applied nobody finds that again.
#[derive(Debug, Default)]
pub(crate) struct GroupFindings {
    pub(crate) losses: Vec<Loss>,
    /// Heads that its lost batches set: binary name and sequence.
    pub(crate) min_sequences: BTreeMap<Vec<u8>, u64>,
}

/// One group, while it is not decided whether it counts.
struct Summary {
    file: FileNumber,
    group: u64,
    previous: Option<u64>,
    start: u64,
    /// As its head says, which may be behind the end of the file.
    end: u64,
    is_whole: bool,
    /// Whether a later frame of the same segment or a close mark proves it.
    is_proven: bool,
    loss: Loss,
}

/// How a segment ended.
struct Ending {
    file: FileNumber,
    end: u64,
    has_tail: bool,
}

/// Reads the log behind `applied` and applies what counts, in order, each group with what was found out of it. What is read has to be
/// on the disk, see [`DiskFile::settle`].
///
/// # Errors
/// The disk does not let a segment be read (to go on without it would lose what was acknowledged), or `apply` fails.
pub(crate) fn replay<E: From<io::Error>>(
    disk: &dyn Disk,
    dir: &Path,
    applied: Position,
    files: &Files,
    (heard, newest): (&Heard, &mut Newest),
    mut apply: impl FnMut(&Group, GroupFindings) -> Result<(), E>,
) -> Result<Replay, E> {
    let said = heard.said.as_ref();
    let mut summaries = Vec::new();
    let mut ending = None;
    let mut replay = Replay {
        end: None,
        last_group: applied.group,
        highest_group: applied.group,
        highest_file: applied.file,
        replayed: 0,
        losses: Vec::new(),
        min_sequences: BTreeMap::new(),
        lifted: BTreeSet::new(),
        damaged: Vec::new(),
        returned: Vec::new(),
        is_begun: applied.offset > 0,
    };
    check_applied(files, applied, &mut replay)?;
    for (number, file) in &files.log {
        replay.highest_file = replay.highest_file.max(*number);
        if *number >= applied.file {
            let from = applied.start_in(*number);
            ending = Some(summarise(
                &file.segment,
                from,
                applied,
                &mut summaries,
                &mut replay,
            )?);
        }
    }
    for summary in &mut summaries {
        summary.is_proven |= said.is_some_and(|said| said.proves(summary.file, summary.group));
    }
    let counted = decide(&mut summaries, applied, &mut replay);
    let mut groups = summaries.iter();
    replay.is_begun |= groups.any(|group| group.is_proven || group.previous > Some(0));
    let last = last_counted(&summaries, &counted);
    // Where the end is not known, that is written down first.
    if let Some(last) = last
        && (heard.is_whole() || !replay.is_begun)
    {
        say_last(disk, dir, last, (said, newest));
    }
    let can_go_on = last.is_none_or(|last| make_room(last, files).is_ok());
    // In the order of their places.
    let mut waiting = VecDeque::from(replay.losses.clone());
    let with_groups: BTreeSet<FileNumber> = summaries.iter().map(|summary| summary.file).collect();
    for (number, file) in files.log.range(applied.file..) {
        if with_groups.contains(number) {
            let mut groups = Groups::new(&file.segment, applied.start_in(*number), true)?;
            while let Some(found) = groups.next()? {
                if counted.contains(&(*number, found.start)) {
                    replay.last_group = found.group;
                    replay.damaged.extend(found.damaged_bodies.iter().copied());
                    let mut out = GroupFindings::default();
                    if !found.is_whole() {
                        note_heads(&found, &mut out.min_sequences, &mut BTreeSet::new());
                    }
                    note_heads(&found, &mut replay.min_sequences, &mut replay.lifted);
                    let is_here =
                        |loss: &mut Loss| (loss.file, loss.offset) <= (*number, found.start);
                    while let Some(loss) = waiting.pop_front_if(is_here) {
                        out.losses.push(loss);
                    }
                    apply(&group_of(&file.segment, found), out)?;
                    replay.replayed += 1;
                }
            }
        }
    }
    if let Some(ending) = ending
        && let Some(file) = files.log.get(&ending.file)
    {
        match tail(&summaries, &counted, &ending) {
            None if can_go_on => {
                let last = last.filter(|last| last.file == ending.file);
                let end = last.map_or(ending.end, |last| ending.end.max(last.end));
                replay.end = Some((file.segment.clone(), end));
            }
            None => {}
            Some(tail) => {
                // Where it cannot be moved, for want of space or rights, it stays, and the next start tries again.
                if let Ok(moved) = move_tail(disk, dir, &file.segment, tail) {
                    note_moved(&mut replay, ending.file, tail, moved);
                }
            }
        }
    }
    if let Some(said) = said {
        // The numbers of what is missed are not used again.
        replay.highest_file = replay.highest_file.max(said.number);
        replay.highest_group = replay.highest_group.max(said.group);
    }
    Ok(replay)
}

/// The last group that counts.
fn last_counted<'a>(
    summaries: &'a [Summary],
    counted: &HashSet<(FileNumber, u64)>,
) -> Option<&'a Summary> {
    let mut groups = summaries.iter().rev();
    groups.find(|group| counted.contains(&(group.file, group.start)))
}

/// Says which group is the last that is shown from now on, where that was not said: whoever was killed may have left it without that. Where
/// it cannot be said now, the next group that is acknowledged is.
fn say_last(
    disk: &dyn Disk,
    dir: &Path,
    last: &Summary,
    (said, newest): (Option<&Said>, &mut Newest),
) {
    if said.is_none_or(|said| said.group < last.group)
        // Its name may be in memory only.
        && disk.sync_dir(dir).is_ok()
        && newest.say(last.file, last.group).is_err()
    {
        let _ = newest.take_back();
    }
}

/// Makes a file that was cut in its last group as long as that group says: what is written behind it would be passed over as a part of it.
fn make_room(last: &Summary, files: &Files) -> io::Result<()> {
    let Some(file) = files.log.get(&last.file) else {
        return Ok(());
    };
    let file = &file.segment.file;
    if file.length()? >= last.end {
        return Ok(());
    }
    file.reserve(last.end)?;
    file.sync()
}

/// Whether the log is there up to where the index has it.
fn check_applied(files: &Files, applied: Position, replay: &mut Replay) -> io::Result<()> {
    if applied == Position::START {
        return Ok(());
    }
    let is_there = match files.log.get(&applied.file) {
        Some(file) => ends_behind(file.segment.file.as_ref(), applied.offset)?,
        // It may be packed by what is replayed; if it is needed after that, it is told then.
        None => true,
    };
    if !is_there {
        replay.losses.push(Loss {
            group: applied.group,
            ..Loss::new(LossKind::LogBehindIndex, applied.file, applied.offset)
        });
    }
    Ok(())
}

/// Whether something is written in a file up to where a group ended: an earlier copy of it has zeros there.
fn ends_behind(file: &dyn DiskFile, end: u64) -> io::Result<bool> {
    if file.length()? < end {
        return Ok(false);
    }
    let from = end.saturating_sub(LAST_BYTES);
    // What cannot be read now is told by who needs it.
    Ok(last_written(file, from, end).map_or(true, |last| last > from))
}

/// Reads the groups of a segment, once more where something of them is not whole: what the system holds of the file in memory
/// may be worse than what is on the disk.
fn summarise(
    segment: &Segment,
    from: u64,
    applied: Position,
    summaries: &mut Vec<Summary>,
    replay: &mut Replay,
) -> io::Result<Ending> {
    let first = summaries.len();
    let (ending, is_whole) = read_summaries(segment, from, applied, summaries, replay)?;
    if is_whole {
        return Ok(ending);
    }
    // Where it is not forgotten, it is read again all the same.
    let _ = segment.file.forget_cache();
    summaries.truncate(first);
    let (ending, _) = read_summaries(segment, from, applied, summaries, replay)?;
    Ok(ending)
}

/// How a segment ends, and whether all that was found in it is whole.
fn read_summaries(
    segment: &Segment,
    from: u64,
    applied: Position,
    summaries: &mut Vec<Summary>,
    replay: &mut Replay,
) -> io::Result<(Ending, bool)> {
    let mut groups = Groups::new(segment, from, true)?;
    let first = summaries.len();
    while let Some(found) = groups.next()? {
        // Those before it were proven by it.
        if let Some(before) = summaries[first..].last_mut() {
            before.is_proven = true;
        }
        replay.highest_group = replay.highest_group.max(found.group);
        if found.group > applied.group {
            summaries.push(summary_of(segment.number, &found));
        }
    }
    let closed = groups.closed();
    replay.highest_group = replay.highest_group.max(closed.unwrap_or(0));
    for summary in &mut summaries[first..] {
        summary.is_proven |= closed.is_some_and(|closed| closed >= summary.group);
    }
    let are_whole = summaries[first..].iter().all(|summary| summary.is_whole);
    let ending = Ending {
        file: segment.number,
        end: groups.end(),
        has_tail: groups.has_tail()?,
    };
    Ok((ending, are_whole && groups.damage().is_empty()))
}

fn summary_of(file: FileNumber, found: &FoundGroup) -> Summary {
    let is_whole = found.is_whole();
    let mut loss = Loss::new(LossKind::DamagedGroup, file, found.start);
    let is_read = found
        .expected
        .is_some_and(|count| count as usize == found.batches.len());
    if is_read && found.damaged_bodies.is_empty() && !is_whole {
        // Its end mark alone.
        loss.kind = LossKind::DamagedFrames;
        loss.group = found.group;
    } else if !is_whole {
        loss.group = found.group;
        loss.batches = found
            .known_batches()
            .saturating_sub(found.batches.len() as u64);
        loss.names = found.lost_heads().count() as u64;
        loss.blocks = found.damaged_bodies.len() as u64 + found.missing_blocks();
    }
    Summary {
        file,
        group: found.group,
        previous: found.previous,
        start: found.start,
        end: found.end,
        is_whole,
        is_proven: false,
        loss,
    }
}

/// Which groups count: those that no later group passes over. By file and start.
fn decide(
    summaries: &mut [Summary],
    applied: Position,
    replay: &mut Replay,
) -> HashSet<(FileNumber, u64)> {
    let mut counted = HashSet::new();
    // The group that the one behind it names as the last that was acknowledged.
    let mut expected: Option<u64> = None;
    for summary in summaries.iter_mut().rev() {
        match expected {
            Some(expected) if summary.group > expected => continue,
            Some(expected) if summary.group < expected => {
                replay.losses.push(Loss {
                    group: expected,
                    ..Loss::new(LossKind::MissingGroups, summary.file, summary.start)
                });
                summary.is_proven = true;
            }
            Some(_) => summary.is_proven = true,
            None => {}
        }
        expected = summary
            .previous
            .or(expected.filter(|group| *group < summary.group));
        if summary.is_whole || summary.is_proven {
            counted.insert((summary.file, summary.start));
            if !summary.is_whole {
                replay.losses.push(summary.loss.clone());
            }
        } else {
            replay.losses.push(Loss {
                kind: LossKind::TornGroup,
                ..summary.loss.clone()
            });
        }
    }
    if let Some(expected) = expected.filter(|expected| *expected > applied.group) {
        replay.losses.push(Loss {
            group: expected,
            ..Loss::new(LossKind::MissingGroups, applied.file, applied.offset)
        });
    }
    replay.losses.reverse();
    counted
}

/// Notes the heads that the lost batches of a group set. What a whole batch says of a name later takes the place of it.
fn note_heads(
    found: &FoundGroup,
    min_sequences: &mut BTreeMap<Vec<u8>, u64>,
    lifted: &mut BTreeSet<Vec<u8>>,
) {
    let mut lost = found.lost_heads().peekable();
    for (index, batch) in &found.batches {
        while let Some(head) = lost.next_if(|head| head.batch < *index) {
            note_lost(head, min_sequences);
        }
        for op in &batch.ops {
            if let Op::Put(key, _) | Op::Delete(key) = op
                && let [keys::HEAD, name @ ..] = key.as_slice()
            {
                lifted.extend(min_sequences.remove_entry(name).map(|(name, _)| name));
            }
        }
    }
    lost.for_each(|head| note_lost(head, min_sequences));
}

fn note_lost(head: &SetHead, min_sequences: &mut BTreeMap<Vec<u8>, u64>) {
    let min_sequence = min_sequences.entry(head.name.clone()).or_default();
    *min_sequence = head.sequence.max(*min_sequence);
}

fn group_of(segment: &Segment, found: FoundGroup) -> Group {
    let batches = found.batches.into_iter().map(|(_, batch)| Logged {
        tag: owner_tag(&batch.owner),
        entries: batch.entries,
        ops: batch.ops,
    });
    Group {
        end: Position {
            file: segment.number,
            offset: found.end,
            group: found.group,
        },
        salt: segment.salt,
        batches: batches.collect(),
    }
}

/// Where in the last segment stands what is no log: writing goes on behind that only in another one.
fn tail(
    summaries: &[Summary],
    counted: &HashSet<(FileNumber, u64)>,
    ending: &Ending,
) -> Option<u64> {
    // The first group at the end that does not count: all from there on is no log.
    let dropped = summaries
        .iter()
        .rev()
        .take_while(|summary| summary.file == ending.file)
        .take_while(|summary| !counted.contains(&(summary.file, summary.start)))
        .last();
    match dropped {
        Some(summary) => Some(summary.start),
        None => ending.has_tail.then_some(ending.end),
    }
}

/// Notes that the tail of a segment was moved, with the group that it is where that is known.
fn note_moved(replay: &mut Replay, file: FileNumber, tail: u64, bytes: u64) {
    let known = replay.losses.last_mut().filter(|loss| {
        loss.file == file && loss.offset >= tail && loss.kind == LossKind::TornGroup
    });
    match known {
        Some(loss) => loss.moved_bytes = bytes,
        None => replay.losses.push(Loss {
            moved_bytes: bytes,
            ..Loss::new(LossKind::TornGroup, file, tail)
        }),
    }
}
