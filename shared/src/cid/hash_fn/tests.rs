use super::*;
use crate::cid::{Block, Cid, Prefix, verify};
use alloc::{string::ToString, vec::Vec};
use proptest::prelude::*;

fn functions() -> impl Iterator<Item = HashFn> {
    (0..=0xffff).filter_map(HashFn::from_code)
}

/// Every function of this build with every length of digest that it may have; an identity is as long as its content.
fn hashes() -> impl Iterator<Item = (HashFn, usize)> {
    functions()
        .filter(|hash| *hash != HashFn::Identity && hash.is_in_this_build())
        .flat_map(|hash| (DIGEST_BYTES_MIN..=hash.longest_digest()).map(move |bytes| (hash, bytes)))
}

#[test]
fn every_function_has_its_number_and_its_name() {
    let mut names: Vec<_> = functions().map(|hash| hash.to_string()).collect();
    assert_eq!(names.len(), 15 + 45 + 13);
    for hash in functions() {
        assert_eq!(HashFn::from_code(hash.code()), Some(hash));
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 15 + 45 + 13);
    let name = |code| HashFn::from_code(code).map(|hash| hash.to_string());
    assert_eq!(name(0xb220).as_deref(), Some("blake2b-256"));
    assert_eq!(name(0xb240).as_deref(), Some("blake2b-512"));
    assert_eq!(name(0xb260).as_deref(), Some("blake2s-256"));
    for code in [0xb200, 0xb213, 0xb241, 0xb253, 0xb261] {
        assert_eq!(HashFn::from_code(code), None, "{code:#x}");
    }
}

#[test]
fn a_function_verifies_or_says_that_this_build_does_not() {
    for hash in functions() {
        let (bytes, content) = match hash {
            HashFn::Identity => (5, b"hello"),
            _ => (DIGEST_BYTES_MIN, b"hello"),
        };
        let made = hash.multihash(bytes, content);
        let accepted = HashFn::accept(hash.code(), bytes);
        if hash.is_in_this_build() {
            assert_eq!(accepted, Ok(hash));
            assert!(made.is_ok(), "{hash}: {made:?}");
        } else {
            assert_eq!(accepted, Err(VerifyError::NotInThisBuild { hash }));
            assert_eq!(made, Err(VerifyError::NotInThisBuild { hash }));
        }
    }
    let build = functions().filter(|hash| hash.is_in_this_build()).count();
    let expected = if cfg!(feature = "hashes") { 73 } else { 5 };
    assert_eq!(build, expected);
    let error = VerifyError::NotInThisBuild { hash: HashFn::Sha1 };
    assert_eq!(
        error.to_string(),
        "this build does not verify sha1 (hash function 0x11)"
    );
}

#[test]
fn a_digest_has_at_least_20_bytes_and_at_most_what_its_function_makes() {
    for (code, max) in [
        (0x11, 20),
        (0x12, 32),
        (0x1e, 64),
        (0xb220, 32),
        (0xb254, 20),
    ] {
        let hash = HashFn::from_code(code).unwrap();
        for actual in [0, 19, max + 1, usize::MAX] {
            let expected = Err(VerifyError::DigestLength {
                hash,
                min: 20,
                max,
                actual,
            });
            assert_eq!(HashFn::accept(code, actual).map(drop), expected.clone());
            assert_eq!(hash.multihash(actual, b"").map(drop), expected);
        }
    }
}

#[test]
fn an_identity_holds_its_content_whole_or_not_at_all() {
    let content = [7; IDENTITY_BYTES + 1];
    for bytes in [0, 1, IDENTITY_BYTES] {
        let hash = HashFn::Identity
            .multihash(bytes, &content[..bytes])
            .unwrap();
        assert_eq!(hash.digest(), &content[..bytes]);
        assert_eq!(
            HashFn::Identity.multihash(bytes, &content),
            Err(VerifyError::Mismatch)
        );
    }
    let error = HashFn::Identity
        .multihash(content.len(), &content)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "identity CID bytes: 65 is above the limit of 64"
    );
}

#[test]
fn a_digest_cut_short_is_another_name_of_the_same_content() {
    for (hash, bytes) in hashes() {
        let short = hash.multihash(bytes, b"hello").unwrap();
        let whole = hash.multihash(hash.longest_digest(), b"hello").unwrap();
        assert_eq!(short.digest(), &whole.digest()[..bytes], "{hash}");
        assert_eq!(short == whole, bytes == hash.longest_digest(), "{hash}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn content_is_accepted_under_every_hash_of_it_and_nothing_else_is(
        content in proptest::collection::vec(any::<u8>(), 1..300),
        flipped: prop::sample::Index,
    ) {
        let mut other = content.clone();
        let bit = flipped.index(8 * content.len());
        other[bit / 8] ^= 1 << (bit % 8);
        for (hash, bytes) in hashes() {
            let cid = Cid::new_v1(0x55, hash.multihash(bytes, &content).unwrap());
            prop_assert_eq!(verify(&cid, &content), Ok(()), "{} {}", hash, bytes);
            prop_assert_eq!(verify(&cid, &other), Err(VerifyError::Mismatch), "{} {}", hash, bytes);
            let block = Block::hashed(Prefix::of(&cid), content.clone()).unwrap();
            prop_assert_eq!(block.cid(), &cid);
            let mut digest = cid.hash().digest().to_vec();
            digest[bit % bytes] ^= 1 << (bit % 8);
            let wrong = Cid::new_v1(0x55, Multihash::wrap(hash.code(), &digest).unwrap());
            prop_assert_eq!(verify(&wrong, &content), Err(VerifyError::Mismatch));
        }
    }

    #[test]
    fn no_multihash_panics(
        code in prop_oneof![0u64..0x60, 0xb200u64..0xb270, any::<u64>()],
        digest in proptest::collection::vec(any::<u8>(), 0..=DIGEST_BYTES),
        content in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let cid = Cid::new_v1(0x55, Multihash::wrap(code, &digest).unwrap());
        let verified = verify(&cid, &content);
        if let Err(error) = HashFn::of(cid.hash()) {
            prop_assert_eq!(verified, Err(error));
        }
    }
}
