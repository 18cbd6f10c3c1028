use super::*;
use crate::limits::{BLOCK_BYTES, DIGEST_BYTES, WIRE_BLOCK_BYTES};
use alloc::{format, string::ToString, vec, vec::Vec};
use proptest::prelude::*;

/// `hello` under each hash we accept, as other implementations name it.
const HELLO: [(&str, u64); 4] = [
    (
        "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq",
        0x12,
    ),
    (
        "bafkrgqe3ohjcjplc6n4f3fwunlj6upltggn7xqujbsvnvyw764srszz4u4rshq6ztos4chl4plgg4ffyyxnayrtdi5oc4xb2332g645433aeg",
        0x13,
    ),
    (
        "bafkr4ihkr4ld3m4gqkjf4reryxsy2s5tkbxprqkow6fin2iiyvreuzzab4",
        0x1e,
    ),
    ("bafkqablimvwgy3y", 0x00),
];

#[test]
fn content_is_accepted_under_the_hashes_of_the_list() {
    for (text, code) in HELLO {
        let cid = parse_cid(text).expect(text);
        assert_eq!(cid.hash().code(), code);
        assert_eq!(verify(&cid, b"hello"), Ok(()), "{text}");
        assert_eq!(verify(&cid, b"hellp"), Err(VerifyError::Mismatch), "{text}");
    }
}

#[test]
fn other_hashes_are_read_but_verify_nothing() {
    let cid = parse_cid_bytes(&[1, 0x55, 0x22, 2, 0xab, 0xcd]).unwrap();
    assert_eq!(
        verify(&cid, b"hello"),
        Err(VerifyError::HashNotAllowed { code: 0x22 })
    );
}

#[test]
fn a_cid_takes_no_more_memory_than_its_longest_digest_needs() {
    assert!(size_of::<Cid>() <= DIGEST_BYTES + 32);
}

#[test]
fn sizes_are_checked_against_their_limits() {
    let over = vec![0; BLOCK_BYTES + 1];
    let error = Block::new(Codec::Raw, over.clone()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "block bytes: 1048577 is above the limit of 1048576"
    );
    let from_wire = Block::verified(cid_of(Codec::Raw, &over), over).unwrap();
    assert_eq!(from_wire.bytes().len(), BLOCK_BYTES + 1);
    let over = vec![0; WIRE_BLOCK_BYTES + 1];
    assert!(matches!(
        Block::verified(cid_of(Codec::Raw, &over), over),
        Err(VerifyError::TooLarge(_))
    ));
}

#[test]
fn the_same_cid_is_read_from_every_base() {
    let cid = parse_cid(HELLO[0].0).unwrap();
    let bases = [
        Base::Base32Lower,
        Base::Base32Upper,
        Base::Base36Lower,
        Base::Base36Upper,
        Base::Base58Btc,
        Base::Base64,
        Base::Base64Url,
        Base::Base16Lower,
        Base::Base16Upper,
        Base::Base32PadLower,
        Base::Base32PadUpper,
        Base::Base32HexLower,
        Base::Base32HexUpper,
        Base::Base32HexPadLower,
        Base::Base32HexPadUpper,
        Base::Base32Z,
        Base::Base58Flickr,
        Base::Base64Pad,
        Base::Base64UrlPad,
        Base::Base8,
        Base::Base10,
    ];
    for base in bases {
        let text = cid.to_string_of_base(base).unwrap();
        assert_eq!(parse_cid(&text), Ok(cid), "{text}");
    }
    let version_0 = "QmWDtUQj38YLW8v3q4A6LwPn4vYKEbuKWpgSm6bjKW6Xfe";
    assert_eq!(parse_cid(version_0).unwrap().to_string(), version_0);
}

#[test]
fn what_is_no_cid_is_refused() {
    let good = HELLO[0].0;
    let table = [
        "".to_string(),
        "b".to_string(),
        "Qm".to_string(),
        format!("/ipfs/{good}"),
        format!(" {good}"),
        format!("{good}a"),
        good.to_uppercase().replacen('B', "b", 1),
        "zQmWDtUQj38YLW8v3q4A6LwPn4vYKEbuKWpgSm6bjKW6Xfe".to_string(),
        "f0155120".to_string(),
        "f01551201".to_string(),
        "ä".to_string(),
        "a".repeat(CID_TEXT_BYTES + 1),
    ];
    for text in table {
        assert!(parse_cid(&text).is_err(), "{text}");
    }
    let bytes: [(&[u8], CidError); 6] = [
        (&[], CidError::Truncated),
        (&[0x12, 0x20, 1], CidError::Truncated),
        (&[1, 0x55, 0, 2, 9], CidError::Truncated),
        (&[1, 0x55, 0, 1, 9, 9], CidError::TrailingBytes { extra: 1 }),
        (&[2, 0x55, 0, 1, 9], CidError::Version(2)),
        (&[1, 0xd5, 0x00, 0, 1, 9], CidError::Varint),
    ];
    for (bytes, error) in bytes {
        assert_eq!(parse_cid_bytes(bytes), Err(error), "{bytes:?}");
    }
    assert!(matches!(
        parse_cid_bytes(&[1, 0x55, 0, 65]),
        Err(CidError::Limit(LimitExceeded {
            actual: 65,
            max: 64,
            ..
        }))
    ));
}

proptest! {
    #[test]
    fn bytes_of_a_cid_come_back(
        codec in 0..=(u64::MAX >> 1),
        code in 0..=(u64::MAX >> 1),
        digest in proptest::collection::vec(any::<u8>(), 0..=64),
    ) {
        let cid = Cid::new_v1(codec, Multihash::wrap(code, &digest).unwrap());
        let mut bytes = Vec::new();
        write_cid(&mut bytes, &cid);
        prop_assert_eq!(&bytes, &cid.to_bytes());
        prop_assert_eq!(bytes.len(), cid_len(&cid));
        prop_assert_eq!(parse_cid_bytes(&bytes), Ok(cid));
        prop_assert_eq!(parse_cid(&cid.to_string()), Ok(cid));
    }

    #[test]
    fn bytes_that_are_read_are_the_bytes_that_are_written(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        if let Ok(cid) = parse_cid_bytes(&bytes) {
            prop_assert_eq!(cid.to_bytes(), bytes);
        }
    }

    #[test]
    fn changed_text_is_refused_or_another_cid(
        seed: [u8; 8],
        base in prop::sample::select(&[Base::Base32Lower, Base::Base36Lower, Base::Base58Btc, Base::Base64, Base::Base16Lower, Base::Base64Pad][..]),
        at: prop::sample::Index,
        byte in 0x20u8..0x7f,
    ) {
        let cid = cid_of(Codec::DagCbor, &seed);
        let mut text = cid.to_string_of_base(base).unwrap().into_bytes();
        let at = at.index(text.len());
        let is_changed = text[at] != byte;
        text[at] = byte;
        let text = core::str::from_utf8(&text).unwrap();
        if let Ok(read) = parse_cid(text) {
            // Another first letter may name another base that writes the rest alike.
            prop_assert!(read != cid || !is_changed || at == 0);
        }
    }

    #[test]
    fn no_text_panics(text in "[bBkKzmuQfFcCvVtThZMU0798]?\\PC{0,60}") {
        let _ = parse_cid(&text);
    }
}
