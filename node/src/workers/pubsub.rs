//! The pubsub worker: follows the names that are kept here by gossip, tells of their records, and takes in newer ones.
//!
//! Names that the operator follows come first, then the others, until as many are followed as the configuration lets.
//! A record that changed here is told of at once, whether or not its name has a place; each name's record is told of
//! again once in a period, since messages get lost. What others tell goes through the write door, as any record does.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use perennis_net::{Pubsub, PubsubError};
use perennis_rt as rt;
use perennis_shared::error::Retryable as _;
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, Record};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Context, Step, Worker};
use crate::ingest::{Ingest, IngestError};
use crate::metrics::{Metrics, Outcome};
use crate::shutdown::Stop;
use crate::storage::{Storage, StorageError};

/// Names read from the store in one step.
const PAGE: usize = 256;

/// Shortest pause between two names that are told of again.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct PubsubWorker {
    gossip: Arc<Gossip>,
    stage: Stage,
    /// The time in which each record is told of again.
    period: Duration,
    /// Names whose records have not been told of again in this period.
    turn: Vec<Name>,
    /// The pause between two of them.
    pause: Duration,
    /// When the next one is told of.
    next: Instant,
}

/// What the worker is at.
#[derive(Clone, Copy)]
enum Stage {
    /// It joins the topics of names that are kept, behind this one. Those the operator asked for must have their places
    /// before the others.
    Joining {
        is_followed: bool,
        after: Option<Name>,
    },
    /// It tells of records.
    Telling,
}

impl PubsubWorker {
    pub(crate) fn new(gossip: Arc<Gossip>, period: Duration) -> PubsubWorker {
        PubsubWorker {
            gossip,
            stage: Stage::Joining {
                is_followed: true,
                after: None,
            },
            period,
            turn: Vec::new(),
            pause: period,
            next: Instant::now() + period,
        }
    }

    /// Joins the topics of a page of names; returns what is to be done next.
    async fn join(&mut self, is_followed: bool, after: Option<Name>, context: &Context) -> Stage {
        match self.gossip.follow_kept(is_followed, after, context).await {
            Ok(Some(after)) => {
                return Stage::Joining {
                    is_followed,
                    after: Some(after),
                };
            }
            Ok(None) => {}
            Err(error) => context.failed(&error),
        }
        if is_followed {
            return Stage::Joining {
                is_followed: false,
                after: None,
            };
        }
        self.next = Instant::now() + self.period;
        Stage::Telling
    }
}

impl Worker for PubsubWorker {
    type Error = Infallible;

    fn name(&self) -> String {
        "pubsub".to_owned()
    }

    fn throttle(&self) -> String {
        "one name at a time".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, Infallible> {
        if let Stage::Joining { is_followed, after } = self.stage {
            self.stage = self.join(is_followed, after, context).await;
            return Ok(Step::Again);
        }
        if self.turn.is_empty() {
            self.turn = self.gossip.pubsub.names();
            let names = u32::try_from(self.turn.len().max(1)).unwrap_or(u32::MAX);
            self.pause = (self.period / names).max(PAUSE);
        }
        // What is due again comes first: it is due now and then, while names may change without a pause.
        let wait = self.next.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            self.next = Instant::now() + self.pause;
            if let Some(name) = self.turn.pop() {
                self.gossip.tell_again(name).await;
            }
            return Ok(Step::Again);
        }
        let Some(name) = self.gossip.ingest.changed_names.pop() else {
            return Ok(Step::listen(wait));
        };
        context.working(format!("telling of {name}"));
        if let Err(error) = self.gossip.changed(name).await {
            context.failed(&error);
        }
        context.stepped();
        Ok(Step::Again)
    }

    async fn notified(&mut self) {
        self.gossip.ingest.changed_names.added().await;
    }
}

/// What is told and heard of records by gossip.
pub(crate) struct Gossip {
    pub(crate) pubsub: Pubsub,
    pub(crate) storage: Storage,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) metrics: Arc<Metrics>,
    /// Told of each name that is newly followed.
    pub(crate) joined: mpsc::UnboundedSender<Name>,
}

impl Gossip {
    /// Takes in what others tell.
    pub(crate) async fn take_in(self: Arc<Self>, mut stop: Stop) {
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
            self.metrics.gossip_received.inc(outcome);
        }
    }

    async fn taken(&self, name: &Name, record: Record) -> Result<(), IngestError> {
        let Some(kept) = self.storage.kept(*name).await? else {
            // It was forgotten while the message was on its way.
            return Ok(());
        };
        if kept.followed.is_some() {
            let sequence = record.sequence();
            let is_newer = self.ingest.found(name, record, None).await?;
            if is_newer {
                tracing::info!(%name, sequence, source = "pubsub", "a followed name has a new record");
            }
        } else {
            self.ingest.put_verified("pubsub", name, record).await?;
        }
        Ok(())
    }

    /// Joins the topics of a page of names, behind `after`; tells where to go on, or `None` when nothing is left to join.
    async fn follow_kept(
        &self,
        is_followed: bool,
        after: Option<Name>,
        context: &Context,
    ) -> Result<Option<Name>, StorageError> {
        let rows = self.storage.names(after, PAGE).await?;
        let Some(last) = rows.last().map(|(name, _)| *name) else {
            return Ok(None);
        };
        context.working(format!("joining the topics of names, now {last}"));
        for (name, kept) in rows {
            if kept.followed.is_some() != is_followed {
                continue;
            }
            match self.pubsub.follow(name, Some(kept.record)).await {
                Ok(is_new) => {
                    self.joined(name, is_new);
                    context.stepped();
                }
                // The rest is told of when it changes.
                Err(PubsubError::TooMany { .. } | PubsubError::Net(_)) => return Ok(None),
                Err(error) => context.failed(&error),
            }
        }
        Ok(Some(last))
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
        self.metrics.gossip_published.inc(outcome);
    }
}
