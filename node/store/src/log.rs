//! The log over all segments: appends groups, and reads them again after a crash.
//!
//! A group lies in one segment and costs one sync. When a write or the sync fails, what reached the disk is not
//! known: the segment is left, the next group goes into a new one and names the last group that was acknowledged,
//! so that a replay passes over the failed one even where it is whole.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennis_shared::cid::Block;

use crate::disk::{Disk, is_full};
use crate::frame::{ALIGN, Salt, pad};
use crate::group::{
    BATCH_HEAD_BYTES, BatchPayload, Entry, Head, Op, SetHead, close_mark, end_bytes, entry_bytes,
    write_batch_head, write_end, write_entry,
};
use crate::location::{FileNumber, StoreId};
use crate::segment::{GROUPS_START, Header, Segment};

mod lost;
mod newest;
mod position;
mod reader;
mod replay;
mod survey;

pub(crate) use lost::{copy_tail, move_torn};
pub(crate) use newest::{Heard, Newest, Said};
pub(crate) use position::Position;
pub(crate) use reader::{FoundGroup, Groups};
pub(crate) use replay::{GroupFindings, Replay, replay};
pub(crate) use survey::{Files, Known, most_common_store, survey_files};

/// Bodies from this size on are written from where they lie instead of being copied together.
const LARGE_BYTES: usize = 32 << 10;
/// What was copied together is written when it is this much.
const TOGETHER_BYTES: usize = 256 << 10;

/// A batch on its way into the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogBatch {
    pub(crate) owner: Vec<u8>,
    pub(crate) tag: u32,
    pub(crate) blocks: Vec<Block>,
    pub(crate) ops: Vec<Op>,
    /// The heads it sets: binary name and sequence.
    pub(crate) heads: Vec<(Vec<u8>, u64)>,
}

impl LogBatch {
    /// About how many bytes it takes in the log.
    pub(crate) fn bytes(&self) -> u64 {
        let blocks = self.blocks.iter().map(|block| block.bytes().len() + 64);
        (blocks.sum::<usize>() + BatchPayload::ops_bytes(&self.ops)) as u64
    }
}

/// A batch as it lies in the log.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) tag: u32,
    pub(crate) entries: Vec<Entry>,
    pub(crate) ops: Vec<Op>,
}

/// A group as it lies in the log.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) end: Position,
    /// Of its segment.
    pub(crate) salt: Salt,
    pub(crate) batches: Vec<Logged>,
}

