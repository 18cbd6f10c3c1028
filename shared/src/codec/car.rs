//! CAR (IPLD specification, "Content Addressable aRchives"): roots and blocks in one file.
//!
//! Every block is checked against its CID, and nothing is held that a limit does not bound. [`Reader`] walks a
//! file in memory; [`Decoder`] is fed with pieces of a file or request body of any size and holds no
//! more than one section and the piece it was given. Both are strict, for what is of our own making: version 1, no
//! sections of length zero, lengths in their shortest form; a header may name no root at all, as gateways send it.
//! [`FileDecoder`] reads what anybody made, of version 1 or 2. [`Writer`] makes a file of version 1, at once or piece by
//! piece.

use alloc::{boxed::Box, vec::Vec};

use super::{
    CodecError, FieldProblem,
    dag_cbor::{self, Encoder},
};
use crate::{
    cid::{Block, Cid, CidError, VerifyError, cid_len, read_cid, write_cid},
    limits::{CAR_HEADER_BYTES, CAR_ROOTS, CAR_SECTION_BYTES, LimitExceeded},
    varint::{self, VarintError},
};

mod decoder;
mod file;
mod reader;

pub use decoder::{Decoder, Event};
pub use file::FileDecoder;
pub use reader::Reader;

/// What a file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The CIDs that the file is about, in its order. They need not be among its blocks.
    pub roots: Vec<Cid>,
}

/// Makes a whole file.
///
/// # Errors
/// Refuses more than [`CAR_ROOTS`] roots.
pub fn write<'a>(
    roots: &[Cid],
    blocks: impl IntoIterator<Item = &'a Block>,
) -> Result<Vec<u8>, CarError> {
    let mut writer = Writer::new(roots)?;
    for block in blocks {
        writer.push(block);
    }
    Ok(writer.take())
}

/// Makes a file piece by piece.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Begins a file with its header.
    ///
    /// # Errors
    /// Refuses more than [`CAR_ROOTS`] roots.
    pub fn new(roots: &[Cid]) -> Result<Writer, CarError> {
        let limit = |source| CarError::Limit { offset: 0, source };
        LimitExceeded::check("CAR roots", CAR_ROOTS, roots.len()).map_err(limit)?;
        let header = encode_header(roots).map_err(|source| CarError::Header { source })?;
        LimitExceeded::check("CAR header bytes", CAR_HEADER_BYTES, header.len()).map_err(limit)?;
        let mut out = Vec::with_capacity(header.len() + 2);
        varint::write(&mut out, header.len() as u64);
        out.extend_from_slice(&header);
        Ok(Writer { out })
    }

    /// Appends a block.
    pub fn push(&mut self, block: &Block) {
        let bytes = block.bytes();
        self.out.reserve(5 + cid_len(block.cid()) + bytes.len());
        write_section_head(&mut self.out, block);
        self.out.extend_from_slice(bytes);
    }

    /// Bytes that are ready to be taken.
    pub fn ready(&self) -> usize {
        self.out.len()
    }

    /// Takes what is ready; the pieces in their order are the file. After the last block the file is
    /// complete.
    pub fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.out)
    }
}

/// Appends what stands before a block's bytes in a file: with the bytes behind it, it is the block's section. For those
/// who send the bytes from where they are.
pub fn write_section_head(out: &mut Vec<u8>, block: &Block) {
    let cid = block.cid();
    varint::write(out, (cid_len(cid) + block.bytes().len()) as u64);
    write_cid(out, cid);
}

