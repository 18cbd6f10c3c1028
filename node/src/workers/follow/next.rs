//! Following on: the name that a followed name's record points at.
//!
//! It is followed for that one, with its sources, so that what is meant in the end is kept: its record is looked for and put on,
//! its blocks are fetched and pinned. Each name is looked at in its turn and leads one name further, as far as a chain may be, and in no
//! circle.

use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::error::chain;
use perennis_shared::ipns::{Name, NameChain, NameChainError, NameStep, Record};
use perennis_shared::limits::NAME_CHAIN;
use perennis_shared::time::Millis;

use super::FollowJob;
use crate::ingest::{Adoption, IngestError};
use crate::storage::queues::{FOLLOW, QueueEntry};
use crate::storage::{NameState, StorageError};
use crate::workers::timing::{later, spread};

/// How long after a name could not be followed it is tried again.
const RETRY: Duration = Duration::from_secs(600);

/// What came of the name that another points at.
enum Next {
    /// It is followed.
    Followed,
    /// It is not; what others do may help.
    NotYet(String),
    /// It is not, until one of the records on the way changes.
    Never(String),
}

impl FollowJob {
    /// Follows what the record of a followed name points at, where that is another name, and keeps why it is not. Tells when to
    /// try again, where that helps.
    pub(super) async fn follow_next(&self, name: &Name) -> Result<Option<Millis>, StorageError> {
        let Some(kept) = self.storage.kept(*name).await? else {
            return Ok(None);
        };
        let Some(next) = kept.record.next_name().filter(|_| kept.followed.is_some()) else {
            return Ok(None);
        };
        let (why, again) = match self.next(name, &kept, &next).await? {
            Next::Followed => (None, None),
            Next::Never(why) => (Some(why), None),
            Next::NotYet(why) => (Some(why), Some(later(RETRY.min(self.period)))),
        };
        if let Some(why) = &why {
            tracing::debug!(%name, %next, why, "what a name points at is not followed");
        }
        let settled = self.ingest.settle_next(name, &kept, why).await;
        past_changes(settled).map(|()| again)
    }

    /// Lets a name go that nothing leads to any more.
    pub(super) async fn let_go(&self, due: &QueueEntry<Name>) -> Result<(), StorageError> {
        let name = &due.key;
        tracing::info!(%name, "no followed name leads here any more");
        past_changes(self.ingest.let_go(name).await)?;
        // Somebody may have followed it meanwhile; else it is not in the queue any more.
        self.storage.put_off(FOLLOW, due, later(RETRY)).await
    }

    /// Follows the next name.
    async fn next(&self, name: &Name, kept: &NameState, next: &Name) -> Result<Next, StorageError> {
        if let Err(error) = self.walk(name).await? {
            return Ok(Next::Never(error.to_string()));
        }
        let Some(row) = &kept.followed else {
            return Ok(Next::Followed);
        };
        if !row.is_asked
            && let Some(leading) = self.ingest.led_from(name).await?
            && leading.distance + 1 >= NAME_CHAIN
        {
            return Ok(Next::Never(NameChainError::TooLong.to_string()));
        }
        let known = self.storage.kept(*next).await?;
        let is_led = |kept: &NameState| {
            let row = kept.followed.as_ref();
            row.is_some_and(|row| row.is_led_by(name))
        };
        if known.as_ref().is_some_and(is_led) {
            return Ok(Next::Followed);
        }
        let record = match self.record(next, known, &row.sources).await {
            Ok(record) => record,
            Err(why) => return Ok(Next::NotYet(why)),
        };
        let look = later(spread(self.period, rt::jitter()));
        let adoption = Adoption::of_next(record, row.sources.clone(), look, *name);
        match self.ingest.follow(next, adoption).await {
            Ok(()) => {
                tracing::info!(%name, %next, "a followed name points at another, which is followed for it");
                Ok(Next::Followed)
            }
            Err(IngestError::Storage(error)) => Err(error),
            Err(error) => Ok(Next::NotYet(format!(
                "it points at {next}, which is not followed: {}",
                chain(&error)
            ))),
        }
    }

    /// The names that are here from one on; whether they lead on too far or in a circle.
    async fn walk(&self, name: &Name) -> Result<Result<(), NameChainError>, StorageError> {
        let mut names = NameChain::new(*name, "");
        let mut at = *name;
        while let Some(kept) = self.storage.kept(at).await? {
            match names.follow(kept.record.value()) {
                Ok(NameStep::Name(next)) => at = next,
                Err(error @ (NameChainError::Cycle { .. } | NameChainError::TooLong)) => {
                    return Ok(Err(error));
                }
                // That the last one points at no content is told where that one is.
                Ok(NameStep::Content { .. }) | Err(_) => break,
            }
        }
        Ok(Ok(()))
    }

    /// The record that is here or that others have; tells why there is none.
    async fn record(
        &self,
        name: &Name,
        known: Option<NameState>,
        sources: &[String],
    ) -> Result<Record, String> {
        let valid = known.filter(|kept| !kept.record.is_expired(rt::now()));
        if let Some(kept) = valid {
            return Ok(kept.record);
        }
        match self.routes.resolve(name, sources).await {
            Ok(gathered) => Ok(gathered.best),
            Err(error) => Err(format!(
                "it points at {name}, whose record was not found: {}",
                chain(&error)
            )),
        }
    }
}

/// What came of a change, where it does not matter that somebody has changed the same meanwhile: it is looked at again.
fn past_changes(changed: Result<(), IngestError>) -> Result<(), StorageError> {
    match changed {
        Err(IngestError::Storage(error)) => Err(error),
        Err(error) => {
            tracing::debug!(error = %chain(&error), "a followed name has changed meanwhile");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
