//! What a CID says of its content beside the digest.

use alloc::vec::Vec;

use ::cid::Version;

use super::{Cid, Codec, HashFn, VerifyError};
use crate::varint;

/// A CID without its digest: version, codec, hash function and length of the digest. With content it makes the CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    is_v0: bool,
    codec: u64,
    hash: u64,
    digest_bytes: u64,
}

impl Prefix {
    /// The prefix of every CID of version 0.
    pub const V0: Prefix = Prefix {
        is_v0: true,
        codec: Codec::DagPb.code(),
        hash: HashFn::Sha2_256.code(),
        digest_bytes: 32,
    };

    /// The prefix of a CID.
    pub fn of(cid: &Cid) -> Prefix {
        Prefix {
            is_v0: cid.version() == Version::V0,
            codec: cid.codec(),
            hash: cid.hash().code(),
            digest_bytes: u64::from(cid.hash().size()),
        }
    }

    /// The number of the hash function and the length of the digest in bytes: what CIDs of one multihash have in common.
    pub fn hash_form(&self) -> (u64, u64) {
        (self.hash, self.digest_bytes)
    }

    /// Whether CIDs of this prefix hold their content themselves.
    pub fn is_identity(&self) -> bool {
        self.hash == HashFn::Identity.code()
    }

    /// The CID of `content` under this prefix.
    ///
    /// # Errors
    /// Whatever [`HashFn::accept`] and [`HashFn::multihash`] refuse.
    pub fn cid_of(&self, content: &[u8]) -> Result<Cid, VerifyError> {
        let digest_bytes = usize::try_from(self.digest_bytes).unwrap_or(usize::MAX);
        let hash = HashFn::accept(self.hash, digest_bytes)?.multihash(digest_bytes, content)?;
        Ok(if self.is_v0 {
            Cid::new_v0(hash).expect("the only prefix of version 0 is SHA2-256 with 32 bytes")
        } else {
            Cid::new_v1(self.codec, hash)
        })
    }
}

/// Parses the four numbers that are the binary form of a prefix.
///
/// `None` where bytes follow, a number is not in its shortest form, the version is another, or a version 0 is of anything
/// but DAG-PB under SHA2-256. Hash function and length are not judged.
pub(crate) fn parse_prefix_bytes(bytes: &[u8]) -> Option<Prefix> {
    let (mut numbers, mut at) = ([0; 4], 0);
    for number in &mut numbers {
        let (read, length) = varint::read_u63(&bytes[at..]).ok()?;
        *number = read;
        at += length;
    }
    let [version, codec, hash, digest_bytes] = numbers;
    let prefix = Prefix {
        is_v0: version == 0,
        codec,
        hash,
        digest_bytes,
    };
    let is_sound = version == 1 || prefix == Prefix::V0;
    (is_sound && at == bytes.len()).then_some(prefix)
}

/// Appends the binary form of a prefix.
pub(crate) fn write_prefix(out: &mut Vec<u8>, prefix: &Prefix) {
    varint::write(out, u64::from(!prefix.is_v0));
    varint::write(out, prefix.codec);
    varint::write(out, prefix.hash);
    varint::write(out, prefix.digest_bytes);
}
