//! Names whose owner does not come back: followed by somebody else's node, adopted from files, renewed rung by rung.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use perennis_shared::cid::{Block, Codec};
use perennis_tests::home::Home;
use perennis_tests::node::Node;
use serde_json::Value;

use crate::user::{publish, with_identity};

/// Longest wait for something a node does by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the name is as it should be.
#[track_caller]
fn eventually(user: &Home, name: &str, node: &Node, is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let shown = user.json(&["name", "show", name, "--node", node.url()]);
        if is_so(&shown) {
            return shown;
        }
        assert!(started.elapsed() < PATIENCE, "{shown:#}");
        thread::yield_now();
    }
}

/// An instant without the zeros at the end of its fraction: records have nanoseconds, nodes keep milliseconds.
fn instant(value: &Value) -> &str {
    let text = value.as_str().unwrap();
    text.trim_end_matches('Z').trim_end_matches('0')
}

#[test]
fn a_name_outlives_its_node_on_the_node_of_somebody_who_follows_it() {
    let (owner, file) = with_identity();
    let mut source = Node::start(&owner.beside("source"));
    owner.json(&["label", "add", "@one", "spam"]);
    let published = publish(&owner, &file, &[&source]);
    let name = published["name"].as_str().unwrap();

    let friend = Home::new();
    let mut node = Node::start(&friend.beside("node"));
    let follow = [
        "name",
        "follow",
        name,
        "--source",
        source.url(),
        "--node",
        node.admin(),
    ];
    let followed = friend.json(&follow);
    assert_eq!(followed["followed"], true);
    assert_eq!(followed["following"]["sources"][0], source.url());
    eventually(&friend, name, &node, |shown| shown["pin"] == "pinned");
    assert!(source.stop().success());

    // Killed and started again it still has all of it.
    node.kill();
    node.restart();
    let shown = friend.json(&["name", "show", name, "--node", node.url()]);
    assert_eq!(
        (&shown["pin"], &shown["head"]),
        (&Value::from("pinned"), &published["head"])
    );
    assert_eq!(
        instant(&shown["aliveUntil"]),
        instant(&published["validUntil"])
    );
    let did = published["did"].as_str().unwrap();
    let list = friend.json(&["label", "list", "--did", did, "--node", node.url()]);
    assert_eq!(list["labels"][0]["label"], "spam");

    let listed = friend.json(&["name", "list", "--node", node.admin()]);
    assert_eq!(listed["names"][0]["followed"], true);
    let left = friend.json(&["name", "unfollow", name, "--node", node.admin()]);
    assert_eq!(left["followed"], false);
    friend.error(4, &["name", "show", name, "--node", node.url()]);
    friend.error(4, &["name", "unfollow", name, "--node", node.admin()]);
}

