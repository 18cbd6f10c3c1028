//! The worker for lapsed names: removes those whose record ended long ago and that no rung renews.
//!
//! It goes through all names, page by page, and removes one at a time. By a clock that is wrong every name seems to have lapsed. So
//! nothing is removed while the clock is in doubt ([`Clock::is_settled`]): it has jumped within a week, or is further than the
//! time that has passed tells.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::ipns::Name;

use super::{Context, Parts, Step, Worker};
use crate::clock::Clock;
use crate::ingest::{Ingest, IngestError};
use crate::storage::{NameState, Storage, StorageError};

/// Names read at once.
const PAGE: usize = 64;

/// Pause between two pages: a million names are looked at in less than an hour.
const PAUSE: Duration = Duration::from_millis(100);

/// Time between two rounds, at most; a tenth of the time that lapsed names are kept where that is less.
const PERIOD: Duration = Duration::from_secs(3_600);

pub(crate) struct LapsedWorker {
    storage: Storage,
    ingest: Arc<Ingest>,
    clock: Arc<Clock>,
    period: Duration,
    /// The last name of the page at hand.
    place: Option<Name>,
    removed: u64,
}

impl LapsedWorker {
    /// None where names are kept for ever.
    pub(crate) fn if_on(parts: &Parts<'_>) -> Option<LapsedWorker> {
        let grace = parts.config.admission.grace?;
        Some(LapsedWorker {
            storage: parts.storage.clone(),
            ingest: Arc::clone(parts.ingest),
            clock: Arc::clone(parts.clock),
            period: PERIOD.min(grace / 10),
            place: None,
            removed: 0,
        })
    }

    /// Removes those of a page that have lapsed.
    async fn remove(&mut self, page: Vec<(Name, NameState)>, context: &Context) {
        let mut page = VecDeque::from(page);
        while let Some((name, kept)) = page.pop_front() {
            let now = rt::now();
            // The clock may be set at any time.
            if context.stop().is_now() || !self.clock.is_settled(now) {
                return;
            }
            match self.remove_one(&name, &kept).await {
                Ok(true) => {
                    self.removed += 1;
                    context.stepped();
                }
                Ok(false) => {}
                Err(error) => context.failed(&error),
            }
        }
    }

    async fn remove_one(&self, name: &Name, kept: &NameState) -> Result<bool, IngestError> {
        let now = rt::now();
        if !self.ingest.has_lapsed(name, kept, now).await? {
            return Ok(false);
        }
        self.ingest.remove_lapsed(name, now).await
    }
}

impl Worker for LapsedWorker {
    type Error = StorageError;

    fn name(&self) -> String {
        "lapsed names".to_owned()
    }

    fn throttle(&self) -> String {
        format!("{PAGE} names in a tenth of a second")
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, StorageError> {
        if !self.clock.is_settled(rt::now()) {
            context.working(
                "nothing is removed: the clock has jumped, or is ahead of the time that has passed",
            );
            self.place = None;
            return Ok(Step::idle(self.period));
        }
        let page = self.storage.names(self.place, PAGE).await?;
        let Some((last, _)) = page.last() else {
            self.place = None;
            context.working(format!(
                "{} names were removed since the start",
                self.removed
            ));
            return Ok(Step::idle(self.period));
        };
        self.place = Some(*last);
        self.remove(page, context).await;
        Ok(Step::Pause(PAUSE))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::ipns::{Ladder, LadderPlan, Record, RecordFields, create};
    use perennis_shared::sign::SigningKey;
    use perennis_shared::time::{Millis, Timestamp};

    use super::*;
    use crate::clock::ClockMark;
    use crate::ingest::Adoption;
    use crate::storage::NameChange;
    use crate::workers::testing::{TestParts, context};

    const DAY: Duration = Duration::from_secs(86_400);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn name(seed: u8) -> Name {
        Name::from_public_key(&key(seed).public())
    }

    fn record(seed: u8, end: Millis) -> Record {
        let fields = RecordFields {
            value: "/ipfs/bafkqaaa",
            sequence: 1,
            validity: Timestamp::from(end),
            ttl: DAY,
        };
        create(&key(seed), &fields).unwrap()
    }

    async fn keep(node: &TestParts, seed: u8, end: Millis, ladder: Option<LadderPlan>) {
        let record = record(seed, end);
        let ladder = ladder.map(|plan| Ladder::sign(&key(seed), &record, &plan).unwrap());
        let change = NameChange {
            ladder,
            ..NameChange::of(name(seed), record, rt::now())
        };
        node.storage.commit(change).await.unwrap();
    }

    /// Goes through all names once.
    async fn round(worker: &mut LapsedWorker) {
        let (mut context, _, _stop) = context();
        while let Step::Pause(_) = worker.step(&mut context).await.unwrap() {}
    }

    async fn kept(node: &TestParts) -> Vec<u8> {
        let names = node.storage.names(None, 100).await.unwrap();
        let seeds = (1..=9).filter(|seed| names.iter().any(|(kept, _)| *kept == name(*seed)));
        seeds.collect()
    }

    #[tokio::test]
    async fn lapsed_names_go_and_those_that_are_renewed_followed_allowed_or_fresh_stay() {
        let node = TestParts::new(|config| config.admission.allow = vec![name(5)]).await;
        let now = rt::now();
        let plan = |days: u32| LadderPlan {
            rungs: 1,
            step: days * DAY,
        };
        keep(&node, 1, now - 31 * DAY, None).await;
        keep(&node, 2, now - 29 * DAY, None).await;
        // A rung that ends later, and one that has ended as well.
        keep(&node, 3, now - 31 * DAY, Some(plan(5))).await;
        keep(&node, 4, now - 41 * DAY, Some(plan(5))).await;
        keep(&node, 5, now - 31 * DAY, None).await;
        let adoption = Adoption::of_record(record(6, now + DAY), Vec::new(), now);
        node.ingest.follow(&name(6), adoption).await.unwrap();
        keep(&node, 6, now - 31 * DAY, None).await;
        node.storage.count_names(|| false).unwrap();
        let mut worker = LapsedWorker::if_on(&node.parts()).unwrap();
        round(&mut worker).await;
        assert_eq!(kept(&node).await, [2, 3, 5, 6]);
        assert_eq!(node.count("ipns_removed_names_total{why=\"Lapsed\"}"), 2);
        let removed = node.ingest.removed(&name(1)).unwrap();
        assert_eq!(removed.why.word(), "lapsed");
    }

    #[tokio::test]
    async fn nothing_is_removed_while_the_clock_is_in_doubt_or_names_are_kept_for_ever() {
        let node = TestParts::new(|config| config.admission.grace = None).await;
        assert!(LapsedWorker::if_on(&node.parts()).is_none());
        let node = TestParts::new(|_| {}).await;
        let now = rt::now();
        keep(&node, 1, now - 31 * DAY, None).await;
        let mut worker = LapsedWorker::if_on(&node.parts()).unwrap();
        // The node was switched off for long, or its clock is ahead; and one that went back.
        for seen in [now - 40 * DAY, now + 40 * DAY] {
            let mark = ClockMark { seen, steady: seen };
            worker.clock = Arc::new(Clock::new(Some(mark)));
            round(&mut worker).await;
            assert_eq!(kept(&node).await, [1]);
        }
        worker.clock = Arc::new(Clock::new(None));
        round(&mut worker).await;
        assert_eq!(kept(&node).await, [0_u8; 0]);
    }
}
