//! What can be wrong with a pack.

use std::fmt;
use std::io;

use perennis_shared::cid::{Multihash, VerifyError};
use perennis_shared::error::{ErrorKind, Retryable};

use super::{PACK_BYTES, PackName};

/// Why a file is not the pack that it should be, or could not become one.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The disk failed.
    #[error("the disk failed with a pack")]
    Disk(#[from] io::Error),
    /// It is shorter than the shortest pack, or longer than the longest.
    #[error("a pack has at most {PACK_BYTES} bytes and a footer; this has {bytes}")]
    Size {
        /// The length of the file.
        bytes: u64,
    },
    /// A part is not under its checksum, or not of a pack at all.
    #[error("the {part} of the pack is damaged, or it is no pack")]
    Damaged {
        /// Header, footer or trailer.
        part: &'static str,
    },
    /// A later release wrote it.
    #[error("version {0} of packs is unknown")]
    Version(u8),
    /// It is encrypted in a way that is not known here.
    #[error("cipher {0} of packs is unknown")]
    Cipher(u8),
    /// A rule of the format is broken.
    #[error("{rule} (byte {offset} of the pack's {part})")]
    Malformed {
        /// Header, bodies, footer or trailer.
        part: &'static str,
        /// Where in that part.
        offset: usize,
        /// The broken rule.
        rule: &'static str,
    },
    /// A block's bytes are not what its multihash says.
    #[error("block {} of the pack is damaged", Hex(hash))]
    Block {
        /// The block.
        hash: Box<Multihash>,
        /// What the check found.
        source: VerifyError,
    },
    /// The checksums of a block are not those of its bytes.
    #[error(
        "the pack's checksums of block {} are not those of its bytes",
        Hex(hash)
    )]
    Sums {
        /// The block.
        hash: Box<Multihash>,
    },
    /// The links of a block are not those of its bytes.
    #[error("the pack's links of block {} are not those of its bytes", Hex(hash))]
    Links {
        /// The block.
        hash: Box<Multihash>,
    },
    /// A block is in the pack twice.
    #[error("block {} is in the pack twice", Hex(hash))]
    Twice {
        /// The block.
        hash: Box<Multihash>,
    },
    /// It is another pack than the one that was asked for.
    #[error("the pack is {found}, not {expected}")]
    Name {
        /// The name that was asked for.
        expected: PackName,
        /// The name that its bytes have.
        found: PackName,
    },
}

/// The bytes of a multihash, for messages.
struct Hex<'a>(&'a Multihash);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.to_bytes();
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Retryable for PackError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Disk(_) => ErrorKind::Fatal,
            Self::Version(_) | Self::Cipher(_) => ErrorKind::Reject,
            Self::Size { .. }
            | Self::Damaged { .. }
            | Self::Malformed { .. }
            | Self::Block { .. }
            | Self::Sums { .. }
            | Self::Links { .. }
            | Self::Twice { .. }
            | Self::Name { .. } => ErrorKind::Corrupt,
        }
    }
}

#[cfg(test)]
mod tests {
    use perennis_shared::cid::{Codec, cid_of};

    use super::*;

    #[test]
    fn everything_wrong_with_a_pack_has_its_kind() {
        let hash = || Box::new(*cid_of(Codec::Raw, b"a block").hash());
        let malformed = PackError::Malformed {
            part: "footer",
            offset: 1,
            rule: "a rule",
        };
        let block = PackError::Block {
            hash: hash(),
            source: VerifyError::HashNotAllowed { code: 1 },
        };
        let name = PackError::Name {
            expected: PackName([1; 32]),
            found: PackName([2; 32]),
        };
        for (error, kind) in [
            (
                PackError::Disk(io::Error::other("no luck")),
                ErrorKind::Fatal,
            ),
            (PackError::Size { bytes: 1 }, ErrorKind::Corrupt),
            (PackError::Damaged { part: "footer" }, ErrorKind::Corrupt),
            (PackError::Version(9), ErrorKind::Reject),
            (PackError::Cipher(9), ErrorKind::Reject),
            (malformed, ErrorKind::Corrupt),
            (block, ErrorKind::Corrupt),
            (PackError::Sums { hash: hash() }, ErrorKind::Corrupt),
            (PackError::Links { hash: hash() }, ErrorKind::Corrupt),
            (PackError::Twice { hash: hash() }, ErrorKind::Corrupt),
            (name, ErrorKind::Corrupt),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
