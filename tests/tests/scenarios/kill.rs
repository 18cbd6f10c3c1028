//! `kill -9` of the node during a stream of publishes: what was acknowledged is there afterwards, always. Many kills
//! under load, and a few with the real client on the other side. And `kill -9` of a node to which content comes from another:
//! what it follows and what it fetches. `cargo xtask bench kill-node kill-follow kill-fetch` kills 2,500 times.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use perennis_tests::home::Home;
use perennis_tests::kill::{self, Outcome};
use perennis_tests::node::Node;
use serde_json::Value;

use crate::user::{did, publish, with_identity};

/// Kills; each comes after another number of publishes, at another moment of one.
const KILLS: u64 = 6;

/// Kills under load, each at another moment.
const KILLS_UNDER_LOAD: u64 = 40;

/// Kills of a node that follows, each at another byte of what comes to it.
const KILLS_FOLLOWING: u64 = 12;

/// Kills of a node that fetches, each at another byte of what comes to it.
const KILLS_FETCHING: u64 = 6;

#[test]
fn nothing_acknowledged_is_lost_or_half_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = kill::run(dir.path(), KILLS_UNDER_LOAD, 7, |_| {});
    assert!(outcome.acknowledged >= KILLS_UNDER_LOAD, "{outcome:?}");
    let expected = Outcome {
        kills: KILLS_UNDER_LOAD,
        lost: 0,
        half: 0,
        ..outcome
    };
    assert_eq!(outcome, expected);
}

#[test]
fn a_node_that_follows_goes_on_after_each_kill_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = kill::follow::run(dir.path(), KILLS_FOLLOWING, 7, |_| {});
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(outcome.kills, KILLS_FOLLOWING);
    // How many it has acknowledged before it dies is up to the machine.
    assert!(outcome.midway >= KILLS_FOLLOWING / 3, "{outcome:?}");
}

#[test]
fn a_node_that_fetches_keeps_what_has_come_after_each_kill() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = kill::fetch::run(dir.path(), KILLS_FETCHING, 7, |_| {});
    assert!(outcome.is_clean(), "{outcome:?}");
    assert_eq!(outcome.kills, KILLS_FETCHING);
    assert!(outcome.midway >= KILLS_FETCHING / 3, "{outcome:?}");
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let (user, file) = with_identity();
    let mut node = Node::start(&user.beside("node"));
    let did = did(&user);
    let mut acknowledged = 0;
    for kill in 0..KILLS {
        for step in 0..=kill % 3 {
            let handle = format!("@user_{kill}_{step}");
            user.json(&["label", "add", &handle, "spam"]);
            let published = publish(&user, &file, &[&node]);
            acknowledged = published["sequence"].as_u64().unwrap();
        }
        // One more publish is under way while the node dies.
        let handle = format!("@dying_{kill}");
        user.json(&["label", "add", &handle, "bot"]);
        let mut child = user
            .command(&["--json", "publish", "--passphrase-file", &file])
            .args(["--node", node.url()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if kill % 2 == 0 {
            // The client derives its key first; the node dies before, while or after it is asked.
            node.kill();
        }
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let _ = child.wait().unwrap();
        let outcome: Value = serde_json::from_str(&line).unwrap();
        if outcome["nodes"][0]["stored"] == true {
            acknowledged = outcome["sequence"].as_u64().unwrap();
        }
        node.kill();
        node.restart();
        let seen = Home::new().json(&["resolve", &did, "--node", node.url()]);
        assert!(
            seen["sequence"].as_u64().unwrap() >= acknowledged,
            "kill {kill}: {acknowledged} was acknowledged, the node serves {seen}"
        );
        let list = Home::new().json(&[
            "label",
            "list",
            "--did",
            &did,
            "--node",
            node.url(),
            "--all",
        ]);
        assert_eq!(
            list["head"], seen["head"],
            "kill {kill}: the list is not whole"
        );
    }
    // What was not acknowledged is still with the client, and nothing is there twice.
    publish(&user, &file, &[&node]);
    let own = user.json(&["label", "list", "--all"]);
    let theirs = Home::new().json(&[
        "label",
        "list",
        "--did",
        &did,
        "--node",
        node.url(),
        "--all",
    ]);
    assert_eq!(
        own["labels"].as_array().map(Vec::len),
        theirs["labels"].as_array().map(Vec::len)
    );
}
