//! Snapshots of a running node's store: another node starts on a copy of one and has all of its moment.

use std::fs;
use std::path::Path;

use perennis_tests::home::Home;
use perennis_tests::node::Node;

use crate::user::{publish, with_identity};

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn a_node_starts_on_a_copy_of_a_snapshot_and_the_store_goes_on() {
    let (owner, file) = with_identity();
    let mut node = Node::start(&owner.beside("node"));
    let url = node.admin().to_owned();
    let at_node = |words: &[&str]| {
        [words, &["--node", &url]]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    owner.json(&["label", "add", "@one", "spam"]);
    let before = publish(&owner, &file, &[&node]);
    let name = before["name"].as_str().unwrap();

    let written = owner.json(&at_node(&["snapshot", "create", "first"]));
    let path = Path::new(written["path"].as_str().unwrap()).to_owned();
    assert!(path.ends_with("snapshots/first"), "{written}");
    assert!(!path.join("node.key").exists());
    owner.json(&["label", "add", "@two", "spam"]);
    let after = publish(&owner, &file, &[&node]);
    assert_ne!(before["head"], after["head"]);
    // Under the time, while the first is there; neither has the place of the other.
    owner.json(&at_node(&["snapshot", "create"]));
    assert_eq!(
        owner.error(3, &at_node(&["snapshot", "create", "first"]))["code"],
        "snapshot_exists"
    );
    for wrong in ["../first", "a/b", ".hidden"] {
        let refused = owner.error(3, &at_node(&["snapshot", "create", wrong]));
        assert_eq!(refused["code"], "invalid_snapshot_name", "{wrong}");
    }

    let other = owner.beside("other");
    copy(&path, &other);
    assert_eq!(
        owner.json(&["store", "verify", other.to_str().unwrap()])["whole"],
        true
    );
    let copied = Node::start(&other);
    let shown = |node: &Node| owner.json(&["name", "show", name, "--node", node.url()]);
    assert_eq!(shown(&copied)["head"], before["head"]);
    assert_eq!(shown(&node)["head"], after["head"]);
    assert_ne!(copied.peer_id(), node.peer_id());

    // They are kept across starts, are no part of one another, and go one by one.
    node.restart();
    let url = node.admin().to_owned();
    let list = || {
        owner.json(&["snapshot", "list", "--node", &url])["snapshots"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(list(), 2);
    let remove = ["snapshot", "remove", "first", "--node", &url];
    assert_eq!(owner.json(&remove)["name"], "first");
    assert_eq!(owner.error(4, &remove)["code"], "not_found");
    assert_eq!((list(), path.exists()), (1, false));
    assert_eq!(shown(&node)["head"], after["head"]);
}

#[test]
fn a_snapshot_is_the_operators() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let foreign = ["origin: https://evil.example"];
    for (method, path) in [("POST", "/v1/snapshots"), ("DELETE", "/v1/snapshots/x")] {
        assert_eq!(
            node.request(method, path, &foreign, b"").status,
            403,
            "{path}"
        );
    }
    assert_eq!(
        node.json("/v1/snapshots")["snapshots"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}
