//! Records are put to routers again and again, and no router holds up another.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::support::{Author, TestNode};

/// A router that accepts connections and never answers.
async fn silent_router() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    (addr, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_record_reaches_the_routers_at_once_and_a_silent_one_delays_none() {
    let (silent, held) = silent_router().await;
    let router = TestNode::start().await;
    let routers = vec![format!("http://{silent}"), router.url()];
    let node = TestNode::with(|config| {
        config.ipns.routers = routers;
        config.ipns.republish_concurrency = 1;
    })
    .await;
    for seed in 1..6 {
        let message = Author::new(seed).publish(&[("@alice", "friend")]);
        node.publish(&message).await.ok();
        let path = format!("/ipns/{}?format=ipns-record", message.name);
        let reply = router.eventually(&path, |reply| reply.status == 200).await;
        assert_eq!(reply.body, message.record.bytes());
        let path = format!("/v1/names/{}", message.name);
        let status = node
            .eventually(&path, |reply| !reply.json()["lastPut"].is_null())
            .await
            .json();
        let states = status["routers"].as_array().unwrap();
        assert_eq!(states.len(), 2);
        assert_eq!(states[0]["lastPut"], serde_json::Value::Null);
        assert_eq!(states[1]["failures"], 0);
        assert!(states[1]["nextDue"].as_str() > states[1]["lastPut"].as_str());
        assert_eq!(status["republishPeriodSeconds"], 4 * 3_600);
    }
    held.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_put_again_after_the_period() {
    let router = TestNode::start().await;
    let url = router.url();
    let node = TestNode::with(|config| {
        config.ipns.routers = vec![url];
        config.ipns.republish_period = Duration::from_secs(1);
    })
    .await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    let path = format!("/v1/names/{}", message.name);
    let first = node
        .eventually(&path, |reply| !reply.json()["lastPut"].is_null())
        .await
        .json();
    let second = node
        .eventually(&path, |reply| reply.json()["lastPut"] != first["lastPut"])
        .await
        .json();
    assert!(second["lastPut"].as_str() > first["lastPut"].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_refuses_is_told_about_and_tried_again_later() {
    let allowed = Author::new(9).name();
    let router = TestNode::with(|config| config.admission.allow = vec![allowed]).await;
    let url = router.url();
    let node = TestNode::with(|config| config.ipns.routers = vec![url]).await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    let path = format!("/v1/names/{}", message.name);
    let status = node
        .eventually(&path, |reply| reply.json()["routers"][0]["failures"] == 1)
        .await
        .json();
    let state = &status["routers"][0];
    assert!(
        state["lastError"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    let workers = node.get("/v1/status").await.ok().json()["workers"].clone();
    let worker = workers
        .as_array()
        .unwrap()
        .iter()
        .find(|worker| worker["name"].as_str().unwrap().starts_with("republish to"))
        .unwrap()
        .clone();
    assert!(!worker["lastError"].is_null());
}
