//! Damaged rows: what is lost with them, and how to go on.
//!
//! The store gives out no row that is damaged. While one is, or rows are gone, nothing is signed: what waits to be signed
//! may not be all, or not what was meant. Everything that only reads goes on as far as it can, and says so.
//! [`Client::repair_state`] ends that: it drops what is damaged and makes anew what follows from the rest, and so does
//! [`Client::restore`].

use std::collections::HashSet;

use perennis_shared::{cid::Cid, ipns::Name};

use super::{
    Client, IdentityFacts, ListError,
    ledger::{document_of, entry},
    rows::{self, RowValue},
    view::View,
};
use crate::store::{
    BlockStore, Changes, DamagedRow, StoreError,
    row::{self, HEAD, ME},
};

/// What reading every row of the store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateCheck {
    /// Rows that are damaged.
    pub damaged: Vec<StateDamage>,
    /// Rows that are gone, not even their names being left. Changes that waited to be published may be among them.
    pub missing: u64,
}

/// A damaged row, and what its repair comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDamage {
    /// The name of the row, as far as that can be read.
    pub row: String,
    /// What is wrong with it.
    pub what: &'static str,
    /// What it was for.
    pub held: &'static str,
    /// Repairing makes it anew from what else is here; otherwise it is dropped.
    pub rebuilt: bool,
    /// What follows when it is dropped.
    pub loss: &'static str,
}

impl StateCheck {
    /// Nothing is damaged or gone.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.missing == 0
    }
}

