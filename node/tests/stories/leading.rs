//! Records that point at other names: what they lead to is kept, and where they lead is told.

use std::time::Duration;

use perennis_node::config::Config;
use perennis_rt as rt;
use perennis_shared::cid::{Block, Codec};
use perennis_shared::ipns::{Name, Record};
use serde_json::{Value as Json, json};

use crate::support::{Author, DAY, Reply, TestNode};

const RECORD: (&str, &str) = ("Content-Type", "application/vnd.ipfs.ipns-record");

/// A record of an author's that points at this.
fn record(author: &Author, sequence: u64, value: &str) -> Record {
    author.record_until(value, sequence, rt::now() + 30 * DAY)
}

fn path(name: Name) -> String {
    format!("/v1/names/{name}")
}

fn at(name: Name) -> String {
    format!("/ipns/{name}")
}

async fn follow(node: &TestNode, author: &Author, record: &Record) -> Json {
    let path = path(author.name());
    let reply = node.ask("PUT", &path, &[RECORD], record.bytes()).await;
    reply.ok().json()
}

/// Hands a record to a node as a router.
async fn put(node: &TestNode, author: &Author, record: &Record) {
    let path = format!("/routing/v1/ipns/{}", author.name());
    node.ask("PUT", &path, &[RECORD], record.bytes()).await.ok();
}

fn is_gone(reply: &Reply) -> bool {
    reply.status == 404
}

