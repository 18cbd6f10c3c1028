//! The hash functions under which content is accepted, and what they make of content.
//!
//! The list and the least length of a digest are those of boxo's `verifcid`: what a Kubo node keeps can be kept here, and
//! what it refuses is refused. Two things are stricter. Digests and identities end at [`DIGEST_BYTES`], where Kubo goes on
//! to 128. And SHA-1, which is on the list for the sake of git, is computed so that content made to collide under it is
//! found out and refused. The functions that only content of others needs are compiled in by the feature `hashes`.

use core::fmt;

use sha2::{Digest, Sha256, Sha512};

use super::{Multihash, VerifyError};
use crate::limits::{DIGEST_BYTES, DIGEST_BYTES_MIN, IDENTITY_BYTES, LimitExceeded};

#[cfg(feature = "hashes")]
mod foreign;

/// Hash functions under which content is accepted, called as in the multicodec table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashFn {
    /// The content itself, at most [`IDENTITY_BYTES`], 0x00.
    Identity,
    /// SHA-1, 0x11. Content with the marks of a collision is refused.
    Sha1,
    /// SHA2-256, 0x12. What we create.
    Sha2_256,
    /// SHA2-512, 0x13.
    Sha2_512,
    /// SHA3-512, 0x14.
    Sha3_512,
    /// SHA3-384, 0x15.
    Sha3_384,
    /// SHA3-256, 0x16.
    Sha3_256,
    /// SHA3-224, 0x17.
    Sha3_224,
    /// SHAKE-256, 0x19, whose digest is as long as is asked for.
    Shake256,
    /// Keccak-224, 0x1a.
    Keccak224,
    /// Keccak-256, 0x1b. What Ethereum hashes with.
    Keccak256,
    /// Keccak-384, 0x1c.
    Keccak384,
    /// Keccak-512, 0x1d.
    Keccak512,
    /// BLAKE3, 0x1e, whose digest is as long as is asked for.
    Blake3,
    /// SHA2-256 of the SHA2-256, 0x56. What Bitcoin hashes with.
    DblSha2_256,
    /// BLAKE2b, 0xb200 and the length of its digest.
    Blake2b(Blake2Bytes<64>),
    /// BLAKE2s, 0xb240 and the length of its digest.
    Blake2s(Blake2Bytes<32>),
}

/// Length in bytes of a BLAKE2 digest, from [`DIGEST_BYTES_MIN`] to `MAX`.
///
/// BLAKE2 hashes the length too, so each is a function of its own and none is the beginning of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blake2Bytes<const MAX: u64>(u64);

impl<const MAX: u64> Blake2Bytes<MAX> {
    /// Takes a length; `None` when it is too short to be accepted or longer than the function makes.
    pub const fn new(bytes: u64) -> Option<Blake2Bytes<MAX>> {
        if DIGEST_BYTES_MIN as u64 <= bytes && bytes <= MAX {
            Some(Blake2Bytes(bytes))
        } else {
            None
        }
    }
}

/// What stands before BLAKE2b's length in the number of the function.
const BLAKE2B: u64 = 0xb200;
/// What stands before BLAKE2s's length in the number of the function.
const BLAKE2S: u64 = 0xb240;

impl HashFn {
    /// The hash function's number in the multicodec table.
    pub const fn code(self) -> u64 {
        match self {
            HashFn::Identity => 0x00,
            HashFn::Sha1 => 0x11,
            HashFn::Sha2_256 => 0x12,
            HashFn::Sha2_512 => 0x13,
            HashFn::Sha3_512 => 0x14,
            HashFn::Sha3_384 => 0x15,
            HashFn::Sha3_256 => 0x16,
            HashFn::Sha3_224 => 0x17,
            HashFn::Shake256 => 0x19,
            HashFn::Keccak224 => 0x1a,
            HashFn::Keccak256 => 0x1b,
            HashFn::Keccak384 => 0x1c,
            HashFn::Keccak512 => 0x1d,
            HashFn::Blake3 => 0x1e,
            HashFn::DblSha2_256 => 0x56,
            HashFn::Blake2b(bytes) => BLAKE2B + bytes.0,
            HashFn::Blake2s(bytes) => BLAKE2S + bytes.0,
        }
    }

    /// The hash function of a number of the multicodec table, when it is on our list.
    pub const fn from_code(code: u64) -> Option<HashFn> {
        Some(match code {
            0x00 => HashFn::Identity,
            0x11 => HashFn::Sha1,
            0x12 => HashFn::Sha2_256,
            0x13 => HashFn::Sha2_512,
            0x14 => HashFn::Sha3_512,
            0x15 => HashFn::Sha3_384,
            0x16 => HashFn::Sha3_256,
            0x17 => HashFn::Sha3_224,
            0x19 => HashFn::Shake256,
            0x1a => HashFn::Keccak224,
            0x1b => HashFn::Keccak256,
            0x1c => HashFn::Keccak384,
            0x1d => HashFn::Keccak512,
            0x1e => HashFn::Blake3,
            0x56 => HashFn::DblSha2_256,
            BLAKE2B..=BLAKE2S => match Blake2Bytes::new(code - BLAKE2B) {
                Some(bytes) => HashFn::Blake2b(bytes),
                None => return None,
            },
            0xb241..=0xb260 => match Blake2Bytes::new(code - BLAKE2S) {
                Some(bytes) => HashFn::Blake2s(bytes),
                None => return None,
            },
            _ => return None,
        })
    }

