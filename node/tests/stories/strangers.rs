//! What strangers may store: so much from one group of addresses, and so much all together.

use std::net::{Ipv4Addr, SocketAddr};

use perennis_node::config::Config;
use perennis_shared::ipns::Name;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use crate::support::{Author, Message, Reply, TestNode, reply};

/// Publishes from an address of this machine.
async fn publish_from(node: &TestNode, last: u8, message: &Message) -> Reply {
    let socket = TcpSocket::new_v4().unwrap();
    let from = Ipv4Addr::new(127, 0, 0, last);
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut stream = socket.connect(node.addr()).await.unwrap();
    let car = message.car();
    let head = format!(
        "POST /v1/names/{}/publish HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/vnd.ipld.car\r\nContent-Length: {}\r\n\r\n",
        message.name,
        node.addr(),
        car.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&car).await.unwrap();
    reply(stream, false).await.unwrap()
}

fn list(seed: u8) -> Message {
    Author::new(seed).publish(&[("@alice", "friend")])
}

async fn kept(node: &TestNode, seeds: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    for seed in seeds {
        let path = format!("/v1/names/{}", Author::new(*seed).name());
        if node.get(&path).await.status == 200 {
            kept.push(*seed);
        }
    }
    kept
}

/// The names that nobody has claimed, and their bytes.
async fn unclaimed(node: &TestNode) -> (u64, u64) {
    let status = node.get("/v1/status").await.ok().json();
    let number = |field: &str| status["unclaimed"][field].as_u64().unwrap();
    (number("names"), number("bytes"))
}

