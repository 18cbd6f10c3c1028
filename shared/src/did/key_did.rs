//! `did:key` of every curve that the method has (did:key method specification, W3C CCG).
//!
//! An identity of ours is Ed25519 only ([`Did`](super::Did)); a resolver is asked for the keys of others too. Such a DID is
//! its key, so it resolves without anybody to ask. Must never touch: signatures. Whether the bytes are a point of their curve
//! is checked here, since a document is not to name a key that nobody can have.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crypto_bigint::modular::ConstMontyForm;
use crypto_bigint::{U384, const_monty_params};
use multibase::Base;

use super::document::{Core, key_document};
use crate::codec::Value;
use crate::sign::PublicKey;

/// Longest text of a key that is read; that of P-384, the longest that is known here, has 71 bytes.
const KEY_TEXT_BYTES: usize = 128;

/// The multicodecs of public keys (multicodec table), as varints.
const SECP256K1: [u8; 2] = [0xe7, 0x01];
const X25519: [u8; 2] = [0xec, 0x01];
const ED25519: [u8; 2] = [0xed, 0x01];
const P256: [u8; 2] = [0x80, 0x24];
const P384: [u8; 2] = [0x81, 0x24];

/// A `did:key` and the key that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDid {
    /// The key in base58btc with its multicodec, which is all of the DID behind `did:key:`.
    multikey: String,
    /// For an Ed25519 key the X25519 key of the same point, in the same form.
    agreement: Option<String>,
    curve: Curve,
}

/// What the key of a `did:key` can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// Signs; agrees on secrets by the X25519 key of the same point.
    Ed25519,
    /// Agrees on secrets only.
    X25519,
    /// Signs and agrees on secrets.
    P256,
    /// Signs and agrees on secrets.
    P384,
    /// Signs and agrees on secrets.
    Secp256k1,
}

/// Why text is no `did:key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyDidError {
    /// Not base58btc, which begins with `z`, or too long.
    #[error("what stands behind did:key: is no key in base58btc, which looks like z6Mk…")]
    NotBase58,
    /// Not a key of a curve that is known here.
    #[error(
        "the key is of another kind than Ed25519, X25519, P-256, P-384 and secp256k1, which are known here"
    )]
    UnknownCurve,
    /// The key is shorter or longer than those of its curve.
    #[error("the key has another length than keys of its curve")]
    Length,
    /// The bytes are no public key of the curve.
    #[error("the bytes are no public key of their curve")]
    NotOnCurve,
    /// The same key has another text.
    #[error("the key is written in another way than the only one there is")]
    NotCanonical,
}

impl KeyDid {
    /// The `did:key` of an Ed25519 key.
    pub fn from_ed25519(key: &PublicKey) -> KeyDid {
        KeyDid {
            multikey: encode(&ED25519, key.as_bytes()),
            agreement: Some(encode(&X25519, &key.to_x25519())),
            curve: Curve::Ed25519,
        }
    }

    /// Reads what stands behind `did:key:`.
    ///
    /// # Errors
    /// Refuses other bases than base58btc, other kinds of keys, and what is no key of its curve.
    pub fn parse(multikey: &str) -> Result<KeyDid, KeyDidError> {
        if multikey.len() > KEY_TEXT_BYTES {
            return Err(KeyDidError::UnknownCurve);
        }
        let bytes = multikey
            .strip_prefix('z')
            .and_then(|text| Base::Base58Btc.decode(text).ok())
            .ok_or(KeyDidError::NotBase58)?;
        let (codec, key) = bytes
            .split_first_chunk::<2>()
            .ok_or(KeyDidError::UnknownCurve)?;
        let (curve, bytes) = match *codec {
            ED25519 => (Curve::Ed25519, 32),
            X25519 => (Curve::X25519, 32),
            P256 => (Curve::P256, 33),
            P384 => (Curve::P384, 49),
            SECP256K1 => (Curve::Secp256k1, 33),
            _ => return Err(KeyDidError::UnknownCurve),
        };
        if key.len() != bytes {
            return Err(KeyDidError::Length);
        }
        if encode(codec, key) != multikey {
            return Err(KeyDidError::NotCanonical);
        }
        let mut agreement = None;
        let is_key = match curve {
            Curve::Ed25519 => {
                let point = key.try_into().map_err(|_| KeyDidError::Length)?;
                let point = PublicKey::from_bytes(point).map_err(|_| KeyDidError::NotOnCurve)?;
                agreement = Some(encode(&X25519, &point.to_x25519()));
                true
            }
            // Every 32 bytes are a key (RFC 7748), but for the one with which every secret is zero.
            Curve::X25519 => key.iter().any(|byte| *byte != 0),
            Curve::P256 => p256::PublicKey::from_sec1_bytes(key).is_ok(),
            Curve::P384 => is_compressed_p384(key),
            Curve::Secp256k1 => k256::PublicKey::from_sec1_bytes(key).is_ok(),
        };
        is_key.then_some(()).ok_or(KeyDidError::NotOnCurve)?;
        Ok(KeyDid {
            multikey: multikey.to_string(),
            agreement,
            curve,
        })
    }

