use super::*;
use crate::cid::{Multihash, cid_of, is_identity};
use crate::codec::{Value, dag_cbor};
use crate::limits::BLOCK_LINKS;
use alloc::{format, string::ToString, vec};
use proptest::prelude::*;

fn of(codec: Codec, bytes: &[u8]) -> Result<Vec<Cid>, CodecError> {
    links(&cid_of(codec, bytes), bytes)
}

/// `Cid` in binary behind the head of bytes with a leading zero and tag 42.
fn tagged(cid: &[u8]) -> Vec<u8> {
    let mut out = vec![0xd8, 42, 0x58, cid.len() as u8 + 1, 0];
    out.extend_from_slice(cid);
    out
}

fn leaf() -> Cid {
    cid_of(Codec::Raw, b"a")
}

/// The binary form of an identity CID of any length, which a `Cid` may have no room for.
fn inline(codec: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![1, codec, 0];
    varint::write(&mut out, content.len() as u64);
    out.extend_from_slice(content);
    out
}

#[test]
fn cbor_is_read_in_any_form() {
    let link = tagged(&leaf().to_bytes());
    let long_key = |key: &[u8]| [&[0x78, key.len() as u8], key].concat();
    let table: [(&str, Vec<u8>); 7] = [
        (
            "keys out of order",
            [b"\xa2\x62bb\x01\x61a".as_slice(), &link].concat(),
        ),
        (
            "a length that could be shorter",
            [b"\xb9\x00\x01".as_slice(), &long_key(b"a"), &link].concat(),
        ),
        (
            "indefinite lengths",
            [b"\xbf\x7f\x61a\x61b\xff\x9f".as_slice(), &link, b"\xff\xff"].concat(),
        ),
        (
            "narrow floats and undefined",
            [
                b"\x84\xf9\x7e\x00\xfa\x00\x00\x00\x00\xf7".as_slice(),
                &link,
            ]
            .concat(),
        ),
        (
            "text that is no UTF-8",
            [b"\xa1\x61\xff".as_slice(), &link].concat(),
        ),
        ("other tags", [b"\xc1".as_slice(), &link].concat()),
        (
            "a key twice",
            [b"\xa2\x61a\x01\x61a".as_slice(), &link].concat(),
        ),
    ];
    for (what, bytes) in table {
        assert!(dag_cbor::decode(&bytes).is_err(), "{what}");
        assert_eq!(of(Codec::DagCbor, &bytes), Ok(vec![leaf()]), "{what}");
    }
}

#[test]
fn what_is_no_cbor_is_refused() {
    let table: [&[u8]; 9] = [
        b"",
        b"\x00\x00",
        b"\x82\x00",
        b"\xff",
        b"\x9f\x00",
        b"\x5f\x61a\xff",
        b"\x1c",
        b"\xd8\x2a\x41\x01",
        b"\xd8\x2a\x00",
    ];
    for bytes in table {
        assert!(of(Codec::DagCbor, bytes).is_err(), "{bytes:?}");
    }
    let deep = vec![0x81; 2_000];
    assert!(of(Codec::DagCbor, &deep).is_err());
    let many = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert!(of(Codec::DagCbor, &many).is_err());
}

#[test]
fn json_is_read_in_any_form() {
    let cid = leaf();
    let table = [
        format!("{{ \"b\" : 1.50e1, \"a\":\n {{\"/\": \"{cid}\"}} }}\n"),
        format!("[{{\"\\u002f\":\"{}\"}}, -0, 1e999]", cid),
        format!("{{\"a\":1,\"a\":{{\"\\/\":\"{cid}\"}}}}"),
        format!(
            "[{{\"/\":{{\"bytes\":\"AQ\"}}}},{{\"/\":1}},{{\"/\":\"x\",\"b\":2}},{{\"/\":\"{cid}\"}}]"
        ),
        format!(
            "{{\"/\":\"{}\"}}",
            cid.to_string_of_base(multibase::Base::Base16Lower).unwrap()
        ),
    ];
    for text in table {
        assert_eq!(of(Codec::DagJson, text.as_bytes()), Ok(vec![cid]), "{text}");
    }
    for text in [
        "",
        "{",
        "[1 2]",
        "{\"/\":\"no CID\"}",
        "nul",
        "{} x",
        "{1:2}",
        "\"\\",
    ] {
        assert!(of(Codec::DagJson, text.as_bytes()).is_err(), "{text}");
    }
    let deep = "[".repeat(2_000);
    assert!(of(Codec::DagJson, deep.as_bytes()).is_err());
}

#[test]
fn names_of_dag_pb_may_be_any_bytes() {
    let cid = leaf().to_bytes();
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    // The name before the hash, and no text.
    let link = [
        field(2, b"\xff\xfe"),
        field(1, &cid),
        vec![0x18, 0x80, 0x00],
    ]
    .concat();
    let node = [field(2, &link), field(1, b"\x08\x01"), field(2, &link)].concat();
    assert_eq!(of(Codec::DagPb, &node), Ok(vec![leaf(), leaf()]));
    assert!(of(Codec::DagPb, &field(2, &field(2, b"n"))).is_err());
    assert!(of(Codec::DagPb, &node[..node.len() - 1]).is_err());
    assert!(of(Codec::DagPb, b"\x0b").is_err());
}

