use super::*;
use crate::{
    codec::dag_cbor,
    limits::{JSON_DEPTH, JSON_VALUES},
};
use alloc::{format, vec};
use proptest::prelude::*;
use std::string::ToString;

fn float(number: f64) -> String {
    encode(&Value::Float(number)).unwrap()
}

#[allow(
    clippy::excessive_precision,
    reason = "the value lies in the middle between two short forms"
)]
#[test]
fn floats_are_written_as_ecmascript_writes_them() {
    let table = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-1.5, "-1.5"),
        (100.0, "100.0"),
        (1e20, "100000000000000000000.0"),
        (1.5e20, "150000000000000000000.0"),
        (1e21, "1e+21"),
        (1.25e300, "1.25e+300"),
        (0.000001, "0.000001"),
        (0.0000012, "0.0000012"),
        (1e-7, "1e-7"),
        (1.25e-7, "1.25e-7"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (123456.789, "123456.789"),
        // As near to …563: the even one.
        (16_100.988_891_601_562_5, "16100.988891601562"),
        (-16_100.988_891_601_562_5, "-16100.988891601562"),
    ];
    for (number, text) in table {
        assert_eq!(float(number), text);
        assert_eq!(decode(text.as_bytes()), Ok(Value::Float(number)), "{text}");
    }
}

#[test]
fn every_kind_has_its_known_text() {
    let text = concat!(
        r#"{"b":{"/":{"bytes":"AQI"}},"c":{"/":"bafkqabiaaebagba"},"f":1.5,"#,
        r#""i":-18446744073709551616,"l":[null,true,false,[],{}],"#,
        r#""t":"\"\\\b\f\n\r\t\u0000\u001f/é\u"#,
    );
    let text = format!("{}{}\"}}", text.trim_end_matches("\\u"), '\u{7f}');
    let value = decode(text.as_bytes()).unwrap();
    assert_eq!(encode(&value).unwrap(), text);
    let bytes = dag_cbor::encode(&value).unwrap();
    assert_eq!(dag_cbor::decode(&bytes), Ok(value));
}

