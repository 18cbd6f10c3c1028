//! Forgetting names, and how a name stands before it is changed.

use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::keys::{FACTS, FETCHES, RECORD, RUNGS, UNCLAIMED_ROW};
use super::puts::put_key;
use super::queues::{FinishedRow, TypedQueue, queues_of_names};
use super::roots::PinReason;
use super::{
    ChangeError, FollowState, NameState, Storage, StorageError, UnclaimedRow, follows, key,
};

/// How a name stands right before it is changed, while nobody else changes it.
#[derive(Debug)]
pub(crate) struct NameStanding {
    /// Whether its head is kept.
    pub(crate) is_kept: bool,
    /// The row by which its lost head is looked for.
    pub(crate) lost: Option<FinishedRow>,
    pub(crate) followed: Option<FollowState>,
    /// None where it is claimed, or not kept.
    pub(crate) unclaimed: Option<UnclaimedRow>,
    /// Since when it is taken no more, where it is.
    pub(crate) denied: Option<Millis>,
}

/// A name that is forgotten, as it was.
#[derive(Debug)]
pub(crate) struct Forgotten {
    pub(crate) name: Name,
    /// None where its head was lost.
    pub(crate) kept: Option<NameState>,
    pub(crate) followed: Option<FollowState>,
    pub(crate) unclaimed: Option<UnclaimedRow>,
}

impl Storage {
    /// How a name stands.
    pub(crate) async fn standing(&self, name: Name) -> Result<NameStanding, StorageError> {
        self.blocking(move |this| {
            Ok(NameStanding {
                is_kept: this.store.head(&name)?.is_some(),
                lost: this.lost_row(&name)?,
                followed: this.followed(&name)?,
                unclaimed: this.unclaimed(&name)?,
                denied: this.denied_since(&name)?,
            })
        })
        .await
    }

    /// Forgets all that is kept about some names, in one batch, and tells what it was of those of which something was. Their
    /// blocks are collected where no other name holds them. Where a time is given, they are taken no more since then.
    pub(crate) async fn forget_all(
        &self,
        names: Vec<Name>,
        denied: Option<Millis>,
    ) -> Result<Vec<Forgotten>, ChangeError> {
        let (batch, forgotten) = self
            .blocking(move |this| {
                let mut batch = Batch::new();
                let mut forgotten = Vec::with_capacity(names.len());
                for name in names {
                    let followed = this.followed(&name)?;
                    let unclaimed = this.unclaimed(&name)?;
                    let kept = match this.store.head(&name)? {
                        Some(head) => this.name_state(&name, head)?,
                        None => None,
                    };
                    if kept.is_some() || this.lost_row(&name)?.is_some() {
                        if let Some(since) = denied {
                            this.deny(&mut batch, &name, since);
                        }
                        forgotten.push(Forgotten {
                            name,
                            kept,
                            followed,
                            unclaimed,
                        });
                    }
                    this.forget_one(&mut batch, &name)?;
                }
                Ok((batch, forgotten))
            })
            .await?;
        self.submit(batch).await?;
        Ok(forgotten)
    }

    /// Takes out all that is kept about a name, whatever it is.
    fn forget_one(&self, batch: &mut Batch, name: &Name) -> Result<(), StorageError> {
        let dues = self.dues(name)?;
        follows::leave(batch, name, &dues);
        batch.delete_head(name);
        for (sequence, _) in self.store.evidence(name)? {
            batch.delete_evidence(name, sequence);
        }
        PinReason::Head(*name).unpin(batch);
        for table in [FACTS, FETCHES, RUNGS, UNCLAIMED_ROW, RECORD] {
            batch.delete_meta(&key(table, name.as_bytes()));
        }
        // Also of routers that it waits for no more: those that took a record that has ended.
        for queue in self.shared.routers.values() {
            batch.delete_meta(&put_key(*queue, name));
        }
        for (queue, due) in dues {
            queue.take(batch, name, due);
            batch.delete_meta(&put_key(queue, name));
        }
        Ok(())
    }

    /// Every queue the name is in, and when it is due there. Waits for the disk.
    pub(super) fn dues(
        &self,
        name: &Name,
    ) -> Result<Vec<(TypedQueue<Name>, Millis)>, StorageError> {
        let routers = self.shared.routers.values().copied();
        let mut dues = Vec::new();
        for queue in queues_of_names().chain(routers) {
            if let Some(due) = self.entry_due(queue, name)? {
                dues.push((queue, due));
            }
        }
        Ok(dues)
    }
}
