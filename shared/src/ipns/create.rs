//! Making records.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use crate::codec::CodecError;
use crate::codec::dag_cbor::Encoder;
use crate::ipns::record::{Record, RecordError, SIGNATURE_V2_PREFIX, Statement, VALIDITY_TYPE_EOL};
use crate::ipns::wire::Envelope;
use crate::limits::{LimitExceeded, RECORD_BYTES};
use crate::sign::{SIGNATURE_BYTES, SigningKey};
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
    let (data, value_at) = encode_data(value, validity.as_bytes(), fields.sequence, ttl_ns)?;
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
    // The signed data are the last field.
    let data_at = bytes.len() - data.len();
    let value_at = data_at + value_at;
    // The signature ends where their tag and length begin; a record is below 2^14 bytes.
    let signature_end = data_at - if data.len() < 1 << 7 { 2 } else { 3 };
    Ok(Record {
        statement: Statement {
            data: data_at..bytes.len(),
            value: value_at..value_at + value.len(),
            sequence: fields.sequence,
            validity: fields.validity,
            ttl_ns,
            signature: signature_end - SIGNATURE_BYTES..signature_end,
            bytes: Bytes::from(bytes),
        },
    })
}

/// The signed document, its keys in the order of DAG-CBOR, and where in it the value begins.
fn encode_data(
    value: &[u8],
    validity: &[u8],
    sequence: u64,
    ttl_ns: u64,
) -> Result<(Vec<u8>, usize), CodecError> {
    let mut encoder = Encoder::with_capacity(96 + value.len() + validity.len());
    encoder.map(5)?;
    encoder.key("TTL");
    encoder.uint(ttl_ns);
    encoder.key("Value");
    encoder.bytes(value);
    let value_at = encoder.written() - value.len();
    encoder.key("Sequence");
    encoder.uint(sequence);
    encoder.key("Validity");
    encoder.bytes(validity);
    encoder.key("ValidityType");
    encoder.uint(VALIDITY_TYPE_EOL);
    encoder.end();
    Ok((encoder.finish()?, value_at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::ipns::UnverifiedRecord;
    use crate::ipns::samples::{NPM_RECORD, VALUE, fields, key, name_of, npm_key};
    use crate::time::Millis;

    #[test]
    fn a_record_is_byte_equal_to_that_of_npm_ipns() {
        let record = create(&npm_key(), &fields(VALUE, 7)).unwrap();
        assert_eq!(hex::encode(record.bytes()), NPM_RECORD);
    }

    /// Length and SHA2-256 of records that npm `ipns` 10.1.6 made with the same key.
    #[test]
    fn records_with_extreme_fields_are_byte_equal_to_those_of_npm_ipns() {
        let long = alloc::format!("{VALUE}/ä/{}", "x".repeat(200));
        let table = [
            (
                (VALUE, 0, 0, "1970-01-01T00:00:00Z"),
                (
                    319,
                    "40c80bfe399dff5ac625c57c874303bc83d195c827e90eba72bfa19c8b683e4b",
                ),
            ),
            (
                (
                    "/ipns/k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9",
                    24,
                    23,
                    "2026-11-21T09:27:00.000000001Z",
                ),
                (
                    391,
                    "884486561f26b706ae94b96d2289495e111b14ab71ddb79fc590f7bf22ef5412",
                ),
            ),
            (
                (
                    &long,
                    65_536,
                    4_294_967_296,
                    "2026-11-21T09:27:00.123456789Z",
                ),
                (
                    747,
                    "605618a248784412b75b8ecaf007b8451862e46a91c06201cd60e95fca378ed1",
                ),
            ),
            (
                ("/x", u64::MAX, u64::MAX, "9999-12-31T23:59:59.999999999Z"),
                (
                    290,
                    "765da629a3704e0fd4690136ad9c8f544a7478347250fb67ffa6d275ce29e567",
                ),
            ),
        ];
        for ((value, sequence, ttl_ns, validity), (length, digest)) in table {
            let fields = RecordFields {
                value,
                sequence,
                validity: Timestamp::parse(validity).unwrap(),
                ttl: Duration::from_nanos(ttl_ns),
            };
            let record = create(&npm_key(), &fields).unwrap();
            assert_eq!(record.bytes().len(), length, "{value}");
            assert_eq!(
                hex::encode(Sha256::digest(record.bytes())),
                digest,
                "{value}"
            );
        }
    }

    #[test]
    fn what_cannot_be_a_record_is_not_made() {
        assert_eq!(
            create(&key(1), &fields("", 1)),
            Err(RecordError::InvalidValue)
        );
        assert_eq!(
            create(&key(1), &fields("ipfs/x", 1)),
            Err(RecordError::InvalidValue)
        );
        let long = alloc::format!("/{}", "x".repeat(10_240));
        assert_eq!(
            create(&key(1), &fields(&long, 1)).unwrap_err().code(),
            "too_large"
        );
        // The value is in the record twice.
        let half = alloc::format!("/{}", "x".repeat(5_200));
        assert_eq!(
            create(&key(1), &fields(&half, 1)).unwrap_err().code(),
            "too_large"
        );
    }

    proptest! {
        #[test]
        fn what_is_made_is_read_back(
            seed: [u8; 32],
            value in "/[ -~]{0,300}",
            sequence: u64,
            secs in 0i64..253_402_300_799,
            nanos in 0u32..1_000_000_000,
            ttl: u64,
        ) {
            let key = SigningKey::from_seed(&seed);
            let validity = Timestamp::new(secs, nanos).unwrap();
            let ttl = Duration::from_nanos(ttl);
            let made = create(&key, &RecordFields { value: &value, sequence, validity, ttl }).unwrap();
            let read = UnverifiedRecord::parse(made.bytes()).unwrap().verify(&name_of(&key), Millis(0)).unwrap();
            prop_assert_eq!(&read, &made);
            for record in [&made, &read] {
                prop_assert_eq!(record.path(), Some(&value[..]));
                prop_assert_eq!(record.sequence(), sequence);
                prop_assert_eq!(record.validity(), validity);
                prop_assert_eq!(u128::from(record.ttl_ns()), ttl.as_nanos());
            }
        }
    }
}
