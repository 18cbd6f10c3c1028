//! A home whose store was damaged: told by name, nothing of it signed, and a way on.

use std::fs;

use perennis_tests::home::Home;
use perennis_tests::node::Node;
use serde_json::Value;

use crate::user::{pairs, publish, with_identity};

/// Changes one letter of a text wherever it stands in the home's store.
fn damage(user: &Home, text: &str) {
    let path = user.path().join("store.redb");
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = bytes
        .windows(text.len())
        .enumerate()
        .filter(|(_, window)| *window == text.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "{text} is nowhere in the store");
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
}

fn rows(check: &Value) -> Vec<&str> {
    let damaged = check["damaged"].as_array().unwrap().iter();
    damaged.map(|row| row["row"].as_str().unwrap()).collect()
}

/// A user with a published label and two that wait, the first with the note `sells followers`.
fn with_staged() -> (Home, String, Node) {
    let (user, file) = with_identity();
    let node = Node::start(&user.beside("node"));
    user.json(&["label", "add", "@one", "spam"]);
    publish(&user, &file, &[&node]);
    user.json(&["label", "add", "@two", "spam", "--note", "sells followers"]);
    user.json(&["label", "add", "@three", "bot"]);
    (user, file, node)
}

#[test]
fn a_damaged_label_is_never_signed_and_the_rest_goes_on() {
    let (user, file, node) = with_staged();
    damage(&user, "sells followers");

    let list = user.json(&["label", "list"]);
    let labels =
        [("@one", "spam"), ("@three", "bot")].map(|(at, tag)| (at.to_owned(), tag.to_owned()));
    assert_eq!(pairs(&list), labels);
    assert_eq!(list["damaged"], 1);
    let told = user.run(&["label", "list"]).expect(0).stderr;
    assert!(told.contains("home check"), "{told}");

    let publishing = ["publish", "--passphrase-file", &file, "--node", node.url()];
    let error = user.error(3, &publishing);
    assert_eq!(error["code"], "state_damaged");
    assert!(
        error["message"].as_str().unwrap().contains("staged/"),
        "{error}"
    );
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("perennis home check"),
        "{error}"
    );

    let check = ["home", "check"];
    let found = user.run_json(&check).document(3, &check);
    assert!(rows(&found)[0].starts_with("staged/"), "{found:#}");
    assert_eq!(found["repaired"], false);
    let repaired = user.json(&["home", "check", "--repair"]);
    assert_eq!(rows(&repaired), rows(&found));
    assert_eq!(repaired["repaired"], true);
    assert_eq!(user.json(&["home", "check"])["sound"], true);

    publish(&user, &file, &[&node]);
    let list = user.json(&["label", "list"]);
    assert_eq!(pairs(&list), labels);
    assert_eq!(list["staged"], 0);
}

#[test]
fn a_home_that_lost_whose_it_is_says_it_again() {
    let (user, file, node) = with_staged();
    // A word that stands in the row of the identity alone; the DID document has others.
    damage(&user, "didKey");
    let check = ["home", "check"];
    let found = user.run_json(&check).document(3, &check);
    assert_eq!(rows(&found), ["me"], "{found:#}");
    assert_eq!(found["damaged"][0]["rebuilt"], true);
    assert_eq!(
        user.json(&["label", "list"])["labels"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    user.json(&["home", "check", "--repair"]);
    publish(&user, &file, &[&node]);
    assert_eq!(user.json(&["label", "list"])["staged"], 0);
}

#[test]
fn restoring_tells_what_it_drops() {
    let (user, file, node) = with_staged();
    damage(&user, "sells followers");
    let restore = ["restore", "--passphrase-file", &file, "--node", node.url()];
    let restored = user.run(&restore).expect(0);
    assert!(restored.stderr.contains("staged/"), "{}", restored.stderr);
    assert_eq!(user.json(&["home", "check"])["sound"], true);
    publish(&user, &file, &[&node]);
}

#[test]
fn a_file_that_is_damaged_as_a_whole_is_named_with_the_way_back() {
    let (user, file, node) = with_staged();
    let path = user.path().join("store.redb");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let error = user.error(3, &["label", "list"]);
    assert_eq!(error["code"], "store_damaged");
    assert!(
        error["message"].as_str().unwrap().contains("store.redb"),
        "{error}"
    );
    assert!(
        error["hint"].as_str().unwrap().contains("perennis restore"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap().len(), bytes.len());
    user.delete();
    user.json(&["restore", "--passphrase-file", &file, "--node", node.url()]);
    assert_eq!(
        user.json(&["label", "list"])["labels"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