/// Appends groups.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    store: StoreId,
    segment_bytes: u64,
    open: Option<Open>,
    next_file: Option<FileNumber>,
    /// Numbers whose names are taken by files that are not ours.
    strays: BTreeSet<FileNumber>,
    last_group: u64,
    next_group: Option<u64>,
    newest: Newest,
    /// A segment that was found removed while it was written to, until that is told.
    removed: Option<FileNumber>,
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
    /// A log that goes on behind what was replayed, in a new segment where `goes_on` is false: the last one stays as it was found then. Does
    /// not fail for want of space: the next group then goes into a new segment as well.
    pub(crate) fn go_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        (store, segment_bytes): (StoreId, u64),
        replay: &Replay,
        strays: BTreeSet<FileNumber>,
        newest: Newest,
        goes_on: bool,
    ) -> Self {
        let mut log = Self {
            disk,
            dir: dir.to_path_buf(),
            store,
            segment_bytes,
            open: None,
            next_file: replay.highest_file.next(),
            strays,
            last_group: replay.last_group,
            next_group: replay.highest_group.checked_add(1),
            newest,
            removed: None,
        };
        log.newest.prepare();
        // Who was killed may have left a segment whose name is not durable, and what is in it is seen from now on.
        let is_named = log.disk.sync_dir(dir).is_ok();
        if let Some((segment, offset)) = replay.end.clone().filter(|_| goes_on && is_named) {
            log.reopen(segment, offset);
        }
        log
    }

    /// Goes on in the last segment, in which nothing stands behind its last group, where there is still much space in it.
    fn reopen(&mut self, segment: Segment, offset: u64) {
        let space = self.segment_bytes;
        let is_roomy = offset < space / 4 * 3;
        // Cut first: what is reserved anew reads as zeros.
        let file = &segment.file;
        let reserved = is_roomy
            && file
                .truncate(offset)
                .and_then(|()| file.reserve(space))
                .and_then(|()| file.sync())
                .is_ok();
        self.open = Some(Open {
            segment,
            offset,
            // Without more space the next group goes into another, and a clean stop leaves its mark here all the same.
            space: if reserved { space } else { offset },
            is_named: true,
        });
    }

    /// A number for a file of blocks, that no other file has had.
    ///
    /// # Errors
    /// All numbers are used up.
    pub(crate) fn take_number(&mut self) -> io::Result<FileNumber> {
        let mut number = self.next_file.ok_or_else(used_up)?;
        while self.strays.contains(&number) {
            number = number.next().ok_or_else(used_up)?;
        }
        self.next_file = number.next();
        Ok(number)
    }

    /// The number of the file that comes after all that were made.
    pub(crate) fn next_file(&self) -> Option<FileNumber> {
        self.next_file
    }

    /// The segment that was found removed while it was written to, once.
    pub(crate) fn take_removed(&mut self) -> Option<FileNumber> {
        self.removed.take()
    }

    /// Writes one group and makes it durable.
    ///
    /// # Errors
    /// The disk's. The group is not acknowledged and will not be seen.
    pub(crate) fn append(&mut self, batches: Vec<LogBatch>) -> io::Result<Group> {
        let group = self.next_group.ok_or_else(used_up)?;
        // Whatever happens to this group, its number is used up.
        self.next_group = group.checked_add(1);
        let sizes = Sizes::of(&batches);
        let head = sizes.head(group, self.last_group, &batches);
        self.space_for(head.group_bytes(), group)?;
        let (disk, dir) = (&self.disk, &self.dir);
        let open = self.open.as_mut().expect("it was just opened");
        let number = open.segment.number;
        let written = write_group(open, &head, &sizes, &batches).and_then(|entries| {
            if !open.is_named {
                disk.sync_dir(dir)?;
                open.is_named = true;
            }
            if open.segment.file.has_name()? {
                return Ok(entries);
            }
            // What is in it is gone once it is closed. Where all of the folder is away, it is not this file that is missing.
            if disk.list(dir).is_ok() && !self.newest.is_of_another() {
                self.removed = Some(number);
            }
            Err(removed(number))
        });
        let newest = &mut self.newest;
        let said = written.and_then(|entries| newest.say(number, group).map(|()| entries));
        // What may be said has to stay where it is; the next group passes over it.
        if said.is_err() && newest.take_back().is_ok() {
            // If this does not reach the disk either, the next group's `previous` says the same.
            let file = &open.segment.file;
            let _ = file.truncate(open.offset).and_then(|()| file.sync());
        }
        match said {
            Ok(entries) => {
                open.offset += head.group_bytes();
                let end = Position {
                    file: number,
                    offset: open.offset,
                    group,
                };
                self.last_group = group;
                let batches = batches.into_iter().zip(entries);
                Ok(Group {
                    end,
                    salt: open.segment.salt,
                    batches: batches
                        .map(|(batch, entries)| Logged {
                            tag: batch.tag,
                            entries,
                            ops: batch.ops,
                        })
                        .collect(),
                })
            }
            Err(error) => {
                self.open = None;
                Err(error)
            }
        }
    }

    /// Ends the open segment: it will not change any more. A mark behind its last group says that all before it was
    /// acknowledged.
    pub(crate) fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            let file = &open.segment.file;
            let mark = close_mark(
                self.last_group,
                open.segment.salt,
                open.segment.number,
                open.offset,
            );
            let end = open.offset + mark.len() as u64;
            // Where it does not reach the disk, the next start looks more closely at the last group, and that is all.
            // Space that stays reserved is given back when the segment is packed.
            let _ = file
                .write_at(&mark, open.offset)
                .and_then(|()| file.truncate(end))
                .and_then(|()| file.sync());
            self.newest.sync();
        }
    }

    fn space_for(&mut self, bytes: u64, group: u64) -> io::Result<()> {
        if let Some(full) = self.open.take_if(|open| open.offset + bytes > open.space) {
            // Where this fails a rest of zeros says the same. It is durable, so that who looks past the cache sees the disk.
            let file = &full.segment.file;
            let _ = file.truncate(full.offset).and_then(|()| file.sync());
        }
        if self.open.is_none() {
            let before = self.next_file;
            let mut number = self.take_number()?;
            let needed = GROUPS_START + bytes;
            let mut space = self.segment_bytes.max(needed);
            let salt = Salt(self.disk.entropy()?);
            let segment = loop {
                let header = Header {
                    number,
                    salt,
                    store: self.store,
                    first_group: group,
                };
                match Segment::create(self.disk.as_ref(), &self.dir, header, space) {
                    // Somebody has made a folder of that name.
                    Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                        self.strays.insert(number);
                        number = self.take_number()?;
                    }
                    // A group that fits is not refused for what would have come after it.
                    Err(error) if is_full(&error) && space > needed => {
                        space = (space / 2).max(needed);
                    }
                    // Where space is short, tries shall not use up numbers.
                    made => break made.inspect_err(|_| self.next_file = before)?,
                }
            };
            self.open = Some(Open {
                segment,
                offset: GROUPS_START,
                space,
                is_named: false,
            });
        }
        Ok(())
    }
}

fn removed(number: FileNumber) -> io::Error {
    let why = format!("segment {number} was removed while it was written to");
    io::Error::new(io::ErrorKind::NotFound, why)
}

fn used_up() -> io::Error {
    io::Error::other(
        "all numbers of files or groups are used up: this store can only be read and exported",
    )
}

/// How long the parts of a group are.
struct Sizes {
    payloads: Vec<usize>,
    batch_bytes: usize,
    body_bytes: usize,
    heads: Vec<SetHead>,
}

