//! A node that was stopped, or dropped, goes on where it was.

use std::sync::Arc;

use perennis_node::app::RunningNode;

use crate::support::{Author, TestNode, config};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let node = TestNode::start().await;
    let message = Author::new(1).publish_many(100);
    node.publish(&message).await.ok();
    node.node.shutdown().await;
    let running = RunningNode::start(config(node.dir.path())).await.unwrap();
    let again = TestNode {
        dir: node.dir,
        node: running,
    };
    for block in &message.blocks {
        let reply = again.get(&format!("/ipfs/{}", block.cid())).await;
        assert_eq!(reply.ok().body, block.bytes());
    }
    let record = again
        .get(&format!("/routing/v1/ipns/{}", message.name))
        .await;
    assert_eq!(record.ok().body, message.record.bytes());
    let status = again.get("/v1/status").await.ok().json();
    assert_eq!(status["ready"], true);
    again
        .eventually("/v1/status", |reply| reply.json()["names"] == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_begun_is_finished_when_the_node_stops() {
    let node = Arc::new(TestNode::start().await);
    let messages: Vec<_> = (1..20)
        .map(|seed| Author::new(seed).publish_many(50))
        .collect();
    let publishing: Vec<_> = messages
        .into_iter()
        .map(|message| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { (node.publish(&message).await, message) })
        })
        .collect();
    let mut stored = Vec::new();
    for task in publishing {
        let (reply, message) = task.await.unwrap();
        reply.ok();
        stored.push(message);
    }
    let node = Arc::into_inner(node).unwrap();
    node.node.shutdown().await;
    let running = RunningNode::start(config(node.dir.path())).await.unwrap();
    let again = TestNode {
        dir: node.dir,
        node: running,
    };
    for message in stored {
        let status = again.get(&format!("/v1/names/{}", message.name)).await;
        assert_eq!(status.ok().json()["head"], message.head.to_string());
    }
}
