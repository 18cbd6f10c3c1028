//! The operator keeps somebody else's name alive: its record, and all it points at, whatever that is.

use std::time::Duration;

use perennis_node::app::RunningNode;
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::codec::dag_pb::{self, Link, Node as PbNode};
use perennis_shared::codec::{Value, car, dag_cbor};
use perennis_shared::ipns::Record;
use serde_json::Value as Json;

use crate::support::{Author, DAY, Reply, TestNode, config};

const SECOND: Duration = Duration::from_secs(1);
const RECORD: (&str, &str) = ("Content-Type", "application/vnd.ipfs.ipns-record");
const CAR: (&str, &str) = ("Content-Type", "application/vnd.ipld.car");

/// Somebody's files: a DAG-CBOR block over a DAG-PB one over raw leaves. The root first.
fn files(text: &str) -> Vec<Block> {
    let leaf = |byte: u8| Block::new(Codec::Raw, vec![byte; 5_000]).unwrap();
    let leaves = [
        leaf(1),
        leaf(2),
        Block::new(Codec::Raw, text.as_bytes().to_vec()).unwrap(),
    ];
    let links = leaves.iter().map(|leaf| Link {
        hash: *leaf.cid(),
        name: Some(Vec::new()),
        size_claimed: Some(5_000),
    });
    let directory = PbNode {
        links: links.collect(),
        data: Some(vec![8, 1]),
    };
    let directory = Block::new(Codec::DagPb, dag_pb::encode(&directory).unwrap()).unwrap();
    let root = Value::map([
        ("files", Value::Link(*directory.cid())),
        ("text", Value::from(text)),
    ]);
    let root = Block::new(Codec::DagCbor, dag_cbor::encode(&root).unwrap()).unwrap();
    [root, directory].into_iter().chain(leaves).collect()
}

/// A CAR of the form of a publish.
fn message(head: &Cid, record: &Record, blocks: &[Block]) -> Vec<u8> {
    let record = Block::new(Codec::Raw, record.bytes().clone()).unwrap();
    car::write(&[*head, *record.cid()], blocks.iter().chain([&record])).unwrap()
}

async fn has_all(node: &TestNode, blocks: &[Block]) {
    for block in blocks {
        let reply = node.get(&format!("/ipfs/{}?format=raw", block.cid())).await;
        assert_eq!(reply.ok().body, block.bytes());
    }
}

