//! A disk that runs full, under the node and under the client: said with its cause, nothing lost, over when there
//! is space again.

use perennis_tests::home::Home;
use perennis_tests::node::Node;
use perennis_tests::publisher::{Connection, Message, Publisher};
use perennis_tests::small_disk::SmallDisk;
use serde_json::Value;

use crate::user::{PHRASE, pairs};

/// The node's disk: its reserve of 64 MiB, a segment of 16 MiB, its index, and a little.
const NODE_MIB: u32 = 112;

/// The client's disk.
const CLIENT_MIB: u32 = 12;

/// Rows of a list whose blocks do not fit into the space that is left in a segment.
const MANY: u32 = 24_000;

fn post(node: &Node, message: &Message) -> (u16, Value) {
    let mut connection = Connection::open(node.admin_address()).unwrap();
    let (status, answer) = connection.post(message).unwrap();
    (status, serde_json::from_slice(&answer).unwrap())
}

#[track_caller]
fn refused_as_full(node: &Node, message: &Message) {
    let (status, answer) = post(node, message);
    assert_eq!(status, 507, "{answer}");
    let error = &answer["error"];
    assert_eq!(error["code"], "disk_full");
    assert!(error["message"].as_str().unwrap().contains("full"));
    assert!(!error["hint"].as_str().unwrap().is_empty());
}

