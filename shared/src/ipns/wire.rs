//! The `IpnsEntry` protobuf (specification, "Record Serialization Format").

use alloc::vec::Vec;

use crate::codec::protobuf::{Reader, Writer};
use crate::ipns::RecordError;

/// Most bytes of fields that are not known here, and of numbers that are written longer than they need to be.
const UNSIGNED_BYTES: usize = 256;

/// Most bytes of a version 1 signature, which is not looked at: those of RSA with 8,192 bits.
const SIGNATURE_V1_BYTES: usize = 1_024;

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

impl<'a> Envelope<'a> {
    /// Reads an entry. Unknown fields are passed over, up to [`UNSIGNED_BYTES`]; a known field may appear once.
    ///
    /// # Errors
    /// Refuses what is not protobuf, known fields of another type, and repeated ones: readers that
    /// keep the first and readers that keep the last would see two records. Refuses what is padded: nobody has signed that, so whoever
    /// passes a record on could fill every store that keeps it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Envelope<'a>, RecordError> {
        let mut reader = Reader::new(bytes);
        let mut entry = Envelope::default();
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => put(&mut entry.value, field.bytes("value")?)?,
                2 => put(&mut entry.signature_v1, field.bytes("signatureV1")?)?,
                3 => put(&mut entry.validity_type, field.uint("validityType")?)?,
                4 => put(&mut entry.validity, field.bytes("validity")?)?,
                5 => put(&mut entry.sequence, field.uint("sequence")?)?,
                6 => put(&mut entry.ttl, field.uint("ttl")?)?,
                7 => put(&mut entry.public_key, field.bytes("pubKey")?)?,
                8 => put(&mut entry.signature_v2, field.bytes("signatureV2")?)?,
                9 => put(&mut entry.data, field.bytes("data")?)?,
                _ => {}
            }
        }
        let unsigned = bytes.len().saturating_sub(entry.room());
        let v1 = entry.signature_v1.map_or(0, <[u8]>::len);
        if unsigned > UNSIGNED_BYTES || v1 > SIGNATURE_V1_BYTES {
            return Err(RecordError::Malformed {
                reason: "much of it is signed by nobody",
            });
        }
        Ok(entry)
    }

    /// Writes the fields that are there, in the order of their numbers.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.room());
        write_bytes(&mut writer, 1, self.value);
        write_bytes(&mut writer, 2, self.signature_v1);
        write_uint(&mut writer, 3, self.validity_type);
        write_bytes(&mut writer, 4, self.validity);
        write_uint(&mut writer, 5, self.sequence);
        write_uint(&mut writer, 6, self.ttl);
        write_bytes(&mut writer, 7, self.public_key);
        write_bytes(&mut writer, 8, self.signature_v2);
        write_bytes(&mut writer, 9, self.data);
        writer.finish()
    }

    /// Bytes that the encoded entry takes at most: a tag and two bytes of length for each field of
    /// bytes (the record's limit is below 2^14), a tag and ten bytes for each number.
    fn room(&self) -> usize {
        let fields = [
            self.value,
            self.signature_v1,
            self.validity,
            self.public_key,
            self.signature_v2,
            self.data,
        ];
        let bytes: usize = fields.iter().flatten().map(|field| 3 + field.len()).sum();
        bytes + 3 * 11
    }
}

fn put<T>(field: &mut Option<T>, value: T) -> Result<(), RecordError> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(RecordError::Malformed {
            reason: "a field appears twice",
        }),
    }
}

fn write_bytes(writer: &mut Writer, number: u32, field: Option<&[u8]>) {
    if let Some(field) = field {
        writer.bytes(number, field);
    }
}

fn write_uint(writer: &mut Writer, number: u32, field: Option<u64>) {
    if let Some(field) = field {
        writer.uint(number, field);
    }
}
