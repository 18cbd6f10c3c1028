//! A row leaves its queue in the batch that records what came of it: no second write is needed, and none can fail in between.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use perennis_rt as rt;
use perennis_sdk::exchange::{Held, Sink as _};
use perennis_shared::cid::{Block, Cid, Codec};
use perennis_shared::error::{ErrorKind, Retryable as _, chain};
use perennis_shared::ipns::{Ladder, LadderPlan, Name, Record, RecordFields, create};
use perennis_shared::sign::SigningKey;
use perennis_shared::time::{Millis, Timestamp};

use super::{Adoption, FetchedGraph, Ingest, IngestError, Renewal, WholeGraph};
use crate::caller::Caller;
use crate::clock::{Clock, ClockMark};
use crate::config::Config;
use crate::keystore::Keystore;
use crate::metrics::Metrics;
use crate::read::Read;
use crate::storage::queues::{Attempts, DueWindow, FETCH, LADDER, LOST_HEADS};
use crate::storage::{
    FetchAttempt, FetchEnd, FollowState, NameChange, NameState, Shortfall, Storage,
};

const DAY: Duration = Duration::from_secs(86_400);

/// A write door, and the store behind it.
struct Door {
    storage: Storage,
    ingest: Arc<Ingest>,
    name: Name,
}

impl Door {
    fn open(dir: &Path) -> Door {
        Door::with_clock(dir, None)
    }

    /// A node whose clock has shown this before.
    fn with_clock(dir: &Path, before: Option<ClockMark>) -> Door {
        let config = Config::default();
        let storage = Storage::open(dir, &config.routers()).unwrap();
        let metrics = Arc::new(Metrics::new());
        let read = Read::new(storage.clone(), &config.cache, Arc::clone(&metrics));
        let keystore = Arc::new(Keystore::open(dir, None).unwrap());
        let ingest = Ingest::new(
            &config,
            storage.clone(),
            Arc::new(read),
            keystore,
            metrics,
            Arc::new(Clock::new(before)),
        );
        Door {
            storage,
            ingest: Arc::new(ingest),
            name: Name::from_public_key(&key().public()),
        }
    }

    async fn kept(&self) -> NameState {
        self.storage.kept(self.name).await.unwrap().unwrap()
    }

    /// Stores a record without what is below its head; returns the fetch of that.
    async fn fetch(&self) -> FetchAttempt {
        let bytes = record(1).bytes().clone();
        self.ingest
            .put_record("test", &self.name, &bytes, &CALLER)
            .await
            .unwrap();
        let due = self
            .storage
            .fetches_due(window(rt::now()), 8)
            .await
            .unwrap();
        assert_eq!((due.len(), due[0].failures), (1, 0));
        FetchAttempt {
            row: due[0],
            delay: DAY,
        }
    }
}

/// Somebody on this machine.
const CALLER: Caller = Caller {
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    is_rated: true,
    has_publish_token: false,
    origin: None,
};

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn block() -> Block {
    Block::new(Codec::Raw, b"below a head".to_vec()).unwrap()
}

fn window(now: Millis) -> DueWindow {
    DueWindow::new(now, DAY)
}

/// A record that ends in ten days.
fn record(sequence: u64) -> Record {
    let value = format!("/ipfs/{}", block().cid());
    record_of(&value, sequence, rt::now() + 10 * DAY)
}

fn record_of(value: &str, sequence: u64, end: Millis) -> Record {
    let fields = RecordFields {
        value,
        sequence,
        validity: Timestamp::from(end),
        ttl: Duration::from_secs(60),
    };
    create(&key(), &fields).unwrap()
}

