//! Content together with the CID that was checked to be its own.

use bytes::Bytes;

use super::{Cid, Codec, Prefix, VerifyError, cid_of, verify};
use crate::limits::{BLOCK_BYTES, LimitExceeded, WIRE_BLOCK_BYTES};

/// Bytes that are known to be what their CID says. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    bytes: Bytes,
}

impl Block {
    /// Makes a block of our own: its CID has version 1 and SHA2-256.
    ///
    /// # Errors
    /// Refuses content above [`BLOCK_BYTES`].
    pub fn new(codec: Codec, bytes: impl Into<Bytes>) -> Result<Block, LimitExceeded> {
        let bytes = bytes.into();
        LimitExceeded::check("block bytes", BLOCK_BYTES, bytes.len())?;
        Ok(Block {
            cid: cid_of(codec, &bytes),
            bytes,
        })
    }

    /// Makes a block of content from outside after checking it with [`verify`].
    ///
    /// # Errors
    /// Whatever [`verify`] refuses.
    pub fn verified(cid: Cid, bytes: impl Into<Bytes>) -> Result<Block, VerifyError> {
        let bytes = bytes.into();
        verify(&cid, &bytes)?;
        Ok(Block { cid, bytes })
    }

    /// Makes a block of content from outside of whose CID all is given but the digest.
    ///
    /// # Errors
    /// Refuses content above [`WIRE_BLOCK_BYTES`], and whatever [`Prefix::cid_of`] refuses.
    pub fn hashed(prefix: Prefix, bytes: impl Into<Bytes>) -> Result<Block, VerifyError> {
        let bytes = bytes.into();
        LimitExceeded::check("block bytes", WIRE_BLOCK_BYTES, bytes.len())?;
        Ok(Block {
            cid: prefix.cid_of(&bytes)?,
            bytes,
        })
    }

    /// The block's name.
    pub fn cid(&self) -> &Cid {
        &self.cid
    }

    /// The block's content.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same content under another CID of its multihash, in another version or with another codec; `None` where the
    /// multihash is another.
    pub fn named(&self, cid: &Cid) -> Option<Block> {
        (cid.hash() == self.cid.hash()).then(|| Block {
            cid: *cid,
            bytes: self.bytes.clone(),
        })
    }

    /// Name and content.
    pub fn into_parts(self) -> (Cid, Bytes) {
        (self.cid, self.bytes)
    }
}