/// A node that has a router, and looks at followed names every second.
async fn beside(router: &TestNode) -> TestNode {
    let url = router.url();
    let change = |config: &mut Config| {
        config.follow.period = Duration::from_secs(1);
        config.ipns.routers = vec![url.clone()];
        config.pins.sources = vec![url];
    };
    TestNode::with(change).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_followed_name_leads_to_is_kept_as_if_it_were_followed() {
    let others = TestNode::start().await;
    let (first, second, third) = (Author::new(1), Author::new(2), Author::new(3));
    let leaf = Block::new(Codec::Raw, vec![7; 5_000]).unwrap();
    let content = others.keep(9, std::slice::from_ref(&leaf)).await;
    put(&others, &second, &record(&second, 1, &at(third.name()))).await;
    let last = record(&third, 4, &format!("/ipfs/{content}/a"));
    put(&others, &third, &last).await;

    let node = beside(&others).await;
    let one = record(&first, 1, &format!("{}/b", at(second.name())));
    follow(&node, &first, &one).await;
    let is_pinned = |reply: &Reply| reply.status == 200 && reply.json()["pin"] == "pinned";
    let status = node.eventually(&path(third.name()), is_pinned).await.json();
    assert_eq!(status["followed"], true);
    assert_eq!(status["following"]["asked"], false);
    assert_eq!(
        status["following"]["ledBy"],
        json!([second.name().to_string()])
    );
    // Its record is served, its block is here.
    let served = node
        .get(&format!("/routing/v1/ipns/{}", third.name()))
        .await;
    assert_eq!(served.ok().body, last.bytes());
    node.get(&format!("/ipfs/{}?format=raw", leaf.cid()))
        .await
        .ok();

    // Each step is told.
    let is_settled = |reply: &Reply| reply.json()["problem"].is_null();
    let status = node
        .eventually(&path(first.name()), is_settled)
        .await
        .json();
    assert_eq!(status["pin"], "record_only");
    let steps = status["chain"]["steps"].as_array().unwrap();
    let names: Vec<&Json> = steps.iter().map(|step| &step["name"]).collect();
    assert_eq!(
        names,
        [&second.name().to_string(), &third.name().to_string()]
    );
    assert_eq!(steps[1]["pin"], "pinned");
    assert!(status["chain"]["problem"].is_null());
    let resolved = node.get(&format!("/v1/resolve/{}", first.name())).await;
    let resolved = resolved.ok().json();
    assert_eq!(resolved["path"], format!("/ipfs/{content}/a/b"));
    assert_eq!(resolved["steps"].as_array().unwrap().len(), 3);
    assert_eq!(resolved["steps"][2]["sequence"], 4);

    // Nobody unfollows what another leads to; with that one it goes.
    node.ask("DELETE", &path(third.name()), &[], b"")
        .await
        .refused(409, "followed_for_another");
    let left = node.ask("DELETE", &path(first.name()), &[], b"").await;
    assert_eq!(left.status, 204);
    node.eventually(&path(second.name()), is_gone).await;
    node.eventually(&path(third.name()), is_gone).await;
    assert_eq!(node.get("/v1/status").await.ok().json()["names"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_points_elsewhere_lets_go_of_what_it_led_to() {
    let others = TestNode::start().await;
    let (first, second, third) = (Author::new(1), Author::new(2), Author::new(3));
    put(&others, &second, &record(&second, 1, "/ipfs/bafkqaaa")).await;
    put(&others, &third, &record(&third, 1, "/ipfs/bafkqaaa")).await;
    let node = beside(&others).await;
    follow(&node, &first, &record(&first, 1, &at(second.name()))).await;
    let is_here = |reply: &Reply| reply.status == 200;
    node.eventually(&path(second.name()), is_here).await;
    follow(&node, &first, &record(&first, 2, &at(third.name()))).await;
    node.eventually(&path(third.name()), is_here).await;
    node.eventually(&path(second.name()), is_gone).await;

    // What the operator has asked for as well stays.
    let asked = record(&third, 1, "/ipfs/bafkqaaa");
    let status = follow(&node, &third, &asked).await;
    assert_eq!(status["following"]["asked"], true);
    follow(&node, &first, &record(&first, 3, "/ipfs/bafkqaaa")).await;
    node.eventually(&path(first.name()), |reply| {
        reply.json()["chain"].is_null() && reply.json()["pin"] == "pinned"
    })
    .await;
    node.get(&path(third.name())).await.ok();
    let left = node.ask("DELETE", &path(third.name()), &[], b"").await;
    assert_eq!(left.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_a_circle_are_told_and_hold_nothing() {
    let others = TestNode::start().await;
    let (first, second) = (Author::new(1), Author::new(2));
    put(&others, &second, &record(&second, 1, &at(first.name()))).await;
    let node = beside(&others).await;
    follow(&node, &first, &record(&first, 1, &at(second.name()))).await;
    let is_told = |reply: &Reply| {
        let problem = &reply.json()["problem"]["message"];
        problem.as_str().is_some_and(|text| text.contains("circle"))
    };
    let status = node.eventually(&path(first.name()), is_told).await.json();
    assert_eq!(status["chain"]["problem"]["code"], "name_cycle");
    let resolve = format!("/v1/resolve/{}", first.name());
    node.get(&resolve).await.refused(422, "name_cycle");
    let left = node.ask("DELETE", &path(first.name()), &[], b"").await;
    assert_eq!(left.status, 204);
    node.eventually(&path(second.name()), is_gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_says_why() {
    let others = TestNode::start().await;
    let (first, second) = (Author::new(1), Author::new(2));
    let node = beside(&others).await;
    follow(&node, &first, &record(&first, 1, &at(second.name()))).await;
    let is_told = |reply: &Reply| {
        let problem = &reply.json()["problem"]["message"];
        let text = problem.as_str().unwrap_or_default();
        text.contains("was not found") && text.contains(&second.name().to_string())
    };
    let status = node.eventually(&path(first.name()), is_told).await.json();
    assert_eq!(status["chain"]["problem"]["code"], "not_found");
    let resolve = format!("/v1/resolve/{}", first.name());
    node.get(&resolve).await.refused(404, "not_found");

    // Once it is there it is followed; that it points at a domain is told where it does.
    let domain = record(&second, 1, "/ipns/docs.example.org/x");
    put(&node, &second, &domain).await;
    let is_led = |reply: &Reply| reply.json()["following"]["asked"] == false;
    let status = node.eventually(&path(second.name()), is_led).await.json();
    assert_eq!(status["problem"]["code"], "dnslink");
    let reply = node.get(&resolve).await;
    reply.refused(422, "no_head");
    let error = reply.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(error.contains("docs.example.org"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_name_leads_is_asked_anew_where_the_caller_wants_it() {
    let others = TestNode::start().await;
    let author = Author::new(1);
    put(&others, &author, &record(&author, 1, "/ipfs/bafkqaaa")).await;
    let node = beside(&others).await;
    let resolve = format!("/v1/resolve/{}", author.name());
    let sequence = |reply: Reply| reply.ok().json()["steps"][0]["sequence"].clone();
    let only_here = [("Cache-Control", "only-if-cached")];
    assert_eq!(node.get_with(&resolve, &only_here).await.status, 412);
    assert_eq!(sequence(node.get(&resolve).await), 1);
    put(&others, &author, &record(&author, 2, "/ipfs/bafkqaaa")).await;
    // What was heard a moment ago counts, until somebody asks anew; then that counts.
    assert_eq!(sequence(node.get(&resolve).await), 1);
    let anew = [("Cache-Control", "no-cache")];
    assert_eq!(sequence(node.get_with(&resolve, &anew).await), 2);
    assert_eq!(sequence(node.get(&resolve).await), 2);
    assert_eq!(sequence(node.get_with(&resolve, &only_here).await), 2);
}
