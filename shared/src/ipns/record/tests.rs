use alloc::string::ToString;
use alloc::vec::Vec;
use core::cmp::Ordering;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::codec::dag_cbor::Encoder;
use crate::ipns::samples::{NPM_RECORD, VALUE, end, fields, key, name_of, npm_key};
use crate::ipns::{compare, create};
use crate::sign::SigningKey;
use crate::wire::write_length;

/// A record of any content, signed as `signature_v2` asks.
struct Forge {
    value: Vec<u8>,
    validity: Vec<u8>,
    validity_type: u64,
    sequence: u64,
    ttl: u64,
    extra: bool,
}

impl Default for Forge {
    fn default() -> Forge {
        Forge {
            value: VALUE.into(),
            validity: end().to_string().into(),
            validity_type: 0,
            sequence: 3,
            ttl: 9,
            extra: false,
        }
    }
}

impl Forge {
    fn data(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.map(if self.extra { 6 } else { 5 }).unwrap();
        encoder.key("TTL");
        encoder.uint(self.ttl);
        encoder.key("Value");
        encoder.bytes(&self.value);
        if self.extra {
            encoder.key("_extra");
            encoder.list(1).unwrap();
            encoder.text("more");
            encoder.end();
        }
        encoder.key("Sequence");
        encoder.uint(self.sequence);
        encoder.key("Validity");
        encoder.bytes(&self.validity);
        encoder.key("ValidityType");
        encoder.uint(self.validity_type);
        encoder.end();
        encoder.finish().unwrap()
    }

    fn v2_only(&self, key: &SigningKey) -> Vec<u8> {
        let data = self.data();
        let signature = key.sign_parts(&[SIGNATURE_V2_PREFIX, &data]);
        Envelope {
            signature_v2: Some(signature.as_bytes()),
            data: Some(&data),
            ..Envelope::default()
        }
        .encode()
    }
}

#[test]
fn a_record_of_npm_ipns_is_read_and_verified() {
    let bytes = hex::decode(NPM_RECORD).unwrap();
    let unverified = UnverifiedRecord::parse(&bytes).unwrap();
    assert!(unverified.has_v1());
    let record = unverified.verify(&name_of(&npm_key()), Millis(0)).unwrap();
    assert_eq!(record.path(), Some(VALUE));
    assert_eq!(
        record.head().unwrap().to_string(),
        "bafkqaddwgevxmmraojswg33smq"
    );
    assert_eq!(record.sequence(), 7);
    assert_eq!(record.validity(), end());
    assert_eq!(record.ttl_ns(), 3_600_000_000_000);
    assert_eq!(record.bytes(), &bytes[..]);
}

#[test]
fn any_flipped_bit_is_refused_or_changes_nothing_that_is_signed() {
    let good = create(&key(1), &fields(VALUE, 7)).unwrap();
    let name = name_of(&key(1));
    let mut accepted = 0;
    for bit in 0..good.bytes().len() * 8 {
        let mut bytes = good.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read =
            UnverifiedRecord::parse(&bytes).and_then(|record| record.verify(&name, Millis(0)));
        if let Ok(record) = read {
            assert_eq!(record, good, "bit {bit}");
            accepted += 1;
        }
    }
    // The version 1 signature is not checked, and one of its tag's bits makes it an unknown field.
    assert!((512..=520).contains(&accepted), "{accepted}");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "this is its test")]
fn a_stored_record_is_read_back_as_the_one_that_was_verified() {
    let name = name_of(&key(1));
    let record = create(&key(1), &fields(VALUE, 3)).unwrap();
    let stored = Record::from_own_store(record.bytes().clone()).unwrap();
    assert_eq!(stored, record);
    assert_eq!(stored.bytes(), record.bytes());
    assert_eq!(stored.validity(), record.validity());
    let verified =
        UnverifiedRecord::parse(stored.bytes()).and_then(|record| record.verify_at_any_time(&name));
    assert_eq!(verified.unwrap(), stored);
    assert!(Record::from_own_store(Bytes::from_static(b"no record")).is_err());
    let large = Bytes::from_static(&[0; RECORD_BYTES + 1]);
    assert!(matches!(
        Record::from_own_store(large),
        Err(RecordError::TooLarge(_))
    ));
}