#[test]
fn what_people_write_has_one_canonical_form() {
    let written = " { \"b\" : [ 1 , 2.50e1 ] ,\n\t\"a\" : \"\\u00e9\\/\\ud83d\\ude00\" } \r\n";
    let value = decode_relaxed(written.as_bytes()).unwrap();
    assert_eq!(encode(&value).unwrap(), r#"{"a":"é/😀","b":[1,25.0]}"#);
    let error = decode(written.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "not the canonical form of DAG-JSON at byte 0"
    );
    for text in [
        "-0",
        "1.50",
        "1E3",
        "{\"b\":1,\"a\":2}",
        "\"\\u00e9\"",
        "[ ]",
        "1 ",
    ] {
        assert!(decode_relaxed(text.as_bytes()).is_ok(), "{text}");
        assert!(decode(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn what_is_not_dag_json_is_refused_with_its_place() {
    let table = [
        ("", "the input ends at byte 0, inside a value"),
        ("[1", "the input ends at byte 2, inside a value"),
        ("-", "the input ends at byte 1, inside a value"),
        ("\"a", "the input ends at byte 2, inside a value"),
        ("\"\\u00", "the input ends at byte 5, inside a value"),
        ("nul", "something that begins no value at byte 0"),
        ("NaN", "something that begins no value at byte 0"),
        ("[1,]", "something that begins no value at byte 3"),
        ("1 2", "something after the end of the value at byte 2"),
        ("[1 2]", "neither a comma nor a closing bracket at byte 3"),
        ("{1:2}", "a map key that is not text at byte 1"),
        ("{\"a\" 1}", "a map key without a colon at byte 5"),
        (
            "{\"a\":1,\"a\":2}",
            "a map key that was there before at byte 7",
        ),
        (
            "{\"a\":1,\"\\u0061\":2}",
            "a map key that was there before at byte 7",
        ),
        ("01", "a number with a leading zero at byte 0"),
        ("1.x", "a number without digits at byte 2"),
        ("1e999", "a number that is out of range at byte 0"),
        (
            "18446744073709551616",
            "a number that is out of range at byte 0",
        ),
        (
            "-18446744073709551617",
            "a number that is out of range at byte 0",
        ),
        (
            "\"\n\"",
            "a control character that is not escaped at byte 1",
        ),
        ("\"\\x\"", "an unknown escape at byte 1"),
        (
            "\"\\uZZZZ\"",
            "an escape without four hexadecimal digits at byte 3",
        ),
        (
            "\"\\ud800\"",
            "an escape of half a surrogate pair at byte 1",
        ),
        (
            "\"\\ud800\\u0041\"",
            "an escape of half a surrogate pair at byte 1",
        ),
        (
            "\"\\udc00\"",
            "an escape of half a surrogate pair at byte 1",
        ),
        (
            "{\"/\":1}",
            "the reserved map key `/` in something that is neither a link nor bytes at byte 0",
        ),
        (
            "{\"/\":\"bafkqabiaaebagba\",\"a\":1}",
            "the reserved map key `/` in something that is neither a link nor bytes at byte 0",
        ),
        (
            "{\"/\":{\"bytes\":\"\",\"a\":1}}",
            "the reserved map key `/` in something that is neither a link nor bytes at byte 0",
        ),
        (
            "{\"/\":{\"bytes\":\"AQ==\"}}",
            "bytes that are not base64 without padding at byte 0",
        ),
        (
            "{\"/\":{\"bytes\":\"AR\"}}",
            "bytes that are not base64 without padding at byte 0",
        ),
        (
            "{\"/\":\"x\"}",
            "link at byte 0: not a CID: it begins with no base of multibase",
        ),
    ];
    for (text, expected) in table {
        let error = decode_relaxed(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
    let error = decode(b"\"\xff\"").unwrap_err();
    assert_eq!(error.to_string(), "text that is not UTF-8 at byte 1");
    assert!(encode(&Value::map([("/", Value::Null)])).is_err());
}

#[test]
fn depth_and_count_are_bounded() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(decode(nested(JSON_DEPTH).as_bytes()).is_ok());
    let error = decode(nested(JSON_DEPTH + 1).as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "DAG-JSON depth: 65 is above the limit of 64"
    );
    let many = format!("[{}0]", "0,".repeat(JSON_VALUES));
    let error = decode(many.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "values in DAG-JSON: 262145 is above the limit of 262144"
    );
    let mut deep = Value::Null;
    for _ in 0..=JSON_DEPTH {
        deep = Value::List(vec![deep]);
    }
    assert!(matches!(encode(&deep), Err(CodecError::Limit(_))));
}

fn has_reserved_name(value: &Value) -> bool {
    match value {
        Value::List(items) => items.iter().any(has_reserved_name),
        Value::Map(entries) => entries.contains_key("/") || entries.values().any(has_reserved_name),
        _ => false,
    }
}

proptest! {
    #[test]
    fn every_value_comes_back(value in dag_cbor::tests::any_value()) {
        prop_assume!(!has_reserved_name(&value));
        let text = encode(&value).unwrap();
        prop_assert_eq!(decode(text.as_bytes()), Ok(value));
    }

    #[test]
    fn every_float_comes_back(number: f64) {
        prop_assume!(number.is_finite());
        let text = float(number);
        let Ok(Value::Float(back)) = decode(text.as_bytes()) else {
            panic!("{text}");
        };
        prop_assert_eq!(back.to_bits(), number.to_bits());
    }

    #[test]
    fn changed_text_never_panics(
        value in dag_cbor::tests::any_value(),
        at: prop::sample::Index,
        byte in prop::sample::select(&b"\"\\/{}[],:0e.-utfn \n\xff"[..]),
    ) {
        prop_assume!(!has_reserved_name(&value));
        let mut text = encode(&value).unwrap().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(value) = decode(&text) {
            prop_assert_eq!(encode(&value).unwrap().into_bytes(), text.clone());
        }
        let _ = decode_relaxed(&text);
    }

    #[test]
    fn any_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode_relaxed(&text);
    }
}
