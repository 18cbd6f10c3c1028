//! From a staged change to the acknowledgement of nodes, and back at a reader.

use std::time::Duration;

use perennis_rt as rt;
use perennis_sdk::{
    NodeTokens,
    client::{
        Client, ClientConfig, IdentityError, LabelFilter, LabelQuery, PublishError, PublishOptions,
        StageError,
    },
    remote::BearerToken,
    store::{BlockStore, Memory},
};
use perennis_shared::{
    error::{ErrorKind, Retryable},
    taglist::{Handle, Op},
    time::Timestamp,
};

use crate::{
    double::{Door, Fault, Node},
    people::{
        a_moment_later, alice, bob, config, device, on, own, publish, remove, seen, set,
        set_with_note, stored, urls,
    },
};

#[tokio::test]
async fn staged_labels_are_listed_and_published_labels_are_read_by_others() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    assert_eq!(
        client
            .stage(&[set("@spammer", "spam"), set("@Friend", "kind")])
            .await
            .unwrap(),
        2
    );
    assert_eq!(own(&client).await, ["+@Friend kind", "+@spammer spam"]);

    let outcome = publish(&client, &alice(), &[&node]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (1, vec![true]));
    assert_eq!(own(&client).await, ["@Friend kind", "@spammer spam"]);
    assert_eq!(client.staged().await.unwrap(), []);

    let reader = device(&[&node]);
    assert_eq!(
        seen(&reader, &alice()).await,
        ["@Friend kind", "@spammer spam"]
    );
    let resolved = reader.resolve(&alice().did()).await.unwrap();
    assert_eq!((resolved.head, resolved.sequence), (outcome.head, 1));
}

#[tokio::test]
async fn calls_can_be_moved_to_other_tasks() {
    let node = Node::start().await;
    let (client, nodes) = (device(&[&node]), urls(&[&node]));
    let work = async move {
        client.adopt(&alice()).await.unwrap();
        client.stage(&[set("@a", "x")]).await.unwrap();
        let options = PublishOptions::default();
        client.publish(&alice(), &nodes, &options).await.unwrap();
        client
            .labels_of(&alice().did(), &LabelQuery::default())
            .await
            .unwrap();
        client.restore(&alice(), &nodes).await.unwrap();
        client.check_backup().await.unwrap().blocks
    };
    assert!(tokio::spawn(work).await.unwrap() > 0);
}

#[tokio::test]
async fn v1_identity_is_read_by_its_did_key() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&bob()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    publish(&client, &bob(), &[&node]).await;
    assert!(bob().did().is_key());
    assert_eq!(seen(&device(&[&node]), &bob()).await, ["@a x"]);
}

#[tokio::test]
async fn update_sends_only_what_is_new() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    let many: Vec<Op> = (0..3000)
        .map(|n| set(&format!("user{n}"), "seen"))
        .collect();
    client.stage(&many).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    client
        .stage(&[remove("user7", "seen"), set("user8", "kind")])
        .await
        .unwrap();
    let outcome = publish(&client, &alice(), &[&node]).await;
    assert_eq!(outcome.sequence, 2);
    let sent = node.published_blocks();
    assert!(sent[0] > 100, "{sent:?}");
    assert!(sent[1] <= 16, "{sent:?}");
    assert_eq!(seen(&device(&[&node]), &alice()).await.len(), 3000);
}

#[tokio::test]
async fn node_that_lost_blocks_is_given_them_again() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    let first = publish(&client, &alice(), &[&node]).await;
    node.forget_block(&first.head);
    client.stage(&[set("@b", "y")]).await.unwrap();
    let outcome = publish(&client, &alice(), &[&node]).await;
    assert_eq!(stored(&outcome), [true]);
    assert_eq!(node.requests(Door::Publish), 3);
}

#[tokio::test]
async fn node_that_lost_more_than_it_lists_is_given_everything() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    let many: Vec<Op> = (0..500).map(|n| set(&format!("user{n}"), "seen")).collect();
    client.stage(&many).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    for cid in client.store().cids(None, 30).await.unwrap() {
        node.forget_block(&cid);
    }
    client.stage(&[set("@b", "y")]).await.unwrap();
    let outcome = publish(&client, &alice(), &[&node]).await;
    assert_eq!(stored(&outcome), [true], "{:?}", outcome.nodes);
    assert_eq!(seen(&device(&[&node]), &alice()).await.len(), 501);
}

