//! The protobuf wire format (Protocol Buffers, "Encoding"), read strictly and without copying.
//!
//! [`Reader`] gives the fields of one message in the order they stand in; what a repeated or unknown
//! field means is up to the message's own decoder. Varints must be in their shortest form and the
//! deprecated groups are refused. [`Writer`] writes what it is told, in that order.

use alloc::vec::Vec;

use super::{CodecError, FieldProblem};
use crate::varint::{self, VarintError};

/// The content of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// Wire type 0: integers, booleans, enums.
    Varint(u64),
    /// Wire type 1: eight bytes, little-endian.
    Fixed64(u64),
    /// Wire type 2: bytes, text, messages.
    Bytes(&'a [u8]),
    /// Wire type 5: four bytes, little-endian.
    Fixed32(u32),
}

impl<'a> FieldValue<'a> {
    /// The content of a bytes field; `name` is for the error.
    ///
    /// # Errors
    /// Refuses other wire types.
    pub fn bytes(self, name: &str) -> Result<&'a [u8], CodecError> {
        match self {
            FieldValue::Bytes(bytes) => Ok(bytes),
            other => Err(other.wrong(name, "bytes")),
        }
    }

    /// The content of a text field; `name` is for the error.
    ///
    /// # Errors
    /// Refuses other wire types and what is not UTF-8.
    pub fn text(self, name: &str) -> Result<&'a str, CodecError> {
        let bytes = self.bytes(name)?;
        core::str::from_utf8(bytes)
            .map_err(|_| CodecError::field(name, FieldProblem::Invalid("not UTF-8")))
    }

    /// The content of a field of an unsigned integer, boolean or enum; `name` is for the error.
    ///
    /// # Errors
    /// Refuses other wire types.
    pub fn uint(self, name: &str) -> Result<u64, CodecError> {
        match self {
            FieldValue::Varint(number) => Ok(number),
            other => Err(other.wrong(name, "a varint")),
        }
    }

    fn wrong(self, name: &str, expected: &'static str) -> CodecError {
        let found = match self {
            FieldValue::Varint(_) => "a varint",
            FieldValue::Fixed64(_) => "eight bytes",
            FieldValue::Bytes(_) => "bytes",
            FieldValue::Fixed32(_) => "four bytes",
        };
        CodecError::field(name, FieldProblem::Kind { expected, found })
    }
}