#[test]
fn records_end_when_they_say() {
    let record = create(&key(1), &fields(VALUE, 1)).unwrap();
    let last = end().to_millis();
    let name = name_of(&key(1));
    let verify = |now| {
        UnverifiedRecord::parse(record.bytes())
            .unwrap()
            .verify(&name, now)
    };
    assert!(verify(last).is_ok());
    assert!(!record.is_expired(last));
    let late = Millis(last.0 + 1);
    assert_eq!(verify(late), Err(RecordError::Expired { validity: end() }));
    assert!(record.is_expired(late));
    let unverified = UnverifiedRecord::parse(record.bytes()).unwrap();
    assert_eq!(unverified.verify_at_any_time(&name).as_ref(), Ok(&record));
}

#[test]
fn version_2_only_is_accepted_and_version_1_only_is_not() {
    let bytes = Forge::default().v2_only(&key(1));
    let record = UnverifiedRecord::parse(&bytes).unwrap();
    assert!(!record.has_v1());
    assert!(record.verify(&name_of(&key(1)), Millis(0)).is_ok());

    let v1_only = Envelope {
        value: Some(VALUE.as_bytes()),
        signature_v1: Some(&[1; 64]),
        validity_type: Some(0),
        validity: Some(b"2123-08-14T12:12:08.392Z"),
        sequence: Some(1),
        ..Envelope::default()
    };
    let error = UnverifiedRecord::parse(&v1_only.encode()).unwrap_err();
    assert_eq!((&error, error.code()), (&RecordError::V1Only, "v1_only"));
}

#[test]
fn fields_of_version_1_must_say_what_is_signed() {
    let forge = Forge::default();
    let data = forge.data();
    let signature = key(1).sign_parts(&[SIGNATURE_V2_PREFIX, &data]);
    let whole = || Envelope {
        value: Some(&forge.value),
        signature_v1: Some(&[0; 64]),
        validity_type: Some(0),
        validity: Some(&forge.validity),
        sequence: Some(forge.sequence),
        ttl: Some(forge.ttl),
        public_key: None,
        signature_v2: Some(signature.as_bytes()),
        data: Some(&data),
    };
    assert!(UnverifiedRecord::parse(&whole().encode()).is_ok());
    // Zero is what an absent number means.
    assert!(
        UnverifiedRecord::parse(
            &Envelope {
                validity_type: None,
                ..whole()
            }
            .encode()
        )
        .is_ok()
    );
    let wrong = [
        (
            "value",
            Envelope {
                value: Some(b"/ipfs/other"),
                ..whole()
            },
        ),
        (
            "value",
            Envelope {
                value: None,
                ..whole()
            },
        ),
        (
            "validity",
            Envelope {
                validity: Some(b"2123-08-14T12:12:08.392Z"),
                ..whole()
            },
        ),
        (
            "validity",
            Envelope {
                validity: None,
                ..whole()
            },
        ),
        (
            "validityType",
            Envelope {
                validity_type: Some(1),
                ..whole()
            },
        ),
        (
            "sequence",
            Envelope {
                sequence: Some(4),
                ..whole()
            },
        ),
        (
            "sequence",
            Envelope {
                sequence: None,
                ..whole()
            },
        ),
        (
            "ttl",
            Envelope {
                ttl: Some(8),
                ..whole()
            },
        ),
        (
            "ttl",
            Envelope {
                ttl: None,
                ..whole()
            },
        ),
        (
            "sequence",
            Envelope {
                signature_v1: None,
                sequence: Some(4),
                ..whole()
            },
        ),
    ];
    for (field, envelope) in wrong {
        assert_eq!(
            UnverifiedRecord::parse(&envelope.encode()).unwrap_err(),
            RecordError::FieldMismatch { field }
        );
    }
}

