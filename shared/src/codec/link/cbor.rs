//! The links of CBOR (RFC 8949) in any form: keys in any order, numbers of any length, indefinite lengths, floats of any
//! width, text that is no UTF-8, and tags of any number.

use alloc::vec::Vec;

use super::{Links, deeper};
use crate::{
    cid::{Cid, parse_cid_bytes},
    codec::CodecError,
    limits::{CAR_FILE_ROOTS, LimitExceeded},
};

/// The tag of a link.
const LINK: u64 = 42;

/// Reads one value and all links in it.
pub(super) fn read(bytes: &[u8], found: &mut Links) -> Result<(), CodecError> {
    let mut reader = Reader {
        input: bytes,
        at: 0,
    };
    reader.value(0, found)?;
    reader.finish()
}

/// Reads a DAG-JOSE object: the payload of a signature is a CID without a tag (DAG-JOSE specification).
pub(super) fn read_jose(bytes: &[u8], found: &mut Links) -> Result<(), CodecError> {
    let mut reader = Reader {
        input: bytes,
        at: 0,
    };
    let start = reader.at;
    let (MAP, entries) = reader.head()? else {
        return Err(reader.malformed(start, "an object of JOSE that is no map"));
    };
    let mut entries = Items::new(entries, 1);
    while entries.has_next(&mut reader)? {
        let key = reader.chunk()?;
        let offset = reader.at;
        if key == Some(b"payload") {
            let Some(payload) = reader.chunk()? else {
                return Err(reader.malformed(offset, "a payload that is not bytes"));
            };
            found.push_bytes(payload, offset)?;
        } else {
            if key.is_none() {
                reader.value(1, found)?;
            }
            reader.value(1, found)?;
        }
    }
    reader.finish()
}

/// The header of a CAR file as others write it: its version, and its roots; none where it has no such field. Roots may be
/// null, as Go writes an empty list.
pub(in crate::codec) fn read_car_header(
    bytes: &[u8],
) -> Result<(Option<u64>, Option<Vec<Cid>>), CodecError> {
    let mut reader = Reader {
        input: bytes,
        at: 0,
    };
    let (MAP, entries) = reader.head()? else {
        return Err(reader.malformed(0, "a header that is no map"));
    };
    let (mut version, mut roots) = (None, None);
    let mut entries = Items::new(entries, 1);
    while entries.has_next(&mut reader)? {
        let offset = reader.at;
        match reader.chunk()? {
            Some(b"version") => match reader.head()? {
                (UNSIGNED, Some(number)) => version = Some(number),
                _ => return Err(reader.malformed(offset, "a version that is no number")),
            },
            Some(b"roots") => roots = Some(reader.roots()?),
            Some(_) => reader.value(1, &mut Links::default())?,
            None => return Err(reader.malformed(offset, "a key that is no text")),
        }
    }
    reader.finish()?;
    Ok((version, roots))
}

const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

/// The simple value that stands for nothing.
const NULL: u64 = 22;

/// The byte that ends what has no length.
const BREAK: u8 = 0xff;

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

/// What is left of a list, or of a map whose entries are two values each.
struct Items {
    left: Option<u64>,
}

impl Items {
    fn new(count: Option<u64>, values_each: u64) -> Items {
        Items {
            left: count.map(|count| count.saturating_mul(values_each)),
        }
    }

