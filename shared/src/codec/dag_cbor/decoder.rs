//! Reads DAG-CBOR without copying.

use super::{ListItems, MapEntries};
use crate::{
    cid::{Cid, parse_cid_bytes},
    codec::CodecError,
    limits::{CBOR_DEPTH, LimitExceeded, WIRE_BLOCK_BYTES},
};

/// What comes next in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Null.
    Null,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A float.
    Float,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A list.
    List,
    /// A map.
    Map,
    /// A link.
    Link,
}

impl Kind {
    /// The kind as a word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "a boolean",
            Kind::Int => "an integer",
            Kind::Float => "a float",
            Kind::Text => "text",
            Kind::Bytes => "bytes",
            Kind::List => "a list",
            Kind::Map => "a map",
            Kind::Link => "a link",
        }
    }
}

/// A borrowing decoder for typed documents; every rule of the format is checked on the way.
///
/// ```
/// use perennis_shared::codec::dag_cbor::Decoder;
///
/// let mut decoder = Decoder::new(b"\xa2\x62at\x07\x64name\x61a")?;
/// let mut entries = decoder.map()?;
/// entries.required(&mut decoder, "at")?;
/// let at = decoder.uint()?;
/// let mut name = "";
/// if entries.optional(&mut decoder, "name")? {
///     name = decoder.text()?;
/// }
/// entries.finish(&mut decoder)?;
/// decoder.finish()?;
/// assert_eq!((at, name), (7, "a"));
/// # Ok::<(), perennis_shared::codec::CodecError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
    pub(super) depth: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder at the start of `input`.
    ///
    /// # Errors
    /// Refuses inputs above [`WIRE_BLOCK_BYTES`].
    pub fn new(input: &'a [u8]) -> Result<Decoder<'a>, CodecError> {
        LimitExceeded::check("DAG-CBOR bytes", WIRE_BLOCK_BYTES, input.len())?;
        Ok(Decoder {
            input,
            at: 0,
            depth: 0,
        })
    }

    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The bytes from `start`, an earlier [`Decoder::offset`], to here: what a signature covers, for
    /// example.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.input.get(start..self.at).unwrap_or_default()
    }

    /// What comes next.
    ///
    /// # Errors
    /// Refuses the end of the input and what DAG-CBOR does not have.
    pub fn kind(&self) -> Result<Kind, CodecError> {
        let &byte = self.input.get(self.at).ok_or(self.truncated())?;
        Ok(match (byte >> 5, byte & 0x1f) {
            (0 | 1, _) => Kind::Int,
            (2, _) => Kind::Bytes,
            (3, _) => Kind::Text,
            (4, _) => Kind::List,
            (5, _) => Kind::Map,
            (6, _) => Kind::Link,
            (_, 20 | 21) => Kind::Bool,
            (_, 22) => Kind::Null,
            (_, 27) => Kind::Float,
            (_, 23) => return Err(self.malformed("undefined is not allowed")),
            (_, 25 | 26) => return Err(self.malformed("a float of less than 64 bits")),
            (_, 31) => return Err(self.malformed("a break without an indefinite length")),
            _ => return Err(self.malformed("a simple value other than true, false and null")),
        })
    }

    /// Reads a whole number from 0 to 2⁶⁴ − 1.
    ///
    /// # Errors
    /// Refuses other kinds and negative numbers.
    pub fn uint(&mut self) -> Result<u64, CodecError> {
        let start = self.at;
        let number = self.int()?;
        u64::try_from(number).map_err(|_| CodecError::Malformed {
            offset: start,
            reason: "a negative number where none is allowed",
        })
    }

    /// Reads a whole number from −2⁶⁴ to 2⁶⁴ − 1.
    ///
    /// # Errors
    /// Refuses other kinds.
    pub fn int(&mut self) -> Result<i128, CodecError> {
        self.expect(Kind::Int)?;
        let negative = self.input[self.at] >> 5 == 1;
        let argument = i128::from(self.argument()?);
        Ok(if negative { -1 - argument } else { argument })
    }

    /// Reads a float.
    ///
    /// # Errors
    /// Refuses other kinds, NaN and the infinities.
    pub fn float(&mut self) -> Result<f64, CodecError> {
        self.expect(Kind::Float)?;
        let start = self.at;
        self.at += 1;
        let bytes = self.take(8)?;
        let number = f64::from_be_bytes(bytes.try_into().expect("eight bytes were taken"));
        if !number.is_finite() {
            return Err(CodecError::Malformed {
                offset: start,
                reason: "NaN or an infinite number",
            });
        }
        Ok(number)
    }

    /// Reads text.
    ///
    /// # Errors
    /// Refuses other kinds and what is not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, CodecError> {
        self.expect(Kind::Text)?;
        let start = self.at;
        let length = self.argument()?;
        let bytes = self.take(length)?;
        core::str::from_utf8(bytes).map_err(|_| CodecError::Malformed {
            offset: start,
            reason: "text that is not UTF-8",
        })
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// Refuses other kinds.
    pub fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        self.expect(Kind::Bytes)?;
        let length = self.argument()?;
        self.take(length)
    }

    /// Reads bytes of a fixed length, such as a key or a signature.
    ///
    /// # Errors
    /// Refuses other kinds and other lengths.
    pub fn byte_array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let offset = self.at;
        self.bytes()?.try_into().map_err(|_| CodecError::Malformed {
            offset,
            reason: "bytes of the wrong length",
        })
    }

    /// Reads true or false.
    ///
    /// # Errors
    /// Refuses other kinds.
    pub fn bool(&mut self) -> Result<bool, CodecError> {
        self.expect(Kind::Bool)?;
        let value = self.input[self.at] == 0xf5;
        self.at += 1;
        Ok(value)
    }

    /// Reads null.
    ///
    /// # Errors
    /// Refuses other kinds.
    pub fn null(&mut self) -> Result<(), CodecError> {
        self.expect(Kind::Null)?;
        self.at += 1;
        Ok(())
    }

    /// Reads a link.
    ///
    /// # Errors
    /// Refuses other kinds, tags other than 42 and what is no CID behind a zero byte.
    pub fn link(&mut self) -> Result<Cid, CodecError> {
        self.expect(Kind::Link)?;
        let start = self.at;
        if self.argument()? != 42 {
            return Err(CodecError::Malformed {
                offset: start,
                reason: "a tag other than 42",
            });
        }
        let bytes = self.bytes()?;
        let [0, cid @ ..] = bytes else {
            return Err(CodecError::Malformed {
                offset: start,
                reason: "a link without its leading zero byte",
            });
        };
        parse_cid_bytes(cid).map_err(|source| CodecError::Link {
            offset: start,
            source,
        })
    }

    /// Opens a list; its items are read after each [`ListItems::next`] that says there is one.
    ///
    /// # Errors
    /// Refuses other kinds, counts that cannot fit into the input and nesting deeper than
    /// [`CBOR_DEPTH`].
    pub fn list(&mut self) -> Result<ListItems, CodecError> {
        self.expect(Kind::List)?;
        let remaining = self.count(1)?;
        Ok(ListItems::new(remaining))
    }

    /// Opens a map; the value of an entry is read after its name.
    ///
    /// # Errors
    /// Refuses other kinds, counts that cannot fit into the input and nesting deeper than
    /// [`CBOR_DEPTH`].
    pub fn map(&mut self) -> Result<MapEntries<'a>, CodecError> {
        self.expect(Kind::Map)?;
        let remaining = self.count(2)?;
        Ok(MapEntries::new(remaining))
    }

    /// Passes over one value of any kind, with every check, and calls `link` for each link in it.
    ///
    /// # Errors
    /// Refuses what reading the value would refuse, and whatever `link` refuses.
    pub fn skip(
        &mut self,
        link: &mut dyn FnMut(Cid) -> Result<(), CodecError>,
    ) -> Result<(), CodecError> {
        match self.kind()? {
            Kind::Null => self.null(),
            Kind::Bool => self.bool().map(drop),
            Kind::Int => self.int().map(drop),
            Kind::Float => self.float().map(drop),
            Kind::Text => self.text().map(drop),
            Kind::Bytes => self.bytes().map(drop),
            Kind::Link => link(self.link()?),
            Kind::List => {
                let mut items = self.list()?;
                while items.next(self)? {
                    self.skip(link)?;
                }
                Ok(())
            }
            Kind::Map => {
                let mut entries = self.map()?;
                while entries.next(self)?.is_some() {
                    self.skip(link)?;
                }
                Ok(())
            }
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Refuses bytes after the value.
    pub fn finish(self) -> Result<(), CodecError> {
        if self.at == self.input.len() {
            Ok(())
        } else {
            Err(self.malformed("bytes after the end of the value"))
        }
    }

    /// The error for something at the current place that breaks a rule.
    pub fn malformed(&self, reason: &'static str) -> CodecError {
        CodecError::Malformed {
            offset: self.at,
            reason,
        }
    }

    pub(super) fn truncated(&self) -> CodecError {
        CodecError::Truncated {
            offset: self.input.len(),
        }
    }

    fn expect(&self, expected: Kind) -> Result<(), CodecError> {
        let found = self.kind()?;
        if found == expected {
            return Ok(());
        }
        Err(self.malformed(match expected {
            Kind::Null => "not null, which is required",
            Kind::Bool => "not a boolean, which is required",
            Kind::Int => "not an integer, which is required",
            Kind::Float => "not a float, which is required",
            Kind::Text => "not text, which is required",
            Kind::Bytes => "not bytes, which are required",
            Kind::List => "not a list, which is required",
            Kind::Map => "not a map, which is required",
            Kind::Link => "not a link, which is required",
        }))
    }

    /// Reads the head at the current place and returns its argument.
    fn argument(&mut self) -> Result<u64, CodecError> {
        let start = self.at;
        let &first = self.input.get(start).ok_or(self.truncated())?;
        let info = first & 0x1f;
        self.at += 1;
        let (number, smallest) = match info {
            0..24 => return Ok(u64::from(info)),
            24 => (u64::from(self.fixed::<1>()?[0]), 24),
            25 => (u64::from(u16::from_be_bytes(self.fixed()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.fixed()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.fixed()?), 1 << 32),
            31 => {
                return Err(CodecError::Malformed {
                    offset: start,
                    reason: "an indefinite length",
                });
            }
            _ => {
                return Err(CodecError::Malformed {
                    offset: start,
                    reason: "a reserved form of number",
                });
            }
        };
        if number < smallest {
            return Err(CodecError::Malformed {
                offset: start,
                reason: "a number that is not in its shortest form",
            });
        }
        Ok(number)
    }

    /// Opens a list or map whose every entry takes at least `bytes_each` bytes.
    fn count(&mut self, bytes_each: usize) -> Result<usize, CodecError> {
        let count = usize::try_from(self.argument()?).unwrap_or(usize::MAX);
        let room = (self.input.len() - self.at) / bytes_each;
        if count > room {
            return Err(self.truncated());
        }
        self.depth += 1;
        LimitExceeded::check("DAG-CBOR depth", CBOR_DEPTH, self.depth)?;
        Ok(count)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let bytes = self.take(N as u64)?;
        Ok(bytes.try_into().expect("as many bytes as asked for"))
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
}
