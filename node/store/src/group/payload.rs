//! What a batch holds: whose it is, which blocks it brings, which rows it changes.
//!
//! ```text
//! payload  owner length u16 · owner · blocks u32 · entry… · ops u32 · op…
//! entry    multihash length u8 · multihash · codec varint · offset u32 · length u32 · CRC-32C u32 for each 16 KiB
//! op  1 put     key length u16 · key · value length u32 · value
//!     2 delete  key length u16 · key
//!     3 forget  multihash length u8 · multihash
//!     4 saw     multihash length u8 · multihash · tag u32 · codec varint
//!     5 pack    number u32 · name 32 · bytes u64 · entries u32 · dead u32 · entry u32… · dropped u32 · file u32…
//!     6 drop    file u32
//! ```

use perennis_shared::cid::{Multihash, multihash_len, parse_multihash_bytes, write_multihash};

use crate::frame::{CHUNK_BYTES, chunk_count, chunk_crcs, crc};
use crate::location::{FileNumber, Location};

/// A block of a batch: where its body lies and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) hash: Multihash,
    pub(crate) codec: u64,
    /// Where in the file of the batch.
    pub(crate) offset: u32,
    pub(crate) length: u32,
    /// One for each chunk of a body. Of one that was just written and has only one chunk: none.
    pub(crate) crcs: Vec<u32>,
}

impl Entry {
    pub(crate) fn location(&self, file: FileNumber) -> Location {
        Location {
            file,
            offset: self.offset,
            length: self.length,
        }
    }
}

/// A change of the index that is not a block of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// Drops the block.
    Forget(Multihash),
    /// A stored block was put or required again: under this codec, by the owner with this tag.
    Saw {
        hash: Multihash,
        tag: u32,
        codec: u64,
    },
    /// A pack takes over from the files that are dropped.
    Pack(PackOp),
    /// Nothing in the file is needed any more.
    Drop(FileNumber),
}

/// A pack that is taken into use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackOp {
    pub(crate) number: FileNumber,
    pub(crate) name: [u8; 32],
    pub(crate) bytes: u64,
    pub(crate) entries: u32,
    /// Entries whose block was forgotten or moved while the pack was written, by their index.
    pub(crate) dead: Vec<u32>,
    pub(crate) dropped: Vec<FileNumber>,
}

/// A batch as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BatchPayload {
    pub(crate) owner: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) ops: Vec<Op>,
}

/// Bytes of the entry of a block.
pub(crate) fn entry_bytes(hash: &Multihash, codec: u64, length: usize) -> usize {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    let codec = unsigned_varint::encode::u64(codec, &mut buffer).len();
    1 + multihash_len(hash) + codec + 8 + 4 * chunk_count(u32_of(length))
}

/// Appends the entry of a block. Returns the checksums of its chunks, where it has more than one.
pub(crate) fn write_entry(
    out: &mut Vec<u8>,
    hash: &Multihash,
    codec: u64,
    offset: u32,
    body: &[u8],
) -> Vec<u32> {
    write_hash(out, hash);
    write_varint(out, codec);
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&u32_of(body.len()).to_le_bytes());
    if body.len() <= CHUNK_BYTES {
        out.extend_from_slice(&crc(body).to_le_bytes());
        return Vec::new();
    }
    let crcs = chunk_crcs(body);
    for sum in &crcs {
        out.extend_from_slice(&sum.to_le_bytes());
    }
    crcs
}

impl BatchPayload {
    /// Appends what comes before the entries.
    pub(crate) fn write_start(out: &mut Vec<u8>, owner: &[u8], blocks: usize) {
        let owner_length =
            u16::try_from(owner.len()).expect("owners are checked when they enter a batch");
        out.extend_from_slice(&owner_length.to_le_bytes());
        out.extend_from_slice(owner);
        out.extend_from_slice(&u32_of(blocks).to_le_bytes());
    }

    /// Bytes of what [`BatchPayload::write_start`] appends.
    pub(crate) fn start_bytes(owner: &[u8]) -> usize {
        2 + owner.len() + 4
    }

    /// Bytes of what [`BatchPayload::write_ops`] appends.
    pub(crate) fn ops_bytes(ops: &[Op]) -> usize {
        4 + ops.iter().map(Op::bytes).sum::<usize>()
    }

