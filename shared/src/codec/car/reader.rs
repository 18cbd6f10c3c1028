//! Walks a CARv1 file in memory.

use super::{CarError, Header, read_frame, read_header, read_section};
use crate::cid::Block;

/// The blocks of a file, each checked against its CID.
///
/// A block that does not match its CID is an error in its place, and the blocks behind it follow; any
/// other error is the last item.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    header: Header,
}

impl<'a> Reader<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// Refuses files without a complete CARv1 header, and headers above
    /// [`crate::limits::CAR_HEADER_BYTES`] or with more than [`crate::limits::CAR_ROOTS`] roots.
    pub fn new(file: &'a [u8]) -> Result<Reader<'a>, CarError> {
        let frame = read_frame(file, 0)?;
        let content = frame
            .as_ref()
            .and_then(|frame| file.get(frame.prefix..frame.total()));
        match (frame, content) {
            (Some(frame), Some(content)) => Ok(Reader {
                header: read_header(content)?,
                input: file,
                at: frame.total(),
            }),
            _ => Err(CarError::Truncated {
                offset: file.len() as u64,
                section: 0,
            }),
        }
    }

    /// The file's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.at as u64
    }

    fn next_section(&mut self) -> Result<Block, CarError> {
        let section = self.at as u64;
        let rest = &self.input[self.at..];
        // Unless the whole section is there, nothing can follow it.
        self.at = self.input.len();
        let truncated = CarError::Truncated {
            offset: self.input.len() as u64,
            section,
        };
        let Some(frame) = read_frame(rest, section)? else {
            return Err(truncated);
        };
        let content = rest.get(frame.prefix..frame.total()).ok_or(truncated)?;
        let block = read_section(content, section);
        if matches!(block, Ok(_) | Err(CarError::Block { .. })) {
            self.at = self.input.len() - rest.len() + frame.total();
        }
        block
    }
}

impl Iterator for Reader<'_> {
    type Item = Result<Block, CarError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.at < self.input.len()).then(|| self.next_section())
    }
}
