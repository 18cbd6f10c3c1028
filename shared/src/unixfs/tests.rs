use super::*;
use crate::cid::{Cid, Codec, cid_of};
use crate::codec::{
    Value, dag_cbor, dag_json,
    dag_pb::{self, Link},
    protobuf::Writer,
};
use alloc::{format, string::String, vec, vec::Vec};
use proptest::prelude::*;
use std::string::ToString;

fn cid(text: &str) -> Cid {
    cid_of(Codec::Raw, text.as_bytes())
}

fn link(name: &str, hash: Cid) -> Link {
    Link {
        hash,
        name: Some(name.into()),
        size_claimed: None,
    }
}

/// A DAG-PB block with this data and these links.
fn block(data: Vec<u8>, links: Vec<Link>) -> (Cid, Vec<u8>) {
    let data = Some(data);
    let bytes = dag_pb::encode(&dag_pb::Node { links, data }).unwrap();
    (cid_of(Codec::DagPb, &bytes), bytes)
}

fn parsed(block: &(Cid, Vec<u8>)) -> Option<Node> {
    Node::parse(&block.0, &block.1).unwrap()
}

fn directory(entries: &[(&str, Cid)]) -> (Cid, Vec<u8>) {
    let links = entries.iter().map(|(name, hash)| link(name, *hash));
    block(vec![8, 1], links.collect())
}

fn shard(fanout: u64, entries: &[(&str, Cid)]) -> (Cid, Vec<u8>) {
    let mut data = Writer::new();
    data.uint(1, 5);
    data.uint(5, 0x22);
    data.uint(6, fanout);
    let links = entries.iter().map(|(name, hash)| link(name, *hash));
    block(data.finish(), links.collect())
}

fn file(own: &[u8], sizes: &[u64]) -> (Cid, Vec<u8>) {
    let mut data = Writer::new();
    data.uint(1, 2);
    data.bytes(2, own);
    for size in sizes {
        data.uint(4, *size);
    }
    let links = (0..sizes.len()).map(|at| link("", cid(&at.to_string())));
    block(data.finish(), links.collect())
}

fn parts(block: &(Cid, Vec<u8>), wanted: core::ops::Range<u64>) -> Vec<String> {
    let Some(Node::File(file)) = parsed(block) else {
        panic!("no file")
    };
    let number = |of: &Cid| (0..9).find(|at: &u32| cid(&at.to_string()) == *of).unwrap();
    let parts = file.parts_in(&wanted).into_iter();
    parts
        .map(|part| match part.bytes {
            None => number(&part.cid).to_string(),
            Some(bytes) if bytes.end == u64::MAX => {
                format!("{} {}-", number(&part.cid), bytes.start)
            }
            Some(bytes) => format!("{} {}-{}", number(&part.cid), bytes.start, bytes.end),
        })
        .collect()
}

#[test]
fn a_block_is_what_its_data_says() {
    let Some(Node::Directory(found)) = parsed(&directory(&[("a", cid("1")), ("a", cid("2"))]))
    else {
        panic!("no directory")
    };
    assert_eq!(found.find(b"a"), Some(&cid("1")));
    assert_eq!(found.find(b"b"), None);
    assert_eq!(found.entries().count(), 2);
    let symlink = block(b"\x08\x04\x12\x03a/b".to_vec(), vec![]);
    assert_eq!(parsed(&symlink), Some(Node::Symlink(b"a/b".to_vec())));
    for other in [&b""[..], b"nonsense", b"\x08\x03", b"\x08\x09", b"\x08\x05"] {
        assert_eq!(parsed(&block(other.to_vec(), vec![])), None, "{other:?}");
    }
    let raw = (cid("five!"), b"five!".to_vec());
    let Some(Node::File(file)) = parsed(&raw) else {
        panic!("no file")
    };
    assert_eq!(file.size(), Some(5));
    assert_eq!(file.own_in(&(1..3)), 1..3);
    let cbor = cid_of(Codec::DagCbor, b"\xa0");
    assert_eq!(Node::parse(&cbor, b"\xa0"), Ok(None));
    assert!(Node::parse(&directory(&[]).0, b"\xff").is_err());
}

