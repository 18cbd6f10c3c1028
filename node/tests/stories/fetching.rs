//! A node that has only a record fetches what is below it.

use crate::support::{Author, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn missing_blocks_come_from_the_operators_sources() {
    let source = TestNode::start().await;
    let mut author = Author::new(1);
    let message = author.publish_many(200);
    source.publish(&message).await.ok();
    let url = source.url();
    let node = TestNode::with(|config| config.pins.sources = vec![url]).await;
    node.put_record(&message).await.ok();
    let path = format!("/v1/names/{}", message.name);
    let status = node
        .eventually(&path, |reply| reply.json()["pin"] == "pinned")
        .await
        .json();
    assert_eq!(status["did"], message.did.to_string());
    assert_eq!(status["blocks"], author.all_blocks().len());
    for block in author.all_blocks() {
        let reply = node.get(&format!("/ipfs/{}", block.cid())).await;
        assert_eq!(reply.ok().body, block.bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_of_a_document_are_used_where_private_ones_are_allowed() {
    let source = TestNode::start().await;
    let mut author = Author::new(1);
    author.set_sources(&[source.url()]);
    let first = author.publish(&[("@alice", "friend")]);
    source.publish(&first).await.ok();
    let second = author.publish(&[("@bob", "spam")]);
    source.publish(&second).await.ok();
    for (is_allowed, pin) in [(true, "pinned"), (false, "incomplete")] {
        let node = TestNode::with(|config| config.pins.allow_private_sources = is_allowed).await;
        node.publish(&first).await.ok();
        node.put_record(&second).await.ok();
        let path = format!("/v1/names/{}", second.name);
        let status = node
            .eventually(&path, |reply| reply.json()["pin"] == pin)
            .await
            .json();
        assert_eq!(status["sequence"], 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_sources_waits_and_its_record_is_served() {
    let node = TestNode::start().await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    node.put_record(&message).await.ok();
    let path = format!("/v1/names/{}", message.name);
    let status = node
        .eventually(&path, |reply| reply.json()["pin"] == "incomplete")
        .await
        .json();
    assert_eq!(status["missingBlocks"], 1);
    // The publisher comes and brings everything.
    node.publish(&message).await.ok();
    let status = node.get(&path).await.ok().json();
    assert_eq!(status["pin"], "pinned");
}
