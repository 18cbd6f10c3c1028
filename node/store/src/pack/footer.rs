//! The footer of a pack: which blocks it has, where, under which codecs, and what they link to.
//!
//! It is kept as the bytes it was read as, with the place where each entry begins: a pack of many small blocks takes no
//! more memory than its footer has bytes. What is read out of it later was checked when it was read in.

use perennis_shared::cid::{HashFn, Multihash, parse_multihash_bytes, read_multihash};
use perennis_shared::limits::{BLOCK_LINKS, WIRE_BLOCK_BYTES};

use super::frame::{HEADER_BYTES, TRAILER_BYTES, Trailer, check_size, read_header};
use super::{CODECS, PackError, Partitions, Tag};
use crate::disk::DiskFile;
use crate::frame::{align, chunk_count, crc};
use crate::location::{FileNumber, Location};

/// Fewest bytes of an entry: tag, a multihash of 2 bytes under its length, offset, length, a checksum, a codec without links.
const ENTRY_BYTES: usize = 4 + 1 + 2 + 4 + 4 + 4 + 1 + 2;

/// A footer that was read and is well formed. Whether it is true is for [`verify`](super::verify) to say.
#[derive(Debug)]
pub(crate) struct Footer {
    bytes: Box<[u8]>,
    /// Where each entry begins.
    starts: Box<[u32]>,
}

/// What a footer says about one block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    footer: &'a Footer,
    index: u32,
    head: Head<'a>,
}

/// A link of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link<'a> {
    /// The multihash of what it points at, in bytes.
    pub(crate) hash: &'a [u8],
    /// The codec it is read with.
    pub(crate) codec: u64,
    /// The entry of this pack that it points at.
    pub(crate) entry: Option<u32>,
}

impl Footer {
    /// Reads the footer of a pack. Nothing else of the pack is looked at but its header.
    ///
    /// # Errors
    /// The file is damaged or no pack, or the disk fails.
    pub(crate) fn read(file: &dyn DiskFile) -> Result<Self, PackError> {
        let file_bytes = file.length()?;
        check_size(file_bytes)?;
        let mut header = [0; HEADER_BYTES];
        file.read_at(&mut header, 0)?;
        let range = read_header(&header)?;
        let mut trailer = [0; TRAILER_BYTES];
        file.read_at(&mut trailer, file_bytes - TRAILER_BYTES as u64)?;
        let trailer = Trailer::from_bytes(&trailer, file_bytes)?;
        let bytes = file.read_vec_at(trailer.footer_bytes as usize, trailer.footer_offset)?;
        if crc(&bytes) != trailer.footer_sum {
            return Err(PackError::Damaged { part: "footer" });
        }
        Self::decode(bytes.into(), range, trailer)
    }

    /// Checks all rules of the format that need no body.
    fn decode(bytes: Box<[u8]>, range: Partitions, trailer: Trailer) -> Result<Self, PackError> {
        let mut starts =
            Vec::with_capacity((trailer.entries as usize).min(bytes.len() / ENTRY_BYTES));
        let mut reader = Reader::new(&bytes, 0);
        let malformed = |(offset, rule)| PackError::Malformed {
            part: "footer",
            offset,
            rule,
        };
        let count = reader.u32().map_err(malformed)?;
        if count != trailer.entries {
            return Err(malformed((0, "trailer and footer count other entries")));
        }
        let mut last_tag = 0;
        let mut body = HEADER_BYTES as u64;
        for _ in 0..count {
            let start = reader.at;
            let head = Head::read(&mut reader).map_err(malformed)?;
            let broken = if !range.contains(head.tag) {
                Some("an entry is of another partition")
            } else if head.tag < last_tag {
                Some("entries are not sorted by tag")
            } else if u64::from(head.offset) != body {
                Some("a body does not begin where the one before it ends")
            } else {
                None
            };
            if let Some(rule) = broken {
                return Err(malformed((start, rule)));
            }
            check_codecs(&mut reader, &head, count).map_err(malformed)?;
            last_tag = head.tag;
            body = align(body + u64::from(head.length));
            starts.push(u32_of(start));
        }
        if reader.at != bytes.len() {
            return Err(malformed((reader.at, "bytes follow the last entry")));
        }
        if body != trailer.footer_offset {
            return Err(malformed((
                0,
                "the footer does not begin where the last body ends",
            )));
        }
        Ok(Self {
            bytes,
            starts: starts.into(),
        })
    }

