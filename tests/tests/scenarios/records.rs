//! `record verify` and `record inspect` on records made by other implementations.

use multibase::Base;
use perennis_tests::home::Home;
use perennis_tests::vectors;
use serde_json::Value;

/// Name of the record, ending of its file, whether it is valid, its value.
const RECORDS: [(&str, &str, bool, Option<&str>); 8] = [
    (
        "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w",
        "_v1-v2",
        true,
        Some("/ipfs/bafkqaddwgevxmmraojswg33smq"),
    ),
    (
        "k51qzi5uqu5dit2ku9mutlfgwyz8u730on38kd10m97m36bjt66my99hb6103f",
        "_v2",
        true,
        Some("/ipfs/bafkqadtwgiww63tmpeqhezldn5zgi"),
    ),
    (
        "k51qzi5uqu5dilgf7gorsh9vcqqq4myo6jd4zmqkuy9pxyxi5fua3uf7axph4y",
        "_v1-v2-broken-signature-v1",
        true,
        Some("/ipfs/bafkqahtwgevxmmrao5uxi2bamjzg623fnyqhg2lhnzqxi5lsmuqhmmi"),
    ),
    (
        "k51qzi5uqu5diamp7qnnvs1p1gzmku3eijkeijs3418j23j077zrkok63xdm8c",
        "_v1-v2-broken-signature-v2",
        false,
        None,
    ),
    (
        "k51qzi5uqu5dghjous0agrwavl8vzl64xckoqzwqeqwudfr74kfd11zcyk3b7l",
        "",
        true,
        None,
    ),
    (
        "k51qzi5uqu5dhjghbwdvbo6mi40htrq6e2z4pwgp15pgv3ho1azvidttzh8yy2",
        "",
        true,
        None,
    ),
    (
        "k51qzi5uqu5djokp3m1keo36hoxtd6u3a1d2rg1camf6al7p3huy63dojlm57c",
        "",
        true,
        None,
    ),
    (
        "k51qzi5uqu5dlxdsdu5fpuu7h69wu4ohp32iwm9pdt9nq3y5rpn3ln9j12zfhe",
        "",
        true,
        None,
    ),
];

#[test]
fn records_of_other_implementations_are_judged_by_the_specification() {
    let user = Home::new();
    for (name, kind, valid, value) in RECORDS {
        let Some(bytes) = vectors::read(&format!("ipns/{name}{kind}.ipns-record")) else {
            return;
        };
        let file = user.file("record", bytes);
        let verify = ["record", "verify", &file, "--name", name];
        let code = if valid { 0 } else { 3 };
        let verdict = user.run_json(&verify).document(code, &verify);
        assert_eq!(verdict["valid"], valid, "{name}{kind}: {verdict}");
        if let Some(value) = value {
            assert_eq!(verdict["value"], value);
        }
        if valid {
            assert!(verdict["reason"].is_null());
            assert_eq!(verdict["signature"], "valid");
            let inspected = user.json(&["record", "inspect", &file]);
            for field in ["value", "sequence", "validity", "ttlNs"] {
                assert_eq!(inspected[field], verdict[field], "{name}{kind} {field}");
            }
        } else {
            assert_eq!(verdict["reason"], "bad_signature");
            assert_eq!(verdict["signature"], "invalid");
            assert!(verdict["value"].is_null(), "a forged value is told");
        }
    }
}

/// A record that npm's library made: what of it is expected, and its bytes.
fn made() -> Vec<(Value, Vec<u8>)> {
    let document = vectors::made("records.json");
    let records = document["records"].as_array().unwrap().clone();
    let with_bytes = records.into_iter().map(|record| {
        let bytes = Base::Base64Pad.decode(record["record"].as_str().unwrap());
        (record, bytes.unwrap())
    });
    with_bytes.collect()
}

#[test]
fn records_of_npm_are_judged_as_its_library_judges_them() {
    let user = Home::new();
    for (expected, bytes) in made() {
        let (what, name) = (&expected["what"], expected["name"].as_str().unwrap());
        let file = user.file("record", bytes);
        let verify = ["record", "verify", &file, "--name", name];
        let ran = user.run_json(&verify);
        if let Some(refused) = expected["refused"].as_str() {
            let verdict = ran.document(3, &verify);
            assert_eq!(verdict["valid"], false, "{what}: {verdict}");
            assert_eq!(verdict["reason"], refused, "{what}");
            continue;
        }
        let verdict = ran.document(0, &verify);
        assert_eq!(verdict["valid"], true, "{what}: {verdict}");
        assert_eq!(verdict["value"], expected["value"], "{what}");
        for (ours, theirs) in [("sequence", "sequence"), ("ttlNs", "ttl")] {
            assert_eq!(verdict[ours].to_string(), expected[theirs], "{what}");
        }
    }
}

#[test]
fn a_record_of_another_name_is_refused() {
    let user = Home::new();
    let (record, bytes) = &made()[0];
    let file = user.file("record", bytes);
    let name = RECORDS[1].0;
    assert_ne!(record["name"], name);
    let verify = ["record", "verify", &file, "--name", name];
    let verdict = user.run_json(&verify).document(3, &verify);
    assert_eq!(verdict["valid"], false);
    assert_eq!(verdict["reason"], "bad_signature");
}

#[test]
fn damaged_and_oversized_records_are_refused_with_a_reason() {
    let user = Home::new();
    let (record, bytes) = &made()[0];
    let name = record["name"].as_str().unwrap();
    let verify = |content: &[u8]| {
        let file = user.file("record", content);
        let verify = ["record", "verify", &file, "--name", name];
        user.run_json(&verify).document(3, &verify)
    };
    assert_eq!(verify(b"")["reason"], "malformed");
    assert_eq!(verify(b"not a record")["reason"], "malformed");
    assert_eq!(verify(&[0; 10_241])["reason"], "too_large");
    for at in [bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
        let verdict = verify(&bytes[..at]);
        assert_eq!(verdict["valid"], false, "cut at {at}");
    }
    let inspect = user.file("cut", &bytes[..bytes.len() / 2]);
    let error = user.error(3, &["record", "inspect", &inspect]);
    assert_eq!(error["code"], "malformed");
}

#[test]
fn a_name_that_is_none_and_a_file_that_is_not_there_are_told_apart() {
    let user = Home::new();
    let file = user.file("record", b"x");
    let no_name = user.error(2, &["record", "verify", &file, "--name", "nobody"]);
    assert_eq!(no_name["code"], "usage");
    let no_file = user.error(4, &["record", "verify", "nowhere", "--name", RECORDS[0].0]);
    assert_eq!(no_file["code"], "file_not_found");
}
