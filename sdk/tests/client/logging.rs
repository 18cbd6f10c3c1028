//! The log: its history, what changed between two entries, and starting it anew.

use std::{collections::BTreeMap, time::Duration};

use perennis_rt as rt;
use perennis_sdk::{
    client::{CHECK_EVERY, Client, PublishOptions},
    store::{BlockStore, Changes, Memory},
};
use perennis_shared::{
    cid::{Block, Cid, Codec},
    did::{DidDocument, Identity, Profile},
    log::{self, Author, EntryKind},
};
use zeroize::Zeroizing;

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

/// A list that a stranger has signed under a document of theirs that names Alice's DID.
fn forged_list() -> (Cid, Vec<Block>) {
    let stranger = Identity::from_root(Profile::V2, Zeroizing::new([9; 32]));
    let honest = DidDocument::new(&stranger, rt::now()).to_block().unwrap();
    let text = String::from_utf8_lossy(honest.bytes()).into_owned();
    let (own, claimed) = (stranger.did().to_string(), alice().did().to_string());
    assert!(text.contains(&own) && own.len() == claimed.len());
    let mut bytes = honest.bytes().to_vec();
    while let Some(at) = bytes
        .windows(own.len())
        .position(|window| window == own.as_bytes())
    {
        bytes[at..at + own.len()].copy_from_slice(claimed.as_bytes());
    }
    let document = Block::new(Codec::DagCbor, bytes).unwrap();
    let author = Author {
        did: alice().did(),
        signer: stranger.signer(),
        document: *document.cid(),
    };
    let nothing: BTreeMap<Cid, bytes::Bytes> = BTreeMap::new();
    let ops = vec![set("@a", "thief")];
    let signed = log::append(&author, None, ops, rt::now(), &nothing).unwrap();
    let mut blocks = signed.added;
    blocks.push(document);
    (*signed.entry.cid(), blocks)
}

#[tokio::test]
async fn entry_that_no_record_leads_to_is_no_entry_of_the_identity() {
    let node = Node::start().await;
    let (client, heads) = three_entries(&node).await;
    let reader = device(&[&node]);
    let (forged, blocks) = forged_list();
    for device in [&client, &reader] {
        let store = device.store();
        store
            .commit(Changes::new().put(blocks.clone()))
            .await
            .unwrap();
        for (old, new) in [(None, &forged), (Some(&forged), &heads[2])] {
            let error = device.diff(&alice().did(), old, new, None, 10).await;
            assert_eq!(error.unwrap_err().code(), "unproven_entry");
        }
    }
    // What was before a compaction is of the identity as well: the new log names the old one.
    client.compact(&alice(), Duration::ZERO).await.unwrap();
    let compacted = publish(&client, &alice(), &[&node]).await.head;
    let did = alice().did();
    for old in &heads {
        let page = client.diff(&did, Some(old), &compacted, None, 10);
        page.await.unwrap();
    }
}

#[tokio::test]
async fn newest_entry_is_undone_but_for_what_was_changed_since() {
    let node = Node::start().await;
    let (client, _) = three_entries(&node).await;
    client
        .stage(&[remove("@b", "x"), set("@d", "x"), set("@e", "x")])
        .await
        .unwrap();
    publish(&client, &alice(), &[&node]).await;
    assert_eq!(own(&client).await, ["@c x", "@d x", "@e x"]);
    client.stage(&[set("@d", "x")]).await.unwrap();
    assert_eq!(client.revert().await.unwrap().len(), 2);
    assert_eq!(own(&client).await, ["+@b x", "@c x", "+@d x"]);
    publish(&client, &alice(), &[&node]).await;
    assert_eq!(
        seen(&device(&[&node]), &alice()).await,
        ["@b x", "@c x", "@d x"]
    );
    // A compaction changes no label.
    client.compact(&alice(), Duration::ZERO).await.unwrap();
    assert_eq!(client.revert().await.unwrap(), []);
}

#[tokio::test]
async fn log_of_dead_changes_starts_anew_and_no_edit_of_another_device_is_lost() {
    let node = Node::start().await;
    let (client, laptop) = (device(&[&node]), device(&[&node]));
    client.adopt(&alice()).await.unwrap();
    let keep = PublishOptions {
        compact: false,
        ..PublishOptions::default()
    };
    let nodes = [node.url.clone()];
    for number in 1..=CHECK_EVERY {
        client.stage(&[set("@a", "x")]).await.unwrap();
        client.publish(&alice(), &nodes, &keep).await.unwrap();
        if number == CHECK_EVERY - 1 {
            laptop.restore(&alice(), &nodes).await.unwrap();
        }
    }
    let whole = client.history(usize::MAX).await.unwrap();
    assert_eq!(
        whole.len() as u64,
        CHECK_EVERY,
        "not where it is not wanted"
    );
    // Another device goes on from what it has, while this one starts anew.
    laptop.stage(&[set("@b", "x")]).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    let new = client.history(usize::MAX).await.unwrap();
    let kinds: Vec<EntryKind> = new.iter().map(|entry| entry.kind()).collect();
    assert_eq!(kinds, [EntryKind::Change, EntryKind::Compaction]);
    publish(&laptop, &alice(), &[&node]).await;
    publish(&client, &alice(), &[&node]).await;
    for client in [&client, &laptop] {
        assert_eq!(own(client).await, ["@a x", "@b x"]);
    }
    assert_eq!(seen(&device(&[&node]), &alice()).await, ["@a x", "@b x"]);
}

#[tokio::test]
async fn log_of_living_labels_stays_as_it_is() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    for number in 0..=CHECK_EVERY {
        let handle = format!("@h{number}");
        client.stage(&[set(&handle, "x")]).await.unwrap();
        publish(&client, &alice(), &[&node]).await;
    }
    let entries = client.history(usize::MAX).await.unwrap();
    assert_eq!(entries.len() as u64, CHECK_EVERY + 1);
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
