//! Whether content is what a CID names.

use super::{Cid, HashFn};
use crate::limits::{LimitExceeded, WIRE_BLOCK_BYTES};

/// Checks that `bytes` are the content `cid` names. A digest that is cut short is compared as far as it goes.
///
/// # Errors
/// Refuses content above [`WIRE_BLOCK_BYTES`], content with another digest, and whatever [`HashFn::of`] and
/// [`HashFn::multihash`] refuse.
pub fn verify(cid: &Cid, bytes: &[u8]) -> Result<(), VerifyError> {
    LimitExceeded::check("block bytes", WIRE_BLOCK_BYTES, bytes.len())?;
    let expected = cid.hash();
    let found = HashFn::of(expected)?.multihash(usize::from(expected.size()), bytes)?;
    if found == *expected {
        Ok(())
    } else {
        Err(VerifyError::Mismatch)
    }
}

/// Why content is not accepted under a CID.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The content has another digest than the CID says.
    #[error("the content does not match its CID")]
    Mismatch,
    /// The CID's hash function is not on our list.
    #[error("hash function {code:#x} is not accepted; use sha2-256")]
    HashNotAllowed {
        /// The function's number in the multicodec table.
        code: u64,
    },
    /// The function is on our list but was left out of this build, which lacks the feature `hashes`.
    #[error("this build does not verify {hash} (hash function {:#x})", .hash.code())]
    NotInThisBuild {
        /// The function.
        hash: HashFn,
    },
    /// The digest is cut too short to be safe, or longer than its function makes it.
    #[error("a digest of {hash} has {min} to {max} bytes, not {actual}")]
    DigestLength {
        /// The function.
        hash: HashFn,
        /// The least that is accepted, in bytes.
        min: usize,
        /// The most that the function makes, in bytes.
        max: usize,
        /// What the CID has, in bytes.
        actual: usize,
    },
    /// The content was made to have the same SHA-1 as other content, so its CID does not say which of both it is.
    #[error("the content is half of a SHA-1 collision, so its CID names other content too")]
    Collision,
    /// The content is above a limit.
    #[error(transparent)]
    TooLarge(#[from] LimitExceeded),
}
