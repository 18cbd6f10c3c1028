//! Routers: one endpoint, many, and what was seen before.

use std::{sync::Arc, time::Duration};

use perennis_rt as rt;
use perennis_sdk::{
    router::{Composite, CompositeTimes, Http, Local, RouteError, Router, Verdict},
    store::{BlockStore, Changes, Memory, StoreError},
};
use perennis_shared::{
    cid::{Codec, cid_of},
    error::{ErrorKind, Retryable},
    ipns::{self, Equivocation, Name, Record, RecordError, RecordFields},
    sign::SigningKey,
    time::{Millis, Timestamp},
};

use crate::double::{Door, Fault, Node, backoff, http};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn name() -> Name {
    Name::from_public_key(&key().public())
}

fn record(sequence: u64, what: &str) -> Record {
    record_until(sequence, what, rt::now() + DAY)
}

fn record_until(sequence: u64, what: &str, end: Millis) -> Record {
    let fields = RecordFields {
        value: &format!("/ipfs/{}", cid_of(Codec::Raw, what.as_bytes())),
        sequence,
        validity: Timestamp::from(end),
        ttl: Duration::from_secs(60),
    };
    ipns::create(&key(), &fields).unwrap()
}

fn at(node: &Node) -> Http {
    Http::new(http(), node.url.clone(), backoff())
}

fn all(nodes: &[&Node]) -> Composite {
    let routers = nodes
        .iter()
        .map(|node| Arc::new(at(node)) as Arc<dyn Router>);
    let times = CompositeTimes {
        deadline: Duration::from_secs(5),
        settle: Duration::from_millis(800),
    };
    Composite::new(routers.collect(), times)
}

#[tokio::test]
async fn record_put_at_an_endpoint_is_read_back() {
    let node = Node::start().await;
    let record = record(1, "a");
    at(&node).publish(&name(), &record).await.unwrap();
    assert_eq!(at(&node).resolve(&name()).await.unwrap(), record);
}

#[tokio::test]
async fn missing_record_is_another_content_type_or_404() {
    let node = Node::start().await;
    let missing = at(&node).resolve(&name()).await.unwrap_err();
    assert!(matches!(missing, RouteError::NotFound { .. }));
    node.next(Door::Routing, Fault::Status(404, None));
    let missing = at(&node).resolve(&name()).await.unwrap_err();
    assert!(matches!(missing, RouteError::NotFound { .. }));
    assert_eq!(missing.kind(), ErrorKind::Reject);
    assert_eq!(
        node.requests(Door::Routing),
        2,
        "absence is not asked for again"
    );
}

#[tokio::test]
async fn busy_endpoint_is_asked_again() {
    let node = Node::start().await;
    let record = record(1, "a");
    node.put_record(&name(), &record);
    for fault in [
        Fault::Status(503, None),
        Fault::Half,
        Fault::Silence,
        Fault::Status(429, Some(0)),
    ] {
        node.next(Door::Routing, fault);
    }
    assert_eq!(at(&node).resolve(&name()).await.unwrap(), record);
    assert_eq!(node.requests(Door::Routing), 5);
}

#[tokio::test]
async fn put_whose_answer_was_lost_is_put_again() {
    let node = Node::start().await;
    node.next(Door::Routing, Fault::DoneButUnheard);
    let record = record(1, "a");
    at(&node).publish(&name(), &record).await.unwrap();
    assert_eq!(node.record(&name()), Some(record));
    assert_eq!(node.requests(Door::Routing), 2);
}