    /// Appends what comes after the entries.
    pub(crate) fn write_ops(out: &mut Vec<u8>, ops: &[Op]) {
        out.extend_from_slice(&u32_of(ops.len()).to_le_bytes());
        for op in ops {
            op.write(out);
        }
    }

    /// None where the bytes are not exactly one payload.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let owner_length = rest.u16()?;
        let owner = rest.bytes(usize::from(owner_length))?.to_vec();
        // An entry has at least 16 bytes and an op 3: a count that lies takes no memory.
        let count = rest.u32()? as usize;
        let mut entries = Vec::with_capacity(count.min(rest.0.len() / 16));
        for _ in 0..count {
            let hash = rest.hash()?;
            let codec = rest.varint()?;
            let (offset, length) = (rest.u32()?, rest.u32()?);
            let sums = rest.bytes(chunk_count(length).checked_mul(4)?)?;
            let (sums, _) = sums.as_chunks::<4>();
            entries.push(Entry {
                hash,
                codec,
                offset,
                length,
                crcs: sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect(),
            });
        }
        let count = rest.u32()? as usize;
        let mut ops = Vec::with_capacity(count.min(rest.0.len() / 3));
        for _ in 0..count {
            ops.push(Op::read(&mut rest)?);
        }
        rest.0.is_empty().then_some(Self {
            owner,
            entries,
            ops,
        })
    }
}

impl Op {
    /// Bytes of what [`Op::write`] appends.
    fn bytes(&self) -> usize {
        1 + match self {
            Self::Put(key, value) => 2 + key.len() + 4 + value.len(),
            Self::Delete(key) => 2 + key.len(),
            Self::Forget(hash) => 1 + multihash_len(hash),
            Self::Saw { hash, codec, .. } => {
                let mut buffer = unsigned_varint::encode::u64_buffer();
                1 + multihash_len(hash)
                    + 4
                    + unsigned_varint::encode::u64(*codec, &mut buffer).len()
            }
            Self::Pack(pack) => 56 + 4 * (pack.dead.len() + pack.dropped.len()),
            Self::Drop(_) => 4,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put(key, value) => {
                out.push(1);
                write_key(out, key);
                out.extend_from_slice(&u32_of(value.len()).to_le_bytes());
                out.extend_from_slice(value);
            }
            Self::Delete(key) => {
                out.push(2);
                write_key(out, key);
            }
            Self::Forget(hash) => {
                out.push(3);
                write_hash(out, hash);
            }
            Self::Saw { hash, tag, codec } => {
                out.push(4);
                write_hash(out, hash);
                out.extend_from_slice(&tag.to_le_bytes());
                write_varint(out, *codec);
            }
            Self::Pack(pack) => {
                out.push(5);
                out.extend_from_slice(&pack.number.0.to_le_bytes());
                out.extend_from_slice(&pack.name);
                out.extend_from_slice(&pack.bytes.to_le_bytes());
                out.extend_from_slice(&pack.entries.to_le_bytes());
                write_numbers(out, pack.dead.iter().copied());
                write_numbers(out, pack.dropped.iter().map(|file| file.0));
            }
            Self::Drop(file) => {
                out.push(6);
                out.extend_from_slice(&file.0.to_le_bytes());
            }
        }
    }

    fn read(rest: &mut Reader) -> Option<Self> {
        Some(match rest.u8()? {
            1 => {
                let key = rest.key()?;
                let length = rest.u32()? as usize;
                Self::Put(key, rest.bytes(length)?.to_vec())
            }
            2 => Self::Delete(rest.key()?),
            3 => Self::Forget(rest.hash()?),
            4 => Self::Saw {
                hash: rest.hash()?,
                tag: rest.u32()?,
                codec: rest.varint()?,
            },
            5 => Self::Pack(PackOp {
                number: FileNumber(rest.u32()?),
                name: *rest.bytes(32)?.first_chunk()?,
                bytes: u64::from_le_bytes(*rest.bytes(8)?.first_chunk()?),
                entries: rest.u32()?,
                dead: rest.numbers()?,
                dropped: rest.numbers()?.into_iter().map(FileNumber).collect(),
            }),
            6 => Self::Drop(FileNumber(rest.u32()?)),
            _ => return None,
        })
    }
}

fn write_key(out: &mut Vec<u8>, key: &[u8]) {
    let length = u16::try_from(key.len()).expect("keys are checked when they enter a batch");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(key);
}

