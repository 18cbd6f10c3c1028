//! What strangers may store: names that nobody has claimed have limits of their own, for each group of addresses and for all together.
//!
//! A name is claimed when the operator lists it in `admission.allow` or follows it, or when it was published with a token or at the admin listener; it stays
//! claimed. All others count, from the first record on, for the group of addresses that they were written from last. A group at its
//! limit is refused and costs nobody else anything. When all together are at theirs, those go that were written longest ago. Room is
//! taken before a batch is committed and given back where that fails, so that no two callers are given the same.

use perennis_shared::ipns::Name;
use tokio::sync::MutexGuard;

use super::{Ingest, IngestError, Removal};
use crate::caller::Caller;
use crate::config::AdmissionConfig;
use crate::groups::AddressGroup;
use crate::storage::{Held, Storage, UnclaimedChange, UnclaimedRow};
use crate::storage::{NameChange, NameStanding};

/// Names that are looked at in one step when room is made.
const LOOKED_AT: usize = 256;

/// The group that a caller's names count for; none where the operator is known to call.
pub(super) fn group_of(caller: &Caller) -> Option<AddressGroup> {
    caller.is_rated.then(|| AddressGroup::of(caller.address))
}

/// Why there is no room.
#[derive(Debug)]
enum NoRoom {
    /// For this caller, or for so much.
    Refused(IngestError),
    /// Until others go.
    Full,
}

/// Room that was taken for a change; it is given back when this is dropped before the change is made.
pub(super) struct Room<'a> {
    storage: &'a Storage,
    change: UnclaimedChange,
    is_taken: bool,
}

impl Room<'_> {
    pub(super) fn change(&self) -> UnclaimedChange {
        self.change
    }

    /// The change was made.
    pub(super) fn keep(mut self) {
        self.is_taken = true;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.is_taken {
            return;
        }
        let UnclaimedChange { before, after } = self.change;
        let mut sums = self.storage.unclaimed_sums().lock();
        after.iter().for_each(|row| sums.subtract(row));
        before.iter().for_each(|row| sums.add(row));
    }
}

/// Takes room for a change of a name.
fn take<'a>(
    storage: &'a Storage,
    rules: &AdmissionConfig,
    change: UnclaimedChange,
) -> Result<Room<'a>, NoRoom> {
    let UnclaimedChange { before, after } = change;
    let mut sums = storage.unclaimed_sums().lock();
    before.iter().for_each(|row| sums.subtract(row));
    if let Some(row) = &after {
        let in_group = row.group.map(|group| sums.groups.get(&group));
        let in_group = in_group.map(|held| held.copied().unwrap_or_default());
        if let Err(no_room) = check(rules, before.as_ref(), row, in_group, sums.total) {
            before.iter().for_each(|row| sums.add(row));
            return Err(no_room);
        }
        sums.add(row);
    }
    drop(sums);
    Ok(Room {
        storage,
        change,
        is_taken: false,
    })
}

/// Whether a row may be added to what its group and all hold without it. What does not grow is no reason to refuse anything: a
/// limit may have been lowered.
fn check(
    rules: &AdmissionConfig,
    before: Option<&UnclaimedRow>,
    row: &UnclaimedRow,
    in_group: Option<Held>,
    total: Held,
) -> Result<(), NoRoom> {
    let grows = before.is_none_or(|before| before.bytes < row.bytes);
    let is_moved = before.is_none_or(|before| before.group != row.group);
    let quota = |what, setting, needed, allowed| {
        Err(NoRoom::Refused(IngestError::Quota {
            what,
            setting,
            needed,
            allowed,
        }))
    };
    if let Some(held) = in_group.filter(|_| grows || is_moved) {
        if held.names >= rules.group_names {
            let what = "names that nobody has claimed from one group of addresses";
            let setting = "admission.group-names";
            return quota(what, setting, held.names + 1, rules.group_names);
        }
        let needed = held.bytes.saturating_add(row.bytes);
        if needed > rules.group_bytes {
            let what = "bytes for names that nobody has claimed from one group of addresses";
            return quota(what, "admission.group-size", needed, rules.group_bytes);
        }
    }
    if !grows {
        return Ok(());
    }
    if row.bytes > rules.unclaimed_bytes {
        let what = "bytes for names that nobody has claimed";
        let setting = "admission.unclaimed-size";
        return quota(what, setting, row.bytes, rules.unclaimed_bytes);
    }
    let is_full = total.names >= rules.unclaimed_names
        || total.bytes.saturating_add(row.bytes) > rules.unclaimed_bytes;
    if is_full {
        return Err(NoRoom::Full);
    }
    Ok(())
}

