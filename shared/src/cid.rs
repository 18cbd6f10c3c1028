//! Content identifiers and the blocks they name.
//!
//! Owns the reading of CIDs (versions 0 and 1), the list of hashes we trust, and [`Block`]: bytes
//! that are known to have the CID they are filed under. A CID with any hash can be read, because
//! documents of others may link to it; content is only ever accepted under a hash of [`HashFn`].
//!
//! The text and the bytes are read by code of our own, on top of the `cid` crate's type: that
//! crate's readers take trailing bytes, search for `/ipfs/` inside text and do not bound its length.

use alloc::vec::Vec;

use multibase::Base;
use sha2::{Digest, Sha256};

use crate::{
    limits::{CID_BYTES, CID_TEXT_BYTES, LimitExceeded},
    varint::{self, VarintError},
};

/// A content identifier (CID specification, versions 0 and 1) with a digest of at most 64 bytes.
///
/// Every CID takes the room of the longest digest, and collections hold them by the million: 128 bytes for the identities
/// that Kubo makes would enlarge each of them by two thirds.
pub use ::cid::Cid;
pub use block::Block;
pub use hash_fn::{Blake2Bytes, HashFn};
pub use multihash::{
    Multihash, multihash_len, parse_multihash_bytes, read_multihash, write_multihash,
};
pub use prefix::Prefix;
pub(crate) use prefix::{parse_prefix_bytes, write_prefix};
pub use verify::{VerifyError, verify};

mod block;
mod hash_fn;
mod multihash;
mod prefix;
mod verify;

/// Codecs this product can read, by their number in the multicodec table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Bytes without structure, 0x55.
    Raw,
    /// DAG-PB, the UnixFS codec, 0x70.
    DagPb,
    /// DAG-CBOR, 0x71.
    DagCbor,
    /// A libp2p public key, 0x72.
    Libp2pKey,
    /// DAG-JSON, 0x0129.
    DagJson,
    /// CBOR without links, 0x51.
    Cbor,
    /// JSON without links, 0x0200.
    Json,
    /// An object of git, 0x78.
    GitRaw,
    /// DAG-JOSE, signed or encrypted content, 0x85.
    DagJose,
}

impl Codec {
    /// The codec's number in the multicodec table.
    pub const fn code(self) -> u64 {
        match self {
            Codec::Raw => 0x55,
            Codec::DagPb => 0x70,
            Codec::DagCbor => 0x71,
            Codec::Libp2pKey => 0x72,
            Codec::DagJson => 0x0129,
            Codec::Cbor => 0x51,
            Codec::Json => 0x0200,
            Codec::GitRaw => 0x78,
            Codec::DagJose => 0x85,
        }
    }

    /// The codec of a number of the multicodec table, when we can read it.
    pub const fn from_code(code: u64) -> Option<Codec> {
        match code {
            0x55 => Some(Codec::Raw),
            0x70 => Some(Codec::DagPb),
            0x71 => Some(Codec::DagCbor),
            0x72 => Some(Codec::Libp2pKey),
            0x0129 => Some(Codec::DagJson),
            0x51 => Some(Codec::Cbor),
            0x0200 => Some(Codec::Json),
            0x78 => Some(Codec::GitRaw),
            0x85 => Some(Codec::DagJose),
            _ => None,
        }
    }
}

/// The CID we give to content: version 1, SHA2-256.
pub fn cid_of(codec: Codec, bytes: &[u8]) -> Cid {
    let digest = Sha256::digest(bytes);
    let hash = Multihash::wrap(HashFn::Sha2_256.code(), &digest)
        .expect("32 bytes fit into a multihash of 64");
    Cid::new_v1(codec.code(), hash)
}

/// Whether the CID holds its content itself, so that there is no block to look for.
pub fn is_identity(cid: &Cid) -> bool {
    cid.hash().code() == HashFn::Identity.code()
}

/// The CID of version 1 that names the same block under the same codec: for sets in which no block is twice.
pub fn version_1(cid: &Cid) -> Cid {
    Cid::new_v1(cid.codec(), *cid.hash())
}

/// Parses a CID from text: version 0 in base58btc, version 1 in any base of multibase, padded or not.
///
/// # Errors
/// Refuses text above [`CID_TEXT_BYTES`], prefixes such as `/ipfs/`, whatever [`parse_cid_bytes`] refuses, and text
/// that is not the only one of its CID in its base.
pub fn parse_cid(text: &str) -> Result<Cid, CidError> {
    parse_cid_bytes(&text_to_cid_bytes(text)?)
}