fn write_hash(out: &mut Vec<u8>, hash: &Multihash) {
    out.push(u8::try_from(multihash_len(hash)).expect("a multihash is shorter than 256 bytes"));
    write_multihash(out, hash);
}

fn write_varint(out: &mut Vec<u8>, number: u64) {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    out.extend_from_slice(unsigned_varint::encode::u64(number, &mut buffer));
}

fn write_numbers(out: &mut Vec<u8>, numbers: impl ExactSizeIterator<Item = u32>) {
    out.extend_from_slice(&u32_of(numbers.len()).to_le_bytes());
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn u32_of(length: usize) -> u32 {
    u32::try_from(length).expect("a batch is far below 4 GiB")
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(found)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(*self.bytes(2)?.first_chunk()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.bytes(4)?.first_chunk()?))
    }

    fn varint(&mut self) -> Option<u64> {
        let (number, rest) = unsigned_varint::decode::u64(self.0).ok()?;
        self.0 = rest;
        Some(number)
    }

    fn key(&mut self) -> Option<Vec<u8>> {
        let length = self.u16()?;
        Some(self.bytes(usize::from(length))?.to_vec())
    }

    fn hash(&mut self) -> Option<Multihash> {
        let length = self.u8()?;
        parse_multihash_bytes(self.bytes(usize::from(length))?).ok()
    }

    fn numbers(&mut self) -> Option<Vec<u32>> {
        let count = self.u32()? as usize;
        let (numbers, _) = self.bytes(count.checked_mul(4)?)?.as_chunks::<4>();
        Some(
            numbers
                .iter()
                .map(|number| u32::from_le_bytes(*number))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::cid::{Block, Codec};
    use proptest::prelude::*;

    use super::*;

    fn block() -> Block {
        Block::new(Codec::Raw, vec![7; 20_000]).unwrap()
    }

    fn ops() -> Vec<Op> {
        let hash = *block().cid().hash();
        vec![
            Op::Put(b"k".to_vec(), b"value".to_vec()),
            Op::Delete(b"gone".to_vec()),
            Op::Forget(hash),
            Op::Saw {
                hash,
                tag: 9,
                codec: 0x0129,
            },
            Op::Pack(PackOp {
                number: FileNumber(8),
                name: [3; 32],
                bytes: 1 << 40,
                entries: 2,
                dead: vec![1],
                dropped: vec![FileNumber(1), FileNumber(2)],
            }),
            Op::Drop(FileNumber(3)),
        ]
    }

    fn payload() -> Vec<u8> {
        let block = block();
        let mut out = Vec::new();
        BatchPayload::write_start(&mut out, b"owner", 1);
        assert_eq!(out.len(), BatchPayload::start_bytes(b"owner"));
        let before = out.len();
        write_entry(&mut out, block.cid().hash(), 0x55, 4242, block.bytes());
        assert_eq!(
            out.len() - before,
            entry_bytes(block.cid().hash(), 0x55, 20_000)
        );
        let before = out.len();
        BatchPayload::write_ops(&mut out, &ops());
        assert_eq!(out.len() - before, BatchPayload::ops_bytes(&ops()));
        out
    }

    #[test]
    fn a_payload_is_read_back() {
        let block = block();
        let read = BatchPayload::from_bytes(&payload()).unwrap();
        assert_eq!(read.owner, b"owner");
        assert_eq!(read.ops, ops());
        let entry = Entry {
            hash: *block.cid().hash(),
            codec: 0x55,
            offset: 4242,
            length: 20_000,
            crcs: crate::frame::chunk_crcs(block.bytes()),
        };
        assert_eq!(read.entries, [entry]);
    }

    #[test]
    fn golden_bytes_of_the_ops() {
        let mut out = Vec::new();
        BatchPayload::write_ops(&mut out, &ops()[..2]);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "02000000",
            "01",
            "0100",
            "6b",
            "05000000",
            "76616c7565",
            "02",
            "0400",
            "676f6e65"
        );
        assert_eq!(hex, golden);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = BatchPayload::from_bytes(&bytes);
        }

        #[test]
        fn changed_bytes_never_panic_and_a_cut_payload_is_none(at in 0_usize..400, to in any::<u8>()) {
            let mut bytes = payload();
            if at < bytes.len() {
                prop_assert_eq!(BatchPayload::from_bytes(&bytes[..at]), None);
                bytes[at] = to;
                let _ = BatchPayload::from_bytes(&bytes);
            }
        }
    }
}