#[test]
fn unknown_fields_are_tolerated() {
    let forge = Forge {
        extra: true,
        ..Forge::default()
    };
    let mut bytes = forge.v2_only(&key(1));
    bytes.extend_from_slice(&[
        0x50, 0x01, 0x5a, 0x01, 0xff, 0x61, 1, 2, 3, 4, 5, 6, 7, 8, 0x6d, 1, 2, 3, 4,
    ]);
    let record = UnverifiedRecord::parse(&bytes).unwrap();
    assert!(record.verify(&name_of(&key(1)), Millis(0)).is_ok());
}

#[test]
fn records_that_are_padded_are_refused() {
    let padded = |record: &[u8], bytes: usize| {
        let mut record = record.to_vec();
        // Field 12 of bytes.
        record.push(0x62);
        write_length(&mut record, bytes);
        record.resize(record.len() + bytes, 0);
        UnverifiedRecord::parse(&record)
    };
    let refused = RecordError::Malformed {
        reason: "much of it is signed by nobody",
    };
    let record = Forge::default().v2_only(&key(1));
    assert!(padded(&record, 200).is_ok());
    assert_eq!(padded(&record, 9_000).unwrap_err(), refused);
    let npm = hex::decode(NPM_RECORD).unwrap();
    assert_eq!(padded(&npm, 9_000).unwrap_err(), refused);
    let mut envelope = Envelope::parse(&npm).unwrap();
    let signature = [0; 9_000];
    envelope.signature_v1 = Some(&signature);
    let forged = UnverifiedRecord::parse(&envelope.encode());
    assert_eq!(forged.unwrap_err(), refused);
}

#[test]
fn keys_sent_along_must_be_the_names_own() {
    let proto = |key: &SigningKey| name_of(key).as_bytes()[2..].to_vec();
    let forge = Forge::default();
    let data = forge.data();
    let signature = key(1).sign_parts(&[SIGNATURE_V2_PREFIX, &data]);
    let with_key = |public_key: &[u8]| {
        Envelope {
            public_key: Some(public_key),
            signature_v2: Some(signature.as_bytes()),
            data: Some(&data),
            ..Envelope::default()
        }
        .encode()
    };
    let verify = |bytes: &[u8], name: &Name| {
        UnverifiedRecord::parse(bytes)
            .unwrap()
            .verify(name, Millis(0))
    };
    let name = name_of(&key(1));
    assert!(verify(&with_key(&proto(&key(1))), &name).is_ok());
    for other in [proto(&key(2)), Vec::new(), Vec::from([8, 1])] {
        assert_eq!(verify(&with_key(&other), &name), Err(RecordError::WrongKey));
    }
    // A name that is the SHA2-256 of a key, as RSA keys have: the key belongs to it, and is no RSA key.
    let rsa = [&[0x08, 0x00, 0x12, 0x82, 0x01][..], &[7; 130]].concat();
    let rsa_name = Name::of_key(&rsa);
    assert_eq!(
        verify(&with_key(&rsa), &rsa_name),
        Err(RecordError::UnsupportedKey(NameKeyError::Unusable))
    );
    assert_eq!(
        verify(&with_key(&proto(&key(1))), &rsa_name),
        Err(RecordError::WrongKey)
    );
    assert_eq!(
        verify(&forge.v2_only(&key(1)), &rsa_name),
        Err(RecordError::MissingKey)
    );
    // A key that names hold themselves has no name that is its hash.
    let digest = Sha256::digest(proto(&key(1)));
    let hashed = Name::from_bytes(&[&[0x12, 0x20][..], &digest].concat()).unwrap();
    assert_eq!(
        verify(&with_key(&proto(&key(1))), &hashed),
        Err(RecordError::WrongKey)
    );
    assert_eq!(
        verify(&forge.v2_only(&key(2)), &name),
        Err(RecordError::BadSignature)
    );
}