/// Reads the fields of one message. The caller bounds the message's size.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of a message.
    pub fn new(message: &'a [u8]) -> Reader<'a> {
        Reader {
            input: message,
            at: 0,
        }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// The number and content of the next field, or `None` at the end of the message.
    ///
    /// # Errors
    /// Refuses numbers that are too large or not in their shortest form, field number 0, groups and
    /// unknown wire types, and fields that end after the message.
    pub fn next_field(&mut self) -> Result<Option<(u32, FieldValue<'a>)>, CodecError> {
        if self.at == self.input.len() {
            return Ok(None);
        }
        let start = self.at;
        let malformed = |reason| CodecError::Malformed {
            offset: start,
            reason,
        };
        let tag = u32::try_from(self.varint()?)
            .map_err(|_| malformed("a field number that is too large"))?;
        let number = tag >> 3;
        if number == 0 {
            return Err(malformed("field number 0"));
        }
        let value = match tag & 7 {
            0 => FieldValue::Varint(self.varint()?),
            1 => FieldValue::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length = self.varint()?;
                FieldValue::Bytes(self.take(length)?)
            }
            5 => FieldValue::Fixed32(u32::from_le_bytes(self.fixed()?)),
            3 | 4 => return Err(malformed("a group")),
            _ => return Err(malformed("an unknown wire type")),
        };
        Ok(Some((number, value)))
    }

    fn varint(&mut self) -> Result<u64, CodecError> {
        let offset = self.at;
        let (number, length) =
            varint::read_u64(&self.input[offset..]).map_err(|error| match error {
                VarintError::Truncated => self.truncated(),
                VarintError::Invalid => CodecError::Malformed {
                    offset,
                    reason: "a number that is too large or not in its shortest form",
                },
            })?;
        self.at += length;
        Ok(number)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let bytes = self.take(N as u64)?;
        Ok(bytes.try_into().expect("as many bytes as asked for"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], CodecError> {
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|length| self.input[self.at..].get(..length))
            .ok_or(self.truncated())?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn truncated(&self) -> CodecError {
        CodecError::Truncated {
            offset: self.input.len(),
        }
    }
}

/// Writes the fields of one message.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// A writer of an empty message.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A writer with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer {
            out: Vec::with_capacity(bytes),
        }
    }

    /// Appends an unsigned integer, boolean or enum. Zero is written too.
    pub fn uint(&mut self, number: u32, value: u64) {
        self.tag(number, 0);
        varint::write(&mut self.out, value);
    }

    /// Appends bytes, text or an encoded message.
    pub fn bytes(&mut self, number: u32, value: &[u8]) {
        self.tag(number, 2);
        varint::write(&mut self.out, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// The message.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn tag(&mut self, number: u32, wire_type: u64) {
        varint::write(&mut self.out, u64::from(number) << 3 | wire_type);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn fields_have_their_known_bytes() {
        let mut writer = Writer::new();
        writer.uint(1, 150);
        writer.bytes(2, b"testing");
        writer.uint(5, u64::MAX);
        let message = writer.finish();
        assert_eq!(
            hex::encode(&message),
            "089601120774657374696e6728ffffffffffffffffff01"
        );
        let mut reader = Reader::new(&message);
        let fields = [
            (1, FieldValue::Varint(150)),
            (2, FieldValue::Bytes(b"testing")),
            (5, FieldValue::Varint(u64::MAX)),
        ];
        for field in fields {
            assert_eq!(reader.next_field(), Ok(Some(field)));
        }
        assert_eq!(reader.next_field(), Ok(None));
        assert_eq!(reader.offset(), message.len());
    }

    #[test]
    fn fixed_fields_are_read() {
        let mut reader = Reader::new(b"\x09\x01\0\0\0\0\0\0\x02\x15\x01\0\0\x03");
        let wide = FieldValue::Fixed64(0x0200_0000_0000_0001);
        assert_eq!(reader.next_field(), Ok(Some((1, wide))));
        let narrow = FieldValue::Fixed32(0x0300_0001);
        assert_eq!(reader.next_field(), Ok(Some((2, narrow))));
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_its_place() {
        let table: [(&[u8], &str); 9] = [
            (b"\x00\x00", "field number 0 at byte 0"),
            (b"\x0b", "a group at byte 0"),
            (b"\x0c", "a group at byte 0"),
            (b"\x0e", "an unknown wire type at byte 0"),
            (
                b"\xff\xff\xff\xff\x7f\x00",
                "a field number that is too large at byte 0",
            ),
            (
                b"\x08\x80\x00",
                "a number that is too large or not in its shortest form at byte 1",
            ),
            (b"\x08\x80", "the input ends at byte 2, inside a value"),
            (b"\x12\x03ab", "the input ends at byte 4, inside a value"),
            (
                b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                "the input ends at byte 11, inside a value",
            ),
        ];
        for (message, expected) in table {
            let error = Reader::new(message).next_field().unwrap_err();
            assert_eq!(error.to_string(), expected, "{message:02x?}");
        }
    }

    #[test]
    fn another_wire_type_is_refused_by_name() {
        let error = FieldValue::Varint(1).bytes("data").unwrap_err();
        assert_eq!(
            error.to_string(),
            "field `data` must be bytes, not a varint"
        );
        let error = FieldValue::Bytes(b"\xff").text("name").unwrap_err();
        assert_eq!(error.to_string(), "field `name` is invalid: not UTF-8");
        assert!(FieldValue::Fixed32(1).uint("size").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(message in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&message);
            while let Ok(Some(_)) = reader.next_field() {}
            prop_assert!(reader.offset() <= message.len());
        }
    }
}