    /// How many blocks the pack has.
    pub(crate) fn len(&self) -> u32 {
        u32_of(self.starts.len())
    }

    /// The entry with this index.
    pub(crate) fn entry(&self, index: u32) -> Option<Entry<'_>> {
        let start = *self.starts.get(index as usize)? as usize;
        let head = Head::read(&mut Reader::new(&self.bytes, start)).ok()?;
        Some(Entry {
            footer: self,
            index,
            head,
        })
    }

    /// All entries in their order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).filter_map(|index| self.entry(index))
    }

    /// The entry of a block whose body begins at `offset` of the file.
    pub(crate) fn entry_at(&self, offset: u32, hash: &[u8]) -> Option<Entry<'_>> {
        let offset_of = |index: u32| self.entry(index).map_or(0, |entry| entry.offset());
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from + (to - from) / 2;
            if offset_of(middle) < offset {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        // Empty bodies lie where the one behind them does.
        (from..self.len())
            .map_while(|index| self.entry(index))
            .take_while(|entry| entry.offset() == offset)
            .find(|entry| entry.hash_bytes() == hash)
    }

    /// The bytes of an entry as they stand in the footer.
    pub(super) fn entry_bytes(&self, index: u32) -> &[u8] {
        let start = |index: usize| {
            self.starts
                .get(index)
                .map_or(self.bytes.len(), |at| *at as usize)
        };
        let index = index as usize;
        self.bytes
            .get(start(index)..start(index + 1))
            .unwrap_or_default()
    }

    /// Bytes of memory that it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + size_of_val::<[u32]>(&self.starts)
    }
}

impl<'a> Entry<'a> {
    /// Its index in the footer.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Whom the block belongs to.
    pub(crate) fn tag(&self) -> Tag {
        self.head.tag
    }

    /// The multihash in bytes: the key of the block.
    pub(crate) fn hash_bytes(&self) -> &'a [u8] {
        self.head.hash
    }

    /// The multihash.
    pub(crate) fn hash(&self) -> Multihash {
        parse_multihash_bytes(self.head.hash).expect("it was one when the footer was read")
    }

    /// Where the body begins in the file.
    pub(crate) fn offset(&self) -> u32 {
        self.head.offset
    }

    /// How many bytes the body has.
    pub(crate) fn length(&self) -> u32 {
        self.head.length
    }

    /// Where the body lies, in the pack of this number.
    pub(crate) fn location(&self, file: FileNumber) -> Location {
        Location {
            file,
            offset: self.head.offset,
            length: self.head.length,
        }
    }

    /// The checksums of the body.
    pub(crate) fn sums(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.head.sums.iter().map(|sum| u32::from_le_bytes(*sum))
    }

    /// The codecs under which the block is kept.
    pub(crate) fn codecs(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.each_codec().map(|(codec, _)| codec)
    }

    /// What the block links to when it is read with this codec, in the order of its bytes; none where the pack does
    /// not know it under that codec or its links could not be read.
    pub(crate) fn links(&self, codec: u64) -> Option<impl Iterator<Item = Link<'a>> + use<'a>> {
        let (_, links) = self.each_codec().find(|(found, _)| *found == codec)?;
        let (footer, mut reader, mut left) = (self.footer, links.reader?, links.count);
        Some(std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let (target, codec) = read_link(&mut reader).ok()?;
            Some(match target {
                Target::Hash(hash) => Link {
                    hash,
                    codec,
                    entry: None,
                },
                Target::Entry(index) => Link {
                    hash: footer.entry(index)?.hash_bytes(),
                    codec,
                    entry: Some(index),
                },
            })
        }))
    }

    fn each_codec(&self) -> impl Iterator<Item = (u64, Links<'a>)> + use<'a> {
        let mut reader = Reader::new(&self.footer.bytes, self.head.end);
        (0..self.head.codecs).map_while(move |_| {
            let (codec, links) = read_codec(&mut reader).ok()?;
            for _ in 0..links.count {
                read_link(&mut reader).ok()?;
            }
            Some((codec, links))
        })
    }
}

/// The part of an entry before its codecs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    tag: Tag,
    pub(super) hash: &'a [u8],
    offset: u32,
    length: u32,
    sums: &'a [[u8; 4]],
    pub(super) codecs: u8,
    /// Where the codecs begin.
    pub(super) end: usize,
}

