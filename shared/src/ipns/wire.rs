//! The `IpnsEntry` protobuf (specification, "Record Serialization Format").

use alloc::vec::Vec;

use crate::ipns::RecordError;
use crate::varint;

/// The fields of an `IpnsEntry`, borrowed.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    pub(super) value: Option<&'a [u8]>,
    pub(super) signature_v1: Option<&'a [u8]>,
    pub(super) validity_type: Option<u64>,
    pub(super) validity: Option<&'a [u8]>,
    pub(super) sequence: Option<u64>,
    pub(super) ttl: Option<u64>,
    pub(super) public_key: Option<&'a [u8]>,
    pub(super) signature_v2: Option<&'a [u8]>,
    pub(super) data: Option<&'a [u8]>,
}

/// Protobuf wire types of the fields we read and of those we pass over.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

impl<'a> Envelope<'a> {
    /// Reads an entry. Unknown fields are passed over; a known field may appear once.
    ///
    /// # Errors
    /// Refuses what is not protobuf, known fields of another type, and repeated ones: readers that keep the first and
    /// readers that keep the last would see two records.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Envelope<'a>, RecordError> {
        let mut reader = Reader { rest: bytes };
        let mut entry = Envelope::default();
        while !reader.rest.is_empty() {
            let tag = reader.varint()?;
            match (tag >> 3, tag & 7) {
                (1, BYTES) => put(&mut entry.value, reader.bytes()?)?,
                (2, BYTES) => put(&mut entry.signature_v1, reader.bytes()?)?,
                (3, VARINT) => put(&mut entry.validity_type, reader.varint()?)?,
                (4, BYTES) => put(&mut entry.validity, reader.bytes()?)?,
                (5, VARINT) => put(&mut entry.sequence, reader.varint()?)?,
                (6, VARINT) => put(&mut entry.ttl, reader.varint()?)?,
                (7, BYTES) => put(&mut entry.public_key, reader.bytes()?)?,
                (8, BYTES) => put(&mut entry.signature_v2, reader.bytes()?)?,
                (9, BYTES) => put(&mut entry.data, reader.bytes()?)?,
                (0..=9, _) => return Err(malformed("a field has the wrong type")),
                (_, VARINT) => drop(reader.varint()?),
                (_, FIXED_64) => drop(reader.take(8)?),
                (_, BYTES) => drop(reader.bytes()?),
                (_, FIXED_32) => drop(reader.take(4)?),
                _ => return Err(malformed("a field has a type protobuf does not know")),
            }
        }
        Ok(entry)
    }

    /// Writes the fields that are there, in the order of their numbers.
    pub(super) fn encode(&self) -> Vec<u8> {
        let length = [
            self.value,
            self.signature_v1,
            self.validity,
            self.public_key,
            self.signature_v2,
            self.data,
        ]
        .iter()
        .flatten()
        .map(|bytes| bytes.len() + 4)
        .sum::<usize>();
        let mut out = Vec::with_capacity(length + 3 * 11);
        put_bytes(&mut out, 1, self.value);
        put_bytes(&mut out, 2, self.signature_v1);
        put_varint(&mut out, 3, self.validity_type);
        put_bytes(&mut out, 4, self.validity);
        put_varint(&mut out, 5, self.sequence);
        put_varint(&mut out, 6, self.ttl);
        put_bytes(&mut out, 7, self.public_key);
        put_bytes(&mut out, 8, self.signature_v2);
        put_bytes(&mut out, 9, self.data);
        out
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, RecordError> {
        let (number, length) = varint::read_u64(self.rest)
            .map_err(|_| malformed("a number is cut off or too long"))?;
        self.rest = &self.rest[length..];
        Ok(number)
    }

    fn bytes(&mut self) -> Result<&'a [u8], RecordError> {
        let length = self.varint()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(malformed("it ends inside a field"))?;
        self.rest = rest;
        Ok(taken)
    }
}

fn put<T>(field: &mut Option<T>, value: T) -> Result<(), RecordError> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(malformed("a field appears twice")),
    }
}

fn put_bytes(out: &mut Vec<u8>, number: u64, bytes: Option<&[u8]>) {
    if let Some(bytes) = bytes {
        varint::write(out, number << 3 | BYTES);
        varint::write(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn put_varint(out: &mut Vec<u8>, number: u64, value: Option<u64>) {
    if let Some(value) = value {
        varint::write(out, number << 3 | VARINT);
        varint::write(out, value);
    }
}

fn malformed(reason: &'static str) -> RecordError {
    RecordError::Malformed { reason }
}
