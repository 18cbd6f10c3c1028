//! Holds the hashes against what other implementations make of the same content.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use perennis_shared::cid::{Cid, HashFn, Multihash, VerifyError, parse_multihash_bytes, verify};

/// Content of `length` bytes, as make_vectors.py has it.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn raw(hash: Multihash) -> Cid {
    Cid::new_v1(0x55, hash)
}

fn multihash(hex: &str) -> Multihash {
    parse_multihash_bytes(&hex::decode(hex).unwrap()).unwrap()
}

/// The words of each line that is no comment.
fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').collect())
}

#[test]
fn other_implementations_make_the_same_multihashes() {
    let mut functions: Vec<&str> = Vec::new();
    for row in rows(include_str!("vectors.txt")) {
        let [name, length, hex] = row[..] else {
            panic!("three words: {row:?}");
        };
        let (hash, content) = (multihash(hex), content(length.parse().unwrap()));
        assert_eq!(HashFn::of(&hash).unwrap().to_string(), name);
        assert_eq!(verify(&raw(hash), &content), Ok(()), "{name} {length}");
        functions.push(name);
    }
    functions.dedup();
    let all = (1..=0xffff).filter_map(HashFn::from_code).count();
    assert_eq!(functions.len(), all, "there are vectors of each function");
}

/// From the test cases of the multihash specification.
#[test]
fn the_specification_has_the_same_multihashes() {
    let content = b"431fb5d4c9b735ba1a34d0df045118806ae2336f2c";
    for hex in [
        "1114e861e452cfd84dca9a176258c3d06e020a0c93d8",
        "1214ffb31f07aa15348368c90c73a834dbf9f8710365",
        "1220ffb31f07aa15348368c90c73a834dbf9f8710365860fa0fd4ddce9ac2782cc17",
        "1314abffa1926b038a2f1833092d93859ba2ee56e07a",
        "1320abffa1926b038a2f1833092d93859ba2ee56e07a86b158200fc7d4d5d1eaf350",
        "14149a7a8207a57d03e9c524ae7fd39563bfe1a466a3",
        "14209a7a8207a57d03e9c524ae7fd39563bfe1a466a3a0323875eba8b034a1d59c3b",
    ] {
        assert_eq!(verify(&raw(multihash(hex)), content), Ok(()), "{hex}");
    }
    for hex in [
        "110ae861e452cfd84dca9a17",
        "120affb31f07aa15348368c9",
        "130aabffa1926b038a2f1833",
        "140a9a7a8207a57d03e9c524",
    ] {
        let refused = verify(&raw(multihash(hex)), content);
        assert!(
            matches!(
                refused,
                Err(VerifyError::DigestLength {
                    min: 20,
                    actual: 10,
                    ..
                })
            ),
            "{hex}: {refused:?}"
        );
    }
}

#[test]
fn halves_of_a_collision_of_sha_1_are_refused() {
    let digests = [
        ("shambles-1", "8ac60ba76f1999a1ab70223f225aefdc78d4ddc0"),
        ("shambles-2", "8ac60ba76f1999a1ab70223f225aefdc78d4ddc0"),
        ("shattered-1", "f92d74e3874587aaf443d1db961d4e26dde13e9c"),
        ("shattered-2", "f92d74e3874587aaf443d1db961d4e26dde13e9c"),
    ];
    let mut contents = Vec::new();
    for (row, (name, sha1)) in rows(include_str!("collisions.txt")).zip(digests) {
        let [found, hex] = row[..] else {
            panic!("two words: {row:?}");
        };
        assert_eq!(found, name);
        let content = hex::decode(hex).unwrap();
        let cid = raw(multihash(&format!("1114{sha1}")));
        assert_eq!(
            verify(&cid, &content),
            Err(VerifyError::Collision),
            "{name}"
        );
        let sha2 = HashFn::Sha2_256.multihash(32, &content).unwrap();
        assert_eq!(verify(&raw(sha2), &content), Ok(()), "{name}");
        contents.push(content);
    }
    assert_eq!(contents.len(), digests.len());
    assert_ne!(contents[0], contents[1]);
    assert_ne!(contents[2], contents[3]);
}

/// What `verifcid` of boxo says, which Kubo asks before it keeps or fetches a block.
#[test]
fn what_kubo_refuses_is_refused() {
    let functions = [
        ("shake-128", 0x18),
        ("sha2-384", 0x20),
        ("murmur3-x64-64", 0x22),
        ("md5", 0xd5),
        ("sha2-256-trunc254-padded", 0x1012),
        ("sha2-224", 0x1013),
        ("ripemd-160", 0x1053),
        ("blake2b-152", 0xb213),
        ("blake2s-152", 0xb253),
        ("skein256-256", 0xb320),
    ];
    for (name, code) in functions {
        let hash = Multihash::wrap(code, &[0; 32]).unwrap();
        let refused = verify(&raw(hash), b"");
        assert_eq!(refused, Err(VerifyError::HashNotAllowed { code }), "{name}");
    }
    let short = HashFn::Sha2_256.multihash(19, b"").unwrap_err();
    assert_eq!(
        short.to_string(),
        "a digest of sha2-256 has 20 to 32 bytes, not 19"
    );
}
