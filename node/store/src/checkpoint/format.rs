//! The bytes of a checkpoint, without files: what is written, and what is accepted.
//!
//! All integers are little endian. Rows are sorted by their keys, of which no two are the same.
//!
//! ```text
//! file    header (64) · chunk · … · end (64)
//! header  "PERNCKP1" · store id 16 · group u64 · file u32 · reserved u32 · offset u64 · written at u64 · reserved u32 ·
//!         CRC-32C of all that u32
//! chunk   "PCC1" · number u32 · rows u32 · payload bytes u32 · CRC-32C of the payload u32 · CRC-32C of all that u32 ·
//!         payload (row · …)
//! row     key length u16 · value length u32 · key · value
//! end     "PCE1" · chunks u32 · rows u64 · payload bytes u64 · BLAKE3-256 of all before the end 32 · reserved u32 ·
//!         CRC-32C of all that u32
//! ```
//!
//! Lengths stand under checksums of their own and are bounded by the file before memory is taken for them. Nothing is
//! searched for: after damage the whole file counts as damaged, so a row can contain whatever its writer likes.

use std::io;

use perennis_shared::time::Millis;

use crate::segment::FILE_BYTES;

/// Payload after which a chunk is closed; a larger row has one of its own.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// Longest value: what a batch may hold, and what a row that is set aside has beside it.
pub(crate) const VALUE_BYTES: usize = 65 << 20;
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const END_BYTES: usize = 64;

const CHUNK_HEAD_BYTES: usize = 24;
const ROW_HEAD_BYTES: usize = 6;
const PAYLOAD_BYTES: usize = CHUNK_BYTES + ROW_HEAD_BYTES + u16::MAX as usize + VALUE_BYTES;

const MAGIC: &[u8; 8] = b"PERNCKP1";
const CHUNK: &[u8; 4] = b"PCC1";
const END: &[u8; 4] = b"PCE1";

/// Of what a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The store it belongs to.
    pub(crate) store: [u8; 16],
    /// The group up to which the log is in it.
    pub(crate) group: u64,
    /// The file of the log where that group ends.
    pub(crate) file: u32,
    /// And the offset there.
    pub(crate) offset: u64,
    /// When it was begun.
    pub(crate) written_at: Millis,
}

/// What a checkpoint holds, known when all of it was written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) rows: u64,
    pub(crate) payload_bytes: u64,
    /// BLAKE3 of the file up to its end mark.
    pub(crate) hash: [u8; 32],
}

/// Why a checkpoint, or a row for one, was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    /// The file could not be read.
    #[error("it could not be read")]
    Disk(#[from] io::Error),
    /// It is not what was written.
    #[error("{flaw} at {offset}")]
    Damaged { flaw: Flaw, offset: u64 },
    /// A row is too large, or does not come after the one before.
    #[error("a row is too large or comes in another order than that of its key")]
    Row,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("the file ends too early")]
    Cut,
    #[error("the header is damaged")]
    Header,
    #[error("the head of a chunk or the end mark is damaged")]
    Mark,
    #[error("a length is larger than it can be")]
    Length,
    #[error("the rows of a chunk are damaged")]
    Payload,
    #[error("rows are missing, double or in another order")]
    Rows,
    #[error("the file is not the one that was written")]
    Hash,
    #[error("something follows the end mark")]
    Behind,
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).to_le_bytes()
}

/// Writes the fields of a fixed record one after the other.
fn fixed<const N: usize>(fields: &[&[u8]]) -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    for field in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    let sum = crc(&bytes[..N - 4]);
    bytes[N - 4..].copy_from_slice(&sum);
    bytes
}

/// Reads the fields of a fixed record whose checksum holds.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn checked(bytes: &'a [u8]) -> Option<Self> {
        let (fields, sum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        (crc(fields) == sum).then_some(Self(fields))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn number32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn number64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        fixed(&[
            MAGIC,
            &self.store,
            &self.group.to_le_bytes(),
            &self.file.to_le_bytes(),
            &[0; 4],
            &self.offset.to_le_bytes(),
            &self.written_at.0.to_le_bytes(),
        ])
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::checked(bytes.get(..HEADER_BYTES)?)?;
        if &fields.take::<8>()? != MAGIC {
            return None;
        }
        let (store, group, file) = (fields.take()?, fields.number64()?, fields.number32()?);
        fields.take::<4>()?;
        let offset = fields.number64().filter(|offset| *offset <= FILE_BYTES)?;
        Some(Self {
            store,
            group,
            file,
            offset,
            written_at: Millis(fields.number64()?),
        })
    }
}