impl<S: BlockStore + 'static> Client<S> {
    /// Reads every row and says which are damaged, what each was for, and what repairing would do. Nothing is changed.
    ///
    /// # Errors
    /// The store fails.
    pub async fn check_state(&self) -> Result<StateCheck, StoreError> {
        let _writing = self.shared.writing.lock().await;
        Ok(self.plan_repair().await?.0)
    }

    /// Drops the rows that are damaged, makes anew those that follow from the rest, and accepts that others are gone. Tells
    /// what was done; changes that could not be read are lost. Where all is sound nothing is done.
    ///
    /// # Errors
    /// The store fails; then nothing is changed.
    pub async fn repair_state(&self) -> Result<StateCheck, StoreError> {
        let _publishing = self.shared.publishing.lock().await;
        self.repair_locked().await
    }

    /// [`Client::repair_state`] for who holds the lock of publishing.
    pub(super) async fn repair_locked(&self) -> Result<StateCheck, StoreError> {
        let _writing = self.shared.writing.lock().await;
        let (check, changes) = self.plan_repair().await?;
        if check.is_sound() {
            return Ok(check);
        }
        for damage in &check.damaged {
            let StateDamage { row, rebuilt, .. } = damage;
            tracing::warn!(row = %row.escape_debug(), rebuilt, "a damaged row was repaired or dropped");
        }
        if check.missing > 0 {
            tracing::warn!(rows = check.missing, "rows of the store are gone");
        }
        self.shared.store.commit(changes.settle()).await?;
        Ok(check)
    }

    /// Nothing is damaged or gone: what is signed now is what was meant.
    pub(super) async fn expect_sound(&self) -> Result<(), StoreError> {
        let check = self.shared.store.check_rows().await?;
        if let Some(DamagedRow { name, what }) = check.damaged.into_iter().next() {
            return Err(StoreError::CorruptRow { key: name, what });
        }
        match check.missing {
            0 => Ok(()),
            rows => Err(StoreError::LostRows { rows }),
        }
    }

    /// What is damaged, and the changes that repair it.
    async fn plan_repair(&self) -> Result<(StateCheck, Changes), StoreError> {
        let store = &self.shared.store;
        let found = store.check_rows().await?;
        let mut damaged = found.damaged;
        let known: HashSet<String> = damaged.iter().map(|row| row.name.clone()).collect();
        // A row may be what was committed and still not be read: an earlier release kept it without a checksum.
        for name in store.state_keys("").await? {
            if known.contains(&name) {
                continue;
            }
            let value = store.state(&name).await?;
            let read = value.map_or(Ok(()), |value| rows::check(&name, &value));
            if let Err(StoreError::CorruptRow { key: name, what }) = read {
                damaged.push(DamagedRow { name, what });
            }
        }
        let mut check = StateCheck {
            damaged: Vec::new(),
            missing: found.missing,
        };
        let mut changes = Changes::new();
        for DamagedRow { name, what } in damaged {
            let anew = self.rebuilt(&name).await?;
            check.damaged.push(StateDamage {
                what,
                held: row::holds(&name),
                loss: row::loss(&name),
                rebuilt: anew.is_some(),
                row: name.clone(),
            });
            changes = match anew {
                Some(value) => changes.set(name, value),
                None => changes.clear(name),
            };
        }
        for name in self.lost_rows_of_the_list().await? {
            if let Some(value) = self.rebuilt(&name).await? {
                changes = changes.set(name, value);
            }
        }
        Ok((check, changes))
    }

    /// Those of the two rows without which there is no list that are gone, or lie under a name that was damaged.
    async fn lost_rows_of_the_list(&self) -> Result<Vec<String>, StoreError> {
        let mut lost = Vec::new();
        let mut rows = vec![ME.to_owned()];
        if let Some(facts) = or_none(self.identity().await)?.flatten() {
            rows.push(rows::head_key(&facts.name));
        }
        for row in rows {
            let is_listed = self.shared.store.state_keys(&row).await?.contains(&row);
            if !is_listed && or_none(self.shared.store.state(&row).await)?.is_none() {
                lost.push(row);
            }
        }
        Ok(lost)
    }

    /// What a row must be by what else is here; none where that cannot be told.
    async fn rebuilt(&self, row: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if row == ME {
            let facts = self.facts_of_head().await?;
            let row = facts.map(|facts| facts.to_row(ME)).transpose()?;
            return Ok(row.map(|row| row.to_vec()));
        }
        let name = row
            .strip_prefix(HEAD)
            .and_then(|name| Name::parse(name).ok());
        let Some(name) = name else {
            return Ok(None);
        };
        let head = self.head_of_records(&name).await?;
        Ok(head.map(|head| head.to_bytes()))
    }

    /// The public facts of the identity, as the DID document of the own list says them.
    pub(super) async fn facts_of_head(&self) -> Result<Option<IdentityFacts>, StoreError> {
        let heads = self.shared.store.state_keys(HEAD).await?;
        let [head] = &heads[..] else {
            return Ok(None);
        };
        let name = head
            .strip_prefix(HEAD)
            .and_then(|name| Name::parse(name).ok());
        let Some(name) = name else {
            return Ok(None);
        };
        let Some(head) = or_none(self.own_head(&name).await)?.flatten() else {
            return Ok(None);
        };
        let mut view = View::new(&*self.shared.store, self.offline());
        let document = async {
            let entry = entry(&mut view, &name, &head).await?;
            document_of(&mut view, &entry).await
        };
        let document: Result<_, ListError> = document.await;
        Ok(document
            .ok()
            .and_then(|document| IdentityFacts::of_document(&document)))
    }

    /// The entry that the own records point at, where all below it is here: the one to be delivered, else the newest.
    pub(super) async fn head_of_records(&self, name: &Name) -> Result<Option<Cid>, StoreError> {
        let outbox = or_none(self.outbox(name).await)?.flatten();
        let mark = or_none(self.shared.local.mark(name).await)?.flatten();
        let records = [outbox.map(|outbox| outbox.record), mark];
        for head in records.iter().flatten().filter_map(|record| record.head()) {
            let mut view = View::new(&*self.shared.store, self.offline());
            let is_genuine = entry(&mut view, name, &head).await.is_ok();
            if is_genuine && self.reachable(&[head], &HashSet::new()).await.is_ok() {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }
}

/// What was read; none where it is damaged or gone.
pub(super) fn or_none<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}
