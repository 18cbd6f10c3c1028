//! Heads with missing blocks: when they are fetched, and how often that failed.
//!
//! A name is in the queue until everything below its head is here, or nothing more is to be fetched for it.

use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::keys::FETCHES;
use super::queues::{FETCH, QueueEntry};
use super::{Storage, StorageError, key};

/// A name whose missing blocks are due to be fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DueFetch {
    pub(crate) name: Name,
    /// Attempts that failed.
    pub(crate) failures: u32,
    pub(crate) due: Millis,
}

/// What becomes of the row of a fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FetchEnd {
    /// Nothing more is to be fetched.
    Done,
    /// Something was not had; it is due again then.
    Later(Millis),
}

impl DueFetch {
    /// Says in a batch what becomes of the row.
    pub(super) fn end(&self, batch: &mut Batch, end: FetchEnd) {
        let row = key(FETCHES, self.name.as_bytes());
        match end {
            FetchEnd::Done => {
                FETCH.take(batch, &self.name, self.due);
                batch.delete_meta(&row);
            }
            FetchEnd::Later(due) => {
                FETCH.put(batch, &self.name, due, &());
                let failures = self.failures.saturating_add(1);
                batch.put_meta(&row, failures.to_be_bytes());
            }
        }
    }
}

impl Storage {
    /// Names whose missing blocks are due to be fetched.
    pub(crate) async fn fetches_due(
        &self,
        now: Millis,
        limit: usize,
    ) -> Result<Vec<DueFetch>, StorageError> {
        self.blocking(move |this| {
            let entries = this.entries_due(FETCH, now, limit)?;
            let fetch = |entry: QueueEntry<Name>| {
                let name = entry.key;
                let failures = this.row(&key(FETCHES, name.as_bytes()), parse_failures)?;
                Ok(DueFetch {
                    name,
                    failures: failures.unwrap_or(0),
                    due: entry.due,
                })
            };
            entries.into_iter().map(fetch).collect()
        })
        .await
    }

    /// Ends a fetch that has changed nothing else.
    pub(crate) async fn end_due_fetch(
        &self,
        fetch: &DueFetch,
        end: FetchEnd,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        fetch.end(&mut batch, end);
        self.write(batch).await
    }
}

fn parse_failures(bytes: &[u8]) -> Result<u32, &'static str> {
    let bytes = bytes.try_into().map_err(|_| "it is no number")?;
    Ok(u32::from_be_bytes(bytes))
}
