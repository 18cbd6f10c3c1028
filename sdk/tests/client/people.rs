//! Identities, devices and changes for the tests of the client.

use std::time::Duration;

use perennis_rt as rt;
use perennis_sdk::{
    NodeUrl,
    client::{
        Client, ClientConfig, LabelFilter, LabelQuery, NodeOutcome, PublishOptions, PublishOutcome,
    },
    router::CompositeTimes,
    store::{BlockStore, Memory},
};
use perennis_shared::{
    did::{Identity, Profile},
    taglist::{Handle, Key, Label, Note, Op, Tag},
};
use zeroize::Zeroizing;

use crate::double::{Node, backoff, times};

pub(crate) fn alice() -> Identity {
    Identity::from_root(Profile::V2, Zeroizing::new([1; 32]))
}

pub(crate) fn bob() -> Identity {
    Identity::from_root(Profile::V1, Zeroizing::new([2; 32]))
}

pub(crate) fn config(nodes: &[&Node]) -> ClientConfig {
    ClientConfig {
        nodes: urls(nodes),
        backoff: backoff(),
        http: times(),
        resolve: CompositeTimes {
            deadline: Duration::from_secs(5),
            settle: Duration::from_millis(700),
        },
        publish_time: Duration::from_secs(2),
        ..ClientConfig::default()
    }
}

pub(crate) fn on<S: BlockStore + 'static>(store: S, nodes: &[&Node]) -> Client<S> {
    Client::new(store, config(nodes)).unwrap()
}

pub(crate) fn device(nodes: &[&Node]) -> Client<Memory> {
    on(Memory::new(), nodes)
}

pub(crate) fn urls(nodes: &[&Node]) -> Vec<NodeUrl> {
    nodes.iter().map(|node| node.url.clone()).collect()
}

/// Waits until the wall clock is past what it says now, so that what follows is a later change. (It may be set
/// back a little meanwhile.)
pub(crate) async fn a_moment_later() {
    let before = rt::now();
    while rt::now() <= before {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn set(handle: &str, label: &str) -> Op {
    let handle = Handle::parse(handle).unwrap();
    Op::Set(Label::new(handle, Tag::parse(label).unwrap(), rt::now()))
}

pub(crate) fn set_with_note(handle: &str, label: &str, note: &str) -> Op {
    let Op::Set(mut label) = set(handle, label) else {
        unreachable!("`set` sets");
    };
    label.note = Some(Note::parse(note).unwrap());
    Op::Set(label)
}

pub(crate) fn remove(handle: &str, label: &str) -> Op {
    let handle = Handle::parse(handle).unwrap();
    Op::Remove(Key::new(&handle, &Tag::parse(label).unwrap()))
}

pub(crate) async fn publish<S: BlockStore + 'static>(
    client: &Client<S>,
    identity: &Identity,
    nodes: &[&Node],
) -> PublishOutcome {
    let options = PublishOptions::default();
    client
        .publish(identity, &urls(nodes), &options)
        .await
        .unwrap()
}

pub(crate) fn stored(outcome: &PublishOutcome) -> Vec<bool> {
    outcome
        .nodes
        .iter()
        .map(|node: &NodeOutcome| node.stored)
        .collect()
}

/// The own labels as `@handle label`, a staged one with `+`.
pub(crate) async fn own<S: BlockStore + 'static>(client: &Client<S>) -> Vec<String> {
    let page = client.labels(&everything()).await.unwrap();
    assert_eq!(page.next, None);
    let text = |listed: &perennis_sdk::client::ListedLabel| {
        let mark = if listed.staged { "+" } else { "" };
        format!(
            "{mark}{} {}",
            listed.label.subject.handle, listed.label.label
        )
    };
    page.labels.iter().map(text).collect()
}

/// The labels that `reader` sees of `identity`.
pub(crate) async fn seen<S: BlockStore + 'static>(
    reader: &Client<S>,
    identity: &Identity,
) -> Vec<String> {
    let labels = reader
        .labels_of(&identity.did(), &everything())
        .await
        .unwrap();
    let text = |listed: &perennis_sdk::client::ListedLabel| {
        format!("{} {}", listed.label.subject.handle, listed.label.label)
    };
    labels.page.labels.iter().map(text).collect()
}

pub(crate) fn everything() -> LabelQuery {
    LabelQuery {
        filter: LabelFilter::All,
        after: None,
        limit: 10_000,
        with_expired: true,
    }
}