impl Sizes {
    fn of(batches: &[LogBatch]) -> Self {
        let mut sizes = Self {
            payloads: Vec::with_capacity(batches.len()),
            batch_bytes: 0,
            body_bytes: 0,
            heads: Vec::new(),
        };
        for (index, batch) in batches.iter().enumerate() {
            let entries: usize = batch
                .blocks
                .iter()
                .map(|block| {
                    entry_bytes(block.cid().hash(), block.cid().codec(), block.bytes().len())
                })
                .sum();
            let payload = BatchPayload::start_bytes(&batch.owner)
                + entries
                + BatchPayload::ops_bytes(&batch.ops);
            sizes.batch_bytes += (BATCH_HEAD_BYTES + payload).next_multiple_of(ALIGN as usize);
            sizes.payloads.push(payload);
            let bodies = batch.blocks.iter().map(|block| block.bytes().len());
            sizes.body_bytes += bodies.sum::<usize>();
            let heads = batch.heads.iter();
            sizes.heads.extend(heads.map(|(name, sequence)| SetHead {
                batch: index as u32,
                name: name.clone(),
                sequence: *sequence,
            }));
        }
        sizes
    }

    fn head(&self, group: u64, previous: u64, batches: &[LogBatch]) -> Head {
        let blocks = batches.iter().map(|batch| batch.blocks.len()).sum();
        Head {
            group,
            previous,
            batches: length(batches.len()),
            blocks: length(blocks),
            batch_bytes: length(self.batch_bytes),
            body_bytes: length(self.body_bytes),
            end_bytes: length(end_bytes(&self.heads)),
        }
    }
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("a group is far below 4 GiB")
}

/// Writes the frames and bodies of a group, small ones together, and syncs. Returns the entries of each batch.
fn write_group(
    open: &Open,
    head: &Head,
    sizes: &Sizes,
    batches: &[LogBatch],
) -> io::Result<Vec<Vec<Entry>>> {
    let Segment { number, salt, .. } = open.segment;
    let start = open.offset;
    let mut writer = Writer {
        open,
        offset: start,
        together: Vec::with_capacity(
            (head.group_bytes() as usize).min(TOGETHER_BYTES + LARGE_BYTES + sizes.batch_bytes),
        ),
    };
    head.write(&mut writer.together, salt, number, start);
    let mut body = start + head.bodies();
    let mut entries = Vec::with_capacity(batches.len());
    let mut payload = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        payload.clear();
        payload.reserve(sizes.payloads[index]);
        entries.push(write_payload(&mut payload, batch, &mut body));
        let offset = start + writer.together.len() as u64;
        write_batch_head(
            &mut writer.together,
            (head.group, index as u32),
            &payload,
            salt,
            number,
            offset,
        );
        writer.together.extend_from_slice(&payload);
        pad(&mut writer.together);
    }
    for block in batches.iter().flat_map(|batch| &batch.blocks) {
        writer.body(block.bytes())?;
    }
    let end_mark = start + head.end_mark();
    let fill = end_mark - (writer.offset + writer.together.len() as u64);
    writer
        .together
        .resize(writer.together.len() + fill as usize, 0);
    write_end(
        &mut writer.together,
        (head.group, head.previous, start),
        &sizes.heads,
        salt,
        number,
        end_mark,
    );
    writer.flush()?;
    open.segment.file.sync()?;
    Ok(entries)
}

/// Appends the payload of a batch; `body` is where its next body goes.
fn write_payload(payload: &mut Vec<u8>, batch: &LogBatch, body: &mut u64) -> Vec<Entry> {
    BatchPayload::write_start(payload, &batch.owner, batch.blocks.len());
    let mut entries = Vec::with_capacity(batch.blocks.len());
    for block in &batch.blocks {
        let (cid, bytes) = (block.cid(), block.bytes());
        let offset = u32::try_from(*body).expect("a segment is far below 4 GiB");
        let crcs = write_entry(payload, cid.hash(), cid.codec(), offset, bytes);
        *body += bytes.len() as u64;
        entries.push(Entry {
            hash: *cid.hash(),
            codec: cid.codec(),
            offset,
            length: length(bytes.len()),
            crcs,
        });
    }
    BatchPayload::write_ops(payload, &batch.ops);
    entries
}

/// Writes small pieces together.
struct Writer<'a> {
    open: &'a Open,
    offset: u64,
    together: Vec<u8>,
}

impl Writer<'_> {
    fn body(&mut self, body: &[u8]) -> io::Result<()> {
        if body.len() < LARGE_BYTES {
            self.together.extend_from_slice(body);
        } else {
            self.flush()?;
            self.open.segment.file.write_at(body, self.offset)?;
            self.offset += body.len() as u64;
        }
        if self.together.len() >= TOGETHER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open
            .segment
            .file
            .write_at(&self.together, self.offset)?;
        self.offset += self.together.len() as u64;
        self.together.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
