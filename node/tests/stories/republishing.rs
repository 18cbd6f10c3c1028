//! Records are put to routers again and again, and no router holds up another.

use std::net::SocketAddr;
use std::time::Duration;

use perennis_net::{Bootstrap, DhtMode};
use perennis_node::app::RunningNode;
use perennis_node::config::{Config, PublishPolicy};
use tokio::net::TcpListener;

use crate::support::{Author, TestNode, config};

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
async fn a_router_that_wants_a_token_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "correct-horse-battery").unwrap();
    let router = TestNode::with(|config| {
        config.http.token_file = Some(token);
        config.http.publish = PublishPolicy::Token;
    })
    .await;
    let url = router.url();
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    let path = format!("/v1/names/{}", message.name);

    let without = TestNode::with(|config| config.ipns.routers = vec![url.clone()]).await;
    without.publish(&message).await.ok();
    let failed = without
        .eventually(&path, |reply| reply.json()["routers"][0]["failures"] != 0)
        .await;
    assert!(failed.json()["lastPut"].is_null());

    let tokens = dir.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let host = url.strip_prefix("http://").unwrap();
    std::fs::write(tokens.join(host), "correct-horse-battery\n").unwrap();
    let with = TestNode::with(|config| {
        config.ipns.routers = vec![url];
        config.ipns.router_tokens = Some(tokens);
    })
    .await;
    with.publish(&message).await.ok();
    with.eventually(&path, |reply| !reply.json()["lastPut"].is_null())
        .await;
    let path = format!("/ipns/{}?format=ipns-record", message.name);
    assert_eq!(router.get(&path).await.status, 200);
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

/// A node that takes part in the DHT of those it is told of.
async fn peer(others: &[String], change: impl FnOnce(&mut Config)) -> TestNode {
    let bootstrap = others.iter().map(|address| address.parse().unwrap());
    let bootstrap = Bootstrap::Peers(bootstrap.collect());
    TestNode::with(|config| {
        config.p2p.listen = Some(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
        config.p2p.bootstrap = bootstrap;
        config.p2p.dht = DhtMode::Server;
        change(config);
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_resolved_often_is_put_more_often() {
    let router = TestNode::start().await;
    let url = router.url();
    let node = TestNode::with(|config| {
        config.ipns.routers = vec![url];
        config.ipns.hot.period = Duration::from_secs(1);
        config.ipns.hot.resolves = 100;
    })
    .await;
    let mut statuses = Vec::new();
    let names = [1, 2].map(|seed| Author::new(seed).publish(&[("@alice", "friend")]));
    for message in &names {
        node.publish(message).await.ok();
        let path = format!("/v1/names/{}", message.name);
        let status = node
            .eventually(&path, |reply| !reply.json()["lastPut"].is_null())
            .await
            .json();
        assert_eq!(status["hot"], false);
        assert_eq!(status["republishPeriodSeconds"], 4 * 3_600);
        statuses.push((path, status));
    }
    // The half-life is six hours: so many come to more than 100 an hour.
    let resolve = format!("/routing/v1/ipns/{}", names[0].name);
    let accept = [("Accept", "application/vnd.ipfs.ipns-record")];
    for _ in 0..900 {
        node.get_with(&resolve, &accept).await.ok();
    }
    let (hot, before) = &statuses[0];
    let status = node
        .eventually(hot, |reply| reply.json()["lastPut"] != before["lastPut"])
        .await
        .json();
    assert_eq!(status["hot"], true, "{status}");
    assert_eq!(status["republishPeriodSeconds"], 1);
    assert!(status["resolvesPerHour"].as_f64() > Some(100.0));
    // And again and again.
    node.eventually(hot, |reply| reply.json()["lastPut"] != status["lastPut"])
        .await;
    let (cool, before) = &statuses[1];
    let status = node.get(cool).await.ok().json();
    assert_eq!(status["lastPut"], before["lastPut"]);
    assert_eq!(status["hot"], false);
    let list = node.get("/v1/names").await.ok().json();
    let rows = list["names"].as_array().unwrap();
    assert_eq!(rows.iter().filter(|row| row["hot"] == true).count(), 1);
    assert!(rows.iter().all(|row| row["nextDue"].is_string()));
    let metrics = node.get("/metrics").await.ok().body.clone();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    assert!(metrics.contains("ipns_hot_names 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dht_has_the_record_and_hears_of_the_blocks_before_it_forgets_them() {
    let first = peer(&[], |_| {}).await;
    let bootstrap = first.node.p2p_addresses();
    let second = peer(&bootstrap, |_| {}).await;
    let node = peer(&bootstrap, |config| {
        config.provide.period = Duration::from_secs(2);
    })
    .await;
    node.eventually("/v1/peers", |reply| {
        reply.json()["routing"]
            .as_array()
            .is_some_and(|tables| tables.iter().any(|table| table["peers"] == 2))
    })
    .await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    let path = format!("/v1/names/{}", message.name);
    let status = node
        .eventually(&path, |reply| reply.json()["peersReached"] == 2)
        .await
        .json();
    assert_eq!(status["routers"][0]["url"], "dht");
    assert_eq!(status["routers"][0]["peersReached"], 2);
    let own = node.node.peer_id();
    let providers = format!("/v1/providers/{}", message.head);
    let is_told = |reply: &crate::support::Reply| {
        reply.json()["providers"]
            .as_array()
            .is_some_and(|found| found.iter().any(|provider| provider["peerId"] == own))
    };
    second.eventually(&providers, is_told).await;
    // It is told of again and again: a peer that has just come hears of it too.
    let late = peer(&bootstrap, |_| {}).await;
    late.eventually("/v1/peers", |reply| {
        reply.json()["peers"]
            .as_array()
            .is_some_and(|peers| !peers.is_empty())
    })
    .await;
    late.eventually(&providers, is_told).await;
    let metrics = node.get("/metrics").await.ok().body.clone();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    let told = "dht_provides_total{outcome=\"Ok\"}";
    assert!(metrics.contains(told), "{metrics}");
    assert!(!metrics.contains(&format!("{told} 0")), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_and_when_it_is_due_survives_a_restart() {
    let router = TestNode::start().await;
    let routers = vec![router.url()];
    let node = TestNode::with(|config| config.ipns.routers = routers.clone()).await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    let path = format!("/v1/names/{}", message.name);
    let before = node
        .eventually(&path, |reply| !reply.json()["lastPut"].is_null())
        .await
        .json();
    node.node.shutdown().await;
    let mut again = config(node.dir.path());
    again.ipns.routers = routers;
    let again = TestNode {
        node: RunningNode::start(again).await.unwrap(),
        dir: node.dir,
    };
    let after = again.get(&path).await.ok().json();
    assert_eq!(after["lastPut"], before["lastPut"]);
    assert_eq!(after["nextDue"], before["nextDue"]);
}
