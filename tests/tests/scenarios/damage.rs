//! What damage has taken from a node's store is told to its operator, running or stopped, until somebody has seen it.

use std::fs;
use std::path::Path;

use perennis_tests::home::Home;
use perennis_tests::node::Node;
use perennis_tests::publisher::{Connection, Publisher};
use serde_json::{Value, json};

/// The result and the message of one check of a doctor's report.
fn checked<'a>(report: &'a Value, name: &str) -> (&'a str, &'a str) {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["check"] == name);
    let check = check.unwrap_or_else(|| panic!("no check {name}: {report}"));
    (
        check["result"].as_str().unwrap(),
        check["message"].as_str().unwrap(),
    )
}

/// Flips a bit of the first place in the log that has these bytes.
fn flip(data: &Path, bytes: &[u8]) {
    for entry in fs::read_dir(data.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        let mut file = fs::read(&path).unwrap();
        let found = file.windows(bytes.len()).position(|window| window == bytes);
        if let Some(at) = found {
            file[at + bytes.len() / 2] ^= 1;
            fs::write(&path, file).unwrap();
            return;
        }
    }
    panic!("the bytes are in no segment");
}

#[test]
fn what_a_power_cut_and_a_flipped_bit_take_is_told_to_the_operator() {
    let user = Home::new();
    let data = user.beside("node");
    let path = data.to_str().unwrap();
    user.error(4, &["store", "losses", path]);
    user.error(4, &["store", "verify", path]);
    let mut node = Node::start(&data);
    let mut connection = Connection::open(node.admin_address()).unwrap();
    let message = Publisher::new(1).next_message();
    // What comes after it shows that it was acknowledged.
    for message in [&message, &Publisher::new(2).next_message()] {
        assert_eq!(connection.post(message).unwrap().0, 200);
    }
    user.error(1, &["store", "verify", path]);
    node.kill();
    let whole = user.json(&["store", "verify", path]);
    assert_eq!(
        (&whole["whole"], &whole["losses"]),
        (&json!(true), &json!(0))
    );

    // The table of the batch is the first to name the block.
    flip(&data, &message.head.hash().to_bytes());
    let verify = ["store", "verify", path];
    let wrong = user.run_json(&verify).document(3, &verify);
    assert_eq!(wrong["whole"], false);
    assert!(!wrong["found"].as_array().unwrap().is_empty());

    node.restart();
    let config = format!(
        "[http]\nlisten = \"{}\"\nadmin-listen = \"{}\"\n",
        node.address(),
        node.admin_address()
    );
    let config = user.file("node.toml", config);
    let doctor = ["node", "doctor", "--data", path, "--config", &config];
    let report = user.run_json(&doctor).document(3, &doctor);
    let (result, message) = checked(&report, "damage");
    assert_eq!(result, "failed", "{report}");
    assert!(message.contains("group"), "{message}");
    let status = user
        .run(&["node", "status", "--node", node.admin()])
        .expect(0);
    assert!(
        status.text().contains("1 loss of acknowledged data"),
        "{}",
        status.text()
    );
    for place in [
        &["--node", node.admin()][..],
        &["--data", path, "--config", &config],
    ] {
        let arguments = [&["store", "losses"][..], place].concat();
        let told = user.json(&arguments);
        assert_eq!(
            (&told["losses"], &told["floors"], &told["url"]),
            (&json!(1), &json!(1), &json!(node.admin())),
            "{told}"
        );
        assert_eq!(told["list"][0]["kind"], "damaged_group");
        assert_eq!(told["list"][0]["names"], 1);
    }
    assert!(node.stop().success());

    let told = user.json(&["store", "losses", path]);
    assert_eq!((&told["losses"], &told["data"]), (&json!(1), &json!(path)));
    let doctor = ["node", "doctor", "--data", path];
    let report = user.run_json(&doctor).document(3, &doctor);
    assert_eq!(checked(&report, "damage").0, "failed");
    let told = user.json(&["store", "losses", path, "--dismiss"]);
    assert_eq!(
        (&told["losses"], &told["dismissed"]),
        (&json!(0), &json!(true))
    );
    // What waits to be mended is still told, and keeps nobody from starting.
    assert_eq!(told["floors"], 1);
    let report = user.json(&doctor);
    assert_eq!(checked(&report, "damage").0, "warning");
}

#[test]
fn an_index_that_is_lost_or_doubted_is_made_anew() {
    let user = Home::new();
    let data = user.beside("node");
    let path = data.to_str().unwrap();
    user.error(4, &["store", "rebuild", path]);
    let mut node = Node::start(&data);
    let mut connection = Connection::open(node.admin_address()).unwrap();
    let mut messages = Vec::new();
    for number in 1..=20 {
        let message = Publisher::new(number).next_message();
        assert_eq!(connection.post(&message).unwrap().0, 200);
        messages.push(message);
    }
    user.error(1, &["store", "rebuild", path]);
    assert!(node.stop().success());
    let blocks = user.json(&["store", "rebuild", path])["blocks"].clone();
    assert!(blocks.as_u64() >= Some(40), "{blocks}");
    fs::remove_dir_all(data.join("index")).unwrap();
    let again = user.json(&["store", "rebuild", path]);
    assert_eq!(again["blocks"], blocks);
    let found = again["found"].as_array().unwrap();
    assert!(found.iter().all(|found| found["loss"] == false), "{again}");
    assert_eq!(user.json(&["store", "verify", path])["findings"], 0);
    let node = Node::start(&data);
    for message in &messages {
        for cid in &message.blocks {
            let block = node.request("GET", &format!("/ipfs/{cid}?format=raw"), &[], b"");
            assert_eq!(block.status, 200);
        }
    }
    node.eventually("/v1/status", |answer| {
        answer.text().contains("\"names\":20")
    });
}
