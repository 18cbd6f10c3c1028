//! Reads the groups of a segment, one after another, past damage.
//!
//! While heads are whole, each says where the next group begins, and bodies are passed over unread. Where both heads of a group
//! are damaged, frames are looked for from there on, at multiples of 8 and each place once, until the next whole head. The
//! search may pass over bodies then, since nothing says where they lie; what it takes for a frame carries a mark under
//! the segment's salt and its own place, which nobody who chooses bodies can make.

use std::io;
use std::ops::Range;

use perennis_shared::cid::Multihash;

use crate::frame::{ALIGN, CHUNK_BYTES, align, crc};
use crate::group::{
    BATCH_HEAD_BYTES, BatchHead, BatchPayload, CLOSE_BYTES, END_HEAD_BYTES, EndHead, Entry,
    FRAME_BYTES, Frame, HEAD_BYTES, Head, SetHead,
};
use crate::location::Location;
use crate::segment::{GROUPS_START, Segment};

/// Bytes that are looked through at once where frames are searched.
const WINDOW_BYTES: usize = 1 << 20;

/// A group as it was found, whole or not.
#[derive(Debug)]
pub(crate) struct FoundGroup {
    pub(crate) group: u64,
    /// None where neither head nor end mark is whole.
    pub(crate) previous: Option<u64>,
    pub(crate) start: u64,
    /// Where the next group begins.
    pub(crate) end: u64,
    /// The whole batches, by their index.
    pub(crate) batches: Vec<(u32, BatchPayload)>,
    /// How many there should be; none where both heads are damaged.
    pub(crate) expected: Option<u32>,
    /// How many blocks there should be in them; none where both heads are damaged.
    pub(crate) blocks: Option<u32>,
    /// The heads that it sets; none where the end mark is damaged.
    pub(crate) heads: Option<Vec<SetHead>>,
    /// Blocks whose bodies are damaged; looked for on request only.
    pub(crate) damaged_bodies: Vec<(Multihash, Location)>,
}

impl FoundGroup {
    /// Whether nothing of it is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.expected
            .is_some_and(|count| count as usize == self.batches.len())
            && self.heads.is_some()
            && self.damaged_bodies.is_empty()
    }

    /// How many batches there were. Without a head, as many as the others and the heads that they set tell: there may have been more.
    pub(crate) fn known_batches(&self) -> u64 {
        let told = self.heads.iter().flatten().map(|head| head.batch);
        let here = self.batches.iter().map(|(index, _)| *index);
        let last = told.chain(here).max();
        let known = last.map_or(0, |last| u64::from(last) + 1);
        self.expected.map_or(known, u64::from)
    }

    /// How many blocks were in its missing batches, as far as a head tells.
    pub(crate) fn missing_blocks(&self) -> u64 {
        let here: usize = self
            .batches
            .iter()
            .map(|(_, batch)| batch.entries.len())
            .sum();
        let all = self.blocks.map_or(0, u64::from);
        all.saturating_sub(here as u64)
    }

    /// Whether both of its heads are whole: one is enough to read it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn has_both_heads(&self, segment: &Segment) -> io::Result<bool> {
        for copy in 0..2 {
            if !self.has_head(segment, copy)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether its first or its second head is whole.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn has_head(&self, segment: &Segment, copy: u64) -> io::Result<bool> {
        let offset = self.start + copy * HEAD_BYTES as u64;
        let bytes = segment.file.read_vec_at(HEAD_BYTES, offset)?;
        let frame = Frame::read(&bytes, segment.salt, segment.number, offset);
        Ok(matches!(frame, Some(Frame::Head(..))))
    }

    /// The heads that its missing batches set, as far as the end mark tells.
    pub(crate) fn lost_heads(&self) -> impl Iterator<Item = &SetHead> {
        let is_here = |batch: u32| self.batches.iter().any(|(index, _)| *index == batch);
        self.heads
            .iter()
            .flatten()
            .filter(move |head| !is_here(head.batch))
    }
}

/// The groups of one segment.
pub(crate) struct Groups<'a> {
    segment: &'a Segment,
    length: u64,
    offset: u64,
    checks_bodies: bool,
    /// Behind the last group or close mark that was found.
    end: u64,
    /// The highest group that a close mark names.
    closed: Option<u64>,
    /// Where frames should have been and were not.
    damage: Vec<Range<u64>>,
}

impl<'a> Groups<'a> {
    /// Begins at `offset`, where a group begins. With `checks_bodies` the bodies are read as well.
    pub(crate) fn new(segment: &'a Segment, offset: u64, checks_bodies: bool) -> io::Result<Self> {
        let offset = align(offset.max(GROUPS_START));
        Ok(Self {
            segment,
            length: segment.file.length()?,
            offset,
            checks_bodies,
            end: offset,
            closed: None,
            damage: Vec::new(),
        })
    }

