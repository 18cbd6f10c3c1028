//! Reads a CARv1 file that comes in pieces.

use alloc::vec::Vec;

use super::{CarError, Frame, Header, read_frame, read_header, read_section};
use crate::cid::Block;

/// What a decoder has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The header; always the first event and never another.
    Header(Header),
    /// A block that matches its CID.
    Block(Block),
}

/// Turns pieces of a file into events.
///
/// After each [`Decoder::push`] call [`Decoder::next_event`] until it has nothing more; then the
/// decoder holds less than one section. At the end of the file call [`Decoder::finish`].
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where in the buffer the next section begins.
    at: usize,
    /// Where in the file it begins.
    offset: u64,
    /// The error that ended the reading.
    failed: Option<CarError>,
}

impl Decoder {
    /// A decoder at the start of a file.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Takes the next piece of the file, of any length.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next event, or `None` when another piece is needed for it.
    ///
    /// # Errors
    /// Refuses what is no CARv1 file and what is above a limit: the limit on a length counts as soon
    /// as the length is there, before its content. [`CarError::Block`] is about one block and the
    /// next call goes on behind it; any other error comes again at each call.
    pub fn next_event(&mut self) -> Result<Option<Event>, CarError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let event = self.read_event();
        if let Err(error) = &event
            && !matches!(error, CarError::Block { .. })
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

    /// Bytes the decoder holds: after [`Decoder::next_event`] had nothing more, those of the section that
    /// is not complete.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Refuses a file that ends inside its header or a section, and one that was refused before.
    pub fn finish(self) -> Result<(), CarError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let left = self.buffer.len() - self.at;
        if self.offset == 0 || left > 0 {
            return Err(CarError::Truncated {
                offset: self.offset + left as u64,
                section: self.offset,
            });
        }
        Ok(())
    }

    fn read_event(&mut self) -> Result<Option<Event>, CarError> {
        let rest = &self.buffer[self.at..];
        let Some(frame) = read_frame(rest, self.offset)? else {
            return Ok(None);
        };
        let Some(content) = rest.get(frame.prefix..frame.total()) else {
            return Ok(None);
        };
        let event = if self.offset == 0 {
            read_header(content).map(Event::Header)
        } else {
            read_section(content, self.offset).map(Event::Block)
        };
        self.pass(&frame);
        event.map(Some)
    }

    fn pass(&mut self, frame: &Frame) {
        self.at += frame.total();
        self.offset += frame.total() as u64;
    }
}
