//! Reading and verifying records.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Range;

use bytes::Bytes;

use crate::cid::{Cid, parse_cid};
use crate::codec::CodecError;
use crate::codec::dag_cbor::Decoder;
use crate::ipns::wire::Envelope;
use crate::ipns::{ContentPath, ContentPathError, Name, NameKey, NameKeyError};
use crate::limits::{LimitExceeded, RECORD_BYTES};
use crate::sign::BadSignature;
use crate::time::{Millis, TimeError, Timestamp};

/// What is signed before the data (specification, "Record Creation").
pub(super) const SIGNATURE_V2_PREFIX: &[u8] = b"ipns-signature:";

/// The only validity type: the record ends at a time.
pub(super) const VALIDITY_TYPE_EOL: u64 = 0;

/// What comes before a CID in a value.
const CONTENT_PATH: &str = "/ipfs/";

/// A record whose form is right and whose signature nobody has checked.
///
/// What it says may be shown to a person who inspects it, and must not be acted on.
#[derive(Clone, Debug)]
pub struct UnverifiedRecord {
    statement: Statement,
    /// The public key sent along, in libp2p's protobuf.
    public_key: Option<Range<usize>>,
    has_v1: bool,
}

impl UnverifiedRecord {
    /// Reads a record and checks everything but its key, its signature and its end.
    ///
    /// # Errors
    /// Refuses records above [`RECORD_BYTES`] before reading them, what is not an `IpnsEntry` protobuf with canonical
    /// DAG-CBOR data, records of version 1 only, other validity types than EOL, and fields of version 1 that do not
    /// say what the signed data say. Unknown fields are passed over in both parts.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedRecord, RecordError> {
        LimitExceeded::check("IPNS record bytes", RECORD_BYTES, bytes.len())?;
        UnverifiedRecord::read(Bytes::copy_from_slice(bytes))
    }

    /// As [`UnverifiedRecord::parse`], for bytes within the limit.
    fn read(bytes: Bytes) -> Result<UnverifiedRecord, RecordError> {
        let envelope = Envelope::parse(&bytes)?;
        let present = |field: Option<&[u8]>| field.is_some_and(|bytes| !bytes.is_empty());
        if !present(envelope.signature_v2)
            && !present(envelope.data)
            && present(envelope.signature_v1)
        {
            return Err(RecordError::V1Only);
        }
        let missing = |field| RecordError::Malformed { reason: field };
        let data = envelope
            .data
            .filter(|data| !data.is_empty())
            .ok_or(missing("it has no data"))?;
        let signature = envelope
            .signature_v2
            .ok_or(missing("it has no version 2 signature"))?;
        let signed = SignedData::decode(data)?;
        let has_v1 = envelope.signature_v1.is_some() || envelope.value.is_some();
        if has_v1 {
            signed.check_against(&envelope)?;
        }
        let statement = Statement {
            data: range_in(&bytes, data),
            value: range_in(&bytes, signed.value),
            sequence: signed.sequence,
            validity: signed.validity,
            ttl_ns: signed.ttl_ns,
            signature: range_in(&bytes, signature),
            bytes: bytes.clone(),
        };
        Ok(UnverifiedRecord {
            public_key: envelope.public_key.map(|key| range_in(&bytes, key)),
            statement,
            has_v1,
        })
    }

    /// Verifies the record as one of `name` that is valid at `now`.
    ///
    /// # Errors
    /// Whatever [`UnverifiedRecord::verify_at_any_time`] refuses, and [`RecordError::Expired`].
    pub fn verify(self, name: &Name, now: Millis) -> Result<Record, RecordError> {
        self.verify_at_any_time(name)?.still_valid(now)
    }

    /// Verifies the record as one of `name`, whether or not it has ended; for inspection, and for its sequence, which
    /// stays a high-water mark.
    ///
    /// # Errors
    /// [`RecordError::WrongKey`] when the record carries a key that is not the name's, [`RecordError::MissingKey`] when
    /// neither name nor record hold the key, [`RecordError::UnsupportedKey`] when it is of a type or size that is not
    /// verified here, [`RecordError::BadSignature`] when it did not sign the data.
    pub fn verify_at_any_time(self, name: &Name) -> Result<Record, RecordError> {
        let statement = self.statement;
        let sent = self.public_key.map(|range| &statement.bytes[range]);
        if sent.is_some_and(|key| Name::of_key(key) != *name) {
            return Err(RecordError::WrongKey);
        }
        let key = name.inline_key().or(sent).ok_or(RecordError::MissingKey)?;
        NameKey::parse(key)?.verify_parts(
            &[SIGNATURE_V2_PREFIX, statement.data()],
            statement.signature(),
        )?;
        Ok(Record { statement })
    }

    /// The value the record claims.
    pub fn value(&self) -> &[u8] {
        self.statement.value()
    }

    /// The sequence the record claims.
    pub fn sequence(&self) -> u64 {
        self.statement.sequence
    }

    /// The end the record claims.
    pub fn validity(&self) -> Timestamp {
        self.statement.validity
    }

    /// The TTL the record claims, in nanoseconds.
    pub fn ttl_ns(&self) -> u64 {
        self.statement.ttl_ns
    }

    /// Whether the record has a version 1 part beside its version 2.
    pub fn has_v1(&self) -> bool {
        self.has_v1
    }
}

