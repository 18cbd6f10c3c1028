//! The public keys that IPNS names stand for (libp2p peer id specification, "Keys").
//!
//! A key travels as libp2p's `PublicKey` protobuf, of which each key has exactly one encoding. Read are Ed25519 (32
//! bytes), secp256k1 (compressed point), ECDSA on P-256 and RSA of 2,048 to 8,192 bits (both `SubjectPublicKeyInfo` in
//! DER). Must never touch: private keys; records are made with Ed25519 only.
//!
//! A browser judges the records of such names as a node does, so all types are in its module too: they are 93 kB of its
//! 1,002 kB, optimised and compressed with gzip.
//!
//! Invariant: for one key and one message nobody but its holder can make a second valid signature, with one exception
//! that is the curve's: of an ECDSA P-256 signature (r, s) the other one (r, n - s) is valid too, and the Go
//! implementation makes both. On secp256k1 only the lower s is valid, as all libp2p implementations make it.

use alloc::boxed::Box;

use der::asn1::{BitStringRef, UintRef};
use der::{Decode as _, Reader as _, SliceReader};
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::elliptic_curve::scalar::IsHigh;
use rsa::BoxedUint;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::traits::SignatureScheme;
use sha2::{Digest, Sha256};

use crate::limits::{RSA_BITS_MAX, RSA_BITS_MIN};
use crate::sign::{BadSignature, PUBLIC_KEY_BYTES, PublicKey, Signature};

/// libp2p's `KeyType` numbers.
pub(super) const RSA: u8 = 0;
pub(super) const ED25519: u8 = 1;
pub(super) const SECP256K1: u8 = 2;
pub(super) const ECDSA: u8 = 3;

/// A compressed point on secp256k1.
pub(super) const SECP256K1_BYTES: usize = 33;

/// What comes before the uncompressed point in the `SubjectPublicKeyInfo` of a P-256 key: id-ecPublicKey, prime256v1.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// An uncompressed point on P-256.
const P256_BYTES: usize = 65;

/// The `AlgorithmIdentifier` of an RSA key: rsaEncryption, NULL.
const RSA_ALGORITHM: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// The type of a key that names stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// RSA with PKCS #1 v1.5 signatures over SHA2-256; 2,048 to 8,192 bits.
    Rsa,
    /// Ed25519; the only type with which this crate signs, and the only one that has a DID.
    Ed25519,
    /// ECDSA on secp256k1 over SHA2-256.
    Secp256k1,
    /// ECDSA on P-256 over SHA2-256.
    EcdsaP256,
}

/// A public key that a name can stand for, checked.
#[derive(Clone, Debug)]
pub struct NameKey(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Ed25519(PublicKey),
    Secp256k1(k256::ecdsa::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
    Rsa(Box<rsa::RsaPublicKey>),
}

impl NameKey {
    /// Reads a key from libp2p's `PublicKey` protobuf.
    ///
    /// # Errors
    /// [`NameKeyError`] says what about the bytes is not a key that can be used. The size of an RSA key is checked
    /// before anything is computed with it.
    pub fn parse(protobuf: &[u8]) -> Result<NameKey, NameKeyError> {
        let (kind, data) = split(protobuf).ok_or(NameKeyError::Malformed)?;
        let kind = match kind {
            ED25519 => Kind::Ed25519(ed25519(data)?),
            SECP256K1 => Kind::Secp256k1(secp256k1(data)?),
            ECDSA => Kind::P256(p256(data)?),
            RSA => Kind::Rsa(Box::new(rsa(data)?)),
            kind => return Err(NameKeyError::UnknownType { kind }),
        };
        Ok(NameKey(kind))
    }

    /// The type of the key.
    pub fn key_type(&self) -> KeyType {
        match &self.0 {
            Kind::Ed25519(_) => KeyType::Ed25519,
            Kind::Secp256k1(_) => KeyType::Secp256k1,
            Kind::P256(_) => KeyType::EcdsaP256,
            Kind::Rsa(_) => KeyType::Rsa,
        }
    }

    /// Verifies a signature over the concatenation of the parts, in the form that libp2p gives signatures of this
    /// type: 64 bytes for Ed25519, DER for ECDSA, as many bytes as the modulus for RSA.
    ///
    /// # Errors
    /// [`BadSignature`] when it was not made by this key over these bytes.
    pub fn verify_parts(&self, parts: &[&[u8]], signature: &[u8]) -> Result<(), BadSignature> {
        match &self.0 {
            Kind::Ed25519(key) => {
                let signature = Signature::from_slice(signature).ok_or(BadSignature)?;
                key.verify_parts(parts, &signature)
            }
            Kind::Secp256k1(key) => {
                let (r, s) = ecdsa_scalars(signature).ok_or(BadSignature)?;
                let signature =
                    k256::ecdsa::Signature::from_scalars(r, s).map_err(|_| BadSignature)?;
                if bool::from(signature.s().is_high()) {
                    return Err(BadSignature);
                }
                key.verify_prehash(&digest(parts), &signature)
                    .map_err(|_| BadSignature)
            }
            Kind::P256(key) => {
                let (r, s) = ecdsa_scalars(signature).ok_or(BadSignature)?;
                let signature =
                    p256::ecdsa::Signature::from_scalars(r, s).map_err(|_| BadSignature)?;
                key.verify_prehash(&digest(parts), &signature)
                    .map_err(|_| BadSignature)
            }
            Kind::Rsa(key) => Pkcs1v15Sign::new::<Sha256>()
                .verify(key, &digest(parts), signature)
                .map_err(|_| BadSignature),
        }
    }
}

/// Why bytes are not a public key that a name can stand for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameKeyError {
    /// The bytes are not libp2p's `PublicKey` protobuf in its one encoding.
    #[error("the public key is not encoded as libp2p encodes it")]
    Malformed,
    /// A key type that is not known.
    #[error("key type {kind} is not supported; RSA, Ed25519, secp256k1 and ECDSA P-256 are")]
    UnknownType {
        /// libp2p's number of the type.
        kind: u8,
    },
    /// The key within is not one of its type: for ECDSA, another curve than P-256.
    #[error("the public key is malformed, or its curve is not P-256")]
    Unusable,
    /// The RSA key is too short to be safe or too long to be worth the time.
    #[error("an RSA key of {bits} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are accepted")]
    RsaSize {
        /// Length of the modulus.
        bits: usize,
    },
}

