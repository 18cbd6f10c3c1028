//! A proof about one label in a file, checked by somebody who has nothing else.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use perennis_shared::cid::Cid;
use perennis_shared::did::{DidDocument, Identity, Profile};
use perennis_shared::log::{self, Author, LabelProof};
use perennis_shared::taglist::{Handle, Label, Op, Tag};
use perennis_shared::time::Millis;
use perennis_tests::home::Home;
use perennis_tests::node::Node;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::user::{did, publish, with_identity, with_phrase};

/// The verdict about a proof file, from somebody who has no home and no node.
fn verdict(code: i32, file: &str, did: &str) -> Value {
    let stranger = Home::new();
    let verify = ["label", "verify", file, "--did", did];
    let verdict = stranger.run_json(&verify).document(code, &verify);
    assert!(!stranger.path().exists(), "a check made a home");
    verdict
}

#[test]
fn a_proof_shows_presence_removal_and_absence_without_node_or_home() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    user.json(&[
        "label",
        "add",
        "@Alice",
        "spam",
        "--note",
        "sells followers",
    ]);
    user.json(&["label", "add", "@bob", "bot"]);
    publish(&user, &file, &[&node]);
    user.json(&["label", "remove", "@bob", "bot"]);
    let published = publish(&user, &file, &[&node]);
    let did = did(&user);
    for (handle, label, says) in [
        ("@alice", "spam", "present"),
        ("@bob", "bot", "removed"),
        ("@alice", "bot", "absent"),
        ("@carol", "spam", "absent"),
    ] {
        let out = user.beside("label.proof");
        let out = out.to_str().unwrap();
        let made = user.json(&["label", "prove", handle, label, "--out", out, "--force"]);
        assert_eq!(made["says"], says, "{handle} {label}");
        assert_eq!(made["head"], published["head"]);
        assert!(made["bytes"].as_u64().unwrap() <= 4_096, "{made}");
        let shown = verdict(0, out, &did);
        assert_eq!(shown["valid"], true);
        assert_eq!(
            (&shown["handle"], &shown["label"]),
            (&handle.into(), &label.into())
        );
        assert_eq!(shown["says"], says);
        assert_eq!(shown["head"], published["head"]);
        assert_eq!(shown["sequence"], published["sequence"]);
        assert_eq!(shown["validUntil"], published["validUntil"]);
        match says {
            "present" => assert_eq!(shown["details"]["note"], "sells followers"),
            _ => assert!(shown["details"].is_null()),
        }
    }
    let out = user.beside("label.proof");
    let again = [
        "label",
        "prove",
        "@bob",
        "bot",
        "--out",
        out.to_str().unwrap(),
    ];
    assert_eq!(user.error(3, &again)["code"], "file_exists");
    // The IPNS name is as good as the DID, and so is another device's view of the list.
    let stranger = Home::new();
    let out = stranger.beside("theirs.proof");
    let out = out.to_str().unwrap();
    let name = published["name"].as_str().unwrap();
    let prove = ["label", "prove", "@alice", "spam", "--did", name];
    stranger.json(&[&prove[..], &["--node", node.url(), "--out", out]].concat());
    assert_eq!(verdict(0, out, name)["says"], "present");
    assert_eq!(verdict(0, out, &did)["says"], "present");
}

#[test]
fn a_proof_of_somebody_else_or_with_a_changed_byte_is_refused() {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    user.json(&["label", "add", "@one", "spam"]);
    publish(&user, &file, &[&node]);
    let out = user.beside("label.proof");
    let path = out.to_str().unwrap();
    user.json(&["label", "prove", "@one", "spam", "--out", path]);
    let own = did(&user);
    let (other, _) = with_phrase("thimble mosaic ladder canyon velvet orbit");
    let refused = verdict(3, path, &did(&other));
    assert_eq!(
        (&refused["valid"], &refused["verdict"]),
        (&false.into(), &"invalid".into())
    );
    assert!(refused["says"].is_null(), "{refused}");
    assert!(refused["reason"].as_str().unwrap().contains("belongs to"));

    let whole = fs::read(&out).unwrap();
    for at in [0, whole.len() / 4, whole.len() / 2, whole.len() - 20] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&out, &changed).unwrap();
        let refused = verdict(3, path, &own);
        assert!(!refused["reason"].as_str().unwrap().is_empty(), "byte {at}");
    }
    for content in [&b""[..], b"no proof", &whole[..whole.len() - 1]] {
        fs::write(&out, content).unwrap();
        assert_eq!(verdict(3, path, &own)["valid"], false);
    }
}

/// A proof without a record: all that whoever writes a DID document of another can have.
fn without_record(identity: &Identity) -> Vec<u8> {
    let at = Millis(1_700_000_000_000);
    let document = DidDocument::new(identity, at).to_block().unwrap();
    let author = Author {
        did: identity.did(),
        signer: identity.signer(),
        document: *document.cid(),
    };
    let (handle, tag) = (Handle::parse("@one").unwrap(), Tag::parse("spam").unwrap());
    let op = Op::Set(Label::new(handle, tag, at));
    let mut blocks: BTreeMap<Cid, Bytes> = BTreeMap::new();
    let signed = log::append(&author, None, vec![op.clone()], at, &blocks).unwrap();
    for block in signed.added {
        let (cid, bytes) = block.into_parts();
        blocks.insert(cid, bytes);
    }
    let proof = LabelProof::new(&op.key(), &signed.entry, &document, None, &blocks);
    proof.unwrap().to_bytes()
}

#[test]
fn a_proof_that_no_record_leads_to_is_unproven() {
    let user = Home::new();
    for (profile, code, expected) in [(Profile::V2, 3, "unproven"), (Profile::V1, 0, "valid")] {
        let identity = Identity::from_root(profile, Zeroizing::new([1; 32]));
        let file = user.file("label.proof", without_record(&identity));
        let shown = verdict(code, &file, &identity.did().to_string());
        assert_eq!(shown["verdict"], expected, "{shown}");
        assert_eq!(shown["valid"], code == 0);
        assert_eq!(shown["says"].is_null(), code != 0, "{shown}");
    }
}

#[test]
fn what_cannot_be_proved_is_told() {
    let user = Home::new();
    let error = user.error(4, &["label", "prove", "@one", "spam", "--out", "x"]);
    assert_eq!(error["code"], "no_identity");
    let (user, _) = with_identity();
    // Staged, not signed: there is nothing yet that a proof could be about.
    user.json(&["label", "add", "@one", "spam"]);
    let error = user.error(3, &["label", "prove", "@one", "spam", "--out", "x"]);
    assert_eq!(error["code"], "empty_list");
    assert!(error["hint"].as_str().unwrap().contains("publish"));
    let error = user.error(2, &["label", "prove", "@one", "spam"]);
    assert!(error["hint"].as_str().unwrap().contains("--out"));
    let error = user.error(3, &["label", "prove", "not a handle", "spam", "--out", "x"]);
    assert_eq!(error["code"], "invalid_handle");
}
