//! A node that has only a record fetches what is below it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use perennis_shared::cid::{Block, Codec};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Author, DAY, TestNode};

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

/// A server that takes requests and answers none.
async fn silent() -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    (url, held)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_silent_sources_do_not_hold_up_one_whose_source_answers() {
    let source = TestNode::start().await;
    let (silent, held) = silent().await;
    let node = TestNode::start().await;
    let record = [("Content-Type", "application/vnd.ipfs.ipns-record")];
    // More than are worked at at the same time.
    for seed in 2..40 {
        let message = Author::new(seed).publish(&[("@alice", "friend")]);
        let path = format!("/v1/names/{}?source={silent}", message.name);
        node.ask("PUT", &path, &record, message.record.bytes())
            .await
            .ok();
    }
    let mut author = Author::new(1);
    let message = author.publish_many(50);
    source.publish(&message).await.ok();
    // The same silent source before the good one.
    let path = format!(
        "/v1/names/{}?source={silent}&source={}",
        message.name,
        source.url()
    );
    node.ask("PUT", &path, &record, message.record.bytes())
        .await
        .ok();
    let path = format!("/v1/names/{}", message.name);
    node.eventually(&path, |reply| reply.json()["pin"] == "pinned")
        .await;
    held.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_below_the_bare_record_of_a_stranger_comes_from_a_peer_that_is_connected() {
    let has_port = |config: &mut perennis_node::config::Config| {
        config.p2p.listen = Some(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
    };
    let (peer, node) = (
        TestNode::with(has_port).await,
        TestNode::with(has_port).await,
    );
    let message = Author::new(1).publish_many(20);
    peer.publish(&message).await.ok();
    let json = [("Content-Type", "application/json")];
    let address = peer.node.p2p_addresses()[0].to_string();
    let body = serde_json::json!({ "address": address }).to_string();
    node.ask("POST", "/v1/peers/connect", &json, body.as_bytes())
        .await
        .ok();
    node.put_record(&message).await.ok();
    let path = format!("/v1/names/{}", message.name);
    let status = node
        .eventually(&path, |reply| reply.json()["pin"] == "pinned")
        .await
        .json();
    assert_eq!(status["did"], message.did.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_below_what_a_stranger_points_at_that_is_no_list_of_theirs() {
    let source = TestNode::start().await;
    let leaf = Block::new(Codec::Raw, vec![7; 2_000]).unwrap();
    let mut link = vec![0x81, 0xd8, 42, 0x58, 37, 0];
    link.extend_from_slice(&leaf.cid().to_bytes());
    let foreign = Block::new(Codec::DagCbor, link).unwrap();
    let root = source.keep(9, &[foreign, leaf.clone()]).await;
    let url = source.url();
    let node = TestNode::with(|config| config.pins.sources = vec![url]).await;
    let stranger = Author::new(1);
    let record = stranger.record(root, 1, DAY);
    let path = format!("/routing/v1/ipns/{}", stranger.name());
    let headers = [("Content-Type", "application/vnd.ipfs.ipns-record")];
    node.ask("PUT", &path, &headers, record.bytes()).await.ok();
    let path = format!("/v1/names/{}", stranger.name());
    let status = node
        .eventually(&path, |reply| reply.json()["pin"] == "record_only")
        .await
        .json();
    assert_eq!(status["problem"]["code"], "not_followed");
    let metrics = node.get("/metrics").await.ok().body.clone();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    // The root alone was asked for.
    assert!(
        metrics.contains("pin_fetches_total{outcome=\"Ok\"} 1\n"),
        "{metrics}"
    );
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

/// A server that has nothing, and how often it was asked.
async fn nothing_there() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        counted.fetch_add(1, Ordering::SeqCst);
                        head.clear();
                        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
                        let _ = stream.write_all(answer).await;
                    }
                }
            });
        }
    });
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_name_a_stranger_s_server_many_times_bother_it_a_few_times() {
    let (url, asked) = nothing_there().await;
    let node = TestNode::with(|config| config.pins.allow_private_sources = true).await;
    let started = Instant::now();
    for seed in 1..=4 {
        let mut author = Author::new(seed);
        let listed: Vec<String> = (0..16).map(|path| format!("{url}/{path}")).collect();
        author.set_sources(&listed);
        node.publish(&author.publish_many(40)).await.ok();
        // What is below this one is nowhere.
        let next = author.publish_many(80);
        node.put_record(&next).await.ok();
        let path = format!("/v1/names/{}", next.name);
        node.eventually(&path, |reply| reply.json()["pin"] == "incomplete")
            .await;
    }
    let asked = asked.load(Ordering::SeqCst) as u64;
    // Eight, and one more in ten seconds.
    assert!(asked >= 1);
    assert!(asked <= 9 + started.elapsed().as_secs() / 10, "{asked}");
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
    assert_eq!(status["problem"]["block"], message.head.to_string());
    assert!(!status["problem"]["hint"].as_str().unwrap().is_empty());
    // The publisher comes and brings everything.
    node.publish(&message).await.ok();
    let status = node.get(&path).await.ok().json();
    assert_eq!(status["pin"], "pinned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_on_demand_brings_what_its_setting_allows_and_no_more() {
    let has_port = |config: &mut perennis_node::config::Config| {
        config.p2p.listen = Some(vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()]);
    };
    let source = TestNode::with(has_port).await;
    let root = source
        .keep(1, &[Block::new(Codec::Raw, vec![7; 2_000]).unwrap()])
        .await;
    let peer = source.node.p2p_addresses()[0].to_string();
    let path = format!("/v1/fetched/{root}?peer={peer}");
    for (max_bytes, last) in [(1_999, "failed"), (2_000, "done")] {
        let node = TestNode::with(|config| {
            has_port(config);
            config.fetch.max_bytes = max_bytes;
        })
        .await;
        let reply = node.ask("POST", &path, &[], b"").await;
        let lines = String::from_utf8(reply.ok().body.to_vec()).unwrap();
        let line: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        assert_eq!(line["event"], last, "{lines}");
        if last == "failed" {
            assert_eq!(line["code"], "dag_too_large");
            let hint = line["hint"].as_str().unwrap();
            assert!(hint.contains("fetch.max-size"), "{hint}");
        }
        let kept = node.get("/v1/fetched").await.ok().json();
        let count = kept["fetched"].as_array().unwrap().len();
        assert_eq!(count, usize::from(last == "done"));
    }
}
