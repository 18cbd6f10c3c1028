//! Many routers asked at once: doubles that decide when they answer.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use perennis_rt::{self as rt, BoxFuture};
use perennis_sdk::router::{Composite, CompositeTimes, RouteError, Router, Scores};
use perennis_shared::{
    ipns::{self, Name, Record, RecordFields},
    sign::SigningKey,
    time::Timestamp,
};
use tokio::sync::Notify;

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn name() -> Name {
    Name::from_public_key(&key().public())
}

fn record(sequence: u64) -> Record {
    let fields = RecordFields {
        value: "/ipfs/bafkqaaa",
        sequence,
        validity: Timestamp::from(rt::now() + Duration::from_secs(86_400)),
        ttl: Duration::from_secs(60),
    };
    ipns::create(&key(), &fields).unwrap()
}

/// What a router does with one request.
#[derive(Clone)]
enum Turn {
    Gives(u64),
    Absent,
    Fails,
    Silent,
    /// Gives this once it is let.
    Later(u64),
}

struct Double {
    label: &'static str,
    later: Notify,
    published: Mutex<Vec<u64>>,
    turns: Mutex<VecDeque<Turn>>,
    asked: AtomicUsize,
}

fn double(label: &'static str, turns: &[Turn]) -> Arc<Double> {
    Arc::new(Double {
        label,
        later: Notify::new(),
        published: Mutex::default(),
        turns: Mutex::new(turns.iter().cloned().collect()),
        asked: AtomicUsize::new(0),
    })
}

impl Router for Double {
    fn label(&self) -> String {
        self.label.to_owned()
    }

    fn resolve<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Record, RouteError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let turn = self.turns.lock().pop_front().unwrap_or(Turn::Silent);
        Box::pin(async move {
            match turn {
                Turn::Gives(sequence) => Ok(record(sequence)),
                Turn::Absent => Err(RouteError::NotFound { name: *name }),
                Turn::Fails => Err(RouteError::Deadline {
                    after: Duration::ZERO,
                }),
                Turn::Silent => std::future::pending().await,
                Turn::Later(sequence) => {
                    self.later.notified().await;
                    Ok(record(sequence))
                }
            }
        })
    }

    fn publish<'a>(
        &'a self,
        _: &'a Name,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<(), RouteError>> {
        self.published.lock().push(record.sequence());
        Box::pin(async { Ok(()) })
    }
}

fn composite(routers: &[&Arc<Double>], deadline: u64, scores: &Arc<Mutex<Scores>>) -> Composite {
    let routers = routers
        .iter()
        .map(|router| Arc::clone(*router) as Arc<dyn Router>);
    let times = CompositeTimes {
        deadline: Duration::from_secs(deadline),
        settle: Duration::from_millis(200),
    };
    Composite::with_scores(routers.collect(), times, Arc::clone(scores))
}

#[tokio::test]
async fn a_request_that_got_lost_is_made_again() {
    let scores = Arc::default();
    let lossy = double("lossy", &[Turn::Silent, Turn::Gives(4)]);
    let composite = composite(&[&lossy], 600, &scores);
    // Far before the deadline, which would end the test.
    let gathered = composite.gather(&name()).await.unwrap();
    assert_eq!(gathered.best.sequence(), 4);
    assert_eq!(lossy.asked.load(Ordering::Relaxed), 2);
    assert!(gathered.asked[0].hedged);
}

#[tokio::test]
async fn a_silent_one_is_asked_no_more_than_twice_and_told_about() {
    let scores = Arc::default();
    let silent = double("silent", &[]);
    let alone = composite(&[&silent], 1, &scores);
    let nobody = alone.gather(&name()).await.unwrap_err();
    assert!(matches!(nobody, RouteError::Nobody { .. }), "{nobody}");
    assert_eq!(silent.asked.load(Ordering::Relaxed), 2);
    assert!(scores.lock().score(rt::now(), "silent").success < 0.5);
}

#[tokio::test]
async fn results_are_told_for_each_and_the_better_ones_come_first_next_time() {
    let scores = Arc::default();
    let turns = |turn: Turn| vec![turn; 8];
    let broken = double("broken", &turns(Turn::Fails));
    let empty = double("empty", &turns(Turn::Absent));
    let good = double("good", &turns(Turn::Gives(3)));
    let old = double("old", &turns(Turn::Gives(2)));
    let composite = composite(&[&broken, &empty, &good, &old], 60, &scores);
    for _ in 0..3 {
        let gathered = composite.gather(&name()).await.unwrap();
        assert_eq!((gathered.best.sequence(), &*gathered.source), (3, "good"));
        assert_eq!(gathered.failures.len(), 2);
        for asked in &gathered.asked {
            match &*asked.label {
                "good" => assert!(matches!(asked.result, Ok(3))),
                "old" => assert!(matches!(asked.result, Ok(2))),
                _ => assert!(asked.result.is_err()),
            }
        }
    }
    let last = composite.gather(&name()).await.unwrap();
    assert_eq!(last.asked.last().unwrap().label, "broken");
    // All are asked all the same.
    assert_eq!(broken.asked.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn what_comes_after_an_early_answer_is_gathered_and_corrects_who_was_behind() {
    let scores = Arc::default();
    let (fast, slow) = (
        double("fast", &[Turn::Gives(1)]),
        double("slow", &[Turn::Later(2)]),
    );
    let empty = double("empty", &[Turn::Absent]);
    let composite = composite(&[&fast, &slow, &empty], 600, &scores);
    let name = name();
    let mut lookup = composite.lookup(&name);
    lookup.settle().await;
    let early = lookup.gathered().unwrap();
    assert_eq!((early.best.sequence(), &*early.source), (1, "fast"));
    assert!(lookup.is_open());
    slow.later.notify_one();
    assert!(lookup.next_record().await);
    assert!(!lookup.is_open());
    let all = lookup.gathered().unwrap();
    assert_eq!((all.best.sequence(), &*all.source), (2, "slow"));
    composite.correct(&name, &all).await;
    let published = |place: &Arc<Double>| place.published.lock().clone();
    assert_eq!(published(&fast), [2]);
    assert_eq!((published(&slow), published(&empty)), (vec![], vec![]));
}