    /// The kind of its key.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The document that the DID stands for: its key for every relationship it is fit for.
    pub fn document(&self, core: Core) -> Value {
        let (signing, agreement) = match self.curve {
            Curve::Ed25519 => (Some(&self.multikey), self.agreement.as_ref()),
            Curve::X25519 => (None, Some(&self.multikey)),
            Curve::P256 | Curve::P384 | Curve::Secp256k1 => {
                (Some(&self.multikey), Some(&self.multikey))
            }
        };
        key_document(core, &self.to_string(), signing, agreement)
    }
}

impl core::fmt::Display for KeyDid {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "did:key:{}", self.multikey)
    }
}

fn encode(codec: &[u8; 2], key: &[u8]) -> String {
    let bytes: Vec<u8> = [&codec[..], key].concat();
    multibase::encode(Base::Base58Btc, bytes)
}

const_monty_params!(
    P384Field,
    U384,
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff"
);

type Element = ConstMontyForm<P384Field, { U384::LIMBS }>;

/// The constant b of P-384 (SP 800-186, section 3.2.1.4): y² = x³ - 3x + b.
const P384_B: U384 = U384::from_be_hex(
    "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
);

/// Whether these 49 bytes are a point of P-384 in compressed form (SEC 1, section 2.3.4): x is in the field, and what y² would
/// be is a square there, by Euler's criterion. No point of the curve has y = 0, since its order is odd.
fn is_compressed_p384(key: &[u8]) -> bool {
    let Some(([2 | 3], x)) = key.split_first_chunk::<1>() else {
        return false;
    };
    let modulus = U384::from_be_hex(
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
    );
    let x = U384::from_be_slice(x);
    if x >= modulus {
        return false;
    }
    let x = Element::new(&x);
    let y_squared = x.square() * x - (x + x + x) + Element::new(&P384_B);
    // (p - 1) / 2 of an odd p.
    y_squared.pow_vartime(&modulus.shr_vartime(1)) == Element::ONE
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::did::Did;
    use crate::sign::SigningKey;

    /// From the test vectors and examples of the did:key method specification.
    const KEYS: [(Curve, &str); 14] = [
        (
            Curve::Ed25519,
            "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
        ),
        (
            Curve::Ed25519,
            "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
        ),
        (
            Curve::X25519,
            "z6LSeu9HkTHSfLLeUs2nnzUSNedgDUevfNQgQjQC23ZCit6F",
        ),
        (
            Curve::X25519,
            "z6LStiZsmxiK4odS4Sb6JmdRFuJ6e1SYP157gtiCyJKfrYha",
        ),
        (
            Curve::X25519,
            "z6LSrzxMVydCourtpA6JLEYupT7ZUQ34hLfQZfRN5H47zLdz",
        ),
        (
            Curve::P256,
            "zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv",
        ),
        (
            Curve::P256,
            "zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",
        ),
        (
            Curve::P384,
            "z82LkvCwHNreneWpsgPEbV3gu1C6NFJEBg4srfJ5gdxEsMGRJUz2sG9FE42shbn2xkZJh54",
        ),
        (
            Curve::P384,
            "z82Lm1MpAkeJcix9K8TMiLd5NMAhnwkjjCBeWHXyu3U4oT2MVJJKXkcVBgjGhnLBn2Kaau9",
        ),
        (
            Curve::Secp256k1,
            "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
        ),
        (
            Curve::Secp256k1,
            "zQ3shtxV1FrJfhqE1dvxYRcCknWNjHc3c5X1y3ZSoPDi2aur2",
        ),
        (
            Curve::Secp256k1,
            "zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N",
        ),
        (
            Curve::Secp256k1,
            "zQ3shptjE6JwdkeKN4fcpnYQY3m9Cet3NiHdAfpvSUZBFoKBj",
        ),
        (
            Curve::Secp256k1,
            "zQ3shjmnWpSDEbYKpaFm4kTs9kXyqG6N2QwCYHNPP4yubqgJS",
        ),
    ];

    #[test]
    fn every_curve_of_the_method_is_read_and_written() {
        for (curve, text) in KEYS {
            let did = KeyDid::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(did.curve(), curve, "{text}");
            assert_eq!(did.to_string(), format!("did:key:{text}"));
        }
    }

    #[test]
    fn keys_of_ours_are_the_same_in_both_types() {
        let key = SigningKey::from_seed(&[3; 32]).public();
        let did = KeyDid::from_ed25519(&key);
        assert_eq!(did.to_string(), Did::from_key(&key).to_string());
        assert_eq!(KeyDid::parse(&did.multikey), Ok(did));
    }

    /// What the relationships of a document say, without the DID.
    fn relationships(text: &str) -> [Option<String>; 3] {
        let did = KeyDid::parse(text).unwrap();
        ["authentication", "capabilityDelegation", "keyAgreement"].map(|name| {
            let Value::Map(map) = did.document(Core::V1_1) else {
                panic!("a document is a map");
            };
            let Some(Value::List(listed)) = map.get(name) else {
                return None;
            };
            let [Value::Text(id)] = &listed[..] else {
                panic!("one id is listed");
            };
            Some(id.strip_prefix(&format!("{did}#")).unwrap().to_string())
        })
    }

    #[test]
    fn a_key_is_listed_for_what_it_can_do() {
        let only = |text: &str| Some(text.to_string());
        let ed25519 = KEYS[0].1;
        let derived = "z6LShs9GGnqk85isEBzzshkuVWrVKsRp24GnDuHk8QWkARMW";
        assert_eq!(
            relationships(ed25519),
            [only(ed25519), only(ed25519), only(derived)]
        );
        let x25519 = KEYS[2].1;
        assert_eq!(relationships(x25519), [None, None, only(x25519)]);
        for (_, text) in &KEYS[5..] {
            assert_eq!(relationships(text), [only(text), only(text), only(text)]);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        let text = |codec: [u8; 2], bytes: &[u8]| encode(&codec, bytes);
        let compressed = |first: u8, length: usize, byte: u8| {
            let mut key = alloc::vec![byte; length];
            key[0] = first;
            key
        };
        for (key, error) in [
            (String::new(), KeyDidError::NotBase58),
            ("6Mk".into(), KeyDidError::NotBase58),
            ("z0OIl".into(), KeyDidError::NotBase58),
            (format!("z{}", "1".repeat(128)), KeyDidError::UnknownCurve),
            ("uabc".into(), KeyDidError::NotBase58),
            ("z".into(), KeyDidError::UnknownCurve),
            // P-521, RSA and BLS 12-381 G2, of which the method has test vectors but no rules.
            (text([0x82, 0x24], &[2; 67]), KeyDidError::UnknownCurve),
            (text([0x85, 0x24], &[1; 270]), KeyDidError::UnknownCurve),
            (text([0xeb, 0x01], &[1; 64]), KeyDidError::UnknownCurve),
            (text(ED25519, &[1; 31]), KeyDidError::Length),
            (text(P256, &[2; 34]), KeyDidError::Length),
            (text(P384, &[2; 48]), KeyDidError::Length),
            (text(ED25519, &[0; 32]), KeyDidError::NotOnCurve),
            (text(X25519, &[0; 32]), KeyDidError::NotOnCurve),
            // Not compressed, and an x above the field.
            (text(P256, &compressed(4, 33, 1)), KeyDidError::NotOnCurve),
            (text(P384, &compressed(4, 49, 1)), KeyDidError::NotOnCurve),
            (text(P384, &compressed(2, 49, 255)), KeyDidError::NotOnCurve),
            (
                text(SECP256K1, &compressed(2, 33, 255)),
                KeyDidError::NotOnCurve,
            ),
        ] {
            assert_eq!(KeyDid::parse(&key), Err(error), "{key}");
        }
    }

    #[test]
    fn points_of_p384_are_told_from_other_bytes() {
        // By the Python standard library: for which of x = 1 to 12 is x³ - 3x + b a square.
        let on: Vec<u8> = (1..=12u8)
            .filter(|x| {
                let mut key = alloc::vec![0; 49];
                (key[0], key[48]) = (2, *x);
                is_compressed_p384(&key)
            })
            .collect();
        assert_eq!(on, P384_SMALL_X);
    }

    const P384_SMALL_X: &[u8] = &[2, 3, 10, 11, 12];
}
