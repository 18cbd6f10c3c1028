//! `dag convert`: canonical output, and exit 3 for what strict rules refuse.

use std::collections::BTreeMap;
use std::path::PathBuf;

use perennis_tests::home::{Home, Ran};
use perennis_tests::vectors;

fn convert(user: &Home, from: &str, to: &str, input: &[u8]) -> Ran {
    user.run_with_input(&["dag", "convert", "--from", from, "--to", to, "-"], input)
}

/// The files of one vector by their codec.
fn codecs(folder: &PathBuf) -> BTreeMap<String, PathBuf> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let codec = path.extension().unwrap().to_str().unwrap().to_owned();
            (codec, path)
        })
        .collect()
}

#[test]
fn every_vector_converts_to_the_same_bytes_in_each_codec() {
    let user = Home::new();
    let Some(folders) = vectors::folders("codec") else {
        return;
    };
    let mut conversions = 0;
    for folder in folders {
        let files = codecs(&folder);
        for (from, source) in &files {
            let input = std::fs::read(source).unwrap();
            for (to, target) in &files {
                // DAG-PB has two values of its own shape; the others are not written in it.
                if to == "dag-pb" && from != "dag-pb" {
                    continue;
                }
                let ran = convert(&user, from, to, &input).expect(0);
                assert_eq!(
                    ran.stdout,
                    std::fs::read(target).unwrap(),
                    "{} to {to}",
                    source.display()
                );
                conversions += 1;
            }
        }
    }
    assert!(conversions > 100, "only {conversions} conversions");
}

/// Every fourth, since each conversion is a process; the tests of the codecs take all of them.
#[test]
fn values_of_npm_convert_to_what_its_libraries_write() {
    let user = Home::new();
    let document = vectors::made("values.json");
    let mut conversions = 0;
    let values = document["values"].as_array().unwrap().iter();
    for value in values.clone().step_by(4).chain(values.rev().take(12)) {
        let mut forms: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (codec, form) in value.as_object().unwrap() {
            let written = form[1].as_str().unwrap_or_default();
            let bytes = match codec.as_str() {
                "what" => continue,
                "dag-json" => written.as_bytes().to_vec(),
                _ => hex(written),
            };
            forms.insert(codec, bytes);
        }
        for (from, input) in &forms {
            for (to, expected) in forms.iter().filter(|(to, _)| *to != from) {
                let ran = convert(&user, from, to, input).expect(0);
                assert_eq!(ran.stdout, *expected, "{}: {from} to {to}", value["what"]);
                conversions += 1;
            }
        }
    }
    assert!(conversions > 100, "only {conversions} conversions");
    for refused in document["refused"].as_array().unwrap() {
        let codec = refused["codec"].as_str().unwrap();
        let to = if codec == "dag-json" {
            "dag-cbor"
        } else {
            "dag-json"
        };
        let input = hex(refused["bytes"].as_str().unwrap());
        let ran = convert(&user, codec, to, &input);
        assert_eq!(
            ran.code,
            Some(3),
            "{codec}: {}: {}",
            refused["what"],
            ran.stderr
        );
        assert!(ran.stdout.is_empty(), "{codec}: {}", refused["what"]);
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits = format!("f{text}");
    let (_, bytes) = multibase::decode(digits).unwrap();
    bytes
}

#[test]
fn what_strict_rules_refuse_ends_with_three() {
    let user = Home::new();
    for (what, bytes) in [
        ("duplicate keys", &b"\xa2\x61a\x01\x61a\x02"[..]),
        ("unsorted keys", b"\xa2\x61b\x01\x61a\x02"),
        ("a longer integer than needed", b"\x18\x01"),
        ("an indefinite length", b"\x9f\x01\xff"),
        ("a half-precision float", b"\xf9\x3c\x00"),
        ("not a number", b"\xfb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
        ("an unknown tag", b"\xc1\x01"),
        ("bytes behind the end", b"\x01\x01"),
        ("a cut value", b"\x82\x01"),
        ("text that is no UTF-8", b"\x61\xff"),
        ("a key that is no text", b"\xa1\x01\x01"),
        ("undefined", b"\xf7"),
        ("nothing", b""),
        ("too deep nesting", &[0x81; 5000]),
        (
            "a length far beyond the input",
            b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
    ] {
        let ran = convert(&user, "dag-cbor", "dag-json", bytes).expect(3);
        assert!(
            ran.stdout.is_empty(),
            "{what}: output in spite of the refusal"
        );
        assert!(ran.stderr.contains("next:"), "{what}: {}", ran.stderr);
    }
    for (what, text) in [
        ("a cut object", "{\"a\":1"),
        ("duplicate keys", "{\"a\":1,\"a\":2}"),
        ("a broken link", "{\"/\":\"nonsense\"}"),
        ("something behind the end", "1 2"),
    ] {
        let ran = convert(&user, "dag-json", "dag-cbor", text.as_bytes());
        assert_eq!(ran.code, Some(3), "{what}");
    }
}

#[test]
fn a_refusal_is_one_document_with_json() {
    let user = Home::new();
    let file = user.file("unsorted", b"\xa2\x61b\x01\x61a\x02");
    let arguments = [
        "dag", "convert", "--from", "dag-cbor", "--to", "dag-json", &file,
    ];
    assert_eq!(user.error(3, &arguments)["code"], "not_strict");
}

#[test]
fn an_output_file_is_described_by_its_cid() {
    let user = Home::new();
    let input = user.file("in.json", b"{ \"b\": 1,\"a\":2}\n");
    let output = user.beside("out.cbor");
    let output_text = output.to_str().unwrap();
    let arguments = [
        "dag",
        "convert",
        "--from",
        "dag-json",
        "--to",
        "dag-cbor",
        &input,
        "-o",
        output_text,
    ];
    let document = user.json(&arguments);
    assert_eq!(document["bytes"], 7);
    assert_eq!(std::fs::read(&output).unwrap(), b"\xa2\x61a\x02\x61b\x01");
    assert_eq!(user.error(3, &arguments)["code"], "file_exists");
    user.json(&[&arguments[..], &["--force"]].concat());
}
