//! Reads a CAR file of anybody, of version 1 or 2, that comes in pieces.
//!
//! Every block is checked as in a message of ours; what differs is what else a file may be. Its header may be in any form of
//! CBOR and name up to [`CAR_FILE_ROOTS`](crate::limits::CAR_FILE_ROOTS) roots. Sections of length zero, which some
//! programs write to fill a file up, are passed over and counted. A block that is refused, whatever its length, does not
//! end the reading. Of version 2 (IPLD specification, "CARv2") the data are read where the header says they are; the index behind
//! them is passed over, because it is nothing that can be relied on.

use alloc::{boxed::Box, vec::Vec};

use super::{CarError, Event, Frame, Header, frame_at, read_section};
use crate::{
    cid::read_cid,
    codec::{CodecError, FieldProblem, link},
    limits::{
        CAR_FILE_HEADER_BYTES, CAR_SECTION_BYTES, CID_BYTES, LimitExceeded, WIRE_BLOCK_BYTES,
    },
};

/// Bytes of the header of version 2, behind the pragma.
const VERSION_2_BYTES: usize = 40;

/// Turns pieces of a file of anybody into events.
///
/// After each [`FileDecoder::push`] call [`FileDecoder::next_event`] until it has nothing more; then it holds less than one
/// section. At the end of the file call [`FileDecoder::finish`].
#[derive(Debug, Default)]
pub struct FileDecoder {
    buffer: Vec<u8>,
    /// Where in the buffer the next part begins.
    at: usize,
    /// Where in the file that is.
    offset: u64,
    /// Bytes that are passed over first.
    skipped: u64,
    next: Part,
    version: u64,
    /// Where the section of the skipped bytes, or the part that is read, begins.
    begins: u64,
    /// Of version 2: where the data end.
    end: Option<u64>,
    /// Of version 2: where the index begins; 0 where there is none.
    index: u64,
    empty_sections: u64,
    /// The error that ended the reading.
    failed: Option<CarError>,
}

/// What comes next in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The header of version 1, or the pragma of version 2.
    #[default]
    Start,
    /// The header of version 2.
    Version2,
    /// The header of the data in version 2.
    Header,
    /// A section.
    Section,
    /// What stands behind the data of version 2.
    Rest,
}

impl FileDecoder {
    /// A decoder at the start of a file.
    pub fn new() -> FileDecoder {
        FileDecoder::default()
    }

    /// Takes the next piece of the file, of any length.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next event, or `None` when another piece is needed for it.
    ///
    /// # Errors
    /// [`CarError::Block`] and [`CarError::Cid`] are about one section, and the next call goes on behind it; any other error ends
    /// the reading and comes again at each call. A limit on a length counts as soon as the length is there.
    pub fn next_event(&mut self) -> Result<Option<Event>, CarError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let event = self.read_event();
        if let Err(error) = &event
            && !matches!(error, CarError::Block { .. } | CarError::Cid { .. })
        {
            self.failed = Some(error.clone());
            self.buffer = Vec::new();
            self.at = 0;
        }
        if matches!(event, Ok(None)) {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        event
    }

    /// Bytes the decoder holds: after [`FileDecoder::next_event`] had nothing more, those of the section or header that is
    /// not complete.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Which version the file is of, 1 or 2; 0 as long as that is not known.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Sections of length zero that were passed over.
    pub fn empty_sections(&self) -> u64 {
        self.empty_sections
    }

    /// Whether the index is not there to which a header of version 2 points, as far as was read. No block is missing for that.
    pub fn lacks_index(&self) -> bool {
        self.index > 0 && self.offset + (self.buffer.len() - self.at) as u64 <= self.index
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Refuses a file that ends inside its header, a section, or the data of version 2, and one that was refused before.
    pub fn finish(self) -> Result<(), CarError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let left = (self.buffer.len() - self.at) as u64;
        let is_whole = match self.next {
            Part::Section => self.end.is_none() && left == 0 && self.skipped == 0,
            Part::Rest => true,
            Part::Start | Part::Version2 | Part::Header => false,
        };
        if is_whole {
            return Ok(());
        }
        Err(CarError::Truncated {
            offset: self.offset + left,
            section: if self.skipped > 0 {
                self.begins
            } else {
                self.offset
            },
        })
    }

    fn read_event(&mut self) -> Result<Option<Event>, CarError> {
        loop {
            if !self.skip() {
                return Ok(None);
            }
            self.begins = self.offset;
            let event = match self.next {
                Part::Start | Part::Header => self.read_header()?,
                Part::Version2 => self.read_version_2()?,
                Part::Section => self.read_section()?,
                Part::Rest => {
                    let rest = self.rest().len();
                    self.pass(rest);
                    Read::Pending
                }
            };
            match event {
                Read::Event(event) => return Ok(Some(event)),
                Read::Pending => return Ok(None),
                Read::Passed => {}
            }
        }
    }