/// A record whose signature was verified against the key of its name.
///
/// Two records are equal when their signed data and signatures are, whatever else their bytes hold.
#[derive(Clone, Debug)]
pub struct Record {
    pub(super) statement: Statement,
}

impl Record {
    /// Reads a record that was verified before it was stored, without verifying its signature again.
    ///
    /// For a store that reads its own rows, and for nobody else: it wrote none but verified records, and holds sums over
    /// their bytes. Verifying each again would cost a page of names a signature for each of them.
    ///
    /// # Errors
    /// As [`UnverifiedRecord::parse`]: the bytes are no record any more.
    pub fn from_own_store(bytes: Bytes) -> Result<Record, RecordError> {
        LimitExceeded::check("IPNS record bytes", RECORD_BYTES, bytes.len())?;
        let statement = UnverifiedRecord::read(bytes)?.statement;
        Ok(Record { statement })
    }

    /// The same record, if it has not ended.
    ///
    /// # Errors
    /// [`RecordError::Expired`] when its end lies before `now`.
    pub fn still_valid(self, now: Millis) -> Result<Record, RecordError> {
        if self.is_expired(now) {
            return Err(RecordError::Expired {
                validity: self.validity(),
            });
        }
        Ok(self)
    }

    /// The value as bytes; nearly always a path such as `/ipfs/bafy…`.
    pub fn value(&self) -> &[u8] {
        self.statement.value()
    }

    /// The value as a path; `None` when it is not text.
    pub fn path(&self) -> Option<&str> {
        core::str::from_utf8(self.value()).ok()
    }

    /// The CID the name points at; `None` when the value is not exactly `/ipfs/<CID>`, as our own records have it.
    /// [`Record::root`] is for the records of anybody.
    pub fn head(&self) -> Option<Cid> {
        parse_cid(self.path()?.strip_prefix(CONTENT_PATH)?).ok()
    }

    /// Where the value points, as the records of anybody do: with a path behind the CID, in any base, at another name.
    ///
    /// # Errors
    /// The value is no content path.
    pub fn content_path(&self) -> Result<ContentPath, ContentPathError> {
        ContentPath::parse(self.value())
    }

    /// The CID at which the value's path begins, below which everything belongs to the name; `None` when the value
    /// points at no content, or at another name.
    pub fn root(&self) -> Option<Cid> {
        self.content_path().ok()?.cid()
    }