/// Makes the bytes of a checkpoint, row by row.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// Made and not taken yet.
    made: Vec<u8>,
    payload: Vec<u8>,
    payload_rows: u32,
    last_key: Option<Vec<u8>>,
    chunks: u32,
    rows: u64,
    payload_bytes: u64,
    hasher: blake3::Hasher,
}

impl Encoder {
    pub(crate) fn new(header: Header) -> Self {
        let mut encoder = Self {
            made: Vec::new(),
            payload: Vec::new(),
            payload_rows: 0,
            last_key: None,
            chunks: 0,
            rows: 0,
            payload_bytes: 0,
            hasher: blake3::Hasher::new(),
        };
        encoder.emit(&header.to_bytes());
        encoder
    }

    /// Adds a row, which comes after all before.
    ///
    /// # Errors
    /// [`FormatError::Row`].
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), FormatError> {
        let key_length = u16::try_from(key.len()).map_err(|_| FormatError::Row)?;
        let follows = self.last_key.as_deref().is_none_or(|last| last < key);
        if value.len() > VALUE_BYTES || !follows {
            return Err(FormatError::Row);
        }
        let value_length = u32::try_from(value.len()).map_err(|_| FormatError::Row)?;
        self.payload.extend_from_slice(&key_length.to_le_bytes());
        self.payload.extend_from_slice(&value_length.to_le_bytes());
        self.payload.extend_from_slice(key);
        self.payload.extend_from_slice(value);
        self.payload_rows += 1;
        let last = self.last_key.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        if self.payload.len() >= CHUNK_BYTES {
            self.close_chunk();
        }
        Ok(())
    }

    /// How many bytes are made and not taken.
    pub(crate) fn made_bytes(&self) -> usize {
        self.made.len()
    }

    /// Takes what is made.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.made)
    }

    /// Ends it: the last bytes, and what it holds.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Summary) {
        if self.payload_rows > 0 {
            self.close_chunk();
        }
        let summary = Summary {
            rows: self.rows,
            payload_bytes: self.payload_bytes,
            hash: *self.hasher.finalize().as_bytes(),
        };
        self.made
            .extend_from_slice(&end_mark(self.chunks, &summary));
        (self.made, summary)
    }

    fn close_chunk(&mut self) {
        let payload = std::mem::take(&mut self.payload);
        let length = u32::try_from(payload.len()).expect("a chunk is bounded by the longest row");
        let head: [u8; CHUNK_HEAD_BYTES] = fixed(&[
            CHUNK,
            &self.chunks.to_le_bytes(),
            &self.payload_rows.to_le_bytes(),
            &length.to_le_bytes(),
            &crc(&payload),
        ]);
        self.emit(&head);
        self.emit(&payload);
        self.chunks += 1;
        self.rows += u64::from(self.payload_rows);
        self.payload_rows = 0;
        self.payload_bytes += payload.len() as u64;
        self.payload = payload;
        self.payload.clear();
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.made.extend_from_slice(bytes);
    }
}

fn end_mark(chunks: u32, summary: &Summary) -> [u8; END_BYTES] {
    fixed(&[
        END,
        &chunks.to_le_bytes(),
        &summary.rows.to_le_bytes(),
        &summary.payload_bytes.to_le_bytes(),
        &summary.hash,
    ])
}

/// Reads a checkpoint from its beginning, a chunk at a time, and checks all of it.
pub(crate) struct Decoder<R> {
    read: R,
    length: u64,
    offset: u64,
    last_key: Option<Vec<u8>>,
    chunks: u32,
    rows: u64,
    payload_bytes: u64,
    hasher: blake3::Hasher,
}

/// What comes next in a checkpoint.
pub(crate) enum Part {
    Chunk(Chunk),
    End(Summary),
}

/// Rows that were read together; they are well formed and in their order.
pub(crate) struct Chunk(Vec<u8>);

impl Chunk {
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || split_row(&mut rest))
    }
}

fn split_row<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (key_length, after) = rest.split_first_chunk()?;
    let (value_length, after) = after.split_first_chunk()?;
    let (key, after) = after.split_at_checked(u16::from_le_bytes(*key_length).into())?;
    let (value, after) = after.split_at_checked(u32::from_le_bytes(*value_length) as usize)?;
    *rest = after;
    Some((key, value))
}