/// The type and the data of a `PublicKey` protobuf in its one encoding: both fields, in order, lengths as short as can be.
fn split(protobuf: &[u8]) -> Option<(u8, &[u8])> {
    let [0x08, kind @ 0..=0x7f, 0x12, rest @ ..] = protobuf else {
        return None;
    };
    let (length, data) = match rest {
        [length @ 0..=0x7f, data @ ..] => (usize::from(*length), data),
        [low @ 0x80..=0xff, high @ 1..=0x7f, data @ ..] => {
            (usize::from(*low & 0x7f) | usize::from(*high) << 7, data)
        }
        _ => return None,
    };
    (data.len() == length).then_some((*kind, data))
}

fn ed25519(data: &[u8]) -> Result<PublicKey, NameKeyError> {
    let bytes: &[u8; PUBLIC_KEY_BYTES] = data.try_into().map_err(|_| NameKeyError::Unusable)?;
    PublicKey::from_bytes(bytes).map_err(|_| NameKeyError::Unusable)
}

fn secp256k1(data: &[u8]) -> Result<k256::ecdsa::VerifyingKey, NameKeyError> {
    if data.len() != SECP256K1_BYTES {
        return Err(NameKeyError::Unusable);
    }
    k256::ecdsa::VerifyingKey::from_sec1_bytes(data).map_err(|_| NameKeyError::Unusable)
}

fn p256(data: &[u8]) -> Result<p256::ecdsa::VerifyingKey, NameKeyError> {
    let point = data.strip_prefix(&P256_PREFIX);
    let point = point.filter(|point| point.len() == P256_BYTES && point[0] == 0x04);
    p256::ecdsa::VerifyingKey::from_sec1_bytes(point.ok_or(NameKeyError::Unusable)?)
        .map_err(|_| NameKeyError::Unusable)
}

fn rsa(data: &[u8]) -> Result<rsa::RsaPublicKey, NameKeyError> {
    let (modulus, exponent) = rsa_numbers(data).ok_or(NameKeyError::Unusable)?;
    let bits = 8 * modulus.len() - modulus[0].leading_zeros() as usize;
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(NameKeyError::RsaSize { bits });
    }
    // Go reads exponents of at most 31 bits; longer ones only cost time.
    if exponent.len() > 4 {
        return Err(NameKeyError::Unusable);
    }
    let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, 8 * bytes.len() as u32);
    let (Ok(modulus), Ok(exponent)) = (number(modulus), number(exponent)) else {
        return Err(NameKeyError::Unusable);
    };
    rsa::RsaPublicKey::new_with_size_limits(modulus, exponent, RSA_BITS_MIN..=RSA_BITS_MAX)
        .map_err(|_| NameKeyError::Unusable)
}

/// Modulus and exponent of a `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7; RFC 8017, appendix A.1.1).
fn rsa_numbers(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let bits = sequence(spki, |info| {
        let algorithm = info.tlv_bytes()?;
        let is_rsa = algorithm == RSA_ALGORITHM;
        let bits = BitStringRef::decode(info)?;
        Ok(bits.as_bytes().filter(|_| is_rsa))
    });
    sequence(bits??, |key| Ok((positive(key)?, positive(key)?)))
        .and_then(|(modulus, exponent)| Some((modulus?, exponent?)))
}

/// r and s of an ECDSA signature in DER (RFC 3279, section 2.2.3).
fn ecdsa_scalars(signature: &[u8]) -> Option<([u8; 32], [u8; 32])> {
    let (r, s) = sequence(signature, |pair| Ok((positive(pair)?, positive(pair)?)))?;
    Some((padded(r?)?, padded(s?)?))
}

/// Reads bytes that are one sequence in DER (ITU-T X.690) and nothing else. Every value has one encoding: what another encoder
/// would have written differently is refused, so that nobody but the signer can vary a signature.
fn sequence<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut SliceReader<'a>) -> der::Result<T>,
) -> Option<T> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let value = reader.sequence(read).ok()?;
    reader.finish().ok()?;
    Some(value)
}

/// An integer as its big-endian bytes without a leading zero; `None` of zero.
fn positive<'a>(reader: &mut SliceReader<'a>) -> der::Result<Option<&'a [u8]>> {
    let number = UintRef::decode(reader)?.as_bytes();
    Ok(Some(number).filter(|number| number.first().is_some_and(|byte| *byte != 0)))
}

fn padded(number: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let start = bytes.len().checked_sub(number.len())?;
    bytes[start..].copy_from_slice(number);
    Some(bytes)
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests;
