//! Following: looks for newer records of followed names, since their owners do not know this node.
//!
//! Every place that may know a record is asked under one deadline, and the best valid answer is taken in through the
//! write door. A name whose record cannot be found keeps the one that is here, which is put to the routers unchanged
//! until it lapses; its blocks stay either way. Where a record points at another name, that one is followed for it ([`next`]).

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_sdk::router::Gathered;
use perennis_shared::backoff::Backoff;
use perennis_shared::error::chain;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use super::status::Status;
use super::timing::{later, longest_spread, spread};
use super::{Job, Parts};
use crate::ingest::{Ingest, IngestError};
use crate::metrics::{Metrics, Outcome};
use crate::routes::Routes;
use crate::storage::queues::{DueWindow, FOLLOW, QueueEntry, TypedQueue};
use crate::storage::{FollowState, KeptOrLost, Storage, StorageError};

mod next;

/// The first delay after a search that found nothing; it doubles up to the period.
const RETRY: Duration = Duration::from_secs(60);

/// How long an error message is kept, in characters.
const ERROR_CHARS: usize = 300;

pub(crate) struct FollowJob {
    storage: Storage,
    ingest: Arc<Ingest>,
    routes: Arc<Routes>,
    metrics: Arc<Metrics>,
    period: Duration,
}

impl FollowJob {
    pub(crate) fn new(parts: &Parts<'_>) -> FollowJob {
        FollowJob {
            storage: parts.storage.clone(),
            ingest: Arc::clone(parts.ingest),
            routes: Arc::clone(parts.routes),
            metrics: Arc::clone(parts.metrics),
            period: parts.config.follow.period,
        }
    }
}

impl Job for FollowJob {
    type Key = Name;
    type Payload = ();
    type Due = QueueEntry<Name>;

    const QUEUE: TypedQueue<Name> = FOLLOW;
    const BATCH: usize = 64;
    // Each waits for others most of its time: some that never answer must not hold up the rest.
    const AT_ONCE: usize = 64;

    fn name(&self) -> String {
        "follow".to_owned()
    }

    fn throttle(&self) -> String {
        format!("{} names at once", Self::AT_ONCE)
    }

    fn longest(&self) -> Duration {
        longest_spread(self.period)
    }

    fn storage(&self) -> &Storage {
        &self.storage
    }

    async fn due(&self, window: DueWindow, limit: usize) -> Result<Vec<Self::Due>, StorageError> {
        self.storage.queue_due(FOLLOW, window, limit).await
    }

    fn progress(&self, due: &[Self::Due]) -> Option<String> {
        Some(format!("looking for the records of {} names", due.len()))
    }

    fn key(due: &QueueEntry<Name>) -> Name {
        due.key
    }

    /// Looks for the record of a name.
    async fn work(&self, due: QueueEntry<Name>, _status: &Status) -> Result<(), StorageError> {
        let name = due.key;
        let followed = match self.storage.kept_or_lost(name).await? {
            KeptOrLost::Kept(kept) => kept.followed,
            // It is looked for by another worker; the name is still followed when it is found.
            KeptOrLost::Lost => return self.storage.put_off(FOLLOW, &due, later(RETRY)).await,
            KeptOrLost::Unknown => None,
        };
        let Some(row) = followed else {
            return self.storage.take_out(FOLLOW, &due).await;
        };
        if !row.is_asked && self.ingest.led_from(&name).await?.is_none() {
            return self.let_go(&due).await;
        }
        let next = later(spread(self.period, rt::jitter()));
        // That this node gives its own copy to others says nothing about the name.
        let found = match self.routes.resolve_elsewhere(&name, &row.sources).await {
            Ok(gathered) => self.take_in(&name, &gathered, next).await,
            Err(error) => Err(chain(&error)),
        };
        let (row, next) = match found {
            Ok(is_newer) => {
                self.metrics.follow_lookups.inc(Outcome::Ok);
                if is_newer {
                    // The batch that stored the record has said so.
                    return Ok(());
                }
                (row.found(rt::now()), next)
            }
            Err(error) => {
                self.metrics.follow_lookups.inc(Outcome::Failed);
                tracing::debug!(%name, error, "no record was found");
                let failures = row.failures.saturating_add(1);
                let row = FollowState {
                    failures,
                    last_error: Some(error.chars().take(ERROR_CHARS).collect()),
                    ..row
                };
                (row, later(self.retry(failures)))
            }
        };
        let again = self.follow_next(&name).await?;
        let next = again.map_or(next, |again| next.min(again));
        self.ingest.save_followed(&name, row, next).await
    }
}

impl FollowJob {
    /// Takes in what was found; true when it is newer than what was here. An older record is as good as the same.
    async fn take_in(
        &self,
        name: &Name,
        gathered: &Gathered,
        next: Millis,
    ) -> Result<bool, String> {
        let record = gathered.best.clone();
        match self.ingest.found(name, record, Some(next)).await {
            Ok(is_newer) => {
                if is_newer {
                    let sequence = gathered.best.sequence();
                    tracing::info!(%name, sequence, source = %gathered.source, "a followed name has a new record");
                }
                Ok(is_newer)
            }
            Err(IngestError::Stale { .. } | IngestError::NotFollowed) => Ok(false),
            Err(error) => Err(chain(&error)),
        }
    }