    /// The name that the value points at, with or without a path behind it; `None` when it points at something else.
    pub fn next_name(&self) -> Option<Name> {
        self.content_path().ok()?.name()
    }

    /// Counts the changes of the value; the highest wins.
    pub fn sequence(&self) -> u64 {
        self.statement.sequence
    }

    /// Until when the record is valid, that instant included.
    pub fn validity(&self) -> Timestamp {
        self.statement.validity
    }

    /// How long a reader may cache the record, in nanoseconds. A hint: it does not end the record.
    pub fn ttl_ns(&self) -> u64 {
        self.statement.ttl_ns
    }

    /// Whether the record's end lies before `now`.
    pub fn is_expired(&self, now: Millis) -> bool {
        self.statement.validity < Timestamp::from(now)
    }

    /// The serialized record, as it was read or made.
    pub fn bytes(&self) -> &Bytes {
        &self.statement.bytes
    }

    /// What identifies the record: its signed data and its version 2 signature.
    pub fn identity(&self) -> (&[u8], &[u8]) {
        (self.statement.data(), self.statement.signature())
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Record {}

impl Hash for Record {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// What a record says, with the places of its parts in the serialized bytes.
#[derive(Clone)]
pub(super) struct Statement {
    pub(super) bytes: Bytes,
    pub(super) data: Range<usize>,
    pub(super) value: Range<usize>,
    pub(super) sequence: u64,
    pub(super) validity: Timestamp,
    pub(super) ttl_ns: u64,
    pub(super) signature: Range<usize>,
}

impl Statement {
    fn value(&self) -> &[u8] {
        &self.bytes[self.value.clone()]
    }

    fn data(&self) -> &[u8] {
        &self.bytes[self.data.clone()]
    }

    fn signature(&self) -> &[u8] {
        &self.bytes[self.signature.clone()]
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field(
                "value",
                &alloc::string::String::from_utf8_lossy(self.value()),
            )
            .field("sequence", &self.sequence)
            .field("validity", &self.validity)
            .field("ttl_ns", &self.ttl_ns)
            .finish_non_exhaustive()
    }
}

/// The fields of the signed CBOR document.
struct SignedData<'a> {
    value: &'a [u8],
    sequence: u64,
    validity_text: &'a [u8],
    validity: Timestamp,
    ttl_ns: u64,
}

impl<'a> SignedData<'a> {
    fn decode(data: &'a [u8]) -> Result<SignedData<'a>, RecordError> {
        let mut decoder = Decoder::new(data)?;
        let mut entries = decoder.map()?;
        let (mut value, mut validity_text) = (None, None);
        let (mut validity_type, mut sequence, mut ttl_ns) = (None, None, None);
        while let Some(name) = entries.next(&mut decoder)? {
            match name {
                "Value" => value = Some(decoder.bytes()?),
                "Validity" => validity_text = Some(decoder.bytes()?),
                "ValidityType" => validity_type = Some(decoder.uint()?),
                "Sequence" => sequence = Some(decoder.uint()?),
                "TTL" => ttl_ns = Some(decoder.uint()?),
                _ => decoder.skip(&mut |_| Ok(()))?,
            }
        }
        decoder.finish()?;
        let missing = RecordError::Malformed {
            reason: "its data lack Value, Validity, ValidityType, Sequence or TTL",
        };
        let (Some(value), Some(validity_text), Some(validity_type), Some(sequence), Some(ttl_ns)) =
            (value, validity_text, validity_type, sequence, ttl_ns)
        else {
            return Err(missing);
        };
        if validity_type != VALIDITY_TYPE_EOL {
            return Err(RecordError::UnsupportedValidity {
                kind: validity_type,
            });
        }
        let text = core::str::from_utf8(validity_text).map_err(|_| TimeError::Malformed)?;
        Ok(SignedData {
            value,
            sequence,
            validity_text,
            validity: Timestamp::parse(text)?,
            ttl_ns,
        })
    }

    /// Checks the unsigned fields of version 1. An absent number is zero, as protobuf has it.
    fn check_against(&self, envelope: &Envelope<'_>) -> Result<(), RecordError> {
        let mismatch = |field| Err(RecordError::FieldMismatch { field });
        if envelope.value.unwrap_or_default() != self.value {
            return mismatch("value");
        }
        if envelope.validity.unwrap_or_default() != self.validity_text {
            return mismatch("validity");
        }
        if envelope.validity_type.unwrap_or_default() != VALIDITY_TYPE_EOL {
            return mismatch("validityType");
        }
        if envelope.sequence.unwrap_or_default() != self.sequence {
            return mismatch("sequence");
        }
        if envelope.ttl.unwrap_or_default() != self.ttl_ns {
            return mismatch("ttl");
        }
        Ok(())
    }
}

/// The place of `part` in `whole`, of which it is a slice.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

/// Why a record is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record is above [`RECORD_BYTES`].
    #[error("the record is too large")]
    TooLarge(#[from] LimitExceeded),
    /// The bytes are not an IPNS record.
    #[error("not an IPNS record: {reason}")]
    Malformed {
        /// The broken rule.
        reason: &'static str,
    },
    /// The bytes are not an `IpnsEntry` protobuf, or the data in it not canonical DAG-CBOR.
    #[error("not an IPNS record: it cannot be decoded")]
    Codec(#[from] CodecError),
    /// The end of the record is not an RFC 3339 time.
    #[error("the record's validity is malformed")]
    Validity(#[from] TimeError),
    /// The record has only a version 1 signature, which covers too little to be trusted.
    #[error(
        "the record has only a version 1 signature, which is not accepted; publish again with current software"
    )]
    V1Only,
    /// The record ends in another way than at a time.
    #[error("validity type {kind} is not supported; 0 (EOL) is")]
    UnsupportedValidity {
        /// The number of the validity type.
        kind: u64,
    },
    /// A field of version 1 does not say what the signed data say.
    #[error("the unsigned field `{field}` does not match the signed data")]
    FieldMismatch {
        /// The field's name in the specification.
        field: &'static str,
    },
    /// The record carries a public key that is not the name's.
    #[error("the record carries the public key of another name")]
    WrongKey,
    /// The name is the hash of a key, and the record does not carry that key.
    #[error("the record lacks the public key, of which its name is only the hash")]
    MissingKey,
    /// The name's key is of a type or size whose signatures are not verified here.
    #[error("records of this name cannot be verified")]
    UnsupportedKey(#[from] NameKeyError),
    /// The name's key did not sign the data.
    #[error("the record's signature is not by the key of its name")]
    BadSignature,
    /// The record has ended.
    #[error("the record expired at {validity}")]
    Expired {
        /// When it ended.
        validity: Timestamp,
    },
    /// A record is to be made for a value that is not a path.
    #[error("the value must be a path, such as /ipfs/<CID>")]
    InvalidValue,
}

impl RecordError {
    /// A word for machines, stable between versions.
    pub const fn code(&self) -> &'static str {
        match self {
            RecordError::TooLarge(_) => "too_large",
            RecordError::Malformed { .. } | RecordError::Codec(_) | RecordError::Validity(_) => {
                "malformed"
            }
            RecordError::V1Only => "v1_only",
            RecordError::UnsupportedValidity { .. } => "unsupported_validity",
            RecordError::FieldMismatch { .. } => "field_mismatch",
            RecordError::WrongKey => "wrong_key",
            RecordError::MissingKey => "missing_key",
            RecordError::UnsupportedKey(_) => "unsupported_key",
            RecordError::BadSignature => "bad_signature",
            RecordError::Expired { .. } => "expired",
            RecordError::InvalidValue => "invalid_value",
        }
    }
}

impl From<BadSignature> for RecordError {
    fn from(_: BadSignature) -> RecordError {
        RecordError::BadSignature
    }
}

#[cfg(test)]
mod tests;