impl<R: Fn(usize, u64) -> io::Result<Vec<u8>>> Decoder<R> {
    /// Begins to read a file of `length` bytes; `read` gives a number of bytes from an offset.
    ///
    /// # Errors
    /// [`FormatError::Disk`] or [`FormatError::Damaged`].
    pub(crate) fn new(read: R, length: u64) -> Result<(Self, Header), FormatError> {
        let mut decoder = Self {
            read,
            length,
            offset: 0,
            last_key: None,
            chunks: 0,
            rows: 0,
            payload_bytes: 0,
            hasher: blake3::Hasher::new(),
        };
        let bytes = decoder.next_bytes(HEADER_BYTES)?;
        let header = Header::parse(&bytes).ok_or_else(|| decoder.damaged(Flaw::Header))?;
        decoder.accept(&bytes);
        Ok((decoder, header))
    }

    /// The next chunk, or the end. After the end, or an error, it is not called again.
    ///
    /// # Errors
    /// [`FormatError::Disk`] or [`FormatError::Damaged`].
    pub(crate) fn next_part(&mut self) -> Result<Part, FormatError> {
        let head = self.next_bytes(CHUNK_HEAD_BYTES)?;
        if head.starts_with(END) {
            return self.end().map(Part::End);
        }
        let (rows, length, sum) = self
            .parse_chunk_head(&head)
            .ok_or_else(|| self.damaged(Flaw::Mark))?;
        if length > PAYLOAD_BYTES {
            return Err(self.damaged(Flaw::Length));
        }
        self.accept(&head);
        let payload = self.next_bytes(length)?;
        if crc(&payload) != sum {
            return Err(self.damaged(Flaw::Payload));
        }
        self.accept(&payload);
        let chunk = Chunk(payload);
        self.check_rows(&chunk, rows)
            .ok_or_else(|| self.damaged(Flaw::Rows))?;
        self.chunks = self
            .chunks
            .checked_add(1)
            .ok_or_else(|| self.damaged(Flaw::Rows))?;
        self.payload_bytes += length as u64;
        Ok(Part::Chunk(chunk))
    }

    fn parse_chunk_head(&self, head: &[u8]) -> Option<(u32, usize, [u8; 4])> {
        let mut fields = Fields::checked(head)?;
        if &fields.take::<4>()? != CHUNK || fields.number32()? != self.chunks {
            return None;
        }
        Some((
            fields.number32()?,
            fields.number32()? as usize,
            fields.take()?,
        ))
    }

    fn check_rows(&mut self, chunk: &Chunk, rows: u32) -> Option<()> {
        let (mut count, mut bytes) = (0_u32, 0);
        let mut last: Option<&[u8]> = self.last_key.as_deref();
        for (key, value) in chunk.rows() {
            if last.is_some_and(|last| last >= key) {
                return None;
            }
            last = Some(key);
            count += 1;
            bytes += ROW_HEAD_BYTES + key.len() + value.len();
        }
        let last = last.map(<[u8]>::to_vec);
        self.last_key = last;
        self.rows += u64::from(count);
        (count == rows && count > 0 && bytes == chunk.0.len()).then_some(())
    }

    fn end(&self) -> Result<Summary, FormatError> {
        let bytes = self.next_bytes(END_BYTES)?;
        let summary = Summary {
            rows: self.rows,
            payload_bytes: self.payload_bytes,
            hash: *self.hasher.finalize().as_bytes(),
        };
        // Only one end is right here, so it is not taken apart: the counts first, to say what is wrong.
        let expected = end_mark(self.chunks, &summary);
        if Fields::checked(&bytes).is_none() {
            return Err(self.damaged(Flaw::Mark));
        }
        if bytes[..24] != expected[..24] {
            return Err(self.damaged(Flaw::Rows));
        }
        if bytes != expected {
            return Err(self.damaged(Flaw::Hash));
        }
        if self.offset + END_BYTES as u64 != self.length {
            return Err(self.damaged(Flaw::Behind));
        }
        Ok(summary)
    }

    /// The next bytes of the file, which has them.
    fn next_bytes(&self, length: usize) -> Result<Vec<u8>, FormatError> {
        if self.length.saturating_sub(self.offset) < length as u64 {
            return Err(self.damaged(Flaw::Cut));
        }
        Ok((self.read)(length, self.offset)?)
    }

    fn accept(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
    }

    fn damaged(&self, flaw: Flaw) -> FormatError {
        FormatError::Damaged {
            flaw,
            offset: self.offset,
        }
    }
}