    fn retry(&self, failures: u32) -> Duration {
        let policy = Backoff {
            base: RETRY.min(self.period),
            max: self.period,
            attempts: u32::MAX,
        };
        policy.delay(failures, rt::jitter()).unwrap_or(self.period)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::ipns::{RecordFields, create};
    use perennis_shared::sign::SigningKey;
    use perennis_shared::time::Timestamp;

    use super::*;
    use crate::ingest::Adoption;
    use crate::storage::queues::{Attempts, LOST_HEADS};
    use crate::workers::testing::{Source, TestParts, context};

    #[tokio::test]
    async fn a_record_that_is_found_and_is_no_news_ends_the_failures_of_its_name() {
        let node = TestParts::new(|_| {}).await;
        let source = Source::new().await;
        let key = SigningKey::from_seed(&[1; 32]);
        let name = Name::from_public_key(&key.public());
        let fields = RecordFields {
            value: "/ipfs/bafkqaaa",
            sequence: 1,
            validity: Timestamp::from(rt::now() + Duration::from_secs(86_400)),
            ttl: RETRY,
        };
        let record = create(&key, &fields).unwrap();
        let adoption = Adoption::of_record(record.clone(), vec![source.url()], Millis(1));
        node.ingest.follow(&name, adoption).await.unwrap();
        let row = node.storage.followed_row(name).await.unwrap().unwrap();
        let failed = FollowState {
            found_at: Some(Millis(1)),
            failures: 3,
            last_error: Some("nobody knew it".to_owned()),
            ..row
        };
        node.storage
            .save_followed(name, failed, Millis(1))
            .await
            .unwrap();

        let job = FollowJob::new(&node.parts());
        let (_, status, _stop) = context();
        let due = job
            .due(DueWindow::new(rt::now(), job.longest()), FollowJob::BATCH)
            .await
            .unwrap();
        let begun = rt::now();
        let answer = async {
            let asked = source.asked().await;
            assert_eq!(asked.path, format!("/routing/v1/ipns/{name}"));
            let media_type = "application/vnd.ipfs.ipns-record";
            asked.answer(media_type, record.bytes()).await;
        };
        let (worked, ()) = tokio::join!(job.work(due[0], &status), answer);
        worked.unwrap();
        let row = node.storage.followed_row(name).await.unwrap().unwrap();
        assert_eq!((row.failures, row.last_error), (0, None));
        assert!(row.found_at >= Some(begun));
        let next = node.storage.next_look(name).await.unwrap();
        assert!(next > Some(begun));
        assert_eq!(node.count("ipns_follow_looks_total{outcome=\"Ok\"}"), 1);
    }

    fn name(seed: u8) -> Name {
        Name::from_public_key(&SigningKey::from_seed(&[seed; 32]).public())
    }

    async fn due(job: &FollowJob) -> Vec<QueueEntry<Name>> {
        let window = DueWindow::new(rt::now(), job.longest());
        job.due(window, FollowJob::BATCH).await.unwrap()
    }

    #[tokio::test]
    async fn a_followed_name_whose_head_is_lost_stays_in_the_queue_and_one_that_is_let_go_does_not()
    {
        let node = TestParts::new(|_| {}).await;
        let (job, storage) = (FollowJob::new(&node.parts()), &node.storage);
        let (_, status, _stop) = context();
        let (lost, gone) = (name(1), name(2));
        for name in [lost, gone] {
            let put = storage.queue_put(FOLLOW, &name, Millis(1), ());
            put.await.unwrap();
        }
        let put = storage.queue_put(LOST_HEADS, &lost, Millis(1), Attempts(0));
        put.await.unwrap();
        let begun = rt::now();
        for row in due(&job).await {
            job.work(row, &status).await.unwrap();
        }
        let next = storage.next_look(lost).await.unwrap();
        assert!(next > Some(begun), "it is looked at again when it is found");
        assert_eq!(storage.next_look(gone).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_name_that_nobody_else_knows_is_not_found() {
        // It takes part in the DHT, and would give its own copy to whoever asks.
        let node = TestParts::new(|config| config.p2p.dht = perennis_net::DhtMode::Server).await;
        let key = SigningKey::from_seed(&[1; 32]);
        let fields = RecordFields {
            value: "/ipfs/bafkqaaa",
            sequence: 1,
            validity: Timestamp::from(rt::now() + Duration::from_secs(86_400)),
            ttl: RETRY,
        };
        let record = create(&key, &fields).unwrap();
        let gone = Source::new().await.url();
        let adoption = Adoption::of_record(record, vec![gone], Millis(1));
        node.ingest.follow(&name(1), adoption).await.unwrap();
        let job = FollowJob::new(&node.parts());
        assert!(job.routes.resolve(&name(1), &[]).await.is_ok());
        let before = node.storage.followed_row(name(1)).await.unwrap().unwrap();
        let (_, status, _stop) = context();
        for row in due(&job).await {
            job.work(row, &status).await.unwrap();
        }
        let row = node.storage.followed_row(name(1)).await.unwrap().unwrap();
        assert_eq!((row.failures, row.found_at), (1, before.found_at));
        assert!(row.last_error.is_some());
        assert_eq!(node.count("ipns_follow_looks_total{outcome=\"Failed\"}"), 1);
    }
}