/// Why a file is refused. Offsets are bytes from the start of the file.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarError {
    /// The file ends inside its header or a section.
    #[error("the file ends at byte {offset}, inside the section that begins at byte {section}")]
    Truncated {
        /// Length of the file.
        offset: u64,
        /// Where the section that is not complete begins; 0 is the header.
        section: u64,
    },
    /// The header is no CARv1 header.
    #[error("the header is not one of CARv1: {source}")]
    Header {
        /// What is wrong with it.
        source: CodecError,
    },
    /// The file is of another version.
    #[error("the file is a CAR of version {0}, which is not read here")]
    Version(u64),
    /// The header of version 2 is not sound.
    #[error("the header of the CAR of version 2 is not sound: {reason}")]
    Version2 {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A length is not in its shortest form, or zero.
    #[error("the section at byte {offset} has a length that is zero or not in its shortest form")]
    Length {
        /// Where the section begins.
        offset: u64,
    },
    /// A section does not begin with a CID.
    #[error("the section at byte {offset} does not begin with a CID: {source}")]
    Cid {
        /// Where the section begins.
        offset: u64,
        /// What is wrong with the CID.
        source: CidError,
    },
    /// A block does not match its CID, or its hash is not accepted. Reading can go on behind it.
    #[error("the block {cid} at byte {offset}: {source}")]
    Block {
        /// Where the section begins.
        offset: u64,
        /// What the block claims to be.
        cid: Box<Cid>,
        /// Why it is not accepted.
        source: VerifyError,
    },
    /// A size or count is above its limit.
    #[error("at byte {offset}: {source}")]
    Limit {
        /// Where the section begins.
        offset: u64,
        /// The limit.
        source: LimitExceeded,
    },
}

fn encode_header(roots: &[Cid]) -> Result<Vec<u8>, CodecError> {
    let mut encoder = Encoder::new();
    encoder.map(2)?;
    encoder.key("roots");
    encoder.list(roots.len())?;
    for root in roots {
        encoder.link(root);
    }
    encoder.end();
    encoder.key("version");
    encoder.uint(1);
    encoder.end();
    encoder.finish()
}

/// Where a header or section lies in the bytes at hand.
struct Frame {
    /// Length of the varint before the content.
    prefix: usize,
    /// Length of the content.
    length: usize,
}

impl Frame {
    fn total(&self) -> usize {
        self.prefix.saturating_add(self.length)
    }
}

/// Reads the length at the start of `input`; `None` when more input is needed to know it. `offset`
/// is the place of `input` in the file: the header is at 0.
fn read_frame(input: &[u8], offset: u64) -> Result<Option<Frame>, CarError> {
    let limit = if offset == 0 {
        ("CAR header bytes", CAR_HEADER_BYTES)
    } else {
        ("CAR section bytes", CAR_SECTION_BYTES)
    };
    frame_at(input, offset, limit)
}

/// As [`read_frame`], with the name of a limit and the most that it allows.
fn frame_at(
    input: &[u8],
    offset: u64,
    (limit, max): (&'static str, usize),
) -> Result<Option<Frame>, CarError> {
    let (length, prefix) = match varint::read_u63(input) {
        Ok((0, _)) | Err(VarintError::Invalid) => return Err(CarError::Length { offset }),
        Ok(read) => read,
        Err(VarintError::Truncated) => return Ok(None),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    LimitExceeded::check(limit, max, length)
        .map_err(|source| CarError::Limit { offset, source })?;
    Ok(Some(Frame { prefix, length }))
}

fn read_header(content: &[u8]) -> Result<Header, CarError> {
    let (roots, version) = parse_header(content).map_err(|source| CarError::Header { source })?;
    if version != 1 {
        return Err(CarError::Version(version));
    }
    Ok(Header { roots })
}

fn parse_header(content: &[u8]) -> Result<(Vec<Cid>, u64), CodecError> {
    let mut decoder = dag_cbor::Decoder::new(content)?;
    let mut entries = decoder.map()?;
    let mut roots = Vec::new();
    // A CAR of version 2 begins with a header that has a version and nothing else.
    let has_roots = entries.optional(&mut decoder, "roots")?;
    if has_roots {
        let mut items = decoder.list()?;
        LimitExceeded::check("CAR roots", CAR_ROOTS, items.remaining())?;
        while items.next(&mut decoder)? {
            roots.push(decoder.link()?);
        }
    }
    entries.required(&mut decoder, "version")?;
    let version = decoder.uint()?;
    entries.finish(&mut decoder)?;
    decoder.finish()?;
    if version == 1 && !has_roots {
        return Err(CodecError::field("roots", FieldProblem::Missing));
    }
    Ok((roots, version))
}

/// Reads a section's content: a CID and the block it names.
fn read_section(content: &[u8], offset: u64) -> Result<Block, CarError> {
    let (cid, length) = read_cid(content).map_err(|source| CarError::Cid { offset, source })?;
    let bytes = bytes::Bytes::copy_from_slice(&content[length..]);
    Block::verified(cid, bytes).map_err(|source| CarError::Block {
        offset,
        cid: Box::new(cid),
        source,
    })
}

#[cfg(test)]
mod tests;
