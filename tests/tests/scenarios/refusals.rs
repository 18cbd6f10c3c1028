//! What is refused, and how it is said: records and data that are too old, too new or contradict each other.

use std::fs;
use std::time::Duration;

use perennis_shared::cid::{Codec, cid_of};
use perennis_shared::did::{Identity, Profile};
use perennis_shared::ipns::{self, Record, RecordFields};
use perennis_shared::time::{Millis, Timestamp};
use perennis_tests::home::Home;
use perennis_tests::node::{Answer, Node};
use perennis_tests::publisher::now;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::user::with_identity;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn somebody() -> Identity {
    Identity::from_root(Profile::V2, Zeroizing::new([7; 32]))
}

fn record(identity: &Identity, content: &[u8], sequence: u64, validity: Millis) -> Record {
    let fields = RecordFields {
        value: &format!("/ipfs/{}", cid_of(Codec::Raw, content)),
        sequence,
        validity: Timestamp::from(validity),
        ttl: Duration::from_secs(300),
    };
    ipns::create(identity.ipns_signer(), &fields).unwrap()
}

fn put(node: &Node, identity: &Identity, record: &Record) -> Answer {
    let path = format!("/routing/v1/ipns/{}", identity.name());
    let kind = ["content-type: application/vnd.ipfs.ipns-record"];
    node.request("PUT", &path, &kind, record.bytes())
}

/// The error of an HTTP answer, with all its parts.
#[track_caller]
fn refusal(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let error = body["error"].clone();
    assert_eq!(error["code"], code, "{error}");
    for part in ["message", "hint"] {
        assert!(!error[part].as_str().unwrap().is_empty(), "no {part}");
    }
    error
}

#[test]
fn an_expired_record_is_refused_by_the_check_and_by_the_node() {
    let user = Home::new();
    let somebody = somebody();
    let name = somebody.name().to_string();
    let expired = record(&somebody, b"a", 1, Millis(now().0 - 1_000));
    let file = user.file("record", expired.bytes());
    let verify = ["record", "verify", &file, "--name", &name];
    let verdict = user.run_json(&verify).document(3, &verify);
    assert_eq!(verdict["valid"], false);
    assert_eq!(verdict["reason"], "expired");
    assert_eq!(verdict["signature"], "valid");
    let plain = user.run(&verify).expect(3);
    assert!(plain.text().contains("expired"), "{}", plain.text());

    let node = Node::start(&user.beside("node"));
    refusal(&put(&node, &somebody, &expired), 400, "expired_record");
    let resolve = ["resolve", &name, "--node", node.url()];
    assert_eq!(user.error(4, &resolve)["code"], "not_found");
}

#[test]
fn a_lower_sequence_is_refused_by_the_node_and_by_whoever_has_seen_a_higher_one() {
    let user = Home::new();
    let somebody = somebody();
    let name = somebody.name().to_string();
    let older = record(&somebody, b"a", 4, now() + DAY);
    let newer = record(&somebody, b"b", 5, now() + DAY);
    let node = Node::start(&user.beside("node"));
    let replaying = Node::start(&user.beside("replaying"));
    assert_eq!(put(&node, &somebody, &newer).status, 200);
    assert_eq!(put(&replaying, &somebody, &older).status, 200);
    let error = refusal(&put(&node, &somebody, &older), 409, "stale_record");
    assert!(error["message"].as_str().unwrap().contains('5'), "{error}");

    let seen = user.json(&["resolve", &name, "--node", node.url()]);
    assert_eq!(seen["sequence"], 5);
    let resolve = ["resolve", &name, "--node", replaying.url()];
    let again = user.run_json(&resolve);
    match again.code {
        // The better record is here: it is the answer, and the replay is told about.
        Some(0) => {
            assert!(again.stderr.contains("older record"), "{}", again.stderr);
            assert_eq!(again.document(0, &resolve)["sequence"], 5);
        }
        _ => assert_eq!(again.error(3)["code"], "stale_record"),
    }
}

#[test]
fn two_values_with_one_sequence_are_refused_and_told_about() {
    let user = Home::new();
    let somebody = somebody();
    let name = somebody.name().to_string();
    let one = record(&somebody, b"a", 5, now() + DAY);
    let other = record(&somebody, b"b", 5, now() + 2 * DAY);
    let node = Node::start(&user.beside("node"));
    let second = Node::start(&user.beside("second"));
    assert_eq!(put(&node, &somebody, &one).status, 200);
    assert_eq!(put(&second, &somebody, &other).status, 200);
    refusal(&put(&node, &somebody, &other), 409, "equivocation");
    let status = node.json(&format!("/v1/names/{name}"));
    assert_eq!(status["sequence"], 5);

    let resolve = [
        "resolve",
        &name,
        "--node",
        node.url(),
        "--node",
        second.url(),
    ];
    let ran = user.run_json(&resolve);
    assert!(
        ran.stderr.contains("contradict each other"),
        "{}",
        ran.stderr
    );
    let resolved = ran.document(0, &resolve);
    // Which of them counts is decided by the specification: the later end.
    assert_eq!(resolved["source"], second.url());
}

#[test]
fn data_of_a_newer_version_are_left_alone() {
    let user = Home::new();
    let data = user.beside("node");
    let path = data.to_str().unwrap();
    let mut node = Node::start(&data);
    assert!(node.stop().success());
    let format = data.join("FORMAT");
    let text = fs::read_to_string(&format).unwrap();
    let (words, _) = text.trim().rsplit_once(' ').unwrap();
    let newer = format!("{words} 99\n");
    fs::write(&format, &newer).unwrap();
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
    let error = user.error(3, &run);
    assert_eq!(error["code"], "newer_format");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(path) && message.contains("99"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("version"));
    assert_eq!(fs::read_to_string(&format).unwrap(), newer);
}

#[test]
fn a_home_of_a_newer_version_is_left_alone() {
    let (user, file) = with_identity();
    let facts = user.path().join("identity.json");
    let text = fs::read_to_string(&facts).unwrap();
    let newer = text.replace("\"format\": 1", "\"format\": 2");
    assert_ne!(newer, text);
    fs::write(&facts, &newer).unwrap();
    for arguments in [
        &["id", "show"][..],
        &["publish", "--passphrase-file", &file],
        &["id", "new", "--passphrase-file", &file],
    ] {
        let error = user.error(3, arguments);
        assert_eq!(error["code"], "newer_format", "{arguments:?}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("identity.json"), "{message}");
    }
    assert_eq!(fs::read_to_string(&facts).unwrap(), newer);
}

#[test]
fn a_body_that_stops_is_given_up_with_its_reason() {
    use std::io::Write as _;

    let user = Home::new();
    let config = user.file("node.toml", "[http]\nidle-timeout = \"200ms\"\n");
    let node = Node::start_with(&user.beside("node"), config.as_ref());
    let name = somebody().name();
    let mut stream = std::net::TcpStream::connect(node.address()).unwrap();
    write!(
        stream,
        "POST /v1/names/{name}/publish HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/vnd.ipld.car\r\ncontent-length: 1000\r\n\r\nabc"
    )
    .unwrap();
    refusal(&Answer::read(&mut stream), 408, "too_slow");
}
