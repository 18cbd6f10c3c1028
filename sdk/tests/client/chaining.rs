//! Names whose records point at other names.

use std::time::Duration;

use perennis_rt as rt;
use perennis_sdk::client::{LabelQuery, ListError, ResolveError};
use perennis_shared::{
    cid::{Cid, Codec, cid_of},
    did::Did,
    error::{ErrorKind, Retryable},
    ipns::{self, Name, NameChainError, Record, RecordFields},
    limits::NAME_CHAIN,
    sign::SigningKey,
    time::Timestamp,
};

use crate::double::{Door, Fault, Node};
use crate::people::device;

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn name(number: u8) -> Name {
    Name::from_public_key(&key(number).public())
}

fn did(number: u8) -> Did {
    Did::from_name(name(number)).unwrap()
}

fn record(number: u8, sequence: u64, value: &str) -> Record {
    let fields = RecordFields {
        value,
        sequence,
        validity: Timestamp::from(rt::now() + Duration::from_secs(86_400)),
        ttl: Duration::from_secs(60),
    };
    ipns::create(&key(number), &fields).unwrap()
}

/// The record of a name points at the next name.
fn points(node: &Node, from: u8, to: u8) {
    let value = format!("/ipns/{}", name(to));
    node.put_record(&name(from), &record(from, 1, &value));
}

fn content() -> Cid {
    cid_of(Codec::DagPb, b"content")
}

#[tokio::test]
async fn a_record_that_points_at_another_name_is_followed_and_each_step_is_seen() {
    let node = Node::start().await;
    let value = format!("/ipns/{}/pages/", name(2).peer_id());
    node.put_record(&name(1), &record(1, 7, &value));
    points(&node, 2, 3);
    let end = format!("/ipfs/{}/site", content());
    node.put_record(&name(3), &record(3, 9, &end));

    let resolved = device(&[&node]).resolve(&did(1)).await.unwrap();
    assert_eq!((resolved.head, &*resolved.path), (content(), "site/pages"));
    // What stands beside it is of the name that was asked for.
    assert_eq!((resolved.name, resolved.sequence), (name(1), 7));
    let steps: Vec<(Name, u64)> = resolved
        .steps
        .iter()
        .map(|step| (step.name, step.record.sequence()))
        .collect();
    assert_eq!(steps, [(name(1), 7), (name(2), 1), (name(3), 9)]);
}

#[tokio::test]
async fn each_name_on_the_way_does_not_go_back() {
    let node = Node::start().await;
    points(&node, 1, 2);
    let end = format!("/ipfs/{}", content());
    node.put_record(&name(2), &record(2, 5, &end));
    let client = device(&[&node]);
    client.resolve(&did(1)).await.unwrap();
    node.put_record(&name(2), &record(2, 4, "/ipfs/bafkqaaa"));
    let resolved = client.resolve(&did(1)).await.unwrap();
    assert_eq!(resolved.head, content());
    let refused = resolved.steps[1].refused.as_ref().unwrap();
    assert_eq!(refused.sequence, 4);
    assert!(resolved.refused.is_none());
}

#[tokio::test]
async fn a_circle_ends_at_once_and_names_are_told() {
    let node = Node::start().await;
    points(&node, 1, 2);
    points(&node, 2, 1);
    let error = device(&[&node]).resolve(&did(1)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("name_cycle", ErrorKind::Reject)
    );
    let names = vec![name(1), name(2), name(1)];
    assert!(matches!(
        error,
        ResolveError::Chain(NameChainError::Cycle { names: told }) if told == names
    ));
    assert_eq!(node.requests(Door::Routing), 2);
}

#[tokio::test]
async fn no_more_names_are_asked_for_than_the_limit() {
    let node = Node::start().await;
    let last = u8::try_from(NAME_CHAIN).unwrap();
    (0..last).for_each(|number| points(&node, number, number + 1));
    let client = device(&[&node]);
    let error = client.resolve(&did(0)).await.unwrap_err();
    assert_eq!(error.code(), "name_chain_too_long");
    assert_eq!(node.requests(Door::Routing), NAME_CHAIN);
    // One less is not too many.
    let end = format!("/ipfs/{}", content());
    node.put_record(&name(last), &record(last, 1, &end));
    let resolved = client.resolve(&did(1)).await.unwrap();
    assert_eq!(resolved.steps.len(), NAME_CHAIN);
}

#[tokio::test]
async fn what_is_no_content_and_who_is_not_there_is_told() {
    let node = Node::start().await;
    points(&node, 1, 2);
    let client = device(&[&node]);
    let error = client.resolve(&did(1)).await.unwrap_err();
    assert_eq!(error.code(), "not_found");
    assert!(error.to_string().contains(&name(2).to_string()), "{error}");
    node.put_record(&name(2), &record(2, 1, "/ipns/example.org/x"));
    let error = client.resolve(&did(1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the record points at a domain, /ipns/example.org/x, which is not followed"
    );
    node.always(Door::Routing, Fault::Silence);
    let other = device(&[&node]).resolve(&did(2)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Retry);
}

#[tokio::test]
async fn the_list_of_another_name_is_not_taken_for_that_of_the_identity() {
    let node = Node::start().await;
    points(&node, 1, 2);
    let end = format!("/ipfs/{}", content());
    node.put_record(&name(2), &record(2, 1, &end));
    let client = device(&[&node]);
    let refused = client.labels_of(&did(1), &LabelQuery::default()).await;
    assert!(matches!(
        refused,
        Err(ListError::Resolve(ResolveError::OtherName { path })) if path == format!("/ipns/{}", name(2))
    ));
}
