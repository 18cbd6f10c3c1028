//! Nodes as peers of each other: connect, ban, provide, and names that are found without being told where.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use perennis_tests::home::Home;
use perennis_tests::node::Node;
use serde_json::Value;

use crate::user::{did, publish, with_identity};

/// Two nodes that are connected.
fn pair(user: &Home) -> (Node, Node) {
    let (one, other) = (
        Node::start(&user.beside("one")),
        Node::start(&user.beside("other")),
    );
    user.json(&["peers", "connect", one.peer(), "--node", other.admin()]);
    (one, other)
}

#[test]
fn peers_are_connected_listed_and_banned() {
    let user = Home::new();
    let (one, other) = pair(&user);
    let peers = user.json(&["peers", "list", "--node", other.admin()]);
    let peer = peers["peers"][0]["peerId"].as_str().unwrap();
    assert!(one.peer().ends_with(peer));
    assert_eq!(peers["peers"][0]["inbound"], false);
    let banned = user.json(&["peers", "ban", peer, "--node", other.admin()]);
    assert_eq!(banned["changed"], true);
    let error = user.error(
        3,
        &["peers", "connect", one.peer(), "--node", other.admin()],
    );
    assert_eq!(error["code"], "peer_denied");
    user.json(&["peers", "unban", peer, "--node", other.admin()]);
    user.json(&["peers", "connect", one.peer(), "--node", other.admin()]);
}

#[test]
fn what_cannot_be_reached_is_told() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let nowhere = [
        "peers",
        "connect",
        "/ip4/127.0.0.1/tcp/1",
        "--node",
        node.admin(),
    ];
    assert_eq!(user.error(3, &nowhere)["code"], "no_peer_id");
    let own = user.error(
        3,
        &["peers", "connect", node.peer(), "--node", node.admin()],
    );
    assert_eq!(own["code"], "own_peer");
    let cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    let absent = user.error(4, &["provide", cid, "--node", node.admin()]);
    assert_eq!(absent["code"], "not_found");
    let found = user.json(&["providers", cid, "--node", node.url()]);
    assert!(found["providers"].as_array().unwrap().is_empty());
}

#[test]
fn a_block_is_provided_and_its_provider_is_found() {
    let (user, file) = with_identity();
    let (one, other) = pair(&user);
    user.json(&["label", "add", "@one", "spam"]);
    let published = publish(&user, &file, &[&one]);
    let head = published["head"].as_str().unwrap();
    let provided = user.json(&["provide", head, "--node", one.admin()]);
    assert_eq!(provided["reached"], 1);
    let found = user.json(&["providers", head, "--node", other.url()]);
    let provider = found["providers"][0]["peerId"].as_str().unwrap();
    assert!(one.peer().ends_with(provider), "{found}");
    assert!(
        !found["providers"][0]["addresses"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let path = format!("/routing/v1/providers/{head}");
    let routed = other.json(&path);
    assert_eq!(routed["Providers"][0]["ID"], provider);
}

#[test]
fn a_dag_is_fetched_from_a_peer_listed_and_released() {
    let (user, file) = with_identity();
    let (one, other) = pair(&user);
    user.json(&["label", "add", "@one", "spam"]);
    let published = publish(&user, &file, &[&one]);
    let head = published["head"].as_str().unwrap();
    let car = user.beside("fetched.car");
    let out = car.to_str().unwrap();
    let fetch = [
        "fetch",
        head,
        "--peer",
        one.peer(),
        "--out",
        out,
        "--node",
        other.admin(),
    ];
    let fetched = user.json(&fetch);
    assert!(fetched["blocks"].as_u64().unwrap() >= 3, "{fetched}");
    let verified = user.json(&["car", "verify", out]);
    assert_eq!(verified["blocks"], fetched["blocks"]);
    // What is here is not fetched again.
    let again = user.json(&["fetch", head, "--node", other.admin()]);
    assert_eq!(again["blocks"], 0);
    let list = user.json(&["pin", "list", "--fetched", "--node", other.admin()]);
    assert_eq!(list["fetched"][0]["cid"], head);
    user.json(&["pin", "remove", head, "--node", other.admin()]);
    user.error(4, &["pin", "remove", head, "--node", other.admin()]);
    let absent = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    let nobody = user.error(4, &["fetch", absent, "--node", other.admin()]);
    assert_eq!(nobody["code"], "block_unavailable");
}

#[test]
fn a_name_published_to_one_node_is_put_to_the_dht() {
    let (user, file) = with_identity();
    let (one, other) = pair(&user);
    user.json(&["label", "add", "@one", "spam"]);
    let published = publish(&user, &file, &[&one]);
    let name = published["name"].as_str().unwrap();
    // The other node holds no such name, and resolves it all the same.
    let resolved = user.json(&["resolve", &did(&user), "--node", other.url()]);
    assert_eq!(resolved["head"], published["head"], "{name}");
}

#[test]
fn a_page_of_another_origin_does_not_steer_a_node() {
    let user = Home::new();
    let node = Node::start(&user.beside("node"));
    let ask = |host: &str, origin: &str| {
        let mut stream = TcpStream::connect(node.admin_address()).unwrap();
        let head = format!(
            "POST /v1/peers/connect HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        // The node may close the connection on a body it does not read.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let foreign = ask(node.admin_address(), "https://evil.example");
    assert!(
        foreign.starts_with("HTTP/1.1 403") && foreign.contains("foreign_origin"),
        "{foreign}"
    );
    let rebound = ask("evil.example", "http://evil.example");
    assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
    let own = ask(node.admin_address(), node.admin());
    assert!(own.starts_with("HTTP/1.1 400"), "{own}");
}

#[test]
fn a_node_is_asked_how_fast_it_publishes_and_resolves() {
    let user = Home::new();
    let (one, other) = pair(&user);
    other.eventually("/v1/peers", |answer| {
        let peers: Value = serde_json::from_slice(&answer.body).unwrap();
        let tables = peers["routing"].as_array().unwrap();
        tables.iter().any(|table| table["peers"] == 1)
    });
    let probe = ["node", "probe", "--node", other.admin()];
    let before = user.json(&probe);
    assert_eq!(before["sequence"], Value::Null);
    let told = user.json(&[&probe[..], &["--now"]].concat());
    assert_eq!(told["routes"][0]["route"], "dht");
    for operation in ["publish", "resolve"] {
        assert_eq!(told["routes"][0][operation]["ok"], 1, "{told}");
    }
    let shown = user.run(&probe).expect(0);
    for text in ["dht", "publish", "resolve", "P99", "█", "≤"] {
        assert!(shown.text().contains(text), "no {text}: {}", shown.text());
    }
    // Each node has a canary of its own.
    let name = user.json(&["node", "probe", "--node", one.admin()])["name"].clone();
    assert_ne!(name, told["name"]);
}
