//! The pubsub worker: follows the names that are kept here by gossip, tells of their records, and takes in newer ones.
//!
//! Names that the operator follows come first, then the others, until as many are followed as the configuration lets.
//! A record that changed here is told of at once, whether or not its name has a place; each name's record is told of
//! again once in a period, since messages get lost. What others tell goes through the write door, as any record does.

use std::sync::Arc;
use std::time::Duration;

use perennis_net::{Pubsub, PubsubError};
use perennis_rt as rt;
use perennis_shared::error::Retryable as _;
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, Record};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Ending, Worker};
use crate::ingest::{Ingest, IngestError};
use crate::metrics::{Metrics, Outcome};
use crate::shutdown::Stop;
use crate::storage::{Storage, StorageError};

/// Names read from the store in one step.
const PAGE: usize = 256;

/// Shortest pause between two names that are told of again.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct PubsubWorker {
    pub(crate) pubsub: Pubsub,
    pub(crate) storage: Storage,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) metrics: Arc<Metrics>,
    /// The time in which each record is told of again.
    pub(crate) period: Duration,
    /// Told of each name that is newly followed.
    pub(crate) joined: mpsc::UnboundedSender<Name>,
}

impl PubsubWorker {
    /// Follows and tells.
    pub(super) async fn run(self: Arc<Self>, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        // Those the operator asked for must have their places before the others.
        for is_followed in [true, false] {
            if let Err(error) = self.follow_kept(is_followed, &worker, &stop).await {
                worker.failed(&error);
            }
        }
        let mut turn = Vec::new();
        let mut pause = self.period;
        let mut next = Instant::now() + pause;
        loop {
            if turn.is_empty() {
                turn = self.pubsub.names();
                let names = u32::try_from(turn.len().max(1)).unwrap_or(u32::MAX);
                pause = (self.period / names).max(PAUSE);
            }
            worker.waiting(None);
            tokio::select! {
                changed = stop.or(self.ingest.news.next()) => {
                    let Some(name) = changed else { return };
                    worker.working(format!("telling of {name}"));
                    if let Err(error) = self.changed(name).await {
                        worker.failed(&error);
                    }
                    worker.stepped();
                }
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + pause;
                    if let Some(name) = turn.pop() {
                        self.tell_again(name).await;
                    }
                }
            }
        }
    }

    /// Takes in what others tell.
    pub(super) async fn take_in(self: Arc<Self>, mut stop: Stop) {
        let mut updates = self.pubsub.updates();
        while let Some(Some((name, record))) = stop.or(updates.next()).await {
            let outcome = match self.taken(&name, record).await {
                Ok(()) => Outcome::Ok,
                Err(IngestError::Stale { .. } | IngestError::NotFollowed) => Outcome::Refused,
                Err(error) => {
                    tracing::debug!(%name, error = %chain(&error), "a record from pubsub is not taken");
                    Outcome::Failed
                }
            };
            self.metrics.heard(outcome);
        }
    }

    async fn taken(&self, name: &Name, record: Record) -> Result<(), IngestError> {
        let Some(kept) = self.storage.kept(*name).await? else {
            // It was forgotten while the message was on its way.
            return Ok(());
        };
        if kept.followed.is_some() {
            let sequence = record.sequence();
            let is_newer = self.ingest.found(name, record).await?;
            if is_newer {
                tracing::info!(%name, sequence, source = "pubsub", "a followed name has a new record");
            }
        } else {
            self.ingest.put_verified("pubsub", name, record).await?;
        }
        Ok(())
    }

    async fn follow_kept(
        &self,
        is_followed: bool,
        worker: &Worker,
        stop: &Stop,
    ) -> Result<(), StorageError> {
        let mut after = None;
        loop {
            let rows = self.storage.names(after, PAGE).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(());
            };
            after = Some(*last);
            worker.working(format!("joining the topics of names, now {last}"));
            for (name, kept) in rows {
                if kept.followed.is_some() != is_followed {
                    continue;
                }
                match self.pubsub.follow(name, Some(kept.record)).await {
                    Ok(is_new) => {
                        self.joined(name, is_new);
                        worker.stepped();
                    }
                    // The rest is told of when it changes.
                    Err(PubsubError::TooMany { .. } | PubsubError::Net(_)) => return Ok(()),
                    Err(error) => worker.failed(&error),
                }
            }
            if stop.is_now() {
                return Ok(());
            }
        }
    }

    /// Tells of the record of a name that has changed; leaves the topic of one that is forgotten.
    async fn changed(&self, name: Name) -> Result<(), StorageError> {
        let Some(kept) = self.storage.kept(name).await? else {
            // The peer may have stopped; then there is nothing to leave.
            let _ = self.pubsub.leave(name).await;
            return Ok(());
        };
        let record = kept.record;
        // What came from there has been passed on already.
        if self
            .pubsub
            .newest(&name)
            .is_some_and(|newest| newest == record)
        {
            return Ok(());
        }
        match self.pubsub.follow(name, None).await {
            Ok(is_new) => self.joined(name, is_new),
            Err(PubsubError::TooMany { .. }) => {}
            Err(error) => tracing::debug!(%name, %error, "a name is not followed over pubsub"),
        }
        self.tell(name, &record).await;
        Ok(())
    }

    fn joined(&self, name: Name, is_new: bool) {
        if is_new {
            // Without the DHT nobody looks for followers.
            let _ = self.joined.send(name);
        }
    }

    async fn tell_again(&self, name: Name) {
        let newest = self.pubsub.newest(&name);
        if let Some(record) = newest.filter(|newest| !newest.is_expired(rt::now())) {
            self.tell(name, &record).await;
        }
    }

    async fn tell(&self, name: Name, record: &Record) {
        let outcome = match self.pubsub.tell(name, record).await {
            // Nobody was there to hear it.
            Ok(0) => return,
            Ok(_) => Outcome::Ok,
            Err(error) => {
                tracing::debug!(%name, error = %chain(&error), kind = ?error.kind(), "a record is not told");
                match error {
                    PubsubError::Stale { .. } | PubsubError::Record(_) => Outcome::Refused,
                    _ => Outcome::Failed,
                }
            }
        };
        self.metrics.told(outcome);
    }
}