#[tokio::test]
async fn outcome_of_each_node_is_told_and_the_outbox_keeps_the_failed_ones() {
    let (good, bad) = (Node::start().await, Node::start().await);
    bad.always(Door::Publish, Fault::Status(503, None));
    let client = device(&[&good]);
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    let outcome = publish(&client, &alice(), &[&good, &bad]).await;
    assert_eq!(stored(&outcome), [true, false]);
    let error = outcome.nodes[1].error.as_ref().unwrap();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!(bad.requests(Door::Publish), 5);
    assert_eq!(client.backup().await.unwrap().waiting, urls(&[&bad]));

    bad.heal(Door::Publish);
    let delivered = client.deliver().await.unwrap().unwrap();
    assert_eq!(stored(&delivered), [true]);
    assert_eq!(delivered.sequence, outcome.sequence);
    assert!(client.deliver().await.unwrap().is_none());
    assert_eq!(seen(&device(&[&bad]), &alice()).await, ["@a x"]);
}

#[tokio::test]
async fn lost_acknowledgement_costs_a_repetition_and_nothing_else() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    node.next(Door::Publish, Fault::DoneButUnheard);
    node.next(Door::Publish, Fault::Half);
    let outcome = publish(&client, &alice(), &[&node]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (1, vec![true]));
}

#[tokio::test]
async fn answer_that_does_not_say_stored_is_no_acknowledgement() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    for body in [
        "{}",
        "not json",
        r#"{"stored":false,"sequence":1}"#,
        r#"{"stored":true,"sequence":9}"#,
    ] {
        node.next(Door::Publish, Fault::Other("application/json", body.into()));
        let outcome = publish(&client, &alice(), &[&node]).await;
        assert_eq!(stored(&outcome), [false], "{body}");
    }
    assert_eq!(stored(&publish(&client, &alice(), &[&node]).await), [true]);
}

#[tokio::test]
async fn publishing_again_with_nothing_new_keeps_the_record() {
    let (one, two) = (Node::start().await, Node::start().await);
    let client = device(&[&one]);
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    publish(&client, &alice(), &[&one, &two]).await;
    let again = publish(&client, &alice(), &[&two]).await;
    assert_eq!((again.sequence, stored(&again)), (1, vec![true]));
    let longer = PublishOptions {
        lifetime: Duration::from_secs(365 * 24 * 60 * 60),
        ..PublishOptions::default()
    };
    let renewed = client
        .publish(&alice(), &urls(&[&one]), &longer)
        .await
        .unwrap();
    assert_eq!(
        renewed.sequence, 2,
        "less than half of the new life was left"
    );
    assert_eq!(renewed.head, again.head);
    // What is asked for holds at once, once.
    let asked = PublishOptions {
        ttl: Duration::from_secs(60),
        ladder: None,
        renew: true,
        ..PublishOptions::default()
    };
    let renewed = client
        .publish(&alice(), &urls(&[&one]), &asked)
        .await
        .unwrap();
    assert_eq!((renewed.sequence, renewed.rungs), (3, 0));
    assert!(renewed.valid_until < Timestamp::from(rt::now() + Duration::from_secs(91 * 86_400)));
    assert_eq!(publish(&client, &alice(), &[&one]).await.sequence, 3);
}

