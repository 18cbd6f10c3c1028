//! The passphrase is the identity: the same on every machine, and bit-exact for those that exist.

use perennis_tests::home::Home;
use perennis_tests::vectors;
use serde_json::Value;

#[test]
fn profile_v1_derives_what_the_extension_derives() {
    let Some(text) = vectors::read("did/derivation-v1.json") else {
        return;
    };
    let user = Home::new();
    let vectors: Value = serde_json::from_slice(&text).unwrap();
    let vectors = vectors.as_array().unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let phrase = vector["passphrase"].as_str().unwrap();
        let file = user.file("phrase", format!("{phrase}\n"));
        let identity = user.json(&[
            "id",
            "derive",
            "--profile",
            "v1",
            "--passphrase-lines",
            "--passphrase-file",
            &file,
        ]);
        assert_eq!(identity["did"], vector["did"], "{phrase:?}");
        assert_eq!(identity["didKey"], vector["did"], "{phrase:?}");
        assert_eq!(identity["ipnsName"], vector["ipns_name"], "{phrase:?}");
        assert_eq!(identity["profile"], "v1");
    }
    assert!(!user.path().exists(), "`id derive` stored something");
}

#[test]
fn both_profiles_derive_what_other_implementations_derive() {
    let user = Home::new();
    let document = vectors::made("identities.json");
    for vector in document["identities"].as_array().unwrap() {
        let text = |name: &str| vector[name].as_str().unwrap();
        let file = user.file("phrase", format!("{}\n", text("passphrase")));
        let mut arguments = vec!["id", "derive", "--profile", text("profile")];
        arguments.extend(["--passphrase-file", &file]);
        if !text("account").is_empty() {
            arguments.extend(["--account", text("account")]);
        }
        let identity = user.json(&arguments);
        for (ours, theirs) in [("did", "did"), ("didKey", "didKey"), ("ipnsName", "name")] {
            assert_eq!(identity[ours], vector[theirs], "{arguments:?}");
        }
    }
    assert!(!user.path().exists(), "`id derive` stored something");
}

#[test]
fn a_passphrase_comes_from_a_file_or_stdin_with_or_without_a_line_end() {
    let user = Home::new();
    let derive = |file: &str, input: &[u8]| {
        let arguments = ["--json", "id", "derive", "--passphrase-file", file];
        let ran = user.run_with_input(&arguments, input);
        ran.document(0, &["id", "derive"])
    };
    let plain = derive("-", b"orbit velvet canyon ladder mosaic");
    assert_eq!(plain["profile"], "v2");
    assert!(plain["did"].as_str().unwrap().starts_with("did:ipns:k51"));
    assert_eq!(derive("-", b"orbit velvet canyon ladder mosaic\n"), plain);
    assert_eq!(derive("-", b"orbit velvet canyon ladder mosaic\r\n"), plain);
    assert_ne!(derive("-", b"orbit velvet canyon ladder mosaic \n"), plain);
    let file = user.file("phrase", "orbit velvet canyon ladder mosaic\n");
    assert_eq!(derive(&file, b""), plain);
    let marked = "\u{feff}orbit velvet canyon ladder mosaic\r\n".as_bytes();
    assert_eq!(derive("-", marked), plain);
    let arguments = ["id", "derive", "--passphrase-file", "-"];
    let ran = user.run_with_input(
        &arguments,
        "orbit velvet canyon\u{200b} ladder mosaic".as_bytes(),
    );
    assert!(ran.expect(0).stderr.contains("cannot be seen"));
}

#[test]
fn an_account_gives_another_identity() {
    let user = Home::new();
    let file = user.file("phrase", "orbit velvet canyon ladder mosaic");
    let derive = ["id", "derive", "--passphrase-file", &file];
    let without = user.json(&derive);
    let with = user.json(&[&derive[..], &["--account", "alice"]].concat());
    assert_ne!(without["did"], with["did"]);
    assert_eq!(with["account"], "alice");
    let v1 = [&derive[..], &["--account", "alice", "--profile", "v1"]].concat();
    assert_eq!(user.error(2, &v1)["code"], "usage");
}

#[test]
fn without_file_and_terminal_a_passphrase_is_a_usage_error() {
    let error = Home::new().error(2, &["id", "derive"]);
    assert_eq!(error["code"], "passphrase_needed");
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("--passphrase-file")
    );
}

#[test]
fn what_is_no_passphrase_is_named() {
    let user = Home::new();
    for (content, code) in [
        (&b""[..], "passphrase_empty"),
        (b"\n", "passphrase_empty"),
        (b"\xff\xfe\n", "passphrase_not_text"),
        (&[b'a'; 5000], "passphrase_too_long"),
        (b"one\ntwo\n", "passphrase_of_lines"),
    ] {
        let file = user.file("phrase", content);
        let error = user.error(3, &["id", "derive", "--passphrase-file", &file]);
        assert_eq!(error["code"], code);
    }
    let error = user.error(4, &["id", "derive", "--passphrase-file", "no-such-file"]);
    assert_eq!(error["code"], "file_not_found");
    assert!(error["message"].as_str().unwrap().contains("no-such-file"));
}
