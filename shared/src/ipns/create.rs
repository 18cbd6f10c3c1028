//! Making records.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::codec::CodecError;
use crate::codec::dag_cbor::Encoder;
use crate::ipns::record::{
    Record, RecordError, SIGNATURE_V2_PREFIX, UnverifiedRecord, VALIDITY_TYPE_EOL,
};
use crate::ipns::wire::Envelope;
use crate::limits::{LimitExceeded, RECORD_BYTES};
use crate::sign::SigningKey;
use crate::time::Timestamp;

/// What the version 1 signature covers after value and validity: the name of the validity type.
const VALIDITY_TYPE_NAME: &[u8] = b"EOL";

/// What a record is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFields<'a> {
    /// The path the name points at, such as `/ipfs/bafy…`.
    pub value: &'a str,
    /// Counts the changes of the value; the highest wins.
    pub sequence: u64,
    /// Until when the record is valid, that instant included.
    pub validity: Timestamp,
    /// How long a reader may cache the record: a hint, kept in nanoseconds, at most 2^64 - 1 of them.
    pub ttl: Duration,
}

/// Makes a record with both signatures (V1 and V2), which every implementation reads.
///
/// # Errors
/// Refuses a value that is not a path (it starts with `/`), and a record above [`RECORD_BYTES`].
pub fn create(key: &SigningKey, fields: &RecordFields<'_>) -> Result<Record, RecordError> {
    if !fields.value.starts_with('/') {
        return Err(RecordError::InvalidValue);
    }
    LimitExceeded::check("IPNS record bytes", RECORD_BYTES, fields.value.len())?;
    let value = fields.value.as_bytes();
    let validity = fields.validity.to_string();
    let ttl_ns = u64::try_from(fields.ttl.as_nanos()).unwrap_or(u64::MAX);
    let data = encode_data(value, validity.as_bytes(), fields.sequence, ttl_ns)?;
    let signature_v1 = key.sign_parts(&[value, validity.as_bytes(), VALIDITY_TYPE_NAME]);
    let signature_v2 = key.sign_parts(&[SIGNATURE_V2_PREFIX, &data]);
    let bytes = Envelope {
        value: Some(value),
        signature_v1: Some(signature_v1.as_bytes()),
        validity_type: Some(VALIDITY_TYPE_EOL),
        validity: Some(validity.as_bytes()),
        sequence: Some(fields.sequence),
        ttl: Some(ttl_ns),
        public_key: None,
        signature_v2: Some(signature_v2.as_bytes()),
        data: Some(&data),
    }
    .encode();
    LimitExceeded::check("IPNS record bytes", RECORD_BYTES, bytes.len())?;
    let record = UnverifiedRecord::read(Bytes::from(bytes))?;
    Ok(Record {
        statement: record.into_statement(),
    })
}

/// The signed document, its keys in the order of DAG-CBOR.
fn encode_data(
    value: &[u8],
    validity: &[u8],
    sequence: u64,
    ttl_ns: u64,
) -> Result<Vec<u8>, CodecError> {
    let mut encoder = Encoder::with_capacity(96 + value.len() + validity.len());
    encoder.map(5)?;
    encoder.key("TTL");
    encoder.uint(ttl_ns);
    encoder.key("Value");
    encoder.bytes(value);
    encoder.key("Sequence");
    encoder.uint(sequence);
    encoder.key("Validity");
    encoder.bytes(validity);
    encoder.key("ValidityType");
    encoder.uint(VALIDITY_TYPE_EOL);
    encoder.end();
    encoder.finish()
}