async fn again(node: TestNode, change: impl FnOnce(&mut Config)) -> TestNode {
    let TestNode { dir, node } = node;
    node.shutdown().await;
    TestNode::again(dir, change).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_addresses_has_so_many_names_also_after_a_restart_and_others_have_theirs() {
    let limits = |config: &mut Config| config.admission.group_names = 2;
    let node = TestNode::with(limits).await;
    let mut first = Author::new(1);
    publish_from(&node, 2, &first.publish(&[("@alice", "friend")]))
        .await
        .ok();
    publish_from(&node, 2, &list(2)).await.ok();
    let refused = publish_from(&node, 2, &list(3)).await;
    refused.refused(429, "quota");
    let error = refused.json()["error"].clone();
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("needs 3") && message.contains("2 are allowed (admission.group-names)"),
        "{message}"
    );
    assert!(error["hint"].as_str().unwrap().contains("admission.allow"));
    // Nobody else has paid for it, what it has may be written again, and others write on.
    assert_eq!(kept(&node, &[1, 2, 3]).await, [1, 2]);
    publish_from(&node, 2, &first.publish(&[("@bob", "friend")]))
        .await
        .ok();
    publish_from(&node, 3, &list(4)).await.ok();

    let node = again(node, limits).await;
    publish_from(&node, 2, &list(3)).await.refused(429, "quota");
    publish_from(&node, 3, &list(5)).await.ok();
    assert_eq!(unclaimed(&node).await.0, 4);
    // One that is removed makes room.
    let path = format!("/v1/names/{}/record", first.name());
    node.ask("DELETE", &path, &[], b"").await.ok();
    publish_from(&node, 2, &list(3)).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_addresses_has_so_many_bytes_and_another_has_its_own() {
    let node = TestNode::with(|config| config.admission.group_bytes = 28_000).await;
    let large = |seed: u8| Author::new(seed).publish_many(400);
    publish_from(&node, 2, &large(1)).await.ok();
    let (_, bytes) = unclaimed(&node).await;
    assert!((14_001..28_000).contains(&bytes), "{bytes}");
    let refused = publish_from(&node, 2, &large(2)).await;
    refused.refused(429, "quota");
    assert!(
        refused.json()["error"]["message"]
            .to_string()
            .contains("admission.group-size")
    );
    publish_from(&node, 3, &large(2)).await.ok();
    let (_, both) = unclaimed(&node).await;
    assert!(both >= 2 * bytes - 1_024, "{both}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_given_no_more_than_there_is() {
    let limits = |config: &mut Config| config.admission.group_names = 8;
    let node = TestNode::with(limits).await;
    let messages: Vec<Message> = (1..=40).map(list).collect();
    let published = messages
        .iter()
        .map(|message| publish_from(&node, 2, message));
    let replies = futures_util::future::join_all(published).await;
    let taken = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(taken, 8);
    assert_eq!(unclaimed(&node).await.0, 8);
    let held = unclaimed(&node).await;
    let node = again(node, limits).await;
    assert_eq!(unclaimed(&node).await, held);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_unclaimed_names_go_first_and_claimed_ones_never() {
    let token_less = |config: &mut Config| {
        config.admission.unclaimed_names = 3;
        config.admission.allow = Vec::new();
    };
    let node = TestNode::with(token_less).await;
    let mut authors: Vec<Author> = (1..=3).map(Author::new).collect();
    for author in &mut authors {
        node.publish(&author.publish(&[("@alice", "friend")]))
            .await
            .ok();
    }
    // The operator follows the second, and the first is written again.
    let path = format!("/v1/names/{}", authors[1].name());
    let message = authors[1].publish(&[("@bob", "friend")]);
    let kind = [("Content-Type", "application/vnd.ipld.car")];
    node.ask("PUT", &path, &kind, &message.car()).await.ok();
    node.publish(&authors[0].publish(&[("@bob", "friend")]))
        .await
        .ok();
    assert_eq!(unclaimed(&node).await.0, 2);
    for seed in [4, 5] {
        node.publish(&list(seed)).await.ok();
    }
    assert_eq!(kept(&node, &[1, 2, 3, 4, 5]).await, [1, 2, 4, 5]);
    let gone = node.get(&format!("/v1/names/{}", authors[2].name())).await;
    gone.refused(404, "not_found");
    let told = gone.json()["error"]["message"].to_string();
    assert!(told.contains("nobody had claimed it"), "{told}");
    let metrics = node.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains("ipns_removed_names_total{why=\"Unclaimed\"} 1"),
        "{metrics}"
    );

    let node = again(node, token_less).await;
    node.publish(&list(6)).await.ok();
    assert_eq!(kept(&node, &[1, 2, 3, 4, 5, 6]).await, [2, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_operator_lists_are_claimed() {
    let listed: Vec<Name> = (1..=3).map(|seed| Author::new(seed).name()).collect();
    let node = TestNode::with(|config| {
        config.admission.group_names = 1;
        config.admission.unclaimed_names = 1;
        config.admission.allow = listed;
    })
    .await;
    for seed in 1..=3 {
        publish_from(&node, 2, &list(seed)).await.ok();
    }
    assert_eq!(unclaimed(&node).await, (0, 0));
    assert_eq!(kept(&node, &[1, 2, 3]).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_names_a_name_uses_up_none_of_its_rate() {
    let node = TestNode::with(|config| config.admission.name_rate = 1).await;
    let mut author = Author::new(1);
    let message = author.publish(&[("@alice", "friend")]);
    // Records of another key, and what is no record at all.
    let forged = Message {
        name: message.name,
        ..list(2)
    };
    for _ in 0..5 {
        publish_from(&node, 2, &forged)
            .await
            .refused(400, "bad_signature");
    }
    assert_eq!(unclaimed(&node).await, (0, 0));
    node.publish(&message).await.ok();
    // What is here already costs nothing, whoever sends it.
    for _ in 0..5 {
        publish_from(&node, 2, &message).await.ok();
    }
    let newer = author.publish(&[("@bob", "friend")]);
    node.publish(&newer).await.refused(429, "too_many_writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_says_what_its_operator_can_do_and_takes_more_when_it_was_done() {
    let node = TestNode::with(|config| config.admission.max_names = 2).await;
    for seed in [1, 2] {
        node.publish(&list(seed)).await.ok();
    }
    let refused = node.publish(&list(3)).await;
    refused.refused(429, "quota");
    let error = refused.json()["error"].clone();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("admission.max-names")
    );
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("perennis name remove")
    );
    let path = format!("/v1/names/{}/record", Author::new(1).name());
    node.ask("DELETE", &path, &[], b"").await.ok();
    node.publish(&list(3)).await.ok();
}
