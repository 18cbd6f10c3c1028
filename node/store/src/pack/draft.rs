//! A footer in the making, from the blocks themselves: by who writes a pack, and by who checks one.
//!
//! Which links stay inside the pack is known only when all its blocks are, so until then each names its multihash.

use std::collections::HashMap;

use perennis_shared::cid::{Cid, Multihash, multihash_len, parse_multihash_bytes, write_multihash};
use perennis_shared::codec;

use super::footer::{Head, Reader, Target, read_codec, read_link};
use super::{PackError, Tag};
use crate::frame::chunk_crcs;

/// A block and what is said about it, beside where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackBlock<'a> {
    /// Whom it belongs to.
    pub(crate) tag: Tag,
    /// Its multihash; not an identity.
    pub(crate) hash: &'a Multihash,
    /// The codecs under which it is kept: 1 to 8, none twice.
    pub(crate) codecs: &'a [u64],
    /// Its bytes, known to be those of the multihash.
    pub(crate) body: &'a [u8],
}

/// Entries as they stand in a footer, but for links to blocks of the same pack.
#[derive(Debug, Default)]
pub(super) struct Draft {
    bytes: Vec<u8>,
    /// Where each entry begins.
    starts: Vec<usize>,
}

impl Draft {
    /// How many blocks it describes.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Describes the next block, whose body begins at `offset` of the file.
    pub(super) fn push(&mut self, offset: u32, block: PackBlock<'_>) {
        self.starts.push(self.bytes.len());
        let out = &mut self.bytes;
        out.extend_from_slice(&block.tag.to_le_bytes());
        out.push(u8::try_from(multihash_len(block.hash)).expect("it has at most 82 bytes"));
        write_multihash(out, block.hash);
        out.extend_from_slice(&offset.to_le_bytes());
        let length = u32::try_from(block.body.len()).expect("a block has at most 2 MiB");
        out.extend_from_slice(&length.to_le_bytes());
        for sum in chunk_crcs(block.body) {
            out.extend_from_slice(&sum.to_le_bytes());
        }
        out.push(u8::try_from(block.codecs.len()).expect("a block has at most 8 codecs"));
        for codec in block.codecs {
            write_varint(out, *codec);
            match codec::links_of_version_1(&Cid::new_v1(*codec, *block.hash), block.body) {
                Err(_) => out.push(0),
                Ok(links) => {
                    write_varint(out, links.len() as u64 + 1);
                    for link in links {
                        out.push(0);
                        write_multihash(out, link.hash());
                        write_varint(out, link.codec());
                    }
                }
            }
        }
    }

    /// Hands over the entries as they stand in the footer of a pack that has these blocks and no others.
    ///
    /// # Errors
    /// A block is there twice, or what `each` returns.
    pub(super) fn finish(
        &self,
        mut each: impl FnMut(u32, &[u8]) -> Result<(), PackError>,
    ) -> Result<(), PackError> {
        let mut indices = HashMap::with_capacity(self.len());
        for (index, start) in (0_u32..).zip(&self.starts) {
            let hash = self.head(*start).hash;
            if indices.insert(hash, index).is_some() {
                let hash = parse_multihash_bytes(hash).expect("it was written from one");
                return Err(PackError::Twice {
                    hash: Box::new(hash),
                });
            }
        }
        let mut entry = Vec::new();
        for (index, start) in (0..).zip(&self.starts) {
            let head = self.head(*start);
            entry.clear();
            entry.extend_from_slice(&self.bytes[*start..head.end]);
            let mut reader = Reader::new(&self.bytes, head.end);
            for _ in 0..head.codecs {
                let (codec, links) = read_codec(&mut reader).expect(WRITTEN);
                write_varint(&mut entry, codec);
                write_varint(&mut entry, links.written_count());
                for _ in 0..links.count {
                    let (Target::Hash(hash), codec) = read_link(&mut reader).expect(WRITTEN) else {
                        unreachable!("a draft has no links by index");
                    };
                    match indices.get(hash) {
                        Some(index) => write_varint(&mut entry, u64::from(*index) + 1),
                        None => {
                            entry.push(0);
                            entry.extend_from_slice(hash);
                        }
                    }
                    write_varint(&mut entry, codec);
                }
            }
            each(index, &entry)?;
        }
        Ok(())
    }

    fn head(&self, start: usize) -> Head<'_> {
        Head::read(&mut Reader::new(&self.bytes, start)).expect(WRITTEN)
    }
}

/// Why what is read from a draft is well formed.
const WRITTEN: &str = "the draft was written in this form";

fn write_varint(out: &mut Vec<u8>, number: u64) {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    out.extend_from_slice(unsigned_varint::encode::u64(number, &mut buffer));
}