impl Ingest {
    /// What becomes of the row of a name by a change, as the name stands. Without a caller it is the node itself: it fetches,
    /// releases a rung, or hears of a record.
    pub(super) fn claim(
        &self,
        change: &NameChange,
        standing: &NameStanding,
        is_new: bool,
        caller: Option<&Caller>,
    ) -> UnclaimedChange {
        let before = standing.unclaimed;
        let is_claimed = caller.is_some_and(|caller| !caller.is_rated || caller.has_publish_token)
            || change.followed.is_some()
            || standing.followed.is_some()
            || self.admission.rules.allow.contains(&change.name);
        let row = before.or_else(|| {
            is_new.then_some(UnclaimedRow {
                group: None,
                bytes: 0,
                written: change.stored_at,
            })
        });
        let row = row.map(|row| UnclaimedRow {
            bytes: change.facts.bytes,
            ..row
        });
        let row = row.map(|row| match caller {
            Some(caller) => UnclaimedRow {
                group: group_of(caller),
                written: change.stored_at,
                ..row
            },
            None => row,
        });
        UnclaimedChange {
            before,
            after: row.filter(|_| !is_claimed),
        }
    }

    /// Counts what is kept of a name anew.
    pub(super) fn recounted(&self, change: UnclaimedChange) -> Room<'_> {
        let mut sums = self.storage.unclaimed_sums().lock();
        change.before.iter().for_each(|row| sums.subtract(row));
        change.after.iter().for_each(|row| sums.add(row));
        drop(sums);
        Room {
            storage: &self.storage,
            change,
            is_taken: false,
        }
    }

    /// Takes room for a change of a name, and has the oldest unclaimed names go where there is none.
    pub(super) async fn room_for(
        &self,
        name: &Name,
        change: UnclaimedChange,
    ) -> Result<Room<'_>, IngestError> {
        let take = || match take(&self.storage, &self.admission.rules, change) {
            Ok(room) => Ok(Some(room)),
            Err(NoRoom::Full) => Ok(None),
            Err(NoRoom::Refused(error)) => Err(error),
        };
        if let Some(room) = take()? {
            return Ok(room);
        }
        // One after the other, so that no more go than have to.
        let turn = self.making_room.lock().await;
        loop {
            if let Some(room) = take()? {
                return Ok(room);
            }
            if self.let_oldest_go(name, change, &turn).await? == 0 {
                // All others are being written right now.
                return Err(IngestError::Busy);
            }
        }
    }

    /// Lets as many of the oldest unclaimed names go as a change lacks room, and tells how many that were.
    async fn let_oldest_go(
        &self,
        name: &Name,
        change: UnclaimedChange,
        _turn: &MutexGuard<'_, ()>,
    ) -> Result<usize, IngestError> {
        let mut lacking = self.lacking(change);
        let mut locked = Vec::new();
        for (oldest, row) in self.storage.oldest_unclaimed(LOOKED_AT).await? {
            if lacking == Held::default() {
                break;
            }
            // One that is being written is among the oldest no more, in a moment.
            let Some(lock) = self.changing.try_lock(&oldest).filter(|_| oldest != *name) else {
                continue;
            };
            let standing = self.storage.standing(oldest).await?;
            if standing.unclaimed != Some(row) {
                continue;
            }
            lacking.names = lacking.names.saturating_sub(1);
            lacking.bytes = lacking.bytes.saturating_sub(row.bytes);
            locked.push(lock);
        }
        self.remove_locked(locked, Removal::Unclaimed, None).await
    }

    /// How much has to go for a change.
    fn lacking(&self, change: UnclaimedChange) -> Held {
        let rules = &self.admission.rules;
        let mut sums = self.storage.unclaimed_sums().lock().total;
        let before = change.before.map_or(0, |row| row.bytes);
        sums.bytes = sums.bytes.saturating_sub(before);
        let after = change.after.map_or(0, |row| row.bytes);
        let is_more = u64::from(change.before.is_none() && change.after.is_some());
        Held {
            names: (sums.names + is_more).saturating_sub(rules.unclaimed_names),
            bytes: (sums.bytes.saturating_add(after)).saturating_sub(rules.unclaimed_bytes),
        }
    }
}