#[test]
fn a_node_on_a_full_disk_serves_what_it_has_and_takes_writes_once_there_is_space() {
    let user = Home::new();
    let Some(disk) = SmallDisk::new(&user.beside("disk"), NODE_MIB) else {
        return;
    };
    let data = disk.path().join("data");
    let mut node = Node::start_inside(&disk, &data);
    let mut alice = Publisher::new(1);
    let first = alice.next_message();
    assert_eq!(post(&node, &first).0, 200);

    disk.fill();
    let large = Publisher::new(2).large_message(MANY);
    refused_as_full(&node, &large);
    // What the store had put by for this moment is space again: take that as well.
    disk.fill();
    let second = alice.next_message();
    refused_as_full(&node, &second);

    let serves = |node: &Node| {
        for path in [
            format!("/ipfs/{}", first.head),
            format!("/routing/v1/ipns/{}", alice.name()),
            "/health/live".to_owned(),
        ] {
            let answer = node.request("GET", &path, &[], b"");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        let status = node.json(&format!("/v1/names/{}", alice.name()));
        assert_eq!(status["sequence"], first.sequence);
        let ready = node.request("GET", "/health/ready", &[], b"");
        assert_eq!(ready.status, 503);
        assert!(ready.text().contains("disk_full"), "{}", ready.text());
    };
    serves(&node);

    // There is space: back in service by itself, without being asked to store anything.
    disk.free();
    node.eventually("/health/ready", |answer| answer.status == 200);
    for message in [&second, &large] {
        assert_eq!(post(&node, message).0, 200);
    }
    let status = node.json(&format!("/v1/names/{}", alice.name()));
    assert_eq!(status["sequence"], second.sequence);
    node.kill();
}

#[test]
fn a_node_starts_on_a_full_disk_from_what_it_has_put_by() {
    let user = Home::new();
    let Some(disk) = SmallDisk::new(&user.beside("disk"), NODE_MIB) else {
        return;
    };
    let data = disk.path().join("data");
    let mut node = Node::start_inside(&disk, &data);
    let mut alice = Publisher::new(1);
    let message = alice.next_message();
    assert_eq!(post(&node, &message).0, 200);
    disk.fill();
    node.kill();

    let mut node = Node::start_inside(&disk, &data);
    let head = format!("/ipfs/{}", message.head);
    assert_eq!(node.request("GET", &head, &[], b"").status, 200);
    let status = node.json(&format!("/v1/names/{}", alice.name()));
    assert_eq!(status["sequence"], message.sequence);
    node.kill();

    // Not a byte is left: it says so, and starts as soon as there is a little.
    disk.fill();
    let path = data.to_str().unwrap();
    let run = [
        "node",
        "run",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--data",
        path,
    ];
    let error = user.run_json_inside(&disk, &run).error(1);
    assert_eq!(error["code"], "disk_full", "{error}");
    assert!(error["message"].as_str().unwrap().contains(path), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("free"), "{error}");
    disk.free();
    let node = Node::start_inside(&disk, &data);
    node.eventually("/health/ready", |answer| answer.status == 200);
    assert_eq!(node.request("GET", &head, &[], b"").status, 200);
}

#[test]
fn a_client_on_a_full_disk_names_it_and_loses_nothing() {
    let user = Home::new();
    let Some(disk) = SmallDisk::new(&user.beside("disk"), CLIENT_MIB) else {
        return;
    };
    let home = disk.path().join("home");
    let home = home.to_str().unwrap();
    let file = user.file("phrase", PHRASE);
    let run = |arguments: &[&str]| {
        let arguments = [&["--home", home], arguments].concat();
        user.run_json_inside(&disk, &arguments)
    };
    run(&["id", "new", "--passphrase-file", &file]).expect(0);
    run(&["label", "add", "@one", "spam"]).expect(0);
    let rows: String = (0..20_000)
        .map(|n| format!("@u{n},seen,\"{}\"\n", "€".repeat(200)))
        .collect();
    let many = user.file("many.csv", format!("handle,label,note\n{rows}"));

    disk.fill();
    for command in [
        &["label", "import", many.as_str()][..],
        &["label", "add", "@two", "spam", "--note", &"n".repeat(280)],
    ] {
        // A single label may still find a free page; the import cannot.
        let ran = run(command);
        if ran.code == Some(0) {
            assert_eq!(command[1], "add");
            continue;
        }
        let error = ran.error(1);
        assert_eq!(error["code"], "store_full", "{error}");
        assert!(error["message"].as_str().unwrap().contains(home), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("free space"));
    }
    let list = run(&["label", "list"]).document(0, &["label", "list"]);
    assert!(pairs(&list).contains(&("@one".to_owned(), "spam".to_owned())));
    assert!(pairs(&list).len() <= 2, "half an import is visible");

    disk.free();
    run(&["label", "add", "@three", "spam"]).expect(0);
    let list = run(&["label", "list"]).document(0, &["label", "list"]);
    assert!(pairs(&list).contains(&("@three".to_owned(), "spam".to_owned())));
}

#[test]
fn a_file_that_does_not_fit_is_named_and_not_left_behind() {
    let user = Home::new();
    let Some(disk) = SmallDisk::new(&user.beside("disk"), CLIENT_MIB) else {
        return;
    };
    let file = user.file("phrase", PHRASE);
    user.json(&["id", "new", "--passphrase-file", &file]);
    user.json(&["label", "add", "@one", "spam"]);
    disk.fill();
    let export = disk.path().join("labels.csv");
    let arguments = ["label", "export", export.to_str().unwrap()];
    let error = user.run_json_inside(&disk, &arguments).error(1);
    assert_eq!(error["code"], "disk_full", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("labels.csv"), "{error}");
    assert!(!disk.reached(&export).exists());
}

#[test]
fn a_directory_nobody_may_write_to_is_named() {
    let user = Home::new();
    let Some(disk) = SmallDisk::read_only(&user.beside("disk")) else {
        return;
    };
    let data = disk.path().join("data");
    let path = data.to_str().unwrap();
    let run = [
        "node",
        "run",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
        "--data",
        path,
    ];
    let error = user.run_json_inside(&disk, &run).error(1);
    assert_eq!(error["code"], "data_directory", "{error}");
    assert!(error["message"].as_str().unwrap().contains(path), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--data"));
    let file = user.file("phrase", PHRASE);
    let new = ["id", "new", "--home", path, "--passphrase-file", &file];
    let error = user.run_json_inside(&disk, &new).error(1);
    assert_eq!(error["code"], "not_permitted", "{error}");
    assert!(error["message"].as_str().unwrap().contains(path), "{error}");
    let doctor = ["node", "doctor", "--data", path];
    let report = user.run_json_inside(&disk, &doctor).document(3, &doctor);
    assert_eq!(report["healthy"], false);
}