impl<'a> Head<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Broken> {
        let tag = reader.u32()?;
        let hash_length = reader.u8()?;
        let start = reader.at;
        let hash = reader.multihash()?;
        if hash.len() != usize::from(hash_length) {
            return Err((start, "a multihash has another length"));
        }
        let (offset, length) = (reader.u32()?, reader.u32()?);
        if length as usize > WIRE_BLOCK_BYTES {
            return Err((reader.at, "a block is above 2 MiB"));
        }
        let (sums, _) = reader.take(4 * chunk_count(length))?.as_chunks();
        let codecs = reader.u8()?;
        Ok(Self {
            tag,
            hash,
            offset,
            length,
            sums,
            codecs,
            end: reader.at,
        })
    }
}

/// The links of a block under one codec: how many, and from where they are read. No reader: they could not be read.
#[derive(Debug)]
pub(super) struct Links<'a> {
    pub(super) count: usize,
    reader: Option<Reader<'a>>,
}

impl Links<'_> {
    /// The count as it is written: 0 where they could not be read.
    pub(super) fn written_count(&self) -> u64 {
        self.reader.as_ref().map_or(0, |_| self.count as u64 + 1)
    }
}

/// What a link leads to.
#[derive(Debug)]
pub(super) enum Target<'a> {
    Hash(&'a [u8]),
    Entry(u32),
}

/// Passes over the codecs of an entry and all its links.
fn check_codecs(reader: &mut Reader<'_>, head: &Head<'_>, entries: u32) -> Result<(), Broken> {
    if head.codecs == 0 || usize::from(head.codecs) > CODECS {
        return Err((reader.at, "a block has 1 to 8 codecs"));
    }
    let mut seen = [None; CODECS];
    for index in 0..usize::from(head.codecs) {
        let start = reader.at;
        let (codec, links) = read_codec(reader)?;
        if seen.contains(&Some(codec)) {
            return Err((start, "a block has a codec twice"));
        }
        seen[index] = Some(codec);
        for _ in 0..links.count {
            let start = reader.at;
            if let (Target::Entry(index), _) = read_link(reader)?
                && index >= entries
            {
                return Err((start, "a link leads to an entry that is not there"));
            }
        }
    }
    Ok(())
}

pub(super) fn read_codec<'a>(reader: &mut Reader<'a>) -> Result<(u64, Links<'a>), Broken> {
    let codec = reader.varint()?;
    let start = reader.at;
    let Some(count) = reader.varint()?.checked_sub(1) else {
        let (count, reader) = (0, None);
        return Ok((codec, Links { count, reader }));
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > BLOCK_LINKS {
        return Err((start, "a block has more than 32,768 links"));
    }
    let reader = Some(reader.clone());
    Ok((codec, Links { count, reader }))
}

pub(super) fn read_link<'a>(reader: &mut Reader<'a>) -> Result<(Target<'a>, u64), Broken> {
    let start = reader.at;
    let target = match reader.varint()?.checked_sub(1) {
        None => Target::Hash(reader.multihash()?),
        Some(index) => Target::Entry(
            u32::try_from(index)
                .map_err(|_| (start, "a link leads to an entry that is not there"))?,
        ),
    };
    Ok((target, reader.varint()?))
}

/// Where a rule is broken, and which.
pub(super) type Broken = (usize, &'static str);

/// Reads from a place in the bytes of a footer.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, _) = self
            .rest()
            .split_at_checked(length)
            .ok_or((self.at, "the footer ends inside an entry"))?;
        self.at += length;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Broken> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn u32(&mut self) -> Result<u32, Broken> {
        let bytes = self.take(4)?.first_chunk().copied().unwrap_or_default();
        Ok(u32::from_le_bytes(bytes))
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let (number, rest) = unsigned_varint::decode::u64(self.rest())
            .map_err(|_| (self.at, "a number is cut off or not in its shortest form"))?;
        // Multiformats end at 63 bits, and so does what can be written back as a CID.
        if number > u64::MAX >> 1 {
            return Err((self.at, "a number has more than 63 bits"));
        }
        self.at = self.bytes.len() - rest.len();
        Ok(number)
    }

    /// A multihash that can name a block: identity names none.
    fn multihash(&mut self) -> Result<&'a [u8], Broken> {
        let start = self.at;
        let (hash, length) = read_multihash(self.rest()).map_err(|_| (start, "no multihash"))?;
        if hash.code() == HashFn::Identity.code() {
            return Err((start, "an identity multihash names no block"));
        }
        self.take(length)
    }
}

fn u32_of(number: usize) -> u32 {
    u32::try_from(number).expect("a pack has at most 16 MiB")
}