#[test]
fn an_orphan_is_adopted_from_files_alone() {
    let (owner, file) = with_identity();
    let mut source = Node::start(&owner.beside("source"));
    owner.json(&["label", "add", "@one", "spam"]);
    let published = publish(&owner, &file, &[&source]);
    let name = published["name"].as_str().unwrap();
    let capsule = owner.beside("capsule.car");
    let capsule = capsule.to_str().unwrap();
    owner.json(&["export", capsule]);
    let path = format!("/routing/v1/ipns/{name}");
    let record = source.request("GET", &path, &[], b"");
    let record = owner.file("record", record.body);
    assert!(source.stop().success());
    let following = |node: &Node, files: &[&str]| {
        let asked = ["name", "follow", name, "--node", node.admin()];
        asked
            .iter()
            .chain(files)
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };

    // The exported file holds the record as well; beside one of its own it is not needed.
    for (folder, files) in [
        ("one", vec!["--car", capsule]),
        ("two", vec!["--record", &record, "--car", capsule]),
    ] {
        let node = Node::start(&owner.beside(folder));
        let followed = owner.json(&following(&node, &files));
        assert_eq!(followed["pin"], "pinned");
        assert_eq!(followed["head"], published["head"]);
        let did = published["did"].as_str().unwrap();
        let list = owner.json(&["label", "list", "--did", did, "--node", node.url()]);
        assert_eq!(list["labels"][0]["label"], "spam");
    }
    // A block whose links cannot be read is kept, and told.
    let broken = Block::new(Codec::DagCbor, vec![0xff; 2]).unwrap();
    let cid = broken.cid().to_bytes();
    let mut file = fs::read(capsule).unwrap();
    file.push(u8::try_from(cid.len() + 2).unwrap());
    file.extend(cid.iter().chain(broken.bytes().iter()));
    let spoiled = owner.file("spoiled.car", file);
    let node = Node::start(&owner.beside("spoiled"));
    let arguments = following(&node, &["--car", &spoiled]);
    let ran = owner.run_json(&arguments);
    let cid = broken.cid().to_string();
    assert!(
        ran.stderr.contains(&cid) && ran.stderr.contains("cannot be read"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.document(0, &arguments)["pin"], "pinned");
    // The record alone keeps the name, and waits for its blocks.
    let node = Node::start(&owner.beside("three"));
    let followed = owner.json(&following(&node, &["--record", &record]));
    assert_ne!(followed["pin"], "pinned");
}

#[test]
fn what_cannot_be_followed_is_refused_with_the_reason() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let name = "k51qzi5uqu5dkb540xsenixdu9b1v21zx2t8ipuu5nmov96ssxlzf9gwyun1y9";
    let with = |more: &[&str]| {
        let all: Vec<String> = [&["name", "follow", name, "--node", node.admin()], more]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect();
        all
    };
    // Nobody can be asked, so it is not known whether there is a record.
    assert_eq!(user.error(5, &with(&[]))["code"], "routers_failed");
    let junk = user.file("junk", "no record");
    assert_eq!(
        user.error(3, &with(&["--record", &junk]))["code"],
        "malformed"
    );
    assert_eq!(
        user.error(3, &with(&["--car", &junk]))["code"],
        "invalid_car"
    );
    assert_eq!(
        user.error(3, &with(&["--source", "ftp://x"]))["code"],
        "invalid_source"
    );
    user.error(2, &["name", "follow", "nonsense", "--node", node.admin()]);
    user.error(4, &with(&["--record", "/no/such/file"]));
}

#[test]
fn a_publish_brings_a_ladder_and_its_node_releases_the_rungs() {
    let (user, file) = with_identity();
    let mut node = Node::start(&user.beside("node"));
    user.json(&["label", "add", "@one", "spam"]);
    let by_default = publish(&user, &file, &[&node]);
    let name = by_default["name"].as_str().unwrap();
    assert_eq!(by_default["rungs"], 12);
    assert!(by_default["aliveUntil"].as_str() > by_default["validUntil"].as_str());
    let shown = user.json(&["name", "show", name, "--node", node.url()]);
    assert_eq!(shown["ladder"]["rungs"], 12);
    assert_eq!(
        instant(&shown["ladder"]["aliveUntil"]),
        instant(&by_default["aliveUntil"])
    );

    let again = |more: &[&str]| {
        user.json(&["label", "add", "@one", more[0]]);
        let arguments = [
            &["publish", "--passphrase-file", &file, "--node", node.url()],
            &more[1..],
        ];
        user.json(&arguments.concat())
    };
    // A new head voids them.
    let without = again(&["two", "--no-ladder"]);
    assert_eq!(
        (&without["rungs"], &without["aliveUntil"]),
        (&0.into(), &without["validUntil"])
    );
    let shown = user.json(&["name", "show", name, "--node", node.url()]);
    assert_eq!(shown["ladder"], Value::Null);

    let short = again(&["three", "--lifetime", "4s", "--ladder", "20x4s"]);
    let first = instant(&short["validUntil"]);
    let shown = eventually(&user, name, &node, |shown| {
        instant(&shown["aliveUntil"]) > first
    });
    assert_eq!(
        (&shown["sequence"], &shown["expired"]),
        (&short["sequence"], &false.into())
    );
    // A kill between two releases changes nothing.
    node.kill();
    node.restart();
    let before = shown["aliveUntil"].as_str().unwrap().to_owned();
    let shown = eventually(&user, name, &node, |shown| {
        shown["aliveUntil"].as_str() > Some(&before)
    });
    assert_eq!(
        (&shown["pin"], &shown["head"]),
        (&Value::from("pinned"), &short["head"])
    );
    assert_eq!(
        instant(&shown["ladder"]["aliveUntil"]),
        instant(&short["aliveUntil"])
    );
    for refused in ["x", "25x1d", "1x1y1", "2x0s"] {
        user.error(
            2,
            &["publish", "--passphrase-file", &file, "--ladder", refused],
        );
    }
}
