//! The log: its history, what changed between two entries, and starting it anew.

use std::time::Duration;

use perennis_sdk::{client::Client, store::Memory};
use perennis_shared::{cid::Cid, log::EntryKind};

use crate::{
    double::Node,
    people::{alice, bob, device, own, publish, remove, seen, set, stored},
};

/// A client that has published three times, and the heads.
async fn three_entries(node: &Node) -> (Client<Memory>, Vec<Cid>) {
    let client = device(&[node]);
    client.adopt(&alice()).await.unwrap();
    let changes = [
        vec![set("@a", "x"), set("@b", "x")],
        vec![remove("@a", "x")],
        vec![set("@c", "x")],
    ];
    let mut heads = Vec::new();
    for ops in changes {
        client.stage(&ops).await.unwrap();
        heads.push(publish(&client, &alice(), &[node]).await.head);
    }
    (client, heads)
}

#[tokio::test]
async fn history_is_newest_first_for_author_and_reader() {
    let node = Node::start().await;
    let (client, mut heads) = three_entries(&node).await;
    heads.reverse();
    let entries = client.history(10).await.unwrap();
    let cids: Vec<Cid> = entries.iter().map(|entry| *entry.cid()).collect();
    assert_eq!(cids, heads);
    let newest = device(&[&node])
        .history_of(&alice().did(), 2)
        .await
        .unwrap();
    assert_eq!(newest, entries[..2]);
    assert_eq!(client.history(1).await.unwrap().len(), 1);
    let nothing = device(&[]);
    nothing.adopt(&alice()).await.unwrap();
    assert_eq!(nothing.history(1).await.unwrap_err().code(), "empty_list");
}

#[tokio::test]
async fn difference_of_two_entries_names_each_label_once() {
    let node = Node::start().await;
    let (client, heads) = three_entries(&node).await;
    let did = alice().did();
    let all = client
        .diff(&did, Some(&heads[0]), &heads[2], None, 10)
        .await
        .unwrap();
    let told: Vec<String> = all
        .items
        .iter()
        .map(|change| {
            let sign = if change.after.is_some() { '+' } else { '-' };
            format!("{sign}{}", change.key.handle())
        })
        .collect();
    assert_eq!(told, ["-@a", "+@c"]);
    let page = client.diff(&did, None, &heads[0], None, 1).await.unwrap();
    assert_eq!(page.items.len(), 1);
    let next = client
        .diff(&did, None, &heads[0], page.next.as_ref(), 1)
        .await
        .unwrap();
    assert_eq!(next.items[0].key.handle().as_str(), "b");
    let reader = device(&[&node]);
    assert_eq!(
        reader
            .diff(&did, Some(&heads[0]), &heads[2], None, 10)
            .await
            .unwrap(),
        all
    );
}

#[tokio::test]
async fn entry_of_somebody_else_is_no_entry_of_this_list() {
    let node = Node::start().await;
    let (client, heads) = three_entries(&node).await;
    let error = client
        .diff(&bob().did(), None, &heads[0], None, 10)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "invalid_entry");
}

#[tokio::test]
async fn compacted_log_keeps_the_labels_and_readers_and_devices_follow() {
    let node = Node::start().await;
    let (client, heads) = three_entries(&node).await;
    let laptop = device(&[&node]);
    laptop
        .restore(&alice(), std::slice::from_ref(&node.url))
        .await
        .unwrap();
    let reader = device(&[&node]);
    assert_eq!(seen(&reader, &alice()).await, ["@b x", "@c x"]);

    let first = client.compact(&alice(), Duration::ZERO).await.unwrap();
    assert_eq!(
        (first.kind(), first.compacts()),
        (EntryKind::Compaction, Some(&heads[2]))
    );
    assert_eq!(own(&client).await, ["@b x", "@c x"]);
    let outcome = publish(&client, &alice(), &[&node]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (4, vec![true]));
    assert_eq!(outcome.head, *first.cid());
    assert_eq!(client.history(10).await.unwrap().len(), 1);

    assert_eq!(seen(&reader, &alice()).await, ["@b x", "@c x"]);
    laptop.stage(&[set("@d", "x")]).await.unwrap();
    let outcome = publish(&laptop, &alice(), &[&node]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (5, vec![true]));
    assert_eq!(laptop.history(10).await.unwrap().len(), 2);
    assert_eq!(seen(&reader, &alice()).await, ["@b x", "@c x", "@d x"]);
    publish(&client, &alice(), &[&node]).await;
    assert_eq!(own(&client).await, ["@b x", "@c x", "@d x"]);
}

#[tokio::test]
async fn device_with_changes_of_its_own_merges_a_compacted_log() {
    let node = Node::start().await;
    let (client, _) = three_entries(&node).await;
    let (laptop, other) = (device(&[&node]), Node::start().await);
    laptop
        .restore(&alice(), std::slice::from_ref(&node.url))
        .await
        .unwrap();
    laptop.stage(&[set("@mine", "x")]).await.unwrap();
    publish(&laptop, &alice(), &[&other]).await;
    client.compact(&alice(), Duration::ZERO).await.unwrap();
    publish(&client, &alice(), &[&node]).await;

    let outcome = publish(&laptop, &alice(), &[&node, &other]).await;
    assert_eq!(stored(&outcome), [true, true]);
    assert_eq!(own(&laptop).await, ["@b x", "@c x", "@mine x"]);
    publish(&client, &alice(), &[&node, &other]).await;
    assert_eq!(own(&client).await, ["@b x", "@c x", "@mine x"]);
}