    /// The hash function of a multihash whose content can be checked, whatever that content is.
    ///
    /// # Errors
    /// Refuses functions that are not on the list or not in this build, and digests that are too short or longer than
    /// the function makes.
    pub fn of(hash: &Multihash) -> Result<HashFn, VerifyError> {
        HashFn::accept(hash.code(), usize::from(hash.size()))
    }

    /// As [`HashFn::of`], for a multihash of which only the number and the length of the digest are known.
    ///
    /// # Errors
    /// As [`HashFn::of`].
    pub fn accept(code: u64, digest_bytes: usize) -> Result<HashFn, VerifyError> {
        let hash = HashFn::from_code(code).ok_or(VerifyError::HashNotAllowed { code })?;
        hash.check_digest_bytes(digest_bytes)?;
        if hash.is_in_this_build() {
            Ok(hash)
        } else {
            Err(VerifyError::NotInThisBuild { hash })
        }
    }

    /// The multihash of `content` that holds the first `digest_bytes` of its digest.
    ///
    /// # Errors
    /// As [`HashFn::accept`]; [`VerifyError::Collision`] when the content is half of a collision of SHA-1, and
    /// [`VerifyError::Mismatch`] when an identity would not hold its content whole.
    pub fn multihash(self, digest_bytes: usize, content: &[u8]) -> Result<Multihash, VerifyError> {
        self.check_digest_bytes(digest_bytes)?;
        let mut digest = [0; DIGEST_BYTES];
        match self {
            HashFn::Identity if content.len() == digest_bytes => {
                digest[..digest_bytes].copy_from_slice(content);
            }
            HashFn::Identity => return Err(VerifyError::Mismatch),
            HashFn::Sha2_256 => write::<Sha256>(content, &mut digest),
            HashFn::Sha2_512 => write::<Sha512>(content, &mut digest),
            HashFn::DblSha2_256 => write::<Sha256>(&Sha256::digest(content), &mut digest),
            HashFn::Blake3 => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(content);
                hasher.finalize_xof().fill(&mut digest);
            }
            foreign => foreign::write(foreign, content, &mut digest)?,
        }
        Ok(Multihash::wrap(self.code(), &digest[..digest_bytes])
            .expect("no digest that is accepted is longer than a multihash holds"))
    }

    fn check_digest_bytes(self, actual: usize) -> Result<(), VerifyError> {
        if self == HashFn::Identity {
            return Ok(LimitExceeded::check(
                "identity CID bytes",
                IDENTITY_BYTES,
                actual,
            )?);
        }
        let (min, max) = (DIGEST_BYTES_MIN, self.longest_digest());
        if (min..=max).contains(&actual) {
            return Ok(());
        }
        Err(VerifyError::DigestLength {
            hash: self,
            min,
            max,
            actual,
        })
    }

    const fn longest_digest(self) -> usize {
        match self {
            HashFn::Sha1 => 20,
            HashFn::Sha3_224 | HashFn::Keccak224 => 28,
            HashFn::Sha2_256 | HashFn::DblSha2_256 | HashFn::Sha3_256 | HashFn::Keccak256 => 32,
            HashFn::Sha3_384 | HashFn::Keccak384 => 48,
            HashFn::Sha2_512 | HashFn::Sha3_512 | HashFn::Keccak512 => 64,
            HashFn::Shake256 | HashFn::Blake3 => DIGEST_BYTES,
            HashFn::Blake2b(bytes) => bytes.0 as usize,
            HashFn::Blake2s(bytes) => bytes.0 as usize,
            HashFn::Identity => IDENTITY_BYTES,
        }
    }

    const fn is_in_this_build(self) -> bool {
        let is_always = matches!(
            self,
            HashFn::Identity
                | HashFn::Sha2_256
                | HashFn::Sha2_512
                | HashFn::DblSha2_256
                | HashFn::Blake3
        );
        is_always || cfg!(feature = "hashes")
    }
}

impl fmt::Display for HashFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HashFn::Identity => "identity",
            HashFn::Sha1 => "sha1",
            HashFn::Sha2_256 => "sha2-256",
            HashFn::Sha2_512 => "sha2-512",
            HashFn::Sha3_512 => "sha3-512",
            HashFn::Sha3_384 => "sha3-384",
            HashFn::Sha3_256 => "sha3-256",
            HashFn::Sha3_224 => "sha3-224",
            HashFn::Shake256 => "shake-256",
            HashFn::Keccak224 => "keccak-224",
            HashFn::Keccak256 => "keccak-256",
            HashFn::Keccak384 => "keccak-384",
            HashFn::Keccak512 => "keccak-512",
            HashFn::Blake3 => "blake3",
            HashFn::DblSha2_256 => "dbl-sha2-256",
            HashFn::Blake2b(bytes) => return write!(f, "blake2b-{}", 8 * bytes.0),
            HashFn::Blake2s(bytes) => return write!(f, "blake2s-{}", 8 * bytes.0),
        })
    }
}

/// Writes the whole digest to the start of `digest`.
fn write<D: Digest>(content: &[u8], digest: &mut [u8; DIGEST_BYTES]) {
    let whole = D::digest(content);
    digest[..whole.len()].copy_from_slice(&whole);
}

/// Where the functions of others are not compiled in.
#[cfg(not(feature = "hashes"))]
mod foreign {
    use super::{DIGEST_BYTES, HashFn, VerifyError};

    pub(super) fn write(
        hash: HashFn,
        _: &[u8],
        _: &mut [u8; DIGEST_BYTES],
    ) -> Result<(), VerifyError> {
        Err(VerifyError::NotInThisBuild { hash })
    }
}

#[cfg(test)]
mod tests;