    /// Passes over what is to be skipped; false where more of it is to come.
    fn skip(&mut self) -> bool {
        let here = self.rest().len();
        let skipped = usize::try_from(self.skipped).map_or(here, |left| left.min(here));
        self.pass(skipped);
        self.skipped -= skipped as u64;
        self.skipped == 0
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    fn pass(&mut self, bytes: usize) {
        self.at += bytes;
        self.offset += bytes as u64;
    }

    fn read_header(&mut self) -> Result<Read, CarError> {
        let limit = ("CAR header bytes", CAR_FILE_HEADER_BYTES);
        let Some(frame) = frame_at(self.rest(), self.offset, limit)? else {
            return Ok(Read::Pending);
        };
        self.expect_inside(&frame)?;
        let Some(content) = self.rest().get(frame.prefix..frame.total()) else {
            return Ok(Read::Pending);
        };
        let refused = |source| CarError::Header { source };
        let (version, roots) = link::read_car_header(content).map_err(refused)?;
        let missing = |name| refused(CodecError::field(name, FieldProblem::Missing));
        let version = version.ok_or_else(|| missing("version"))?;
        let event = match (version, self.next) {
            (1, _) => {
                let roots = roots.ok_or_else(|| missing("roots"))?;
                self.version = self.version.max(1);
                self.next = Part::Section;
                Read::Event(Event::Header(Header { roots }))
            }
            // The pragma is these very bytes, so that the header behind it has its place.
            (2, Part::Start) if frame.total() == PRAGMA_BYTES => {
                self.version = 2;
                self.next = Part::Version2;
                Read::Passed
            }
            _ => return Err(CarError::Version(version)),
        };
        self.pass(frame.total());
        Ok(event)
    }

    fn read_version_2(&mut self) -> Result<Read, CarError> {
        let Some(header) = self.rest().first_chunk::<VERSION_2_BYTES>() else {
            return Ok(Read::Pending);
        };
        let number = |at: usize| {
            let bytes = header[at..].first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        // The first 16 bytes are characteristics, none of which changes how the data are read.
        let (data, size, index) = (number(16), number(24), number(32));
        let first = self.offset + VERSION_2_BYTES as u64;
        let wrong = |reason| Err(CarError::Version2 { reason });
        if data == 0 && size == 0 {
            return wrong("it says of no data: the program that wrote it did not finish");
        }
        if data < first {
            return wrong("its data would begin inside of it");
        }
        let Some(end) = data.checked_add(size) else {
            return wrong("its data would end behind every file");
        };
        if index != 0 && index < end {
            return wrong("its index would begin before the end of its data");
        }
        self.pass(VERSION_2_BYTES);
        self.skipped = data - first;
        (self.end, self.index) = (Some(end), index);
        self.next = Part::Header;
        Ok(Read::Passed)
    }

    fn read_section(&mut self) -> Result<Read, CarError> {
        self.pass_empty();
        self.begins = self.offset;
        if self.end == Some(self.offset) {
            self.next = Part::Rest;
            self.end = None;
            return Ok(Read::Passed);
        }
        let limit = ("CAR section bytes", usize::MAX);
        let Some(frame) = frame_at(self.rest(), self.offset, limit)? else {
            return Ok(Read::Pending);
        };
        self.expect_inside(&frame)?;
        if frame.length > CAR_SECTION_BYTES {
            return self.refuse_large(&frame);
        }
        let Some(content) = self.rest().get(frame.prefix..frame.total()) else {
            return Ok(Read::Pending);
        };
        let block = match read_section(content, self.offset) {
            // What a CID holds itself is never looked for: nothing is to be kept.
            Err(CarError::Cid { .. }) if holds_itself(content) => Ok(Read::Passed),
            block => block.map(|block| Read::Event(Event::Block(block))),
        };
        self.pass(frame.total());
        block
    }

    /// Passes over sections of length zero.
    fn pass_empty(&mut self) {
        let mut rest = self.rest();
        if let Some(end) = self.end {
            let inside = usize::try_from(end - self.offset).unwrap_or(usize::MAX);
            rest = &rest[..inside.min(rest.len())];
        }
        let empty = rest.iter().take_while(|byte| **byte == 0).count();
        self.pass(empty);
        self.empty_sections += empty as u64;
    }

    /// A section of version 2 ends before its data do.
    fn expect_inside(&self, frame: &Frame) -> Result<(), CarError> {
        let ends = self.offset.saturating_add(frame.total() as u64);
        match self.end {
            Some(end) if ends > end => Err(CarError::Truncated {
                offset: end,
                section: self.offset,
            }),
            _ => Ok(()),
        }
    }

    /// Refuses the block of a section that is too large for any, and passes over it.
    fn refuse_large(&mut self, frame: &Frame) -> Result<Read, CarError> {
        let Some(start) = self.rest().get(frame.prefix..frame.prefix + CID_BYTES) else {
            return Ok(Read::Pending);
        };
        let (cid, offset) = (read_cid(start), self.offset);
        self.pass(frame.prefix);
        self.skipped = frame.length as u64;
        let (cid, length) = cid.map_err(|source| CarError::Cid { offset, source })?;
        let bytes = frame.length - length;
        let limit = LimitExceeded::check("block bytes", WIRE_BLOCK_BYTES, bytes);
        match limit {
            Err(limit) => Err(CarError::Block {
                offset,
                cid: Box::new(cid),
                source: limit.into(),
            }),
            // The largest block fits into the largest section, whatever its CID.
            Ok(()) => Ok(Read::Passed),
        }
    }
}

/// Bytes of the pragma of version 2, its length among them.
const PRAGMA_BYTES: usize = 11;

/// What reading on has come to.
enum Read {
    Event(Event),
    /// Something was read that is no event.
    Passed,
    /// Another piece is needed.
    Pending,
}

/// Whether a section is a CID that holds its content, longer than CIDs are here, and that content.
fn holds_itself(section: &[u8]) -> bool {
    let Ok(Some((_, length, at))) = link::read_identity(section) else {
        return false;
    };
    let content = section.get(at..at + length);
    content.is_some_and(|content| content == &section[at + length..])
}

#[cfg(test)]
mod tests;