#[tokio::test]
async fn endpoint_is_given_up_after_five_attempts() {
    let node = Node::start().await;
    node.always(Door::Routing, Fault::Status(500, None));
    let error = at(&node).resolve(&name()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert_eq!(node.requests(Door::Routing), 5);
}

#[tokio::test]
async fn refusal_is_not_repeated() {
    let node = Node::start().await;
    node.always(Door::Routing, Fault::Status(403, None));
    let error = at(&node)
        .publish(&name(), &record(1, "a"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reject);
    assert_eq!(node.requests(Door::Routing), 1);
}

#[tokio::test]
async fn endpoint_that_asks_for_a_long_pause_is_left_alone() {
    let node = Node::start().await;
    node.always(Door::Routing, Fault::Status(503, Some(3600)));
    let error = at(&node).resolve(&name()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(node.requests(Door::Routing), 1);
}

#[tokio::test]
async fn altered_and_oversized_records_are_refused() {
    let node = Node::start().await;
    node.put_record(&name(), &record(1, "a"));
    node.next(Door::Routing, Fault::Flipped);
    let error = at(&node).resolve(&name()).await.unwrap_err();
    assert!(matches!(error, RouteError::Record(_)), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Corrupt);

    node.next(Door::Routing, Fault::Endless);
    let error = at(&node).resolve(&name()).await.unwrap_err();
    assert_eq!(error.code(), "answer_too_large");
}

#[tokio::test]
async fn expired_record_and_one_of_another_name_are_refused() {
    let node = Node::start().await;
    let past = record_until(1, "a", rt::now() - Duration::from_secs(1));
    node.put_record(&name(), &past);
    let error = at(&node).resolve(&name()).await.unwrap_err();
    assert!(matches!(
        error,
        RouteError::Record(RecordError::Expired { .. })
    ));

    let other = Name::from_public_key(&SigningKey::from_seed(&[8; 32]).public());
    node.put_record(&other, &record(1, "a"));
    let error = at(&node).resolve(&other).await.unwrap_err();
    assert!(matches!(error, RouteError::Record(_)));
}

#[tokio::test]
async fn unreachable_endpoint_is_worth_a_retry() {
    let router = Http::new(http(), "http://127.0.0.1:1".parse().unwrap(), backoff());
    let error = router.resolve(&name()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        ("unreachable", ErrorKind::Retry)
    );
}

#[tokio::test]
async fn best_record_wins_over_the_first() {
    let (fast, slow) = (Node::start().await, Node::start().await);
    fast.put_record(&name(), &record(1, "old"));
    slow.put_record(&name(), &record(2, "new"));
    slow.next(Door::Routing, Fault::Half);
    slow.next(Door::Routing, Fault::Status(503, None));
    let gathered = all(&[&fast, &slow]).gather(&name()).await.unwrap();
    assert_eq!(gathered.best.sequence(), 2);
    assert_eq!(gathered.source, slow.url.to_string());
    assert_eq!(gathered.equivocation, None);
}

#[tokio::test]
async fn one_working_endpoint_is_enough() {
    let (good, bad, silent) = (
        Node::start().await,
        Node::start().await,
        Node::start().await,
    );
    good.put_record(&name(), &record(3, "a"));
    bad.always(Door::Routing, Fault::Status(500, None));
    silent.always(Door::Routing, Fault::Silence);
    let gathered = all(&[&bad, &good, &silent]).gather(&name()).await.unwrap();
    assert_eq!(gathered.best.sequence(), 3);
    assert_eq!(gathered.failures.len(), 2);
}

#[tokio::test]
async fn nobody_and_nothing_are_told_apart() {
    let (empty, bad) = (Node::start().await, Node::start().await);
    bad.always(Door::Routing, Fault::Status(500, None));
    let error = all(&[&empty]).gather(&name()).await.unwrap_err();
    assert!(matches!(error, RouteError::NotFound { .. }));
    let error = all(&[&empty, &bad]).gather(&name()).await.unwrap_err();
    assert!(matches!(&error, RouteError::Nobody { failures, .. } if failures.len() == 2));
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.to_string().contains(&bad.url.to_string()));
}

#[tokio::test]
async fn publishing_to_many_succeeds_with_one() {
    let (good, bad) = (Node::start().await, Node::start().await);
    bad.always(Door::Routing, Fault::Status(403, None));
    all(&[&good, &bad])
        .publish(&name(), &record(1, "a"))
        .await
        .unwrap();
    assert!(good.record(&name()).is_some());
    let error = all(&[&bad])
        .publish(&name(), &record(1, "a"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reject);
}

#[tokio::test]
async fn contradicting_answers_are_reported() {
    let (one, two) = (Node::start().await, Node::start().await);
    let (a, b) = (record(4, "a"), record(4, "b"));
    one.put_record(&name(), &a);
    two.put_record(&name(), &b);
    let gathered = all(&[&one, &two]).gather(&name()).await.unwrap();
    let Equivocation { kept, other } = gathered.equivocation.unwrap();
    assert_eq!(kept, gathered.best);
    assert!((kept == a && other == b) || (kept == b && other == a));
}

#[tokio::test]
async fn replay_of_a_valid_record_is_refused_once_newer_was_seen() {
    let local = Local::new(Arc::new(Memory::new()));
    local.publish(&name(), &record(5, "new")).await.unwrap();
    let error = local.publish(&name(), &record(4, "old")).await.unwrap_err();
    assert!(matches!(
        error,
        RouteError::Stale {
            seen: 5,
            offered: 4
        }
    ));
    assert_eq!(error.kind(), ErrorKind::Reject);
    assert_eq!(local.resolve(&name()).await.unwrap().sequence(), 5);
}

#[tokio::test]
async fn mark_outlives_the_process_and_the_record() {
    let store = Arc::new(Memory::new());
    let ended = record_until(9, "a", rt::now() - Duration::from_secs(1));
    Local::new(Arc::clone(&store))
        .observe(&name(), &ended)
        .await
        .unwrap();

    let local = Local::new(store);
    assert!(matches!(
        local.resolve(&name()).await,
        Err(RouteError::NotFound { .. })
    ));
    let observation = local.observe(&name(), &record(8, "b")).await.unwrap();
    assert_eq!(observation.verdict, Verdict::Stale);
    assert_eq!(observation.best, ended);
}

#[tokio::test]
async fn a_mark_that_has_ended_contradicts_no_valid_record_of_its_sequence() {
    let local = Local::new(Arc::new(Memory::new()));
    let ended = record_until(3, "a", rt::now() - DAY);
    local.observe(&name(), &ended).await.unwrap();
    let valid = record(3, "b");
    let observation = local.observe(&name(), &valid).await.unwrap();
    assert_eq!(observation.verdict, Verdict::Newer);
    assert_eq!(local.mark(&name()).await.unwrap(), Some(valid.clone()));
    assert_eq!(local.equivocation(&name()).await.unwrap(), None);
    // Two that are valid contradict each other.
    let other = local.observe(&name(), &record(3, "c")).await.unwrap();
    assert!(matches!(other.verdict, Verdict::Equivocation(_)));
}

#[tokio::test]
async fn longer_life_of_one_statement_is_no_equivocation() {
    let local = Local::new(Arc::new(Memory::new()));
    let (short, long) = (record(1, "a"), record_until(1, "a", rt::now() + DAY * 2));
    for (offered, verdict) in [
        (&short, Verdict::Newer),
        (&short, Verdict::Same),
        (&long, Verdict::Newer),
        (&short, Verdict::Same),
    ] {
        assert_eq!(
            local.observe(&name(), offered).await.unwrap().verdict,
            verdict
        );
    }
    assert_eq!(local.mark(&name()).await.unwrap(), Some(long));
}

#[tokio::test]
async fn equivocation_is_kept_as_evidence_and_the_better_record_is_used() {
    let store = Arc::new(Memory::new());
    let local = Local::new(Arc::clone(&store));
    let (a, b) = (record(3, "a"), record(3, "b"));
    let better = ipns::select([&a, &b]).unwrap().clone();
    local.observe(&name(), &a).await.unwrap();
    let observation = local.observe(&name(), &b).await.unwrap();
    assert!(matches!(observation.verdict, Verdict::Equivocation(_)));
    assert_eq!(observation.best, better);

    let evidence = Local::new(store)
        .equivocation(&name())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(evidence.kept, better);
    assert_ne!(evidence.kept, evidence.other);
}

#[tokio::test]
async fn damaged_mark_is_an_error_not_a_fresh_start() {
    let store = Arc::new(Memory::new());
    let key = format!("record/{}", name());
    store
        .commit(Changes::new().set(key, "not a record"))
        .await
        .unwrap();
    let error = Local::new(store)
        .observe(&name(), &record(1, "a"))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::CorruptRow { .. }));
}