#[tokio::test]
async fn two_devices_lose_nothing_of_each_other() {
    let node = Node::start().await;
    let (phone, laptop) = (device(&[&node]), device(&[&node]));
    for client in [&phone, &laptop] {
        client.adopt(&alice()).await.unwrap();
    }
    phone
        .stage(&[set("@a", "x"), set("@b", "x")])
        .await
        .unwrap();
    a_moment_later().await;
    publish(&phone, &alice(), &[&node]).await;
    // The laptop has never seen the phone's log.
    laptop
        .stage(&[set("@c", "y"), set_with_note("@a", "x", "from the laptop")])
        .await
        .unwrap();
    let merged = publish(&laptop, &alice(), &[&node]).await;
    assert_eq!((merged.sequence, stored(&merged)), (2, vec![true]));
    assert_eq!(own(&laptop).await, ["@a x", "@b x", "@c y"]);

    phone
        .stage(&[remove("@b", "x"), set("@d", "z")])
        .await
        .unwrap();
    let back = publish(&phone, &alice(), &[&node]).await;
    assert_eq!(back.sequence, 3);
    assert_eq!(own(&phone).await, ["@a x", "@c y", "@d z"]);
    let query = LabelQuery {
        filter: LabelFilter::Handle(Handle::parse("@a").unwrap()),
        ..LabelQuery::default()
    };
    let page = phone.labels(&query).await.unwrap();
    let note = page.labels[0]
        .label
        .note
        .as_ref()
        .map(|note| note.as_str().to_owned());
    assert_eq!(note.as_deref(), Some("from the laptop"));
}

#[tokio::test]
async fn devices_that_published_apart_are_merged() {
    let (home, work) = (Node::start().await, Node::start().await);
    let (phone, laptop) = (device(&[&home]), device(&[&work]));
    for (client, node) in [(&phone, &home), (&laptop, &work)] {
        client.adopt(&alice()).await.unwrap();
        client.stage(&[set("@both", "x")]).await.unwrap();
        publish(client, &alice(), &[node]).await;
    }
    phone.stage(&[set("@phone", "p")]).await.unwrap();
    publish(&phone, &alice(), &[&home]).await;
    laptop.stage(&[set("@laptop", "l")]).await.unwrap();
    publish(&laptop, &alice(), &[&work]).await;

    // Both nodes hold sequence 2 with different heads.
    let outcome = publish(&phone, &alice(), &[&home, &work]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (3, vec![true, true]));
    let expected = ["@both x", "@laptop l", "@phone p"];
    assert_eq!(own(&phone).await, expected);
    assert_eq!(seen(&device(&[&work]), &alice()).await, expected);
    let caught_up = publish(&laptop, &alice(), &[&home, &work]).await;
    assert_eq!((caught_up.sequence, caught_up.head), (3, outcome.head));
    assert_eq!(own(&laptop).await, expected);
}

#[tokio::test]
async fn record_of_a_node_that_was_silent_before_is_merged_on_conflict() {
    let node = Node::start().await;
    let (phone, laptop) = (device(&[&node]), device(&[&node]));
    for client in [&phone, &laptop] {
        client.adopt(&alice()).await.unwrap();
    }
    phone.stage(&[set("@a", "x")]).await.unwrap();
    publish(&phone, &alice(), &[&node]).await;
    phone.stage(&[set("@b", "x")]).await.unwrap();
    publish(&phone, &alice(), &[&node]).await;

    laptop.stage(&[set("@c", "y")]).await.unwrap();
    for _ in 0..5 {
        node.next(Door::Routing, Fault::Status(500, None));
    }
    let outcome = publish(&laptop, &alice(), &[&node]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (3, vec![true]));
    assert_eq!(own(&laptop).await, ["@a x", "@b x", "@c y"]);
}

#[tokio::test]
async fn node_that_claims_something_newer_and_shows_nothing_stops_nobody() {
    let (good, odd) = (Node::start().await, Node::start().await);
    odd.always(Door::Publish, Fault::Status(409, None));
    let client = device(&[&good]);
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    let outcome = publish(&client, &alice(), &[&good, &odd]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (1, vec![true, false]));
    let error = outcome.nodes[1].error.as_ref().unwrap();
    assert_eq!(error.code(), "superseded");
    assert_eq!(odd.requests(Door::Publish), 1);
}

#[tokio::test]
async fn replay_by_a_node_does_not_take_the_client_back() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    let old = node.record(&alice().name()).unwrap();
    client.stage(&[set("@b", "x")]).await.unwrap();
    publish(&client, &alice(), &[&node]).await;

    node.put_record(&alice().name(), &old);
    let resolved = client.resolve(&alice().did()).await.unwrap();
    assert_eq!((resolved.sequence, resolved.source.as_str()), (2, "cache"));
    let refused = resolved.refused.unwrap();
    assert_eq!(
        (refused.sequence, refused.source),
        (1, node.url.to_string())
    );
    client.stage(&[set("@c", "x")]).await.unwrap();
    assert_eq!(publish(&client, &alice(), &[&node]).await.sequence, 3);
}

