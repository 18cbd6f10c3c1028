//! The operator removes a name for good, may have it taken no more, and allows it again.

use perennis_shared::ipns::LadderPlan;
use serde_json::Value as Json;

use crate::support::{Author, DAY, TestNode};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_removed_with_its_rungs_and_queues_and_comes_back_as_a_new_one() {
    let router = TestNode::start().await;
    let url = router.url();
    let routers = move |config: &mut perennis_node::config::Config| config.ipns.routers = vec![url];
    let node = TestNode::with(routers.clone()).await;
    let mut author = Author::new(1);
    let plan = LadderPlan {
        rungs: 3,
        step: 30 * DAY,
    };
    let message = author.publish(&[("@alice", "friend")]);
    let message = author.ladder(message, 30 * DAY, plan);
    node.publish(&message).await.ok();
    let path = format!("/v1/names/{}", message.name);
    let record = format!("{path}/record");
    // Until the router has it, so that a row of that is there as well.
    let is_put = |status: &Json| status["lastPut"].is_string();
    let status = node.eventually(&path, |reply| is_put(&reply.json())).await;
    assert_eq!(status.json()["ladder"]["rungs"], 3);

    let removed = node.ask("DELETE", &record, &[], b"").await.ok().json();
    assert_eq!(removed["sequence"], 1);
    assert!(removed["bytes"].as_u64() > Some(0));
    assert_eq!(
        (&removed["followed"], &removed["denied"]),
        (&false.into(), &false.into())
    );
    let gone = node.get(&path).await;
    gone.refused(404, "not_found");
    let told = gone.json()["error"]["message"].to_string();
    assert!(told.contains("removed"), "{told}");
    node.ask("DELETE", &record, &[], b"")
        .await
        .refused(404, "not_found");
    let status = node.get("/v1/status").await.json();
    assert_eq!(
        (&status["names"], &status["removedNames"]["operator"]),
        (&0.into(), &1.into())
    );
    assert_eq!(status["unclaimed"]["names"], 0);

    // Nothing of it is left that a restart finds.
    let TestNode { dir, node } = node;
    node.shutdown().await;
    let node = TestNode::again(dir, routers).await;
    node.get(&path).await.refused(404, "not_found");
    let listed = node.get("/v1/names").await.ok().json();
    assert_eq!(listed["names"], Json::Array(Vec::new()));
    // What it had counts no more: its owner may begin again, with an older record and without rungs.
    let mut again = Author::new(1);
    node.publish(&again.publish(&[("@bob", "friend")]))
        .await
        .ok();
    let status = node.get(&path).await.ok().json();
    assert_eq!(
        (&status["sequence"], &status["ladder"]),
        (&1.into(), &Json::Null)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_name_is_refused_on_every_way_in_until_it_is_allowed() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let message = author.publish(&[("@alice", "friend")]);
    let path = format!("/v1/names/{}", message.name);
    // What is not kept cannot be removed, and is not denied by that.
    let deny = format!("{path}/record?deny=true");
    node.ask("DELETE", &deny, &[], b"")
        .await
        .refused(404, "not_found");
    node.publish(&message).await.ok();
    let removed = node.ask("DELETE", &deny, &[], b"").await.ok().json();
    assert_eq!(removed["denied"], true);
    let denied = node.get("/v1/denied").await.ok().json();
    assert_eq!(denied["names"][0]["name"], message.name.to_string());

    let TestNode { dir, node } = node;
    node.shutdown().await;
    let node = TestNode::again(dir, |_| {}).await;
    node.publish(&message).await.refused(403, "denied");
    node.put_record(&message).await.refused(403, "denied");
    let kind = [("Content-Type", "application/vnd.ipld.car")];
    let followed = node.ask("PUT", &path, &kind, &message.car()).await;
    followed.refused(403, "denied");
    let told = node.get(&path).await;
    told.refused(404, "not_found");
    assert!(
        told.json()["error"]["message"]
            .to_string()
            .contains("not taken again")
    );

    let allow = format!("/v1/denied/{}", message.name);
    let allowed = node.ask("DELETE", &allow, &[], b"").await;
    assert_eq!(allowed.status, 204);
    node.ask("DELETE", &allow, &[], b"")
        .await
        .refused(404, "not_found");
    node.publish(&message).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_name_is_unfollowed_with_its_removal_but_not_one_that_another_leads_to() {
    let node = TestNode::start().await;
    let mut author = Author::new(1);
    let message = author.publish(&[("@alice", "friend")]);
    let path = format!("/v1/names/{}", message.name);
    let kind = [("Content-Type", "application/vnd.ipld.car")];
    node.ask("PUT", &path, &kind, &message.car()).await.ok();
    // A name that points at it is followed: the first one is followed for it as well.
    let leading = Author::new(2);
    let end = perennis_rt::now() + 30 * DAY;
    let record = leading.record_until(&format!("/ipns/{}", message.name), 1, end);
    let leading_path = format!("/v1/names/{}", leading.name());
    let kind = [("Content-Type", "application/vnd.ipfs.ipns-record")];
    node.ask("PUT", &leading_path, &kind, record.bytes())
        .await
        .ok();
    let led = |reply: &crate::support::Reply| reply.json()["following"]["ledBy"][0].is_string();
    node.eventually(&path, led).await;
    let remove = |path: &str| format!("{path}/record");
    let refused = node.ask("DELETE", &remove(&path), &[], b"").await;
    refused.refused(409, "followed_for_another");

    node.ask("DELETE", &remove(&leading_path), &[], b"")
        .await
        .ok();
    let removed = node
        .ask("DELETE", &remove(&path), &[], b"")
        .await
        .ok()
        .json();
    assert_eq!(removed["followed"], true);
    let status = node.get("/v1/status").await.json();
    assert_eq!(status["names"], 0);
    node.ask("DELETE", &path, &[], b"")
        .await
        .refused(404, "not_found");
}
