//! A publisher sends a list, and every way in which that can be wrong.

use perennis_shared::cid::{Block, Codec};
use perennis_shared::codec::car;

use crate::support::{Author, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_served_from_then_on() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let message = author.publish(&[("@alice", "friend"), ("@bob", "spam")]);
    let receipt = node.publish(&message).await.ok().json();
    assert_eq!(receipt["name"], message.name.to_string());
    assert_eq!(receipt["sequence"], 1);
    assert_eq!(receipt["head"], message.head.to_string());
    assert_eq!(receipt["stored"], true);
    assert_eq!(receipt["blocks"]["received"], message.blocks.len());
    assert_eq!(receipt["blocks"]["new"], message.blocks.len());
    for block in author.all_blocks() {
        let reply = node.get(&format!("/ipfs/{}", block.cid())).await;
        assert_eq!(reply.ok().body, block.bytes());
    }
    let record = node
        .get(&format!("/routing/v1/ipns/{}", message.name))
        .await;
    assert_eq!(record.ok().body, message.record.bytes());
    let status = node
        .get(&format!("/v1/names/{}", message.name))
        .await
        .ok()
        .json();
    assert_eq!(status["pin"], "pinned");
    assert_eq!(status["did"], message.did.to_string());
    assert_eq!(status["document"], message.document.to_string());
    assert_eq!(status["equivocated"], false);
    let index = node.get("/v1/index").await.ok().json();
    assert_eq!(index["entries"][0]["did"], message.did.to_string());
    assert_eq!(index["entries"][0]["tagList"], status["list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_sent_again_is_acknowledged_again() {
    let node = TestNode::start().await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    let first = node.publish(&message).await.ok().json();
    let again = node.publish(&message).await.ok().json();
    assert_eq!(first["sequence"], again["sequence"]);
    assert_eq!(again["blocks"]["new"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_brings_only_what_is_new() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    node.publish(&author.publish_many(300)).await.ok();
    let update = author.publish(&[("@alice", "friend")]);
    let receipt = node.publish(&update).await.ok().json();
    assert_eq!(receipt["sequence"], 2);
    let new = receipt["blocks"]["new"].as_u64().unwrap();
    // The DID document is the same as before.
    assert_eq!(new, update.blocks.len() as u64 - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_blocks_are_listed_and_nothing_is_kept() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    author.publish(&[("@alice", "friend")]);
    // The first entry and its tree were never sent.
    let update = author.publish(&[("@bob", "spam")]);
    let refused = node.publish(&update).await;
    refused.refused(422, "missing_blocks");
    let missing = refused.json()["error"]["missing"]
        .as_array()
        .unwrap()
        .clone();
    assert!(!missing.is_empty());
    let head = node.get(&format!("/ipfs/{}", update.head)).await;
    head.refused(404, "not_found");
    node.get(&format!("/v1/names/{}", update.name))
        .await
        .refused(404, "not_found");
    // Sent again with those, and then with what those lead to.
    let mut whole = update.clone();
    whole.blocks = author.all_blocks();
    node.publish(&whole).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_never_goes_back() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let first = author.publish(&[("@alice", "friend")]);
    let second = author.publish(&[("@alice", "enemy")]);
    node.publish(&first).await.ok();
    node.publish(&second).await.ok();
    node.publish(&first).await.refused(409, "stale_record");
    node.put_record(&first).await.refused(409, "stale_record");
    let status = node
        .get(&format!("/v1/names/{}", first.name))
        .await
        .ok()
        .json();
    assert_eq!(status["sequence"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_values_with_one_sequence_are_refused_and_remembered() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let first = author.publish(&[("@alice", "friend")]);
    node.publish(&first).await.ok();
    let mut second = author.publish(&[("@alice", "enemy")]);
    second.record = author.record(second.head, 1, 90 * crate::support::DAY);
    node.publish(&second).await.refused(409, "equivocation");
    let status = node
        .get(&format!("/v1/names/{}", first.name))
        .await
        .ok()
        .json();
    assert_eq!(status["head"], first.head.to_string());
    assert_eq!(status["equivocated"], true);
    let metrics = node.get("/metrics").await.ok().body.clone();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    assert!(metrics.contains("ipns_equivocations_total 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_publishes_under_the_name_of_another() {
    let node = TestNode::start().await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    let mut stolen = message.clone();
    stolen.name = Author::new(2).name();
    node.publish(&stolen).await.refused(400, "bad_signature");

    // A record of one's own that points at the entry of another.
    let thief = Author::new(2);
    let mut stolen = message.clone();
    stolen.name = thief.name();
    stolen.record = thief.record(message.head, 1, crate::support::DAY);
    node.publish(&stolen).await.refused(422, "invalid_head");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_and_a_head_must_belong_together() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let first = author.publish(&[("@alice", "friend")]);
    let mut second = author.publish(&[("@bob", "spam")]);
    second.record = first.record.clone();
    node.publish(&second).await.refused(422, "head_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_messages_are_refused_and_leave_nothing() {
    let node = TestNode::start().await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    let car = message.car();
    let path = format!("/v1/names/{}/publish", message.name);
    let headers = [("Content-Type", "application/vnd.ipld.car")];

    let mut flipped = car.clone();
    let end = flipped.len() - message.record.bytes().len() - 80;
    flipped[end] ^= 1;
    let reply = node.ask("POST", &path, &headers, &flipped).await;
    reply.refused(400, "invalid_car");

    let cut = &car[..car.len() - 7];
    let reply = node.ask("POST", &path, &headers, cut).await;
    reply.refused(400, "invalid_car");

    let reply = node.ask("POST", &path, &headers, b"hello").await;
    reply.refused(400, "invalid_car");

    let other = car::write(&[message.head], &message.blocks).unwrap();
    let reply = node.ask("POST", &path, &headers, &other).await;
    reply.refused(400, "invalid_message");

    let reply = node.ask("POST", &path, &[], &car).await;
    reply.refused(415, "unsupported_media_type");

    let reply = node
        .ask("POST", "/v1/names/nonsense/publish", &headers, &car)
        .await;
    reply.refused(400, "invalid_name");

    let names = node.get("/v1/names").await.ok().json();
    assert_eq!(names["names"].as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_record_is_refused() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let mut message = author.publish(&[("@alice", "friend")]);
    let value = format!("/ipfs/{}", message.head);
    let past = perennis_shared::time::Millis(1_000_000_000_000);
    message.record = author.record_until(&value, 1, past);
    node.publish(&message).await.refused(400, "expired_record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_has_ended_is_held_for_its_owner_and_resolved_no_more() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let mut message = author.publish(&[("@alice", "friend")]);
    let path = format!("/v1/names/{}", message.name);
    node.get(&format!("{path}/record"))
        .await
        .refused(404, "not_found");
    message.record = author.record(message.head, 1, std::time::Duration::from_secs(2));
    node.publish(&message).await.ok();
    node.eventually(&path, |reply| reply.json()["expired"] == true)
        .await;
    let routing = format!("/routing/v1/ipns/{}", message.name);
    assert_eq!(node.get(&routing).await.code(), "not_found");
    let held = node.get(&format!("{path}/record")).await;
    assert_eq!(held.ok().body, message.record.bytes());
    assert_eq!(
        held.header("content-type"),
        Some("application/vnd.ipfs.ipns-record")
    );
    assert_eq!(held.header("cache-control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_nothing_leads_to_are_not_kept() {
    let node = TestNode::start().await;
    let mut message = Author::new(1).publish(&[("@alice", "friend")]);
    let stray = Block::new(Codec::Raw, b"advertisement".to_vec()).unwrap();
    message.blocks.push(stray.clone());
    let receipt = node.publish(&message).await.ok().json();
    assert_eq!(receipt["blocks"]["new"], message.blocks.len() - 1);
    node.get(&format!("/ipfs/{}", stray.cid()))
        .await
        .refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_for_each_name() {
    let node = TestNode::with(|config| config.admission.name_blocks = 5).await;
    let mut author = Author::new(1);
    node.publish(&author.publish(&[("@alice", "friend")]))
        .await
        .ok();
    let refused = node.publish(&author.publish_many(2_000)).await;
    refused.refused(429, "quota");
    node.publish(&Author::new(2).publish(&[("@alice", "friend")]))
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_names_publish_where_there_is_a_list() {
    let friend = Author::new(1).name();
    let node = TestNode::with(|config| config.admission.allow = vec![friend]).await;
    node.publish(&Author::new(1).publish(&[("@alice", "friend")]))
        .await
        .ok();
    node.publish(&Author::new(2).publish(&[("@alice", "friend")]))
        .await
        .refused(403, "not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_told_by_its_media_type_in_any_case_and_with_parameters() {
    let node = TestNode::start().await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    let path = format!("/v1/names/{}/publish", message.name);
    for (content_type, status) in [
        ("Application/VND.ipld.CAR", 200),
        ("application/vnd.ipld.car; version=1", 200),
        (" application/vnd.ipld.car ;Version=\"1\"", 200),
        ("application/vnd.ipld.raw", 415),
        ("application/*", 415),
    ] {
        let headers = [("Content-Type", content_type)];
        let reply = node.ask("POST", &path, &headers, &message.car()).await;
        assert_eq!(reply.status, status, "{content_type}");
    }
}