#[tokio::test]
async fn another_passphrase_is_noticed() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    let error = client.adopt(&bob()).await.unwrap_err();
    assert!(matches!(&error, IdentityError::Other { given, known }
        if *given == bob().did().to_string() && *known == alice().did().to_string()));
    let options = PublishOptions::default();
    let error = client
        .publish(&bob(), &urls(&[&node]), &options)
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("other_identity", ErrorKind::Reject)
    );
    assert_eq!(node.requests(Door::Publish), 0);
}

#[tokio::test]
async fn what_needs_an_identity_or_a_node_says_so() {
    let client = device(&[]);
    let error = client.stage(&[set("@a", "x")]).await.unwrap_err();
    assert!(matches!(error, StageError::NoIdentity));
    let options = PublishOptions::default();
    let error = client.publish(&alice(), &[], &options).await.unwrap_err();
    assert!(matches!(error, PublishError::NoNode));
}

#[tokio::test]
async fn discarded_changes_are_gone() {
    let client = device(&[]);
    client.adopt(&alice()).await.unwrap();
    client
        .stage(&[set("@a", "x"), set("@b", "x")])
        .await
        .unwrap();
    assert_eq!(client.discard_staged().await.unwrap(), 2);
    assert_eq!(own(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn lists_are_paged_and_filtered_with_what_is_staged() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    let many: Vec<Op> = (0..250)
        .map(|n| set(&format!("user{n:03}"), "seen"))
        .collect();
    client.stage(&many).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    let changes = [
        remove("user000", "seen"),
        set("user0005", "new"),
        set("zed", "last"),
    ];
    client.stage(&changes).await.unwrap();
    let mut query = LabelQuery {
        limit: 40,
        ..LabelQuery::default()
    };
    let mut all = Vec::new();
    loop {
        let page = client.labels(&query).await.unwrap();
        assert!(page.labels.len() <= 40);
        all.extend(page.labels.iter().map(|listed| listed.label.key()));
        match page.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    assert_eq!(all.len(), 251);
    assert!(all.is_sorted());

    for (text, expected) in [("@user00", 10), ("USER24", 10), ("zed", 1), ("nobody", 0)] {
        let query = LabelQuery {
            filter: LabelFilter::HandlesFrom(text.to_owned()),
            ..LabelQuery::default()
        };
        let page = client.labels(&query).await.unwrap();
        assert_eq!(page.labels.len(), expected, "{text}");
    }
}

#[tokio::test]
async fn labels_that_have_ended_are_left_out() {
    let client = device(&[]);
    client.adopt(&alice()).await.unwrap();
    let Op::Set(mut label) = set("@a", "x") else {
        unreachable!("`set` sets");
    };
    label.expires = Some(rt::now() - Duration::from_secs(1));
    client
        .stage(&[Op::Set(label), set("@b", "x")])
        .await
        .unwrap();
    let page = client.labels(&LabelQuery::default()).await.unwrap();
    assert_eq!(page.labels.len(), 1);
    assert_eq!(own(&client).await.len(), 2);
}

#[tokio::test]
async fn reader_goes_on_with_what_it_has_when_nobody_answers() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    let store = Memory::new();
    assert_eq!(seen(&on(store.clone(), &[&node]), &alice()).await, ["@a x"]);
    for door in [Door::Routing, Door::Raw, Door::Car] {
        node.always(door, Fault::Status(500, None));
    }
    assert_eq!(seen(&on(store, &[&node]), &alice()).await, ["@a x"]);
}

#[tokio::test]
async fn forged_block_never_becomes_a_label() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@a", "x")]).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    node.always(Door::Raw, Fault::Flipped);
    node.always(Door::Car, Fault::Flipped);
    let reader = device(&[&node]);
    let error = reader
        .labels_of(&alice().did(), &LabelQuery::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn large_list_of_somebody_else_is_read_in_few_requests() {
    let node = Node::start().await;
    let client = device(&[&node]);
    client.adopt(&alice()).await.unwrap();
    let many: Vec<Op> = (0..3000)
        .map(|n| set(&format!("user{n}"), "seen"))
        .collect();
    client.stage(&many).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    let reader = device(&[&node]);
    let few = LabelQuery {
        limit: 50,
        ..LabelQuery::default()
    };
    let page = reader.labels_of(&alice().did(), &few).await.unwrap().page;
    assert_eq!(page.labels.len(), 50);
    assert!(
        node.requests(Door::Raw) < 80,
        "{}",
        node.requests(Door::Raw)
    );
    assert_eq!(node.requests(Door::Car), 0);
    assert_eq!(seen(&reader, &alice()).await.len(), 3000);
    assert_eq!(node.requests(Door::Car), 1);
    assert!(
        node.requests(Door::Raw) < 200,
        "{}",
        node.requests(Door::Raw)
    );
}

#[tokio::test]
async fn more_than_one_message_has_room_for_is_published_in_parts() {
    let node = Node::start().await;
    let config = ClientConfig {
        publish_changes: 1_000,
        ..config(&[&node])
    };
    let client = Client::new(Memory::new(), config).unwrap();
    client.adopt(&alice()).await.unwrap();
    let many: Vec<Op> = (0..2_500)
        .map(|number| set(&format!("h{number}"), "x"))
        .collect();
    client.stage(&many).await.unwrap();
    client.stage(&[remove("h0", "x")]).await.unwrap();
    // Nothing is signed that nobody takes, but for the part that waits to be delivered.
    node.next(Door::Publish, Fault::Status(413, None));
    let refused = publish(&client, &alice(), &[&node]).await;
    assert_eq!((refused.sequence, stored(&refused)), (1, vec![false]));
    assert_eq!(client.staged_count().await.unwrap(), 1_501);
    let outcome = publish(&client, &alice(), &[&node]).await;
    assert_eq!((outcome.sequence, stored(&outcome)), (3, vec![true]));
    assert_eq!(client.staged_count().await.unwrap(), 0);
    let changes: Vec<u64> = client
        .history(10)
        .await
        .unwrap()
        .iter()
        .map(|entry| entry.changes())
        .collect();
    assert_eq!(changes, [501, 1_000, 1_000]);
    assert_eq!(seen(&device(&[&node]), &alice()).await.len(), 2_499);
}

#[tokio::test]
async fn each_node_is_shown_its_own_token_also_by_what_is_delivered_later() {
    let (one, two) = (Node::start().await, Node::start().await);
    let token = |text: &str| BearerToken::parse(text).unwrap();
    one.ask_for_token("the-token-of-one");
    two.ask_for_token("the-token-of-two");
    let mut tokens = NodeTokens::default();
    tokens
        .insert(one.url.clone(), token("the-token-of-one"))
        .unwrap();
    tokens
        .insert(two.url.clone(), token("a-wrong-token"))
        .unwrap();
    let config = ClientConfig {
        tokens,
        ..config(&[&one, &two])
    };
    let client = Client::new(Memory::new(), config).unwrap();
    client.adopt(&alice()).await.unwrap();
    client.stage(&[set("@Friend", "kind")]).await.unwrap();
    let nodes = urls(&[&one, &two]);
    let options = PublishOptions::default();
    let outcome = client.publish(&alice(), &nodes, &options).await.unwrap();
    assert_eq!(stored(&outcome), [true, false]);
    // A token for one publish wins over that of the client.
    let mut options = PublishOptions::default();
    options
        .tokens
        .insert(two.url.clone(), token("the-token-of-two"))
        .unwrap();
    let outcome = client.publish(&alice(), &nodes, &options).await.unwrap();
    assert_eq!(stored(&outcome), [true, true]);

    one.always(Door::Publish, Fault::Status(503, None));
    client.stage(&[set("@Friend", "helpful")]).await.unwrap();
    let outcome = client
        .publish(&alice(), &nodes[..1], &options)
        .await
        .unwrap();
    assert_eq!(stored(&outcome), [false]);
    one.heal(Door::Publish);
    let delivered = client.deliver().await.unwrap().unwrap();
    assert_eq!(stored(&delivered), [true]);
}
