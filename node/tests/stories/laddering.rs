//! Rungs are kept back, released in their time, and voided by a new head.

use std::time::Duration;

use perennis_node::app::RunningNode;
use perennis_shared::ipns::LadderPlan;

use crate::support::{Author, DAY, Message, TestNode, config};

const SECOND: Duration = Duration::from_secs(1);

fn path(message: &Message) -> String {
    format!("/v1/names/{}", message.name)
}

/// A record that ends in a year, with three rungs a month apart.
fn far(author: &Author, message: Message) -> Message {
    let plan = LadderPlan {
        rungs: 3,
        step: 30 * DAY,
    };
    author.ladder(message, 365 * DAY, plan)
}

#[tokio::test(flavor = "multi_thread")]
async fn rungs_are_kept_back_until_they_are_due() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let message = author.publish(&[("@alice", "friend")]);
    let message = far(&author, message);
    node.publish(&message).await.ok();
    let status = node.get(&path(&message)).await.ok().json();
    let end = message.record.validity().to_millis();
    assert_eq!(status["aliveUntil"], end.to_string());
    assert_eq!(status["ladder"]["rungs"], 3);
    assert_eq!(
        status["ladder"]["nextRelease"],
        (end - 15 * DAY).to_string()
    );
    assert_eq!(status["ladder"]["aliveUntil"], (end + 90 * DAY).to_string());
    // Nobody but the node sees one.
    let record = node
        .get(&format!("/routing/v1/ipns/{}", message.name))
        .await;
    assert_eq!(record.ok().body, message.record.bytes());
    // The same message again changes nothing; other rungs replace those before.
    node.publish(&message).await.ok();
    let shorter = Message {
        rungs: vec![message.rungs[0].clone()],
        ..message.clone()
    };
    node.publish(&shorter).await.ok();
    let status = node.get(&path(&message)).await.ok().json();
    assert_eq!(status["ladder"]["rungs"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rung_is_released_when_it_is_due_and_reaches_the_routers() {
    let router = TestNode::start().await;
    let url = router.url();
    let node = TestNode::with(|config| config.ipns.routers = vec![url]).await;
    let mut author = Author::new(1);
    let message = author.publish(&[("@alice", "friend")]);
    let plan = LadderPlan {
        rungs: 2,
        step: 4 * SECOND,
    };
    // The first rung is due a second from now, the second one four seconds later.
    let message = author.ladder(message, 3 * SECOND, plan);
    node.publish(&message).await.ok();
    for rung in &message.rungs {
        let end = rung.validity().to_millis().to_string();
        let status = node
            .eventually(&path(&message), |reply| reply.json()["aliveUntil"] == end)
            .await
            .json();
        assert_eq!(status["sequence"], message.record.sequence());
        assert_eq!(status["equivocated"], false);
        assert_eq!(
            (&status["pin"], &status["expired"]),
            (&"pinned".into(), &false.into())
        );
        router
            .eventually(&path(&message), |reply| {
                reply.status == 200 && reply.json()["aliveUntil"] == end
            })
            .await;
    }
    let status = node.get(&path(&message)).await.ok().json();
    assert_eq!(status["ladder"], serde_json::Value::Null);
    let metrics = node.get("/metrics").await;
    let metrics = String::from_utf8(metrics.ok().body.to_vec()).unwrap();
    assert!(
        metrics.contains("ipns_ladder_releases_total{outcome=\"Ok\"} 2"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_head_voids_all_rungs() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let first = author.publish(&[("@alice", "friend")]);
    let first = far(&author, first);
    node.publish(&first).await.ok();
    let second = author.publish(&[("@alice", "enemy")]);
    node.publish(&second).await.ok();
    let status = node.get(&path(&second)).await.ok().json();
    assert_eq!(status["ladder"], serde_json::Value::Null);
    // And so does a bare record.
    let third = author.publish(&[("@bob", "friend")]);
    let third = far(&author, third);
    node.publish(&third).await.ok();
    assert_eq!(
        node.get(&path(&third)).await.ok().json()["ladder"]["rungs"],
        3
    );
    let fourth = author.publish(&[("@bob", "enemy")]);
    node.put_record(&fourth).await.ok();
    let status = node.get(&path(&fourth)).await.ok().json();
    assert_eq!(
        (&status["sequence"], &status["ladder"]),
        (&4.into(), &serde_json::Value::Null)
    );
    // A voided rung is old news.
    let rung = Message {
        record: third.rungs[2].clone(),
        ..third
    };
    node.put_record(&rung).await.refused(409, "stale_record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rung_that_got_out_elsewhere_leaves_only_those_above_it() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let message = author.publish(&[("@alice", "friend")]);
    let message = far(&author, message);
    node.publish(&message).await.ok();
    let rung = Message {
        record: message.rungs[1].clone(),
        ..message.clone()
    };
    node.put_record(&rung).await.ok();
    let status = node.get(&path(&message)).await.ok().json();
    assert_eq!(
        status["aliveUntil"],
        message.rungs[1].validity().to_millis().to_string()
    );
    assert_eq!(
        (&status["ladder"]["rungs"], &status["pin"]),
        (&1.into(), &"pinned".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rungs_that_are_no_ladder_are_refused_and_nothing_is_stored() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let message = author.publish(&[("@alice", "friend")]);
    let good = far(&author, message);
    let stranger = Author::new(2);
    let value = format!("/ipfs/{}", good.head);
    let end = good.record.validity().to_millis();
    let wrong = [
        author.record_until(&value, 2, end + DAY),
        author.record_until("/ipfs/bafkqaaa", 1, end + DAY),
        author.record_until(&value, 1, end),
        stranger.record_until(&value, 1, end + DAY),
    ];
    for rung in wrong {
        let message = Message {
            rungs: vec![rung],
            ..good.clone()
        };
        node.publish(&message).await.refused(422, "invalid_ladder");
    }
    let many = Message {
        rungs: vec![good.rungs[0].clone(); 25],
        ..good.clone()
    };
    node.publish(&many).await.refused(400, "invalid_message");
    assert_eq!(node.get(&path(&good)).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn rungs_survive_a_restart_and_a_long_sleep_ends_at_the_rung_that_is_due() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let message = author.publish(&[("@alice", "friend")]);
    let plan = LadderPlan {
        rungs: 20,
        step: 2 * SECOND,
    };
    let message = author.ladder(message, 2 * SECOND, plan);
    node.publish(&message).await.ok();
    // It is closed when its record ends, and some rungs would have been due.
    node.node.shutdown().await;
    let lapsed = message.rungs[0].validity().to_millis();
    let ended = tokio::time::timeout(20 * SECOND, async {
        while perennis_rt::now() <= lapsed {
            tokio::task::yield_now().await;
        }
    });
    ended.await.unwrap();
    let running = RunningNode::start(config(node.dir.path())).await.unwrap();
    let again = TestNode {
        dir: node.dir,
        node: running,
    };
    let status = again
        .eventually(&path(&message), |reply| reply.json()["expired"] == false)
        .await
        .json();
    let alive = status["aliveUntil"].as_str().unwrap().to_owned();
    let place = message
        .rungs
        .iter()
        .position(|rung| rung.validity().to_millis().to_string() == alive);
    let place = place.expect("a rung is the record");
    assert!(place >= 1, "those before it had ended");
    assert_eq!(status["ladder"]["rungs"], 20 - place - 1);
}
