//! A node that ran with a clock that was wrong goes on when it is right again.

use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::time::Millis;
use perennis_store::{Batch, IndexEngine, IndexOptions, Queue, Store, StoreOptions};

use crate::support::{Author, DAY, TestNode};

/// How far the clock was ahead.
const AHEAD: Duration = Duration::from_secs(100 * 86_400);

/// Queues by their numbers on disk: names to be looked for, and names to be put to the first router.
const FOLLOW: Queue = Queue(3);
const ROUTER: Queue = Queue(16);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_clock_that_was_ahead_has_put_off_is_done_at_once_and_the_jump_is_told() {
    let router = TestNode::start().await;
    let url = router.url();
    let node = TestNode::with(|config| config.ipns.routers = vec![url.clone()]).await;
    let message = Author::new(1).publish(&[("@alice", "friend")]);
    node.publish(&message).await.ok();
    let path = format!("/v1/names/{}", message.name);
    node.ask("PUT", &path, &[], b"").await.ok();
    let is_put = |reply: &crate::support::Reply| reply.status == 200;
    router.eventually(&path, is_put).await;
    let TestNode { dir, node } = node;
    node.shutdown().await;

    // What a run with that clock leaves: every row is due a period after its time.
    let ahead = rt::now() + AHEAD;
    let options = StoreOptions {
        index: IndexOptions::on(IndexEngine::Memory),
        ..StoreOptions::default()
    };
    let store = Store::open(dir.path(), &options).unwrap();
    let name = message.name.as_bytes();
    let mut batch = Batch::new();
    for queue in [FOLLOW, ROUTER] {
        batch.enqueue(queue, name, ahead + DAY, Vec::new());
    }
    let mark = [ahead, ahead - 99 * DAY].map(|at: Millis| at.0.to_be_bytes());
    batch.put_meta(b"clock", mark.concat());
    store.commit(batch).unwrap();
    drop(store);

    let node = TestNode::again(dir, |config| config.ipns.routers = vec![url]).await;
    let metrics = [
        "ipns_republish_total{outcome=\"Ok\"} 1",
        "ipns_follow_looks_total{outcome=\"Ok\"} 1",
        "clock_jumps_total 1",
    ];
    node.eventually("/metrics", |reply| {
        let text = String::from_utf8_lossy(&reply.body);
        metrics.iter().all(|line| text.contains(line))
    })
    .await;
    let status = node.get("/v1/status").await.ok().json();
    let clock = &status["clock"];
    assert_eq!(clock["lastJump"]["forward"], false);
    let seconds = clock["lastJump"]["seconds"].as_u64().unwrap();
    assert!((AHEAD.as_secs() - 3_600..=AHEAD.as_secs()).contains(&seconds));
    assert_eq!(clock["steady"], clock["now"]);
}
