//! The renewal ladder: rungs go to the nodes with the record, and a new head leaves them behind.

use std::time::Duration;

use perennis_sdk::client::PublishOptions;
use perennis_shared::ipns::{Ladder, LadderPlan, compare, equivocates};

use crate::double::{Door, Fault, Node};
use crate::people::{alice, device, publish, set, stored, urls};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_publish_brings_rungs_that_outlive_its_record() {
    let node = Node::start().await;
    let client = device(&[&node]);
    let name = client.adopt(&alice()).await.unwrap().name;
    client.stage(&[set("@a", "x")]).await.unwrap();
    let outcome = publish(&client, &alice(), &[&node]).await;
    let record = node.record(&name).unwrap();
    let ladder = node.ladder(&name);
    assert_eq!((outcome.rungs, ladder.rungs().len()), (12, 12));
    let left = ladder.alive_until().unwrap().to_millis() - record.validity().to_millis();
    assert_eq!(left, 360 * DAY);
    assert_eq!(Some(outcome.alive_until), ladder.alive_until());
    assert_eq!(outcome.valid_until, record.validity());
    for rung in ladder.rungs() {
        assert!(compare(rung, &record).is_gt() && !equivocates(rung, &record));
    }
    // The same record again, and the very same rungs with it.
    publish(&client, &alice(), &[&node]).await;
    assert_eq!(node.ladder(&name), ladder);
    // A new head has a sequence that no rung has.
    client.stage(&[set("@b", "x")]).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    let newer = node.record(&name).unwrap();
    assert!(ladder.above(&newer).is_empty());
    assert!(
        ladder
            .rungs()
            .iter()
            .all(|rung| compare(&newer, rung).is_gt())
    );
}

#[tokio::test]
async fn the_plan_is_the_publishers() {
    let node = Node::start().await;
    let client = device(&[&node]);
    let name = client.adopt(&alice()).await.unwrap().name;
    client.stage(&[set("@a", "x")]).await.unwrap();
    let mut options = PublishOptions {
        ladder: None,
        ..PublishOptions::default()
    };
    let outcome = client.publish(&alice(), &urls(&[&node]), &options).await;
    let outcome = outcome.unwrap();
    assert_eq!((outcome.rungs, node.ladder(&name)), (0, Ladder::default()));
    assert_eq!(outcome.alive_until, outcome.valid_until);
    options.ladder = Some(LadderPlan {
        rungs: 3,
        step: DAY,
    });
    let outcome = client.publish(&alice(), &urls(&[&node]), &options).await;
    assert_eq!(outcome.unwrap().rungs, 3);
    options.ladder = Some(LadderPlan {
        rungs: 1_000,
        step: DAY,
    });
    let refused = client.publish(&alice(), &urls(&[&node]), &options).await;
    assert_eq!(refused.unwrap_err().code(), "invalid_ladder");
}

#[tokio::test]
async fn rungs_wait_in_the_outbox_with_their_record() {
    let node = Node::start().await;
    let client = device(&[&node]);
    let name = client.adopt(&alice()).await.unwrap().name;
    client.stage(&[set("@a", "x")]).await.unwrap();
    node.always(Door::Publish, Fault::Status(500, None));
    let outcome = publish(&client, &alice(), &[&node]).await;
    assert_eq!(stored(&outcome), [false]);
    node.heal(Door::Publish);
    let outcome = client.deliver().await.unwrap().unwrap();
    assert_eq!((stored(&outcome), outcome.rungs), (vec![true], 12));
    assert_eq!(node.ladder(&name).rungs().len(), 12);
    assert!(client.deliver().await.unwrap().is_none());
}

#[tokio::test]
async fn a_rung_that_was_released_is_the_record_to_go_on_from() {
    let node = Node::start().await;
    let client = device(&[&node]);
    let name = client.adopt(&alice()).await.unwrap().name;
    client.stage(&[set("@a", "x")]).await.unwrap();
    publish(&client, &alice(), &[&node]).await;
    let rung = node.ladder(&name).rungs()[4].clone();
    node.put_record(&name, &rung);
    let resolved = client.resolve(&alice().did()).await.unwrap();
    assert!(resolved.equivocation.is_none());
    assert_eq!(resolved.record, rung);
    let outcome = publish(&client, &alice(), &[&node]).await;
    assert_eq!(
        (outcome.sequence, outcome.valid_until),
        (1, rung.validity())
    );
    client.stage(&[set("@b", "x")]).await.unwrap();
    assert_eq!(publish(&client, &alice(), &[&node]).await.sequence, 2);
}