#[tokio::test]
async fn a_released_rung_leaves_its_queue_in_the_batch_that_stores_it() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path());
    let base = record(1);
    let plan = LadderPlan {
        rungs: 2,
        step: 30 * DAY,
    };
    let change = NameChange {
        ladder: Some(Ladder::sign(&key(), &base, &plan).unwrap()),
        ..NameChange::of(door.name, base, rt::now())
    };
    door.storage.commit(change).await.unwrap();
    // The first is due five days ago, the second in 25; it is looked at again in a day at the latest.
    let now = rt::now();
    let next = || async { door.storage.queue_next(LADDER).await.unwrap() };
    for (days, is_last) in [(0, false), (26, true)] {
        let now = now + days * DAY;
        let due = door
            .storage
            .queue_due(LADDER, window(now), 8)
            .await
            .unwrap();
        assert_eq!(due.len(), 1);
        let renewed = door.ingest.renew(&due[0], now, now).await.unwrap();
        assert_eq!(renewed, Renewal::Released);
        assert_eq!(next().await.is_none(), is_last);
        assert!(next().await <= Some(rt::now() + DAY));
    }
    // Ten days, and two rungs.
    assert!(door.kept().await.valid_until > rt::now() + 69 * DAY);
}

#[tokio::test]
async fn a_kept_record_that_has_ended_contradicts_no_valid_one_of_its_sequence() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path());
    let now = rt::now();
    let put = async |record: &Record| {
        let bytes = record.bytes().clone();
        let put = door.ingest.put_record("test", &door.name, &bytes, &CALLER);
        put.await.map(drop)
    };
    let ended = record_of("/ipfs/bafkqaaa", 3, now - DAY);
    let kept = NameChange::of(door.name, ended, now - 2 * DAY);
    door.storage.commit(kept).await.unwrap();
    // No name goes back, whatever has ended.
    let refused = put(&record(2)).await;
    assert!(matches!(refused, Err(IngestError::Stale { known: 3, .. })));
    let valid = record(3);
    put(&valid).await.unwrap();
    assert_eq!(door.kept().await.record, valid);
    assert!(!door.storage.has_evidence(door.name).await.unwrap());
    // Of two that are valid the first stays.
    let refused = put(&record_of("/ipfs/bafkqaaa", 3, now + 20 * DAY)).await;
    assert!(matches!(
        refused,
        Err(IngestError::Equivocation { sequence: 3 })
    ));
    assert!(door.storage.has_evidence(door.name).await.unwrap());
}

#[tokio::test]
async fn a_clock_that_went_ahead_releases_no_rung_and_takes_no_row_out_of_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path());
    let base = record(1);
    let plan = LadderPlan {
        rungs: 12,
        step: 30 * DAY,
    };
    let ladder = Ladder::sign(&key(), &base, &plan).unwrap();
    let end = base.validity().to_millis();
    let change = NameChange {
        ladder: Some(ladder.clone()),
        ..NameChange::of(door.name, base.clone(), end - 20 * DAY)
    };
    door.storage.commit(change).await.unwrap();
    let due = || async {
        let all = DueWindow::new(Millis(u64::MAX), DAY);
        door.storage.queue_due(LADDER, all, 8).await.unwrap()[0]
    };
    // The node's steady time is 20 days before the end of the record, and the first rung is due 15 days before it.
    let steady = end - 20 * DAY;
    for days in [6, 100, 370] {
        let now = steady + days * DAY;
        let held = door.ingest.renew(&due().await, now, steady).await.unwrap();
        assert!(
            matches!(held, Renewal::Held(until) if now < until && until <= now + DAY),
            "{days} days: {held:?}"
        );
    }
    // Once every rung is over by the clock, the name is looked at daily all the same.
    let now = end + 400 * DAY;
    for steady in [steady, now] {
        let later = door.ingest.renew(&due().await, now, steady).await.unwrap();
        assert_eq!(later, Renewal::Later(now + DAY));
    }
    assert_eq!(door.kept().await.record, base);
    // The clock is right again.
    let now = end - 14 * DAY;
    let renewed = door.ingest.renew(&due().await, now, now).await.unwrap();
    assert_eq!(renewed, Renewal::Released);
    assert_eq!(door.kept().await.record, ladder.rungs()[0]);
}

