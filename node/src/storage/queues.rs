//! The queues: heads whose blocks are to be fetched, and records that are to be put to routers.

use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;
use perennis_store::{Batch, Queue, QueueRow};

use super::NameState;
use super::PutState;
use super::keys::{FETCHES, PUT};
use super::{FETCH, Storage, StorageError, key};

/// A name that is due at a router.
pub(crate) struct Scheduled {
    pub(crate) name: Name,
    pub(crate) due: Millis,
    pub(crate) row: PutState,
}

/// A name that is due in a queue.
#[derive(Clone, Copy)]
pub(crate) struct Due {
    pub(crate) name: Name,
    pub(crate) at: Millis,
}

/// A name whose missing blocks are due to be fetched.
pub(crate) struct FetchRow {
    pub(crate) name: Name,
    pub(crate) failures: u32,
    due: Millis,
}

impl Storage {
    /// Names that are due in a queue, the longest due first.
    pub(crate) async fn due(
        &self,
        queue: Queue,
        now: Millis,
        limit: usize,
    ) -> Result<Vec<Due>, StorageError> {
        self.blocking(move |this| this.names_due(queue, now, limit))
            .await
    }

    /// When the next name of a queue is due.
    pub(crate) async fn next_due(&self, queue: Queue) -> Result<Option<Millis>, StorageError> {
        self.blocking(move |this| Ok(this.store.queue_next(queue)?.map(|row| row.due)))
            .await
    }

    /// Puts a name off until then.
    pub(crate) async fn put_off(
        &self,
        queue: Queue,
        name: Name,
        until: Millis,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.enqueue(queue, name.as_bytes(), until, Vec::new());
        self.write(batch).await
    }