    fn has_next(&mut self, reader: &mut Reader<'_>) -> Result<bool, CodecError> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None if reader.peek()? == BREAK => {
                reader.at += 1;
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize, found: &mut Links) -> Result<(), CodecError> {
        let start = self.at;
        let (major, argument) = self.head()?;
        match major {
            BYTES | TEXT => self.string(major, argument).map(drop),
            LIST | MAP => {
                let depth = deeper(depth)?;
                let mut items = Items::new(argument, if major == MAP { 2 } else { 1 });
                while items.has_next(self)? {
                    self.value(depth, found)?;
                }
                Ok(())
            }
            TAG if argument == Some(LINK) => {
                let offset = self.at;
                match self.chunk()? {
                    Some([0, cid @ ..]) => found.push_bytes(cid, start),
                    _ => Err(self.malformed(offset, "a link without its leading zero byte")),
                }
            }
            TAG => self.value(deeper(depth)?, found),
            SIMPLE if argument.is_none() => {
                Err(self.malformed(start, "a break where no indefinite length is open"))
            }
            // Numbers and simple values are all in their head.
            _ => Ok(()),
        }
    }

    /// The roots of a CAR file.
    fn roots(&mut self) -> Result<Vec<Cid>, CodecError> {
        let start = self.at;
        let count = match self.head()? {
            (LIST, count) => count,
            (SIMPLE, Some(NULL)) => return Ok(Vec::new()),
            _ => return Err(self.malformed(start, "roots that are no list")),
        };
        let mut roots = Vec::new();
        let mut items = Items::new(count, 1);
        while items.has_next(self)? {
            LimitExceeded::check("CAR roots", CAR_FILE_ROOTS, roots.len() + 1)?;
            let offset = self.at;
            let is_link = self.head()? == (TAG, Some(LINK));
            match self.chunk()? {
                Some([0, cid @ ..]) if is_link => {
                    let cid = parse_cid_bytes(cid);
                    roots.push(cid.map_err(|source| CodecError::Link { offset, source })?);
                }
                _ => return Err(self.malformed(offset, "a root that is no link")),
            }
        }
        Ok(roots)
    }

    /// The whole of a text or of bytes of definite length; none where another value comes, of which nothing is read.
    fn chunk(&mut self) -> Result<Option<&'a [u8]>, CodecError> {
        let start = self.at;
        let (major, argument) = self.head()?;
        match (major, argument) {
            (BYTES | TEXT, Some(length)) => self.take(length).map(Some),
            _ => {
                self.at = start;
                Ok(None)
            }
        }
    }

    /// Passes text or bytes, of which the head was read.
    fn string(&mut self, major: u8, length: Option<u64>) -> Result<(), CodecError> {
        if let Some(length) = length {
            return self.take(length).map(drop);
        }
        while self.peek()? != BREAK {
            let start = self.at;
            match self.head()? {
                (part, Some(length)) if part == major => self.take(length)?,
                _ => return Err(self.malformed(start, "a part of another kind than its whole")),
            };
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a head: the major type and its argument, none where the length is indefinite.
    fn head(&mut self) -> Result<(u8, Option<u64>), CodecError> {
        let start = self.at;
        let byte = self.peek()?;
        self.at += 1;
        let (major, info) = (byte >> 5, byte & 0x1f);
        let argument = match info {
            0..24 => u64::from(info),
            24..28 => {
                let bytes = self.take(1 << (info - 24))?;
                bytes
                    .iter()
                    .fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
            31 if matches!(major, BYTES | TEXT | LIST | MAP | SIMPLE) => return Ok((major, None)),
            _ => return Err(self.malformed(start, "a reserved form of number")),
        };
        Ok((major, Some(argument)))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CodecError> {
        let rest = &self.input[self.at..];
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|length| rest.get(..length))
            .ok_or(self.truncated())?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn peek(&self) -> Result<u8, CodecError> {
        self.input.get(self.at).copied().ok_or(self.truncated())
    }

    fn finish(self) -> Result<(), CodecError> {
        if self.at == self.input.len() {
            return Ok(());
        }
        Err(self.malformed(self.at, "bytes after the end of the value"))
    }

    fn truncated(&self) -> CodecError {
        CodecError::Truncated {
            offset: self.input.len(),
        }
    }

    fn malformed(&self, offset: usize, reason: &'static str) -> CodecError {
        CodecError::Malformed { offset, reason }
    }
}