#[test]
fn long_identities_are_links_and_their_content_is_followed() {
    let content = [&[0x78, 57][..], &[b'x'; 57], &tagged(&leaf().to_bytes())].concat();
    let inner = [&[0x82][..], &content].concat();
    assert!(inner.len() > crate::limits::IDENTITY_BYTES && inner.len() <= INLINE_BYTES);
    let block = [
        &[0x83][..],
        &tagged(&inline(0x71, &inner)),
        &tagged(&inline(0x55, &[7; INLINE_BYTES])),
        &tagged(&inline(0x55, b"")),
    ]
    .concat();
    assert_eq!(of(Codec::DagCbor, &block), Ok(vec![leaf()]));
    let over = tagged(&inline(0x55, &[7; INLINE_BYTES + 1]));
    assert!(matches!(
        of(Codec::DagCbor, &over),
        Err(CodecError::Link {
            source: CidError::Limit(_),
            ..
        })
    ));
    let cut = tagged(&inline(0x55, &[7; 9])[..11]);
    assert!(of(Codec::DagCbor, &cut).is_err());
}

#[test]
fn more_links_than_a_pack_holds_are_found() {
    let link = Value::from(leaf());
    let count = BLOCK_LINKS + 1;
    let bytes = dag_cbor::encode(&Value::List(vec![link; count])).unwrap();
    assert_eq!(of(Codec::DagCbor, &bytes).unwrap().len(), count);
    let cid = cid_of(Codec::DagCbor, &bytes);
    assert!(links_of_version_1(&cid, &bytes).is_err());
}

#[test]
fn the_payload_of_a_signature_is_a_link() {
    let payload = leaf().to_bytes();
    let mut jws = b"\xa2\x67payload\x58".to_vec();
    jws.push(payload.len() as u8);
    jws.extend_from_slice(&payload);
    jws.extend_from_slice(b"\x6asignatures\x81\xa1\x69signature\x41s");
    assert_eq!(of(Codec::DagJose, &jws), Ok(vec![leaf()]));
    let jwe = b"\xa1\x6aciphertext\x41c";
    assert_eq!(of(Codec::DagJose, jwe), Ok(vec![]));
    assert!(of(Codec::DagJose, b"\x80").is_err());
    assert!(of(Codec::DagJose, b"\xa1\x67payload\x01").is_err());
}

#[test]
fn objects_of_git_name_others_by_sha_1() {
    let git = |byte: u8| {
        let hash = Multihash::wrap(0x11, &[byte; 20]).unwrap();
        Cid::new_v1(0x78, hash)
    };
    let object = |kind: &str, content: &[u8]| {
        [format!("{kind} {}\0", content.len()).as_bytes(), content].concat()
    };
    let tree = [&b"100644 a b\0"[..], &[1; 20], b"40000 dir\0", &[2; 20]].concat();
    let name = |byte: u8| hex::encode([byte; 20]);
    let commit = format!(
        "tree {}\nparent {}\nparent {}\nauthor A <a> 1 +0000\nmergetag object {}\n type commit\n\ntree {}",
        name(3),
        name(4),
        name(5),
        name(6),
        name(7)
    );
    let tag = format!("object {}\ntype commit\ntag v1\n\nobject", name(8));
    let table: [(Vec<u8>, &[u8]); 4] = [
        (object("blob", b"tree"), &[]),
        (object("tree", &tree), &[1, 2]),
        (object("commit", commit.as_bytes()), &[3, 4, 5, 6]),
        (object("tag", tag.as_bytes()), &[8]),
    ];
    for (bytes, named) in table {
        let named = named.iter().map(|byte| git(*byte)).collect();
        assert_eq!(of(Codec::GitRaw, &bytes), Ok(named));
    }
    for bytes in [
        b"blob 3\0ab".to_vec(),
        b"blob".to_vec(),
        b"other 0\0".to_vec(),
        object("tree", b"100644 a\0short"),
        object("commit", b"tree xyz\n"),
    ] {
        assert!(of(Codec::GitRaw, &bytes).is_err());
    }
}

#[test]
fn codecs_without_links_are_leaves_whatever_they_hold() {
    for codec in [Codec::Raw, Codec::Libp2pKey, Codec::Cbor, Codec::Json] {
        assert_eq!(of(codec, b"\xff\xff"), Ok(vec![]));
    }
    let unknown = Cid::new_v1(0x90, *leaf().hash());
    let error = links(&unknown, b"").unwrap_err();
    assert_eq!(error.to_string(), "codec 0x90 is unknown");
}

proptest! {
    #[test]
    fn any_bytes_of_any_codec_never_panic(
        codec in prop::sample::select(&[0x55, 0x70, 0x71, 0x72, 0x78, 0x85, 0x0129, 0x0200, 0x90][..]),
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let cid = Cid::new_v1(codec, *cid_of(Codec::Raw, &bytes).hash());
        if let Ok(found) = links(&cid, &bytes) {
            prop_assert!(!found.iter().any(is_identity));
        }
    }

    #[test]
    fn any_text_of_json_never_panics(text in "[{}\\[\\]\",:/ \\\\u0-9a-f.-]{0,60}") {
        let _ = of(Codec::DagJson, text.as_bytes());
    }

    #[test]
    fn where_version_1_finds_links_these_are_the_same(
        codec in prop::sample::select(&[0x70, 0x71, 0x0129][..]),
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        value in dag_cbor::tests::any_value(),
    ) {
        let encoded = dag_cbor::encode(&value).unwrap();
        for (cid, bytes) in [
            (Cid::new_v1(codec, *cid_of(Codec::Raw, &bytes).hash()), &bytes),
            (cid_of(Codec::DagCbor, &encoded), &encoded),
        ] {
            if let Ok(found) = links_of_version_1(&cid, bytes) {
                prop_assert_eq!(links(&cid, bytes), Ok(found));
            }
        }
    }
}
