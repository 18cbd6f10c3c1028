//! `car verify` on whole, cut, changed and incomplete files.

use perennis_shared::cid::{Block, Codec};
use perennis_shared::codec::{Value, car, dag_cbor};
use perennis_shared::wire::write_length;
use perennis_tests::home::Home;
use serde_json::Value as Json;

/// A root that links two leaves, as a CAR file.
fn sample() -> (Vec<u8>, [Block; 3]) {
    let one = Block::new(Codec::Raw, &b"leaf one"[..]).unwrap();
    let two = Block::new(Codec::Raw, &b"leaf two"[..]).unwrap();
    let links = Value::List(vec![Value::Link(*one.cid()), Value::Link(*two.cid())]);
    let root = Block::new(Codec::DagCbor, dag_cbor::encode(&links).unwrap()).unwrap();
    let file = car::write(&[*root.cid()], [&root, &one, &two]).unwrap();
    (file, [root, one, two])
}

fn verify(user: &Home, code: i32, file: &[u8], more: &[&str]) -> Json {
    let path = user.file("file.car", file);
    let arguments = [&["car", "verify", &path], more].concat();
    user.run_json(&arguments).document(code, &arguments)
}

#[test]
fn a_whole_file_is_valid() {
    let user = Home::new();
    let (file, [root, ..]) = sample();
    let verdict = verify(&user, 0, &file, &[]);
    assert_eq!(verdict["valid"], true);
    assert_eq!(verdict["complete"], true);
    assert_eq!(verdict["blocks"], 3);
    assert_eq!(verdict["bytes"], file.len());
    assert_eq!(verdict["roots"][0], root.cid().to_string());
    let piped = user.run_with_input(&["--json", "car", "verify", "-"], &file);
    assert_eq!(piped.document(0, &["car", "verify"]), verdict);
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let user = Home::new();
    let (file, _) = sample();
    for length in (0..file.len()).step_by(11) {
        let verdict = verify(&user, 3, &file[..length], &[]);
        let reason = verdict["reason"].as_str().unwrap();
        assert!(
            ["truncated", "incomplete"].contains(&reason),
            "cut at {length}: {verdict}"
        );
    }
}

#[test]
fn a_changed_byte_anywhere_is_refused() {
    let user = Home::new();
    let (file, _) = sample();
    for at in (0..file.len()).step_by(17) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let verdict = verify(&user, 3, &changed, &[]);
        assert_eq!(verdict["valid"], false, "byte {at}");
    }
    let mut last = file.clone();
    *last.last_mut().unwrap() ^= 1;
    assert_eq!(verify(&user, 3, &last, &[])["reason"], "cid_mismatch");
}

#[test]
fn a_missing_block_is_named_unless_that_is_allowed() {
    let user = Home::new();
    let (_, [root, one, two]) = sample();
    let partial = car::write(&[*root.cid()], [&root, &one]).unwrap();
    let verdict = verify(&user, 3, &partial, &[]);
    assert_eq!(verdict["reason"], "incomplete");
    assert_eq!(verdict["missing"][0], two.cid().to_string());
    let allowed = verify(&user, 0, &partial, &["--partial"]);
    assert_eq!(allowed["valid"], true);
    assert_eq!(allowed["complete"], false);
}

#[test]
fn an_oversized_section_is_refused_and_one_that_is_not_all_there_is_cut_off() {
    let user = Home::new();
    let (mut file, [root, ..]) = sample();
    let cut = [&file[..], &[0x80, 0x80, 0x80, 0x08]].concat();
    assert_eq!(verify(&user, 3, &cut, &[])["reason"], "truncated");
    let cid = root.cid().to_bytes();
    let block = vec![0; 3 << 20];
    write_length(&mut file, cid.len() + block.len());
    file.extend_from_slice(&cid);
    file.extend_from_slice(&block);
    assert_eq!(verify(&user, 3, &file, &[])["reason"], "too_large");
}