#[test]
fn malformed_records_are_refused_with_the_reason() {
    let name = name_of(&key(1));
    let code = |bytes: &[u8]| {
        UnverifiedRecord::parse(bytes)
            .and_then(|record| record.verify(&name, Millis(0)))
            .unwrap_err()
            .code()
    };
    assert_eq!(code(&[]), "malformed");
    assert_eq!(code(&[0; 10_241]), "too_large");
    assert_eq!(code(&[0; 10_240]), "malformed");
    assert_eq!(code(&[0x42, 0x05, 1]), "malformed");
    let forge = |forge: Forge| forge.v2_only(&key(1));
    assert_eq!(
        code(&forge(Forge {
            validity_type: 1,
            ..Forge::default()
        })),
        "unsupported_validity"
    );
    assert_eq!(
        code(&forge(Forge {
            validity: b"tomorrow".to_vec(),
            ..Forge::default()
        })),
        "malformed"
    );
    assert_eq!(
        code(&forge(Forge {
            validity: b"\xff".to_vec(),
            ..Forge::default()
        })),
        "malformed"
    );
    let twice = [
        Forge::default().v2_only(&key(1)),
        Forge::default().v2_only(&key(1)),
    ]
    .concat();
    assert_eq!(code(&twice), "malformed");
    let data = Forge::default().data();
    let short = Envelope {
        signature_v2: Some(&[1; 63]),
        data: Some(&data),
        ..Envelope::default()
    };
    assert_eq!(code(&short.encode()), "bad_signature");
    let none = Envelope {
        signature_v2: Some(&[1; 64]),
        ..Envelope::default()
    };
    assert_eq!(code(&none.encode()), "malformed");
    // Keys out of order: one document, two encodings.
    let unsorted = hex::decode("a26556616c7565406354544c00").unwrap();
    let unsorted = Envelope {
        signature_v2: Some(&[1; 64]),
        data: Some(&unsorted),
        ..Envelope::default()
    };
    assert_eq!(code(&unsorted.encode()), "malformed");
}

#[test]
fn the_version_1_part_is_not_the_records_identity() {
    let record = create(&npm_key(), &fields(VALUE, 7)).unwrap();
    let mut bytes = record.bytes().to_vec();
    bytes[40] ^= 0xff;
    let other = UnverifiedRecord::parse(&bytes)
        .unwrap()
        .verify(&name_of(&npm_key()), Millis(0))
        .unwrap();
    assert_ne!(record.bytes(), other.bytes());
    assert_eq!(record, other);
    assert_eq!(compare(&record, &other), Ordering::Equal);
}

#[test]
fn heads_are_read_from_exact_content_paths_only() {
    let head = |value: &str| create(&key(1), &fields(value, 1)).unwrap().head();
    assert!(head(VALUE).is_some());
    assert_eq!(head("/ipfs/bafkqaddwgevxmmraojswg33smq/x"), None);
    assert_eq!(head("/ipns/bafkqaddwgevxmmraojswg33smq"), None);
    assert_eq!(head("/ipfs/"), None);
    let bytes = Forge {
        value: Vec::from([0xff, 0xfe]),
        ..Forge::default()
    }
    .v2_only(&key(1));
    let record = UnverifiedRecord::parse(&bytes).unwrap();
    let record = record.verify(&name_of(&key(1)), Millis(0)).unwrap();
    assert_eq!((record.path(), record.head()), (None, None));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = UnverifiedRecord::parse(&bytes);
    }

    #[test]
    fn any_damage_is_read_without_panic(
        at in 0usize..332,
        cut in 0usize..332,
        byte: u8,
    ) {
        let mut bytes = hex::decode(NPM_RECORD).unwrap();
        bytes[at] = byte;
        bytes.truncate(cut);
        let _ = UnverifiedRecord::parse(&bytes).map(|record| record.verify(&name_of(&npm_key()), Millis(0)));
    }
}