#[test]
fn a_range_of_a_file_names_the_blocks_that_hold_it() {
    let of = file(b"", &[256, 256, 256, 256, 2]);
    assert_eq!(parts(&of, 0..u64::MAX), ["0", "1", "2", "3", "4"]);
    assert_eq!(parts(&of, 512..u64::MAX), ["2", "3", "4"]);
    assert_eq!(parts(&of, 512..1024), ["2", "3"]);
    assert_eq!(parts(&of, 0..1), ["0 0-1"]);
    assert_eq!(parts(&of, 255..257), ["0 255-", "1 0-1"]);
    assert_eq!(parts(&of, 300..310), ["1 44-54"]);
    assert_eq!(parts(&of, 1_026..2_000), Vec::<String>::new());
    // Bytes of its own stand before those of the blocks below.
    assert_eq!(parts(&file(b"0123", &[4, 0, 4]), 3..9), ["0", "2 0-1"]);
    // Sizes that are absurd, or not there, name too many blocks and never too few.
    assert_eq!(parts(&file(b"", &[u64::MAX, u64::MAX]), 5..9), ["0 5-9"]);
    let unsized_links = (0..3).map(|at| link("", cid(&at.to_string()))).collect();
    assert_eq!(
        parts(&block(vec![8, 2], unsized_links), 5..6),
        ["0", "1", "2"]
    );
    let packed = block(
        b"\x08\x02\x22\x02\x05\x06".to_vec(),
        vec![link("", cid("0")), link("", cid("1"))],
    );
    assert_eq!(parts(&packed, 5..6), ["1 0-1"]);
}

#[test]
fn a_file_says_where_its_own_bytes_stand_in_its_block() {
    let of = file(b"0123", &[4]);
    let Some(Node::File(found)) = parsed(&of) else {
        panic!("no file")
    };
    for (wanted, expected) in [
        (0..u64::MAX, &b"0123"[..]),
        (1..3, b"12"),
        (3..9, b"3"),
        (4..9, b""),
        (9..u64::MAX, b""),
    ] {
        assert_eq!(&of.1[found.own_in(&wanted)], expected, "{wanted:?}");
    }
    // The data may stand before the links.
    let after = [&[0x0a, 5, 0x08, 2, 0x12, 1, b'x'][..]].concat();
    let of = (cid_of(Codec::DagPb, &after), after);
    let Some(Node::File(found)) = parsed(&of) else {
        panic!("no file")
    };
    assert_eq!(&of.1[found.own_in(&(0..u64::MAX))], b"x");
}

#[test]
fn names_stand_in_their_shards() {
    // As Kubo has sorted them.
    for (name, first, second) in [
        ("2.txt", "04", "BC"),
        ("470.txt", "00", "6E"),
        ("742.txt", "00", "FF"),
        ("623.txt", "04", "16"),
        ("448.txt", "01", "04"),
    ] {
        let lower_name = format!("{second}{name}");
        let lower = shard(256, &[(&lower_name, cid("entry"))]);
        let upper = shard(256, &[("FFother", cid("x")), (first, lower.0)]);
        let mut path = PathWalk::new(upper.0, name).unwrap();
        path.follow(&upper.1).unwrap();
        assert_eq!((path.at(), path.is_at_end()), (&lower.0, false), "{name}");
        path.follow(&lower.1).unwrap();
        assert_eq!((path.at(), path.is_at_end()), (&cid("entry"), true));
        assert_eq!(path.passed(), [upper.0, lower.0]);
        assert_eq!(path.roots(), [upper.0, cid("entry")]);
    }
    let Some(Node::Shard(found)) = parsed(&shard(256, &[("0A", cid("below")), ("0Bb", cid("b"))]))
    else {
        panic!("no shard")
    };
    assert_eq!(found.below().collect::<Vec<_>>(), [&cid("below")]);
    assert_eq!(
        found.entries().collect::<Vec<_>>(),
        [(&b"b"[..], &link("0Bb", cid("b")))]
    );
    // The hash has no more bits.
    assert_eq!(found.find(b"b", 8), None);
    assert_eq!(found.find(b"b", u32::MAX), None);
    for fanout in [0, 4, 7, 12, 2_048, u64::MAX] {
        assert_eq!(parsed(&shard(fanout, &[])), None, "{fanout}");
    }
}