    /// Takes a name out of a queue, unless it was put in again meanwhile.
    pub(crate) async fn take_out(&self, queue: Queue, due: Due) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        batch.dequeue(queue, due.name.as_bytes(), due.at);
        self.write(batch).await
    }

    /// Names whose missing blocks are due to be fetched.
    pub(crate) async fn fetches_due(
        &self,
        now: Millis,
        limit: usize,
    ) -> Result<Vec<FetchRow>, StorageError> {
        self.blocking(move |this| {
            let rows = this.names_due(FETCH, now, limit)?;
            let row = |Due { name, at }| {
                let failures = this.row(&key(FETCHES, name.as_bytes()), parse_failures)?;
                Ok(FetchRow {
                    name,
                    failures: failures.unwrap_or(0),
                    due: at,
                })
            };
            rows.into_iter().map(row).collect()
        })
        .await
    }

    /// When the next fetch is due.
    pub(crate) async fn next_fetch(&self) -> Result<Option<Millis>, StorageError> {
        self.blocking(|this| Ok(this.store.queue_next(FETCH)?.map(|row| row.due)))
            .await
    }

    /// A fetch did not bring everything; it is due again then.
    pub(crate) async fn fetch_again(
        &self,
        row: &FetchRow,
        due: Millis,
        failures: u32,
    ) -> Result<(), StorageError> {
        let name = row.name.as_bytes();
        let mut batch = Batch::new();
        batch.enqueue(FETCH, name, due, Vec::new());
        batch.put_meta(&key(FETCHES, name), failures.to_be_bytes());
        self.write(batch).await
    }

    /// Nothing more is to be fetched for a name.
    pub(crate) async fn fetch_done(&self, row: &FetchRow) -> Result<(), StorageError> {
        let name = row.name.as_bytes();
        let mut batch = Batch::new();
        batch.dequeue(FETCH, name, row.due);
        batch.delete_meta(&key(FETCHES, name));
        self.write(batch).await
    }

    /// Names that are due at a router, the longest due first.
    pub(crate) async fn puts_due(
        &self,
        router: &str,
        now: Millis,
        limit: usize,
    ) -> Result<Vec<Scheduled>, StorageError> {
        let Some(queue) = self.shared.routers.get(router).copied() else {
            return Ok(Vec::new());
        };
        self.blocking(move |this| {
            let rows = this.names_due(queue, now, limit)?;
            let scheduled = |Due { name, at: due }| {
                let row = this.put_row(queue, &name)?;
                Ok(Scheduled { name, due, row })
            };
            rows.into_iter().map(scheduled).collect()
        })
        .await
    }

    /// When the next name is due at a router.
    pub(crate) async fn next_put(&self, router: &str) -> Result<Option<Millis>, StorageError> {
        let Some(queue) = self.shared.routers.get(router).copied() else {
            return Ok(None);
        };
        self.blocking(move |this| Ok(this.store.queue_next(queue)?.map(|row| row.due)))
            .await
    }

    /// How each of some names is at a router; `None` for those that are not in its queue.
    pub(crate) async fn scheduled(
        &self,
        router: &str,
        names: Vec<Name>,
    ) -> Result<Vec<Option<Scheduled>>, StorageError> {
        let Some(queue) = self.shared.routers.get(router).copied() else {
            return Ok(names.iter().map(|_| None).collect());
        };
        self.blocking(move |this| {
            let scheduled = |name: Name| {
                let Some(due) = this.store.queue_entry(queue, name.as_bytes())? else {
                    return Ok(None);
                };
                let row = this.put_row(queue, &name)?;
                Ok(Some(Scheduled { name, due, row }))
            };
            names.into_iter().map(scheduled).collect()
        })
        .await
    }

    fn put_row(&self, queue: Queue, name: &Name) -> Result<PutState, StorageError> {
        let row = self.row(&put_key(queue, name), PutState::from_bytes)?;
        Ok(row.unwrap_or_default())
    }

    fn names_due(&self, queue: Queue, now: Millis, limit: usize) -> Result<Vec<Due>, StorageError> {
        let rows = self.store.queue_due(queue, now, limit)?;
        let due = |row: &QueueRow| {
            let name = Name::from_bytes(&row.key).ok()?;
            Some(Due { name, at: row.due })
        };
        self.take_out_nameless(queue, rows.iter().filter(|row| due(row).is_none()));
        Ok(rows.iter().filter_map(due).collect())
    }

    /// Sets when a name is due at a router again, and what is known about it there.
    pub(crate) async fn schedule(
        &self,
        router: &str,
        name: Name,
        due: Millis,
        row: &PutState,
    ) -> Result<(), StorageError> {
        let Some(queue) = self.shared.routers.get(router).copied() else {
            return Ok(());
        };
        let mut batch = Batch::new();
        batch.enqueue(queue, name.as_bytes(), due, Vec::new());
        batch.put_meta(&put_key(queue, &name), row.to_bytes()?);
        self.write(batch).await
    }

    /// Makes a name due at a router at once.
    pub(crate) async fn make_due(&self, router: &str, name: Name) -> Result<(), StorageError> {
        let Some(queue) = self.shared.routers.get(router).copied() else {
            return Ok(());
        };
        let mut batch = Batch::new();
        batch.enqueue(queue, name.as_bytes(), rt::now(), Vec::new());
        self.write(batch).await
    }

    /// Takes a name out of the queue of a router, unless it was put in again meanwhile.
    pub(crate) async fn unschedule(
        &self,
        router: &str,
        scheduled: &Scheduled,
    ) -> Result<(), StorageError> {
        let Some(queue) = self.shared.routers.get(router).copied() else {
            return Ok(());
        };
        let mut batch = Batch::new();
        batch.dequeue(queue, scheduled.name.as_bytes(), scheduled.due);
        self.write(batch).await
    }

    /// Puts a name into the queues of routers that were configured after it was stored.
    pub(crate) async fn schedule_missing_routers(
        &self,
        name: Name,
        kept: &NameState,
    ) -> Result<(), StorageError> {
        let now = rt::now();
        if kept.valid_until < now || self.shared.routers.is_empty() {
            return Ok(());
        }
        let batch = self
            .blocking(move |this| {
                let mut batch = Batch::new();
                for queue in this.shared.routers.values() {
                    if this.store.queue_entry(*queue, name.as_bytes())?.is_none() {
                        batch.enqueue(*queue, name.as_bytes(), now, Vec::new());
                    }
                }
                Ok(batch)
            })
            .await?;
        if batch.is_empty() {
            return Ok(());
        }
        self.write(batch).await
    }
}

pub(super) fn put_key(queue: Queue, name: &Name) -> Vec<u8> {
    [PUT, &[queue.0], name.as_bytes()].concat()
}

fn parse_failures(bytes: &[u8]) -> Result<u32, &'static str> {
    let bytes = bytes.try_into().map_err(|_| "it is no number")?;
    Ok(u32::from_be_bytes(bytes))
}
