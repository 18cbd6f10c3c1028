//! Names that lead on: what a followed name points at, where that is another name, is followed for it.
//!
//! So that what the operator wants kept is kept, however many names lead to it. A name that is followed for others alone is let go
//! when none of them leads here any more: none that was asked for, by as many names as a chain may have. So names that point at each
//! other hold nothing.

use std::collections::HashSet;

use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::limits::NAME_CHAIN;

use super::{Ingest, IngestError};
use crate::storage::queues::FOLLOW;
use crate::storage::{FollowState, GraphFacts, KeptOrLost, NameChange, NameState, Pin};
use crate::storage::{Shortfall, ShortfallKind, StorageError};

/// Names that are looked at to find out whether one still leads here; where there are more, the last of them is taken to.
const LOOKED_AT: usize = 256;

/// What leads to a followed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leading {
    /// The nearest name that the operator has asked for.
    pub(crate) asked: Name,
    /// How many names later this one comes: 1 where the record of that one points at it.
    pub(crate) distance: usize,
}

impl Ingest {
    /// Which name that the operator has asked for leads to this one; none where none does. That this one is asked for itself does
    /// not count.
    pub(crate) async fn led_from(&self, name: &Name) -> Result<Option<Leading>, StorageError> {
        let mut seen = HashSet::from([*name]);
        let mut level = vec![*name];
        for distance in 1..NAME_CHAIN {
            let mut before = Vec::new();
            for next in level {
                let row = self.storage.followed_row(next).await?;
                let led_by = row.map_or_else(Vec::new, |row| row.led_by);
                for leading in led_by.into_iter().filter(|leading| leading != name) {
                    let Some(row) = self.leads(leading, &next).await? else {
                        continue;
                    };
                    if row.is_asked || seen.len() >= LOOKED_AT {
                        return Ok(Some(Leading {
                            asked: leading,
                            distance,
                        }));
                    }
                    if seen.insert(leading) {
                        before.push(leading);
                    }
                }
            }
            level = before;
        }
        Ok(None)
    }

    /// The row of a followed name whose record points at the next.
    async fn leads(&self, name: Name, next: &Name) -> Result<Option<FollowState>, StorageError> {
        match self.storage.kept_or_lost(name).await? {
            KeptOrLost::Kept(kept) => {
                let row = kept.followed;
                Ok(row.filter(|_| kept.record.next_name() == Some(*next)))
            }
            // Until its record is found again, it points where it did.
            KeptOrLost::Lost => self.storage.followed_row(name).await,
            KeptOrLost::Unknown => Ok(None),
        }
    }

    /// Ends following a name that no name leads to any more and that the operator has not asked for.
    pub(crate) async fn let_go(&self, name: &Name) -> Result<(), IngestError> {
        let _forgetting = self.forgetting.write().await;
        match self.storage.followed_row(*name).await? {
            Some(row) if !row.is_asked && self.led_from(name).await?.is_none() => {
                self.end_following(name, &row).await
            }
            _ => Ok(()),
        }
    }

    /// Keeps why the name that a record points at is not followed for it, or that it is.
    pub(crate) async fn settle_next(
        &self,
        name: &Name,
        kept: &NameState,
        why: Option<String>,
    ) -> Result<(), IngestError> {
        let shortfall = |cause| Shortfall::new(ShortfallKind::OtherName, None, cause);
        let facts = GraphFacts {
            pin: Pin::RecordOnly,
            shortfall: why.map(shortfall),
            ..GraphFacts::unknown()
        };
        if facts == kept.facts {
            return Ok(());
        }
        let change = NameChange {
            facts,
            is_new_record: false,
            ..NameChange::of(*name, kept.record.clone(), kept.stored_at)
        };
        self.commit(change, Some(kept)).await
    }

    /// Has the worker look at followed names now: at one whose record leads on, and at one that a record has led to.
    pub(super) async fn look_at(
        &self,
        names: impl IntoIterator<Item = Name>,
    ) -> Result<(), StorageError> {
        for name in names {
            if self.storage.followed_row(name).await?.is_some() {
                self.storage.queue_put(FOLLOW, &name, rt::now(), ()).await?;
            }
        }
        Ok(())
    }
}