fn is_pinned(reply: &Reply) -> bool {
    reply.status == 200 && reply.json()["pin"] == "pinned"
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_is_adopted_from_its_record_and_blocks_alone() {
    let node = TestNode::start().await;
    let owner = Author::new(1);
    let blocks = files("one");
    let head = *blocks[0].cid();
    let record = owner.record(head, 7, 30 * DAY);
    let path = format!("/v1/names/{}", owner.name());
    let reply = node
        .ask("PUT", &path, &[CAR], &message(&head, &record, &blocks))
        .await;
    let status = reply.ok().json();
    assert_eq!(
        (&status["pin"], &status["followed"]),
        (&Json::from("pinned"), &Json::from(true))
    );
    assert_eq!(
        (&status["did"], &status["sequence"]),
        (&Json::Null, &Json::from(7))
    );
    assert_eq!(status["blocks"], blocks.len());
    let end = record.validity().to_millis().to_string();
    assert_eq!(
        (&status["aliveUntil"], &status["expired"]),
        (&Json::from(end), &Json::from(false))
    );
    assert!(status["following"]["nextLook"].is_string());
    has_all(&node, &blocks).await;
    let served = node
        .get(&format!("/routing/v1/ipns/{}", owner.name()))
        .await;
    assert_eq!(served.ok().body, record.bytes());
    let pins = node.get("/v1/pins").await.ok().json();
    assert_eq!(pins["pins"][0]["cid"], head.to_string());
    let names = node.get("/v1/names").await.ok().json();
    assert_eq!(names["names"][0]["followed"], true);
    let metrics = node.get("/metrics").await.ok().body.clone();
    assert!(String::from_utf8_lossy(&metrics).contains("ipns_followed_names 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_may_come_in_several_parts() {
    let node = TestNode::start().await;
    let owner = Author::new(1);
    let blocks = files("one");
    let head = *blocks[0].cid();
    let record = owner.record(head, 1, 30 * DAY);
    let path = format!("/v1/names/{}", owner.name());
    let part = message(&head, &record, &blocks[..2]);
    let status = node
        .ask("PUT", &format!("{path}?more=true"), &[CAR], &part)
        .await;
    assert_ne!(status.ok().json()["pin"], "pinned");
    let rest = message(&head, &record, &blocks[2..]);
    let status = node.ask("PUT", &path, &[CAR], &rest).await.ok().json();
    assert_eq!(status["pin"], "pinned");
    has_all(&node, &blocks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn record_and_blocks_come_from_a_source_and_newer_ones_follow() {
    let source = TestNode::start().await;
    let owner = Author::new(1);
    let path = format!("/v1/names/{}", owner.name());
    let blocks = files("one");
    let head = *blocks[0].cid();
    let first = owner.record(head, 1, 30 * DAY);
    let body = message(&head, &first, &blocks);
    source.ask("PUT", &path, &[CAR], &body).await.ok();

    let router = TestNode::start().await;
    let url = router.url();
    let node = TestNode::with(|config| {
        config.follow.period = SECOND;
        config.ipns.routers = vec![url];
    })
    .await;
    let follow = format!("{path}?source={}", source.url().replace(':', "%3A"));
    let status = node.ask("PUT", &follow, &[], b"").await.ok().json();
    assert_eq!(
        status["following"]["sources"],
        serde_json::json!([source.url()])
    );
    node.eventually(&path, is_pinned).await;
    has_all(&node, &blocks).await;
    // The record is put to the routers as it is.
    let record = format!("/routing/v1/ipns/{}", owner.name());
    let put = router
        .eventually(&record, |reply| reply.body == *first.bytes())
        .await;
    assert_eq!(put.status, 200);

    let newer = files("two");
    let next = *newer[0].cid();
    let second = owner.record(next, 2, 30 * DAY);
    let body = message(&next, &second, &newer);
    source.ask("PUT", &path, &[CAR], &body).await.ok();
    let status = node
        .eventually(&path, |reply| {
            reply.json()["sequence"] == 2 && is_pinned(reply)
        })
        .await
        .json();
    assert_eq!(status["head"], next.to_string());
    has_all(&node, &newer).await;
    router
        .eventually(&record, |reply| reply.body == *second.bytes())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_followed_is_a_list_and_unfollowing_forgets_it() {
    let source = TestNode::start().await;
    let mut author = Author::new(1);
    let published = author.publish(&[("@alice", "friend")]);
    source.publish(&published).await.ok();
    let url = source.url();
    let node = TestNode::with(|config| config.ipns.routers = vec![url.clone()]).await;
    let path = format!("/v1/names/{}", author.name());
    // The record comes from the router, the blocks from a source.
    node.ask("PUT", &format!("{path}?source={url}"), &[], b"")
        .await
        .ok();
    let status = node.eventually(&path, is_pinned).await.json();
    assert_eq!(status["did"], published.did.to_string());
    // A name that is not kept here is asked of the router: nobody else shall have it.
    source.node.shutdown().await;
    let reply = node.ask("DELETE", &path, &[], b"").await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    node.get(&path).await.refused(404, "not_found");
    let names = node.get("/v1/names").await.ok().json();
    assert_eq!(names["names"], serde_json::json!([]));
    assert_eq!(node.get("/v1/status").await.ok().json()["names"], 0);
    let record = node
        .get(&format!("/ipns/{}?format=ipns-record", author.name()))
        .await;
    assert_eq!(record.status, 404);
    node.ask("DELETE", &path, &[], b"")
        .await
        .refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_owner_published_here_stays_when_it_is_unfollowed() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let path = format!("/v1/names/{}", author.name());
    let before = author.publish(&[("@alice", "friend")]);
    node.publish(&before).await.ok();
    node.ask("PUT", &path, &[RECORD], before.record.bytes())
        .await
        .ok();
    assert_eq!(node.ask("DELETE", &path, &[], b"").await.status, 204);
    let status = node.get(&path).await.ok().json();
    assert_eq!(
        (&status["pin"], &status["followed"]),
        (&Json::from("pinned"), &Json::from(false))
    );

    // A record of something else that was put here: it goes back to its record alone.
    let owner = Author::new(3);
    let blocks = files("one");
    let head = *blocks[0].cid();
    let record = owner.record(head, 1, DAY);
    let other = format!("/v1/names/{}", owner.name());
    let put = format!("/routing/v1/ipns/{}", owner.name());
    node.ask("PUT", &put, &[RECORD], record.bytes()).await.ok();
    let body = message(&head, &record, &blocks);
    let status = node.ask("PUT", &other, &[CAR], &body).await.ok().json();
    assert_eq!(status["pin"], "pinned");
    assert_eq!(node.ask("DELETE", &other, &[], b"").await.status, 204);
    node.eventually(&other, |reply| reply.json()["pin"] == "record_only")
        .await;

    // Followed first, published then.
    let mut other = Author::new(2);
    let path = format!("/v1/names/{}", other.name());
    let message = other.publish(&[("@alice", "friend")]);
    node.ask("PUT", &path, &[RECORD], message.record.bytes())
        .await
        .ok();
    node.publish(&message).await.ok();
    assert_eq!(node.get(&path).await.ok().json()["followed"], true);
    assert_eq!(node.ask("DELETE", &path, &[], b"").await.status, 204);
    assert_eq!(node.get(&path).await.ok().json()["pin"], "pinned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_lapses_is_told_and_its_blocks_stay() {
    let node = TestNode::with(|config| {
        config.follow.period = SECOND;
        config.pins.scan_period = SECOND;
    })
    .await;
    let owner = Author::new(1);
    let blocks = files("one");
    let head = *blocks[0].cid();
    let record = owner.record(head, 1, 2 * SECOND);
    let path = format!("/v1/names/{}", owner.name());
    node.ask("PUT", &path, &[CAR], &message(&head, &record, &blocks))
        .await
        .ok();
    let status = node
        .eventually(&path, |reply| {
            let status = reply.json();
            // Looked for since, and not found.
            status["expired"] == true && status["following"]["failures"].as_u64() > Some(0)
        })
        .await
        .json();
    assert_eq!(
        status["aliveUntil"],
        record.validity().to_millis().to_string()
    );
    assert!(status["following"]["lastError"].is_string());
    assert_eq!(status["pin"], "pinned");
    has_all(&node, &blocks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followed_names_survive_a_restart() {
    let source = TestNode::start().await;
    let node = TestNode::start().await;
    let owner = Author::new(1);
    let path = format!("/v1/names/{}", owner.name());
    let blocks = files("one");
    let head = *blocks[0].cid();
    let record = owner.record(head, 1, 30 * DAY);
    let follow = format!("{path}?source={}", source.url());
    // Nothing of it is anywhere yet but the record.
    node.ask("PUT", &follow, &[RECORD], record.bytes())
        .await
        .ok();
    node.node.shutdown().await;
    source
        .ask("PUT", &path, &[CAR], &message(&head, &record, &blocks))
        .await
        .ok();
    let mut settings = config(node.dir.path());
    settings.follow.period = SECOND;
    let running = RunningNode::start(settings).await.unwrap();
    let again = TestNode {
        dir: node.dir,
        node: running,
    };
    let status = again.get(&path).await.ok().json();
    assert_eq!(
        status["following"]["sources"],
        serde_json::json!([source.url()])
    );
    // A newer head wakes the fetch.
    let newer = files("two");
    let next = *newer[0].cid();
    let second = owner.record(next, 2, 30 * DAY);
    source
        .ask("PUT", &path, &[CAR], &message(&next, &second, &newer))
        .await
        .ok();
    again.ask("PUT", &follow, &[], b"").await.ok();
    again
        .eventually(&path, |reply| {
            reply.json()["sequence"] == 2 && is_pinned(reply)
        })
        .await;
    has_all(&again, &newer).await;
    let metrics = again.get("/metrics").await.ok().body.clone();
    assert!(String::from_utf8_lossy(&metrics).contains("ipns_followed_names 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_for_what_is_followed() {
    let node = TestNode::with(|config| config.admission.name_bytes = 8_192).await;
    let owner = Author::new(1);
    let blocks = files("one");
    let head = *blocks[0].cid();
    let record = owner.record(head, 1, 30 * DAY);
    let path = format!("/v1/names/{}", owner.name());
    let body = message(&head, &record, &blocks);
    node.ask("PUT", &path, &[CAR], &body)
        .await
        .refused(429, "quota");
    node.get(&path).await.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_is_told_with_the_reason() {
    let node = TestNode::start().await;
    let owner = Author::new(1);
    let path = format!("/v1/names/{}", owner.name());
    let head = *files("one")[0].cid();
    let record = owner.record(head, 1, DAY);
    node.ask("PUT", &path, &[], b"")
        .await
        .refused(404, "not_found");
    // Who could not be asked may have it.
    let gone = TestNode::start().await;
    let closed = gone.url();
    gone.node.shutdown().await;
    let reply = node
        .ask("PUT", &format!("{path}?source={closed}"), &[], b"")
        .await;
    reply.refused(502, "routers_failed");
    let told = reply.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(told.contains(&closed), "{told}");
    node.ask("PUT", "/v1/names/nonsense", &[], b"")
        .await
        .refused(400, "invalid_name");
    let bad = format!("{path}?source=nonsense");
    node.ask("PUT", &bad, &[], b"")
        .await
        .refused(400, "invalid_source");
    let other = [("Content-Type", "text/plain")];
    node.ask("PUT", &path, &other, b"x")
        .await
        .refused(415, "unsupported_media_type");
    let foreign = Author::new(2).record(head, 1, DAY);
    node.ask("PUT", &path, &[RECORD], foreign.bytes())
        .await
        .refused(400, "bad_signature");
    let long = vec![0; 10_241];
    node.ask("PUT", &path, &[RECORD], &long)
        .await
        .refused(413, "too_large");
    node.ask("PUT", &path, &[CAR], b"no car")
        .await
        .refused(400, "invalid_car");
    // Of two records the newer one is followed, whichever came first.
    node.ask("PUT", &path, &[RECORD], owner.record(head, 5, DAY).bytes())
        .await
        .ok();
    let status = node
        .ask("PUT", &path, &[RECORD], record.bytes())
        .await
        .ok()
        .json();
    assert_eq!(status["sequence"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operator_may_follow() {
    let node = TestNode::start().await;
    let owner = Author::new(1);
    let path = format!("/v1/names/{}", owner.name());
    let record = owner.record(*files("one")[0].cid(), 1, DAY);
    let foreign = [("Origin", "https://evil.example"), ("Origin", "null")];
    for header in foreign {
        node.ask("PUT", &path, &[RECORD, header], record.bytes())
            .await
            .refused(403, "foreign_origin");
        node.ask("DELETE", &path, &[header], b"")
            .await
            .refused(403, "foreign_origin");
    }
    let own = format!("http://{}", node.admin());
    let page = [RECORD, ("Origin", own.as_str())];
    node.ask("PUT", &path, &page, record.bytes()).await.ok();

    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "a-long-enough-token\n").unwrap();
    let node = TestNode::with(|config| config.http.token_file = Some(token)).await;
    node.ask_in_public("PUT", &path, &[RECORD], record.bytes())
        .await
        .refused(401, "unauthorized");
    let bearer = [RECORD, ("Authorization", "Bearer a-long-enough-token")];
    let followed = node.ask_in_public("PUT", &path, &bearer, record.bytes());
    followed.await.ok();
    let ended = node.ask_in_public("DELETE", &path, &bearer[1..], b"");
    assert_eq!(ended.await.status, 204);
    node.get(&path).await.refused(404, "not_found");
}