#[tokio::test]
async fn a_record_that_has_ended_by_a_clock_in_doubt_alone_is_no_fault_of_its_publisher() {
    let now = rt::now();
    let put = async |before: Option<Millis>, end: Millis| {
        let dir = tempfile::tempdir().unwrap();
        let before = before.map(|at| ClockMark {
            seen: at,
            steady: at,
        });
        let door = Door::with_clock(dir.path(), before);
        let record = record_of("/ipfs/bafkqaaa", 1, end);
        let bytes = record.bytes();
        let put = door.ingest.put_record("test", &door.name, bytes, &CALLER);
        put.await.unwrap_err()
    };
    // The clock is forty days further than the time that has passed: as if it went ahead while the node was stopped.
    let ahead = Some(now - 40 * DAY);
    let error = put(ahead, now - 10 * DAY).await;
    assert_eq!((error.code(), error.kind()), ("clock", ErrorKind::Retry));
    let told = chain(&error);
    assert!(
        told.contains("clock of this node") && told.contains("expired"),
        "{told}"
    );
    // It has ended by any clock; and one that nothing speaks against is believed.
    assert_eq!(put(ahead, now - 41 * DAY).await.code(), "expired_record");
    assert_eq!(put(None, now - 10 * DAY).await.code(), "expired_record");
    let steady = Some(now - DAY / 1_000);
    assert_eq!(put(steady, now - 10 * DAY).await.code(), "expired_record");
}

#[tokio::test]
async fn a_search_that_found_a_record_is_put_off_in_the_batch_that_stores_it() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path());
    let adoption = Adoption::of_record(record(1), Vec::new(), Millis(1));
    door.ingest.follow(&door.name, adoption).await.unwrap();
    let next_look = || async { door.storage.next_look(door.name).await.unwrap() };
    assert_eq!(next_look().await, Some(Millis(1)));
    let before = FollowState {
        failures: 3,
        last_error: Some("nobody knew it".to_owned()),
        ..door.kept().await.followed.unwrap()
    };
    let saved = door
        .storage
        .save_followed(door.name, before.clone(), Millis(1));
    saved.await.unwrap();

    let next = rt::now() + DAY;
    let newer = record(2);
    let found = door
        .ingest
        .found(&door.name, newer.clone(), Some(next))
        .await;
    assert!(found.unwrap());
    assert_eq!(next_look().await, Some(next));
    let after = door.kept().await.followed.unwrap();
    assert!(after.found_at >= before.found_at);
    assert_eq!((after.failures, after.last_error), (0, None));
    assert_eq!(after.sources, before.sources);

    // What is known already changes nothing.
    let found = door.ingest.found(&door.name, newer, Some(Millis(2))).await;
    assert!(!found.unwrap());
    assert_eq!(next_look().await, Some(next));
}

#[tokio::test]
async fn a_fetch_that_brought_all_leaves_its_queue_in_the_batch_that_stores_the_last_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path());
    let attempt = door.fetch().await;
    let kept = door.kept().await;
    let whole = WholeGraph {
        blocks: vec![block()],
        bytes: block().bytes().len() as u64,
        count: 1,
        opaque: None,
    };
    // It is no list of ours, and nobody follows it: then its blocks are let go.
    let is_list = door
        .ingest
        .adopt_whole(&door.name, &kept, whole, Some(&attempt))
        .await
        .unwrap();
    assert!(!is_list);
    assert_eq!(door.storage.queue_next(FETCH).await.unwrap(), None);
}

