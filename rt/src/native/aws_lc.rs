//! Ed25519 signing by AWS-LC.

use aws_lc_rs::signature::Ed25519KeyPair;
use perennis_shared::sign::{SEED_BYTES, SIGNATURE_BYTES, SignEngine};
use zeroize::ZeroizeOnDrop;

/// A key that AWS-LC holds.
pub(super) struct Engine(Ed25519KeyPair);

/// AWS-LC overwrites all memory it gives back (`OPENSSL_free`), that of keys too.
impl ZeroizeOnDrop for Engine {}

impl Engine {
    pub(super) fn new(seed: &[u8; SEED_BYTES]) -> Option<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Self)
    }
}

impl SignEngine for Engine {
    fn sign(&self, message: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
        self.0.try_sign(message).ok()?.as_ref().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::sign::SigningKey;
    use proptest::prelude::*;

    use super::*;

    fn bytes<const N: usize>(slice: &[u8]) -> [u8; N] {
        slice.try_into().unwrap()
    }

    /// Signs with AWS-LC and with `shared`, and asks that both give the expected signature.
    fn assert_signs(seed: &[u8; SEED_BYTES], message: &[u8], expected: &[u8]) {
        let engine = Engine::new(seed).unwrap();
        assert_eq!(engine.sign(message).unwrap(), expected);
        let own = SigningKey::from_seed(seed).sign_raw(message);
        assert_eq!(own.as_bytes(), expected);
    }

    #[test]
    fn signatures_are_those_of_rfc_8032() {
        // Section 7.1: seed, message, signature.
        let table = [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ];
        for (seed, message, expected) in table {
            let decode = |text: &str| hex::decode(text).unwrap();
            assert_signs(&bytes(&decode(seed)), &decode(message), &decode(expected));
        }
    }

    #[test]
    fn a_key_takes_it_as_its_engine() {
        let seed = [5; SEED_BYTES];
        let own = SigningKey::from_seed(&seed);
        let mut asked = 0;
        let key = SigningKey::from_seed(&seed).with_engine(|seed| {
            asked += 1;
            crate::sign_engine(seed)
        });
        assert_eq!(asked, 1);
        assert_eq!(key.sign_raw(b"message"), own.sign_raw(b"message"));
    }

    proptest! {
        #[test]
        fn signatures_are_those_of_shared(seed: [u8; 32], message in proptest::collection::vec(any::<u8>(), 0..400)) {
            let own = SigningKey::from_seed(&seed).sign_raw(&message);
            prop_assert_eq!(&Engine::new(&seed).unwrap().sign(&message).unwrap(), own.as_bytes());
        }
    }
}
