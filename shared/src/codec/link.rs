//! The links of a block of anybody, found without building a tree of values.
//!
//! Blocks of others are kept, walked and served whatever they look like inside, so this reads what other implementations
//! write and read: DAG-CBOR and DAG-JSON in any form, DAG-PB with names that are no text, objects of git, DAG-JOSE. Our
//! own formats are read by readers of their own, which are strict. Of the same rules are [`links_of_version_1`], for the
//! packs of a store.

use alloc::vec::Vec;

use super::CodecError;
use crate::{
    cid::{Cid, CidError, Codec, HashFn, parse_cid_bytes, text_to_cid_bytes},
    limits::{FOREIGN_LINKS, INLINE_BYTES, LimitExceeded, WIRE_BLOCK_BYTES},
    varint,
};

mod cbor;
mod git;
mod json;
mod pb;
mod version_1;

pub(super) use cbor::read_car_header;
pub use version_1::links_of_version_1;

/// The links of a block, in the order they stand in, by the codec its CID names.
///
/// A block need not be in the canonical form of its codec, only in one that other implementations read. Raw bytes, keys,
/// CBOR and JSON have no links. A link that holds its content itself (an identity CID, of at most [`INLINE_BYTES`])
/// names no block to fetch: in its place stand the links of its content.
///
/// # Errors
/// The links cannot be known: the codec is not read here, the bytes are not of the codec, a link is no CID that is held
/// here, or there are more than [`FOREIGN_LINKS`]. Whoever keeps the block all the same has to say that what is below
/// it is not. It does not compare `bytes` with the digest of `cid`.
pub fn links(cid: &Cid, bytes: &[u8]) -> Result<Vec<Cid>, CodecError> {
    LimitExceeded::check("block bytes", WIRE_BLOCK_BYTES, bytes.len())?;
    let mut found = Links::default();
    found.read(cid.codec(), bytes)?;
    Ok(found.cids)
}

/// Links that were found so far.
#[derive(Default)]
struct Links {
    cids: Vec<Cid>,
}

impl Links {
    fn read(&mut self, codec: u64, bytes: &[u8]) -> Result<(), CodecError> {
        match Codec::from_code(codec).ok_or(CodecError::UnknownCodec(codec))? {
            Codec::Raw | Codec::Libp2pKey | Codec::Cbor | Codec::Json => Ok(()),
            Codec::DagCbor => cbor::read(bytes, self),
            Codec::DagJose => cbor::read_jose(bytes, self),
            Codec::DagJson => json::read(bytes, self),
            Codec::DagPb => pb::read(bytes, self),
            Codec::GitRaw => git::read(bytes, self),
        }
    }

    /// Takes the binary form of a CID that stands at `offset` of the block. Content that a CID holds is shorter than
    /// the CID, so what lies in it ends after few steps.
    fn push_bytes(&mut self, bytes: &[u8], offset: usize) -> Result<(), CodecError> {
        let wrong = |source| CodecError::Link { offset, source };
        match identity(bytes).map_err(wrong)? {
            Some((codec, content)) => self.read(codec, content),
            None => self.push(parse_cid_bytes(bytes).map_err(wrong)?),
        }
    }

    /// As [`Links::push_bytes`], for a CID as text.
    fn push_text(&mut self, text: &str, offset: usize) -> Result<(), CodecError> {
        let bytes =
            text_to_cid_bytes(text).map_err(|source| CodecError::Link { offset, source })?;
        self.push_bytes(&bytes, offset)
    }

    fn push(&mut self, cid: Cid) -> Result<(), CodecError> {
        LimitExceeded::check("links in a block", FOREIGN_LINKS, self.cids.len() + 1)?;
        self.cids.push(cid);
        Ok(())
    }
}

/// The codec and the content of a binary CID that holds its content itself. It may be longer than any other digest, and
/// longer than a [`Cid`] has room for.
fn identity(bytes: &[u8]) -> Result<Option<(u64, &[u8])>, CidError> {
    let Some((codec, length, at)) = read_identity(bytes)? else {
        return Ok(None);
    };
    let content = &bytes[at..];
    match content.len().checked_sub(length) {
        Some(0) => Ok(Some((codec, content))),
        Some(extra) => Err(CidError::TrailingBytes { extra }),
        None => Err(CidError::Truncated),
    }
}

/// Reads a CID that holds its content itself from the start of `bytes`: the codec, how many bytes the content has, and where it
/// begins. None where it is another CID.
pub(super) fn read_identity(bytes: &[u8]) -> Result<Option<(u64, usize, usize)>, CidError> {
    if bytes.first() != Some(&1) {
        return Ok(None);
    }
    let (codec, codec_bytes) = varint::read_u63(&bytes[1..])?;
    let at = 1 + codec_bytes;
    let (hash, hash_bytes) = varint::read_u63(&bytes[at..])?;
    if hash != HashFn::Identity.code() {
        return Ok(None);
    }
    let at = at + hash_bytes;
    let (length, length_bytes) = varint::read_u63(&bytes[at..])?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    LimitExceeded::check("identity CID bytes", INLINE_BYTES, length)?;
    Ok(Some((codec, length, at + length_bytes)))
}

/// Deeper nesting than this is not followed.
const DEPTH: usize = 512;

/// One level deeper.
fn deeper(depth: usize) -> Result<usize, CodecError> {
    LimitExceeded::check("depth of a block", DEPTH, depth + 1)?;
    Ok(depth + 1)
}

#[cfg(test)]
mod tests;
