use super::*;
use crate::{
    cid::{Codec, cid_of, parse_cid},
    limits::CBOR_DEPTH,
};
use alloc::{boxed::Box, format, vec};
use proptest::prelude::*;
use std::string::ToString;

fn reason(bytes: &[u8]) -> String {
    match decode(bytes) {
        Ok(value) => format!("accepted as {value:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_not_canonical_is_refused_with_its_place() {
    let table: [(&[u8], &str); 33] = [
        (b"", "the input ends at byte 0, inside a value"),
        (
            b"\x18\x17",
            "a number that is not in its shortest form at byte 0",
        ),
        (
            b"\x19\x00\xff",
            "a number that is not in its shortest form at byte 0",
        ),
        (
            b"\x1a\x00\x00\xff\xff",
            "a number that is not in its shortest form at byte 0",
        ),
        (
            b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff",
            "a number that is not in its shortest form at byte 0",
        ),
        (
            b"\x38\x17",
            "a number that is not in its shortest form at byte 0",
        ),
        (
            b"\x58\x01a",
            "a number that is not in its shortest form at byte 0",
        ),
        (
            b"\x78\x01a",
            "a number that is not in its shortest form at byte 0",
        ),
        (
            b"\x98\x01\x00",
            "a number that is not in its shortest form at byte 0",
        ),
        (
            b"\xb8\x01\x61a\x00",
            "a number that is not in its shortest form at byte 0",
        ),
        (
            b"\xd8\x0a\x41\x00",
            "a number that is not in its shortest form at byte 0",
        ),
        (b"\x5f\x41a\xff", "an indefinite length at byte 0"),
        (b"\x7f\x61a\xff", "an indefinite length at byte 0"),
        (b"\x9f\xff", "an indefinite length at byte 0"),
        (b"\xbf\xff", "an indefinite length at byte 0"),
        (b"\x1c", "a reserved form of number at byte 0"),
        (b"\xff", "a break without an indefinite length at byte 0"),
        (b"\xf7", "undefined is not allowed at byte 0"),
        (
            b"\xf8\x18",
            "a simple value other than true, false and null at byte 0",
        ),
        (
            b"\xe0",
            "a simple value other than true, false and null at byte 0",
        ),
        (b"\xf9\x3c\x00", "a float of less than 64 bits at byte 0"),
        (
            b"\xfa\x3f\x80\x00\x00",
            "a float of less than 64 bits at byte 0",
        ),
        (
            b"\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00",
            "NaN or an infinite number at byte 0",
        ),
        (
            b"\xfb\xff\xf0\x00\x00\x00\x00\x00\x00",
            "NaN or an infinite number at byte 0",
        ),
        (b"\x61\xff", "text that is not UTF-8 at byte 0"),
        (b"\xa1\x00\x00", "a map key that is not text at byte 1"),
        (
            b"\xa2\x61b\x00\x61a\x00",
            "a map key that is not in canonical order at byte 4",
        ),
        (
            b"\xa2\x62aa\x00\x61b\x00",
            "a map key that is not in canonical order at byte 5",
        ),
        (
            b"\xa2\x61a\x00\x61a\x00",
            "a map key that was there before at byte 4",
        ),
        (b"\xc1\x00", "a tag other than 42 at byte 0"),
        (b"\xd8\x2a\x61a", "not bytes, which are required at byte 2"),
        (
            b"\xd8\x2a\x41\x01",
            "a link without its leading zero byte at byte 0",
        ),
        (b"\x00\x00", "bytes after the end of the value at byte 1"),
    ];
    for (bytes, expected) in table {
        assert_eq!(reason(bytes), expected, "{bytes:02x?}");
    }
    assert_eq!(
        reason(b"\xd8\x2a\x42\x00\x01"),
        "link at byte 0: not a CID: it ends too early"
    );
}

#[test]
fn counts_are_checked_before_memory_is_taken() {
    let truncated = [
        &b"\x9b\x00\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\xbb\x00\xff\xff\xff\xff\xff\xff\xff",
        b"\x5b\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x82\x00",
        b"\xa1\x61a",
        b"\x19\x01",
        b"\xfb\x00",
    ];
    for bytes in truncated {
        assert_eq!(
            decode(bytes),
            Err(CodecError::Truncated {
                offset: bytes.len()
            })
        );
    }
    let mut many = vec![0xf6; CBOR_VALUES + 5];
    many[..5].copy_from_slice(&[0x9a, 0, 4, 0, 0]);
    assert_eq!(
        reason(&many),
        "values in a DAG-CBOR block: 262145 is above the limit of 262144"
    );
    let over = vec![0; crate::limits::WIRE_BLOCK_BYTES + 1];
    assert!(matches!(decode(&over), Err(CodecError::Limit(_))));
}

#[test]
fn depth_is_bounded_on_both_ways() {
    let nested = |depth: usize| {
        let mut bytes = vec![0x81; depth];
        bytes.push(0xf6);
        bytes
    };
    let deepest = decode(&nested(CBOR_DEPTH)).unwrap();
    assert_eq!(encode(&deepest).unwrap(), nested(CBOR_DEPTH));
    assert_eq!(
        reason(&nested(CBOR_DEPTH + 1)),
        "DAG-CBOR depth: 65 is above the limit of 64"
    );
    assert!(matches!(
        encode(&Value::List(vec![deepest])),
        Err(CodecError::Limit(_))
    ));
    let side_by_side = Value::List(vec![Value::List(vec![]); CBOR_DEPTH * 2]);
    let bytes = encode(&side_by_side).unwrap();
    assert_eq!(decode(&bytes), Ok(side_by_side));
}

#[test]
fn every_kind_has_its_known_bytes() {
    let cid = parse_cid("bafkqabiaaebagba").unwrap();
    let value = Value::map([
        ("b", Value::Bytes(vec![1, 2])),
        ("f", Value::Float(1.5)),
        ("i", Value::Int(-(1 << 64))),
        (
            "l",
            Value::List(vec![Value::Null, true.into(), false.into()]),
        ),
        ("u", Value::Int((1 << 64) - 1)),
        ("aa", Value::Link(cid)),
        ("t", Value::from("é")),
    ]);
    let bytes = encode(&value).unwrap();
    assert_eq!(
        hex::encode(&bytes),
        "a7616242010261 66fb3ff8000000000000 6169 3bffffffffffffffff 616c 83f6f5f4 6174 62c3a9 6175 1bffffffffffffffff 626161 d82a 4a 00015500050001020304"
            .replace(' ', "")
    );
    assert_eq!(decode(&bytes), Ok(value));
}

#[test]
fn what_has_no_encoding_is_refused() {
    for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(encode(&Value::Float(float)).is_err());
    }
    for int in [1i128 << 64, -(1i128 << 64) - 1, i128::MAX, i128::MIN] {
        assert!(encode(&Value::Int(int)).is_err());
    }
}

#[test]
fn typed_reading_names_missing_and_unknown_fields() {
    let bytes = encode(&Value::map([("a", Value::Int(1)), ("bb", Value::Int(2))])).unwrap();
    let mut decoder = Decoder::new(&bytes).unwrap();
    let mut entries = decoder.map().unwrap();
    entries.required(&mut decoder, "a").unwrap();
    assert_eq!(decoder.uint(), Ok(1));
    assert_eq!(entries.optional(&mut decoder, "b"), Ok(false));
    let error = entries.required(&mut decoder, "cc").unwrap_err();
    assert_eq!(error.to_string(), "field `cc` is missing");
    let error = entries.finish(&mut decoder).unwrap_err();
    assert_eq!(error.to_string(), "field `bb` is not known here");
}

#[test]
fn typed_reading_covers_what_a_signature_covers() {
    let mut encoder = Encoder::new();
    encoder.list(2).unwrap();
    encoder.map(1).unwrap();
    encoder.key("n");
    encoder.int(-5).unwrap();
    encoder.end();
    encoder.bytes(&[9; 4]);
    encoder.end();
    let length = encoder.len();
    let bytes = encoder.finish().unwrap();
    assert_eq!(bytes.len(), length);
    let mut decoder = Decoder::new(&bytes).unwrap();
    let mut items = decoder.list().unwrap();
    assert_eq!((items.remaining(), items.next(&mut decoder)), (2, Ok(true)));
    let start = decoder.offset();
    decoder.skip(&mut |_| Ok(())).unwrap();
    assert_eq!(decoder.since(start), b"\xa1\x61n\x24");
    assert_eq!(items.next(&mut decoder), Ok(true));
    let place = decoder.clone();
    assert_eq!(decoder.byte_array(), Ok([9; 4]));
    let error = place.clone().byte_array::<5>().unwrap_err();
    assert_eq!(error.to_string(), "bytes of the wrong length at byte 5");
    let error = place.clone().text().unwrap_err();
    assert_eq!(error.to_string(), "not text, which is required at byte 5");
    assert_eq!(items.next(&mut decoder), Ok(false));
    decoder.finish().unwrap();
    assert!(Decoder::new(b"\x20").unwrap().uint().is_err());
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "fewer entries")]
fn lists_that_are_too_short_are_found_while_developing() {
    let mut encoder = Encoder::new();
    let _ = encoder.list(2);
    encoder.null();
    encoder.end();
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "canonical order")]
fn names_out_of_order_are_found_while_developing() {
    let mut encoder = Encoder::new();
    let _ = encoder.map(2);
    encoder.key("bb");
    encoder.uint(1);
    encoder.key("a");
}

pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-(1i128 << 64)..(1i128 << 64)).prop_map(Value::Int),
        any::<i16>().prop_map(|int| Value::Int(int.into())),
        any::<f64>()
            .prop_filter("finite", |float| float.is_finite())
            .prop_map(Value::Float),
        "\\PC{0,20}".prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        any::<[u8; 8]>().prop_map(|seed| Value::Link(cid_of(Codec::Raw, &seed))),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        let inner = Box::new(inner.boxed());
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            proptest::collection::btree_map("\\PC{0,6}", inner, 0..6).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_comes_back(value in any_value()) {
        let bytes = encode(&value).unwrap();
        prop_assert_eq!(decode(&bytes), Ok(value));
    }

    #[test]
    fn any_bytes_are_refused_or_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = decode(&bytes) {
            prop_assert_eq!(encode(&value), Ok(bytes));
        }
    }

    #[test]
    fn changed_bytes_are_refused_or_canonical(
        value in any_value(),
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let mut bytes = encode(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(value) = decode(&bytes) {
            prop_assert_eq!(encode(&value).unwrap(), bytes.clone());
        }
        bytes.truncate(cut.index(bytes.len()));
        prop_assert!(decode(&bytes).is_err() || !bytes.is_empty());
    }
}