#[tokio::test]
async fn a_fetch_that_lacks_a_block_is_put_off_in_the_batch_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path());
    let attempt = door.fetch().await;
    let kept = door.kept().await;
    let incomplete = |missing| FetchedGraph::Incomplete {
        missing,
        why: Shortfall::awaited(Cid::default(), missing),
    };
    // A part of it came first: its row stays as it is.
    let ended = attempt.ends(FetchEnd::GoesOn);
    let adopted = door
        .ingest
        .adopt(&door.name, &kept, Vec::new(), incomplete(2), Some(ended))
        .await;
    adopted.unwrap();
    let next = door.storage.queue_next(FETCH).await.unwrap();
    assert_eq!(next, Some(attempt.row.due));

    let begun = rt::now();
    let ended = attempt.ends(FetchEnd::Later);
    let adopted = door
        .ingest
        .adopt(&door.name, &kept, Vec::new(), incomplete(1), Some(ended))
        .await;
    adopted.unwrap();
    let next = door.storage.queue_next(FETCH).await.unwrap().unwrap();
    assert!(next >= begun + DAY);
    let due = door.storage.fetches_due(window(next), 8).await.unwrap();
    assert_eq!((due.len(), due[0].failures), (1, 1));
}

#[tokio::test]
async fn what_is_fetched_on_demand_ends_where_admission_says() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path());
    let root = *block().cid();
    assert!(!door.ingest.release(&root).await.unwrap());
    drop(door.ingest.begin_fetch(&root).await.unwrap());
    // Its root is held before the first block comes.
    assert!(door.ingest.release(&root).await.unwrap());
    let sink = door.ingest.begin_fetch(&root).await.unwrap();
    sink.keep(vec![block()]).await.unwrap();
    assert!(sink.kept_bytes.load(Ordering::Relaxed) > 0);
    // As if all that is allowed had come.
    let allowed = sink.limits().bytes;
    sink.kept_bytes.store(allowed + 1, Ordering::Relaxed);
    let more = Block::new(Codec::Raw, b"one block more".to_vec()).unwrap();
    let cid = *more.cid();
    let refused = sink.keep(vec![more]).await.unwrap_err();
    assert!(
        chain(&refused).contains("fetch.max-size"),
        "{}",
        chain(&refused)
    );
    let held = sink.held(&[root, cid]).await.unwrap();
    assert!(matches!(held[..], [Held::Whole, Held::Absent]));
}

#[tokio::test]
async fn a_search_for_a_lost_head_ends_with_a_newer_record_and_brings_back_nothing_that_was_let_go()
{
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path());
    let (storage, name) = (&door.storage, door.name);
    let lose = || storage.queue_put(LOST_HEADS, &name, Millis(1), Attempts(0));
    lose().await.unwrap();
    let lost = storage.lost_heads_due(window(Millis(2)), 8).await.unwrap()[0];
    storage.forget_all(vec![name], None).await.unwrap();
    assert!(!storage.is_head_lost(name).await.unwrap());
    let too_late = door.ingest.found_again(&lost, record(3)).await;
    assert!(
        matches!(too_late, Err(IngestError::NotFollowed)),
        "{too_late:?}"
    );
    assert!(storage.kept(name).await.unwrap().is_none());

    lose().await.unwrap();
    let bytes = record(4).bytes().clone();
    let put = door.ingest.put_record("test", &name, &bytes, &CALLER);
    put.await.unwrap();
    assert!(!storage.is_head_lost(name).await.unwrap());
    assert_eq!(door.kept().await.sequence, 4);
}

#[tokio::test]
async fn a_name_whose_record_is_lost_and_found_again_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let door = Door::open(dir.path());
    let (storage, name) = (&door.storage, door.name);
    let lose = storage.queue_put(LOST_HEADS, &name, Millis(1), Attempts(0));
    lose.await.unwrap();
    storage.count_names(|| false).unwrap();
    assert_eq!(storage.name_count(), 1);
    let lost = storage.lost_heads_due(window(Millis(2)), 8).await.unwrap()[0];
    door.ingest.found_again(&lost, record(3)).await.unwrap();
    assert_eq!(door.kept().await.sequence, 3);
    assert_eq!(storage.name_count(), 1);
    // And so it is when the node starts again.
    drop(door);
    let door = Door::open(dir.path());
    door.storage.count_names(|| false).unwrap();
    assert_eq!(door.storage.name_count(), 1);
}
