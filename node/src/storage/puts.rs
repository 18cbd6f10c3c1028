//! Records that are to be put to routers: by when, and what is kept about each at each router.
//!
//! A router has a queue of its own, which stays its own also while it is not configured. Its number is in the row that
//! says its URL.

use std::collections::HashMap;

use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;
use perennis_store::{Batch, ReadError, Store};

use super::keys::{PUT, ROUTER};
use super::queues::{DueWindow, QueueEntry, ROUTERS, TypedQueue, router_queue};
use super::{NameState, OpenError, PutState, Storage, StorageError, key};

/// A name in the queue of a router.
pub(crate) struct QueuedPut {
    pub(crate) name: Name,
    pub(crate) due: Millis,
    pub(crate) put: PutState,
}

impl Storage {
    /// The queue of a router; none of one that is not configured.
    pub(crate) fn router_queue(&self, router: &str) -> Option<TypedQueue<Name>> {
        self.shared.routers.get(router).copied()
    }

    /// Names that are due at a router.
    pub(crate) async fn puts_due(
        &self,
        queue: TypedQueue<Name>,
        window: DueWindow,
        limit: usize,
    ) -> Result<Vec<QueuedPut>, StorageError> {
        self.blocking(move |this| {
            let entries = this.entries_due(queue, window, limit)?;
            let queued = |QueueEntry { key: name, due, .. }| {
                let put = this.put_state(queue, &name)?;
                Ok(QueuedPut { name, due, put })
            };
            entries.into_iter().map(queued).collect()
        })
        .await
    }

    /// How each of some names is at a router; `None` for those that are not in its queue.
    pub(crate) async fn queued_puts(
        &self,
        router: &str,
        names: Vec<Name>,
    ) -> Result<Vec<Option<QueuedPut>>, StorageError> {
        let Some(queue) = self.router_queue(router) else {
            return Ok(names.iter().map(|_| None).collect());
        };
        self.blocking(move |this| {
            let queued = |name: Name| {
                let Some(due) = this.entry_due(queue, &name)? else {
                    return Ok(None);
                };
                let put = this.put_state(queue, &name)?;
                Ok(Some(QueuedPut { name, due, put }))
            };
            names.into_iter().map(queued).collect()
        })
        .await
    }

    fn put_state(&self, queue: TypedQueue<Name>, name: &Name) -> Result<PutState, StorageError> {
        let row = self.row(&put_key(queue, name), PutState::from_bytes)?;
        Ok(row.unwrap_or_default())
    }

    /// Keeps what a put came to, and when the name is due at the router again. One that a newer record has made due meanwhile
    /// stays due.
    pub(crate) async fn put_again(
        &self,
        queue: TypedQueue<Name>,
        queued: &QueuedPut,
        due: Millis,
        put: &PutState,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        queue.put_off(&mut batch, &queued.name, queued.due, due, &());
        batch.put_meta(&put_key(queue, &queued.name), put.to_bytes()?);
        self.write(batch).await
    }

    /// Takes a name out of the queue of a router, unless it was put in again meanwhile.
    pub(crate) async fn put_no_more(
        &self,
        queue: TypedQueue<Name>,
        queued: &QueuedPut,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        queue.take(&mut batch, &queued.name, queued.due);
        self.write(batch).await
    }

    /// Puts a name into the queues of routers that were configured after it was stored.
    pub(crate) async fn put_to_new_routers(
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
                    if this.entry_due(*queue, &name)?.is_none() {
                        queue.put(&mut batch, &name, now, &());
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

/// Gives each router its queue.
pub(super) fn router_queues(
    store: &Store,
    routers: &[String],
) -> Result<HashMap<String, TypedQueue<Name>>, OpenError> {
    let failed = |source: ReadError| OpenError::Rows(source);
    let rows = store.metas(ROUTER, None, ROUTERS.count()).map_err(failed)?;
    let mut numbers = HashMap::new();
    let mut taken = Vec::new();
    for (key, url) in rows {
        let Some(number) = key.get(ROUTER.len()).copied() else {
            continue;
        };
        // What is in the queue of an URL that cannot be read belongs to nobody else.
        taken.push(number);
        match String::from_utf8(url) {
            Ok(url) => drop(numbers.insert(url, number)),
            Err(error) => tracing::error!(
                number,
                %error,
                "the URL of a router cannot be read; its records are put in line again"
            ),
        }
    }
    let mut queues = HashMap::new();
    for url in routers {
        let number = match numbers.get(url) {
            Some(number) => *number,
            None => {
                let number = (0..=u8::MAX)
                    .find(|number| !taken.contains(number))
                    .ok_or(OpenError::TooManyRouters)?;
                // One that has no place is not written down.
                router_queue(number).ok_or(OpenError::TooManyRouters)?;
                let mut batch = Batch::new();
                batch.put_meta(&key(ROUTER, &[number]), url.as_bytes());
                store.commit(batch).map_err(OpenError::Commit)?;
                taken.push(number);
                numbers.insert(url.clone(), number);
                number
            }
        };
        let queue = router_queue(number).ok_or(OpenError::TooManyRouters)?;
        queues.insert(url.clone(), queue);
    }
    Ok(queues)
}

/// The row of what is kept about a name at the router of a queue.
pub(super) fn put_key(queue: TypedQueue<Name>, name: &Name) -> Vec<u8> {
    [PUT, &[queue.number().0], name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use perennis_shared::sign::SigningKey;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn a_name_that_a_newer_record_made_due_stays_due_when_an_older_put_ends() {
        let dir = tempfile::tempdir().unwrap();
        let router = "http://router.example".to_owned();
        let storage = Storage::open(dir.path(), std::slice::from_ref(&router)).unwrap();
        let queue = storage.router_queue(&router).unwrap();
        let name = Name::from_public_key(&SigningKey::from_seed(&[1; 32]).public());
        let put_in = |due| storage.queue_put(queue, &name, due, ());
        let due = |now| storage.puts_due(queue, DueWindow::new(now, DAY), 8);
        put_in(Millis(1)).await.unwrap();
        let older = due(Millis(1)).await.unwrap();
        put_in(Millis(2)).await.unwrap();
        let put = PutState {
            failures: 3,
            ..PutState::default()
        };
        let ended = storage.put_again(queue, &older[0], Millis(9), &put);
        ended.await.unwrap();
        let newer = due(Millis(2)).await.unwrap();
        assert_eq!((newer[0].due, &newer[0].put), (Millis(2), &put));

        // Nothing came in meanwhile.
        let ended = storage.put_again(queue, &newer[0], Millis(9), &put);
        ended.await.unwrap();
        assert!(due(Millis(8)).await.unwrap().is_empty());
        assert_eq!(due(Millis(9)).await.unwrap().len(), 1);
    }
}