/// The bytes that a CID as text stands for. Only the base is judged, and that a version 0 has none.
pub(crate) fn text_to_cid_bytes(text: &str) -> Result<Vec<u8>, CidError> {
    LimitExceeded::check("CID text bytes", CID_TEXT_BYTES, text.len())?;
    if text.len() == 46 && text.starts_with("Qm") {
        return Base::Base58Btc
            .decode(text)
            .map_err(|_| CidError::Text("not base58btc"));
    }
    let mut rest = text.chars();
    let base = rest.next().and_then(|first| Base::from_code(first).ok());
    // As raw bytes a CID is no text.
    let base = base.filter(|base| *base != Base::Identity);
    let base = base.ok_or(CidError::Text("it begins with no base of multibase"))?;
    let wrong = CidError::Text("not in the base that its first letter says");
    let bytes = base.decode(rest.as_str()).map_err(|_| wrong.clone())?;
    if bytes.starts_with(&[0x12, 0x20]) {
        return Err(CidError::Text("a CID of version 0 has no multibase prefix"));
    }
    // The crate's bases take both cases; one CID shall have one text in each base.
    if base.encode(&bytes) == rest.as_str() {
        Ok(bytes)
    } else {
        Err(wrong)
    }
}

/// Parses a binary CID of version 0 or 1.
///
/// # Errors
/// Refuses trailing bytes, numbers that are not in their shortest form, other versions, and digests
/// above [`DIGEST_BYTES`](crate::limits::DIGEST_BYTES).
pub fn parse_cid_bytes(bytes: &[u8]) -> Result<Cid, CidError> {
    LimitExceeded::check("CID bytes", CID_BYTES, bytes.len())?;
    let (cid, length) = read_cid(bytes)?;
    if length == bytes.len() {
        Ok(cid)
    } else {
        Err(CidError::TrailingBytes {
            extra: bytes.len() - length,
        })
    }
}

/// Reads a binary CID from the start of `bytes`; returns it and its length.
///
/// # Errors
/// As [`parse_cid_bytes`], trailing bytes excepted.
pub fn read_cid(bytes: &[u8]) -> Result<(Cid, usize), CidError> {
    if bytes.starts_with(&[0x12, 0x20]) {
        let digest = bytes.get(2..34).ok_or(CidError::Truncated)?;
        let hash = Multihash::wrap(HashFn::Sha2_256.code(), digest)
            .expect("32 bytes fit into a multihash of 64");
        let cid = Cid::new_v0(hash).expect("a SHA2-256 digest of 32 bytes makes a version 0");
        return Ok((cid, 34));
    }
    let (version, after_version) = varint::read_u63(bytes)?;
    if version != 1 {
        return Err(CidError::Version(version));
    }
    let (codec, after_codec) = varint::read_u63(&bytes[after_version..])?;
    let start = after_version + after_codec;
    let (hash, length) = read_multihash(&bytes[start..])?;
    Ok((Cid::new_v1(codec, hash), start + length))
}

/// Appends the binary form of a CID, as `Cid::to_bytes` gives it but without a vector of its own.
pub fn write_cid(out: &mut Vec<u8>, cid: &Cid) {
    if cid.version() == ::cid::Version::V1 {
        out.push(1);
        varint::write(out, cid.codec());
    }
    write_multihash(out, cid.hash());
}

/// Length in bytes of what [`write_cid`] appends.
pub fn cid_len(cid: &Cid) -> usize {
    cid.encoded_len()
}

/// Why something is no CID, or no multihash.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidError {
    /// The text is in no base we read, or breaks the rules of its base.
    #[error("not a CID: {0}")]
    Text(&'static str),
    /// The bytes end inside the CID.
    #[error("not a CID: it ends too early")]
    Truncated,
    /// There is more after the CID.
    #[error("not a CID: {extra} bytes follow its digest")]
    TrailingBytes {
        /// How many bytes follow.
        extra: usize,
    },
    /// A number is not in its shortest form, or too large.
    #[error("not a CID: a number in it is not in its shortest form")]
    Varint,
    /// A version this specification does not define.
    #[error("CID version {0} is unknown; 0 and 1 are known")]
    Version(u64),
    /// Text, bytes or digest are above a limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl From<VarintError> for CidError {
    fn from(error: VarintError) -> CidError {
        match error {
            VarintError::Truncated => CidError::Truncated,
            VarintError::Invalid => CidError::Varint,
        }
    }
}

#[cfg(test)]
mod tests;
