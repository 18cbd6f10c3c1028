//! Changes made on one device while another publishes.

use perennis_sdk::{client::Client, store::Memory};
use perennis_shared::taglist::Op;

use crate::{
    double::Node,
    people::{a_moment_later, alice, device, everything, own, publish, remove, set, set_with_note},
};

/// Stages changes; whatever any device stages next is later.
async fn stage(client: &Client<Memory>, ops: &[Op]) {
    client.stage(ops).await.unwrap();
    a_moment_later().await;
}

async fn notes(client: &Client<Memory>) -> Vec<String> {
    let page = client.labels(&everything()).await.unwrap();
    let notes = page.labels.into_iter().map(|listed| {
        let note = listed
            .label
            .note
            .as_ref()
            .map(|note| note.as_str().to_owned());
        format!(
            "{} {}",
            listed.label.subject.handle,
            note.unwrap_or_default()
        )
    });
    notes.collect()
}

#[tokio::test]
async fn early_edit_that_is_published_late_does_not_undo_a_newer_one() {
    let node = Node::start().await;
    let (phone, laptop) = (device(&[&node]), device(&[&node]));
    for client in [&phone, &laptop] {
        client.adopt(&alice()).await.unwrap();
    }
    stage(&phone, &[set("@a", "x"), set("@b", "x"), set("@c", "x")]).await;
    publish(&phone, &alice(), &[&node]).await;
    publish(&laptop, &alice(), &[&node]).await;

    let early = [
        set_with_note("@a", "x", "early"),
        remove("@b", "x"),
        set_with_note("@d", "x", "only here"),
    ];
    stage(&phone, &early).await;
    let newer = [
        set_with_note("@a", "x", "newer"),
        set_with_note("@b", "x", "kept"),
        remove("@c", "x"),
    ];
    stage(&laptop, &newer).await;
    publish(&laptop, &alice(), &[&node]).await;
    // The phone comes back after all that, and publishes what it has had for long.
    let late = publish(&phone, &alice(), &[&node]).await;
    let lost = late.outdated.iter().map(|key| key.handle().to_string());
    let lost: Vec<String> = lost.collect();
    assert_eq!(lost, ["@a", "@b"], "what came too late is told");
    assert!(
        publish(&laptop, &alice(), &[&node])
            .await
            .outdated
            .is_empty()
    );
    for client in [&phone, &laptop] {
        assert_eq!(notes(client).await, ["@a newer", "@b kept", "@d only here"]);
        assert!(client.staged().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn newer_edit_that_waits_wins_over_an_older_one_published_in_between() {
    let node = Node::start().await;
    let (phone, laptop) = (device(&[&node]), device(&[&node]));
    for client in [&phone, &laptop] {
        client.adopt(&alice()).await.unwrap();
    }
    stage(&laptop, &[set_with_note("@a", "x", "older")]).await;
    stage(&phone, &[set_with_note("@a", "x", "newer")]).await;
    publish(&laptop, &alice(), &[&node]).await;
    publish(&phone, &alice(), &[&node]).await;
    assert_eq!(notes(&phone).await, ["@a newer"]);
    // What is changed after something was seen is later, whatever the wall clock says.
    phone.stage(&[remove("@a", "x")]).await.unwrap();
    assert!(own(&phone).await.is_empty());
    publish(&phone, &alice(), &[&node]).await;
    publish(&laptop, &alice(), &[&node]).await;
    assert!(own(&laptop).await.is_empty());
}