    /// Behind the last group or close mark so far.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// The highest group so far of which a clean stop says that it was acknowledged.
    pub(crate) fn closed(&self) -> Option<u64> {
        self.closed
    }

    /// Where frames should have been so far and were not.
    pub(crate) fn damage(&self) -> &[Range<u64>] {
        &self.damage
    }

    /// The next group; none where no frame of ours follows.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<FoundGroup>> {
        loop {
            match self.frame_at(self.offset)? {
                Some(Frame::Head(head, false)) => return self.group(head, self.offset).map(Some),
                Some(Frame::Close(group)) => {
                    self.closed = self.closed.max(Some(group));
                    self.offset += CLOSE_BYTES as u64;
                    self.end = self.offset;
                    continue;
                }
                _ => {}
            }
            if let Some(Frame::Head(head, true)) = self.frame_at(self.offset + HEAD_BYTES as u64)? {
                return self.group(head, self.offset).map(Some);
            }
            let from = self.offset;
            let found = self.search()?;
            let until = match &found {
                Search::End => self.length,
                Search::Group(found) => found.start.max(from),
                Search::Head(start) => *start,
            };
            if until > from && !self.is_zero(from..until)? {
                self.damage.push(from..until);
            }
            match found {
                Search::End => {
                    self.offset = self.length;
                    return Ok(None);
                }
                Search::Group(found) => return Ok(Some(found)),
                Search::Head(start) => self.offset = start,
            }
        }
    }

    /// Whether something other than zeros stands behind the last group.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn has_tail(&self) -> io::Result<bool> {
        Ok(!self.is_zero(self.end..self.length)?)
    }

    fn is_zero(&self, range: Range<u64>) -> io::Result<bool> {
        let mut at = range.start;
        let mut bytes = vec![0; WINDOW_BYTES.min(range.end.saturating_sub(at) as usize)];
        while at < range.end {
            let part = bytes.len().min((range.end - at) as usize);
            self.segment.file.read_at(&mut bytes[..part], at)?;
            if bytes[..part].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += part as u64;
        }
        Ok(true)
    }

    fn frame_at(&self, offset: u64) -> io::Result<Option<Frame>> {
        let mut bytes = [0; FRAME_BYTES];
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let bytes = &mut bytes[..left.min(FRAME_BYTES)];
        if bytes.is_empty() {
            return Ok(None);
        }
        self.segment.file.read_at(bytes, offset)?;
        let Segment { salt, number, .. } = *self.segment;
        Ok(Frame::read(bytes, salt, number, offset))
    }

    /// Reads what is there of `length` bytes from `offset`.
    fn part(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let length = length.min(self.length.saturating_sub(offset));
        if length == 0 {
            // The file may end before that place, which a disk need not let pass.
            return Ok(Vec::new());
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.segment.file.read_vec_at(length, offset)
    }

    /// Reads the group whose head is whole.
    fn group(&mut self, head: Head, start: u64) -> io::Result<FoundGroup> {
        let mut found = FoundGroup {
            group: head.group,
            previous: Some(head.previous),
            start,
            end: start + head.group_bytes(),
            batches: Vec::new(),
            expected: Some(head.batches),
            blocks: Some(head.blocks),
            heads: None,
            damaged_bodies: Vec::new(),
        };
        let batches_at = start + Head::BATCHES;
        let batches = self.part(batches_at, u64::from(head.batch_bytes))?;
        self.read_batches(&batches, batches_at, &mut found);
        let end_mark = start + head.end_mark();
        if let Some(Frame::End(end)) = self.frame_at(end_mark)?
            && end.group == head.group
        {
            found.heads = self.heads(&end, end_mark)?;
        }
        if self.checks_bodies {
            self.check_bodies(&mut found)?;
        }
        self.offset = found.end;
        self.end = found.end.min(align(self.length));
        Ok(found)
    }

    fn read_batches(&self, bytes: &[u8], batches_at: u64, found: &mut FoundGroup) {
        let Segment { salt, number, .. } = *self.segment;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let frame = Frame::read(rest, salt, number, batches_at + at as u64);
            let Some(Frame::Batch(batch)) = frame
                .filter(|frame| matches!(frame, Frame::Batch(batch) if batch.group == found.group))
            else {
                // Damaged: the next one begins at one of the next places.
                at += ALIGN as usize;
                continue;
            };
            let payload = at + BATCH_HEAD_BYTES;
            let end = payload.saturating_add(batch.payload_bytes as usize);
            if let Some(payload) = bytes.get(payload..end) {
                take_batch(&batch, payload, found);
            }
            at = end.next_multiple_of(ALIGN as usize);
        }
    }

    fn heads(&self, end: &EndHead, at: u64) -> io::Result<Option<Vec<SetHead>>> {
        let payload = self.part(at + END_HEAD_BYTES as u64, u64::from(end.payload_bytes))?;
        Ok(end.heads(&payload))
    }

    fn check_bodies(&self, found: &mut FoundGroup) -> io::Result<()> {
        let entries = found.batches.iter().flat_map(|(_, batch)| &batch.entries);
        let mut damaged = Vec::new();
        for entry in entries {
            if !self.is_body_whole(entry)? {
                damaged.push((entry.hash, entry.location(self.segment.number)));
            }
        }
        found.damaged_bodies = damaged;
        Ok(())
    }

    fn is_body_whole(&self, entry: &Entry) -> io::Result<bool> {
        let body = self.part(u64::from(entry.offset), u64::from(entry.length))?;
        let sums = body.chunks(CHUNK_BYTES).map(crc);
        Ok(body.len() == entry.length as usize
            && (body.is_empty() || sums.eq(entry.crcs.iter().copied())))
    }

    /// Looks for the next frame from here on.
    fn search(&mut self) -> io::Result<Search> {
        let Segment { salt, number, .. } = *self.segment;
        let mut orphan: Option<FoundGroup> = None;
        let mut at = self.offset;
        while at < self.length {
            let window = self.part(at, WINDOW_BYTES as u64)?;
            let is_last = at + window.len() as u64 >= self.length;
            // A frame that begins in the window's last bytes is found in the next one.
            let places = if is_last {
                window.len()
            } else {
                window.len() - FRAME_BYTES
            };
            let mut skipped = 0;
            while skipped < places {
                let place = at + skipped as u64;
                match Frame::read(&window[skipped..], salt, number, place) {
                    Some(Frame::Head(_, is_second)) => {
                        let start =
                            place.saturating_sub(if is_second { HEAD_BYTES as u64 } else { 0 });
                        return Ok(self.give(orphan, Search::Head(start)));
                    }
                    Some(Frame::Close(_)) => return Ok(self.give(orphan, Search::Head(place))),
                    Some(Frame::Batch(batch)) => {
                        if orphan
                            .as_ref()
                            .is_some_and(|orphan| orphan.group != batch.group)
                        {
                            self.offset = place;
                            return Ok(self.give(orphan, Search::Head(place)));
                        }
                        let payload_at = place + BATCH_HEAD_BYTES as u64;
                        let payload = self.part(payload_at, u64::from(batch.payload_bytes))?;
                        let found =
                            orphan.get_or_insert_with(|| orphan_of(batch.group, self.offset));
                        take_batch(&batch, &payload, found);
                        found.end = align(payload_at + payload.len() as u64);
                        skipped = usize::try_from(found.end - at).unwrap_or(usize::MAX);
                    }
                    Some(Frame::End(end)) => {
                        if orphan
                            .as_ref()
                            .is_some_and(|orphan| orphan.group != end.group)
                        {
                            return Ok(self.give(orphan, Search::Head(place)));
                        }
                        let mut found = orphan.unwrap_or_else(|| orphan_of(end.group, self.offset));
                        found.heads = self.heads(&end, place)?;
                        found.previous = Some(end.previous);
                        let payload = END_HEAD_BYTES as u64 + u64::from(end.payload_bytes);
                        found.end = align(place + payload);
                        return Ok(self.give(Some(found), Search::End));
                    }
                    None => skipped += ALIGN as usize,
                }
            }
            at += skipped as u64;
        }
        Ok(self.give(orphan, Search::End))
    }

    /// Gives out the orphan first, where there is one; what follows it is found again from its end.
    fn give(&mut self, orphan: Option<FoundGroup>, next: Search) -> Search {
        let Some(mut found) = orphan else { return next };
        if let Search::Head(start) = next {
            found.end = found.end.max(start);
        }
        // Bodies lie behind the batches, which say where.
        let entries = found.batches.iter().flat_map(|(_, batch)| &batch.entries);
        let ends = entries.map(|entry| u64::from(entry.offset) + u64::from(entry.length));
        found.end = found.end.max(align(ends.max().unwrap_or(0)));
        if self.checks_bodies {
            // What cannot be read now is read again when the block is asked for.
            let _ = self.check_bodies(&mut found);
        }
        self.offset = found.end;
        self.end = found.end.min(align(self.length));
        Search::Group(found)
    }
}

enum Search {
    /// Nothing follows.
    End,
    /// A group of which both heads are damaged.
    Group(FoundGroup),
    /// A whole head, or a close mark, begins here.
    Head(u64),
}

fn orphan_of(group: u64, start: u64) -> FoundGroup {
    FoundGroup {
        group,
        previous: None,
        start,
        end: start,
        batches: Vec::new(),
        expected: None,
        blocks: None,
        heads: None,
        damaged_bodies: Vec::new(),
    }
}

fn take_batch(batch: &BatchHead, payload: &[u8], found: &mut FoundGroup) {
    // They stand in the order of their numbers; one that repeats a number was never written by us.
    let is_next = found
        .batches
        .last()
        .is_none_or(|(index, _)| *index < batch.index);
    if is_next && let Some(payload) = batch.payload(payload) {
        found.batches.push((batch.index, payload));
    }
}