#[test]
fn a_path_leads_through_directories_and_documents() {
    let leaf = cid("leaf");
    let document = Value::map([
        ("list", Value::List(vec![Value::Null, Value::from(leaf)])),
        ("text", Value::from("x")),
    ]);
    let json = dag_json::encode(&document).unwrap();
    let cbor = dag_cbor::encode(&document).unwrap();
    for (codec, bytes) in [(Codec::DagCbor, cbor), (Codec::DagJson, json.into_bytes())] {
        let document = cid_of(codec, &bytes);
        let top = directory(&[("docs", document)]);
        let follow = |path: &str| {
            let mut path = PathWalk::new(top.0, path).unwrap();
            while !path.is_at_end() {
                let bytes = if *path.at() == top.0 { &top.1 } else { &bytes };
                path.follow(bytes)?;
            }
            Ok::<_, PathError>(path)
        };
        let path = follow("/docs//list/1/").unwrap();
        assert_eq!(path.at(), &leaf);
        assert_eq!(path.passed(), [top.0, document]);
        assert_eq!(path.roots(), [top.0, document, leaf]);
        assert_eq!(follow("").unwrap().at(), &top.0);
        assert!(!path.is_inside() && !follow("docs").unwrap().is_inside());
        let inside = follow("docs/text").unwrap();
        assert_eq!((inside.at(), inside.is_inside()), (&document, true));
        for absent in [
            "doc",
            "docs/list/01",
            "docs/list/2",
            "docs/list/-1",
            "docs/text/x",
        ] {
            let error = follow(absent).unwrap_err();
            assert!(
                matches!(error, PathError::Absent { .. }),
                "{absent}: {error}"
            );
        }
    }
    // Of DAG-PB that is no UnixFS the names of the links are followed; behind a file there is nothing.
    let plain = block(b"x".to_vec(), vec![link("a", leaf)]);
    let mut path = PathWalk::new(plain.0, "a/b").unwrap();
    path.follow(&plain.1).unwrap();
    assert!(matches!(
        path.follow(b"leaf"),
        Err(PathError::Absent { .. })
    ));
    let mut path = PathWalk::new(plain.0, "a").unwrap();
    assert!(matches!(
        path.follow(b"\xff"),
        Err(PathError::Unreadable { .. })
    ));
    let long = "a/".repeat(crate::limits::PATH_SEGMENTS + 1);
    assert!(matches!(
        PathWalk::new(leaf, &long),
        Err(PathError::Limit(_))
    ));
}

#[test]
fn entity_bytes_are_read_and_come_to_a_range() {
    let end = u64::MAX;
    for (text, size, expected) in [
        ("0:*", 10, Selected::Bytes(0..end)),
        ("0:9", 10, Selected::Bytes(0..end)),
        ("0:99", 10, Selected::Bytes(0..end)),
        ("0:0", 10, Selected::Bytes(0..1)),
        ("3:-3", 10, Selected::Bytes(3..8)),
        ("-3:*", 10, Selected::Bytes(7..end)),
        ("-99:*", 10, Selected::Bytes(0..end)),
        ("-99:-3", 10, Selected::Bytes(0..8)),
        ("-5:-99", 3, Selected::Nothing),
        ("8:-9", 10, Selected::Nothing),
        ("0:-99", 10, Selected::Nothing),
        ("-1:0", 10, Selected::Nothing),
        ("10:*", 10, Selected::Outside),
        ("9223372036854775807:*", 10, Selected::Outside),
        ("0:*", 0, Selected::Nothing),
        ("1:*", 0, Selected::Outside),
    ] {
        match text.parse::<EntityBytes>() {
            Ok(bytes) => {
                assert_eq!(bytes.to_string(), text);
                assert_eq!(bytes.of(size), expected, "{text} of {size}");
            }
            // From the same side, and backwards.
            Err(_) => assert_eq!(text, "-5:-99"),
        }
    }
    for nonsense in [
        "",
        ":",
        "0",
        "0:",
        ":5",
        "*:5",
        "*:*",
        "a:b",
        "5:3",
        "+1:2",
        "1:2:3",
        "--1:*",
        "-:*",
        " 1:2",
        "0:99999999999999999999",
    ] {
        assert!(nonsense.parse::<EntityBytes>().is_err(), "{nonsense}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..64), level in any::<u32>(), from in any::<u64>(), to in any::<u64>()) {
        let block = block(data, vec![link("00", cid("a")), link("x", cid("b"))]);
        match parsed(&block) {
            Some(Node::File(file)) => {
                prop_assert!(file.parts_in(&(from..to)).len() <= 2);
                file.size();
            }
            Some(Node::Shard(shard)) => {
                shard.find(b"x", level);
            }
            _ => {}
        }
        if let Ok(mut path) = PathWalk::new(block.0, "x/y") {
            let _ = path.follow(&block.1);
        }
    }
}
