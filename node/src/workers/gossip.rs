//! Gossip about the names that are kept here: joins their topics, tells of their records, and takes in what others tell.
//!
//! What others tell goes through the write door, as any record does. Must never touch: when what is told; the workers say that.

use std::sync::Arc;

use perennis_net::{Pubsub, PubsubError};
use perennis_rt as rt;
use perennis_shared::error::Retryable as _;
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, Record};

use super::Context;
use crate::config::Config;
use crate::ingest::{Ingest, IngestError};
use crate::metrics::{Metrics, Outcome};
use crate::pending_names::PendingNames;
use crate::routes::Routes;
use crate::shutdown::Stop;
use crate::storage::{Storage, StorageError};

/// Names read from the store in one step.
const PAGE: usize = 256;

/// What is told and heard of records by gossip.
pub(crate) struct Gossip {
    pubsub: Pubsub,
    storage: Storage,
    ingest: Arc<Ingest>,
    metrics: Arc<Metrics>,
    /// Names that are newly followed; none without the DHT, in which followers are looked for.
    joined: Option<PendingNames>,
}

impl Gossip {
    /// None where the node does not gossip.
    pub(crate) fn if_on(
        config: &Config,
        routes: &Routes,
        storage: Storage,
        ingest: Arc<Ingest>,
        metrics: Arc<Metrics>,
    ) -> Option<Arc<Gossip>> {
        let pubsub = routes.pubsub()?.clone();
        Some(Arc::new(Gossip {
            pubsub,
            storage,
            ingest,
            metrics,
            joined: config.p2p.has_dht().then(PendingNames::default),
        }))
    }

    /// The followers of names.
    pub(super) fn pubsub(&self) -> &Pubsub {
        &self.pubsub
    }

    /// Names that are newly followed and whose followers are to be found; none where nobody looks for them.
    pub(super) fn joined_names(&self) -> Option<&PendingNames> {
        self.joined.as_ref()
    }

    /// Names whose record has changed here, or that are kept no more.
    pub(super) fn changed_names(&self) -> &PendingNames {
        &self.ingest.changed_names
    }

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
    pub(super) async fn follow_kept(
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
    pub(super) async fn changed(&self, name: Name) -> Result<(), StorageError> {
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
        if let Some(joined) = self.joined.as_ref().filter(|_| is_new) {
            joined.add(name);
        }
    }

    pub(super) async fn tell_again(&self, name: Name) {
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
