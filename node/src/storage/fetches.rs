//! Heads with missing blocks: when they are fetched, and how often that failed.
//!
//! A name is in the queue until everything below its head is here, or nothing more is to be fetched for it. What a fetch came
//! to and what becomes of its row are one batch.

use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::keys::FETCHES;
use super::queues::{DueWindow, FETCH, QueueEntry};
use super::{Storage, StorageError, key};

/// How long a fetch that gave way waits.
const POSTPONED: Duration = Duration::from_secs(5);

/// A name whose missing blocks are due to be fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DueFetch {
    pub(crate) name: Name,
    /// Attempts that failed.
    pub(crate) failures: u32,
    pub(crate) due: Millis,
}

/// A fetch that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchAttempt {
    pub(crate) row: DueFetch,
    /// How long after its end the next one follows, where something is not had.
    pub(crate) delay: Duration,
}

/// What becomes of the row of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FetchEnd {
    /// Nothing more is to be fetched: the row leaves its queue, unless it was put in again meanwhile.
    Done,
    /// The fetch goes on, and the row stays as it is.
    GoesOn,
    /// It gave way to others, and is due again soon, unless it was put in again meanwhile. That is no failure.
    Postponed,
    /// Something was not had; it is due again after the delay, unless it was put in again meanwhile.
    Later,
}

/// What becomes of the row of a fetch, for the batch that records what it came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedFetch {
    row: DueFetch,
    end: FetchEnd,
    again: Millis,
}

impl FetchAttempt {
    pub(crate) fn ends(&self, end: FetchEnd) -> EndedFetch {
        EndedFetch {
            row: self.row,
            end,
            again: rt::now()
                + match end {
                    FetchEnd::Postponed => POSTPONED,
                    _ => self.delay,
                },
        }
    }
}

impl EndedFetch {
    /// Says it in a batch.
    pub(super) fn apply(&self, batch: &mut Batch) {
        let DueFetch {
            name,
            failures,
            due,
        } = self.row;
        let row = key(FETCHES, name.as_bytes());
        match self.end {
            FetchEnd::Done => {
                FETCH.take(batch, &name, due);
                batch.delete_meta(&row);
            }
            FetchEnd::GoesOn => {}
            FetchEnd::Postponed => FETCH.put_off(batch, &name, due, self.again, &()),
            FetchEnd::Later => {
                FETCH.put_off(batch, &name, due, self.again, &());
                batch.put_meta(&row, failures.saturating_add(1).to_be_bytes());
            }
        }
    }
}

impl Storage {
    /// Names whose missing blocks are due to be fetched.
    pub(crate) async fn fetches_due(
        &self,
        window: DueWindow,
        limit: usize,
    ) -> Result<Vec<DueFetch>, StorageError> {
        self.blocking(move |this| {
            let entries = this.entries_due(FETCH, window, limit)?;
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
    pub(crate) async fn fetch_ended(&self, ended: EndedFetch) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        ended.apply(&mut batch);
        self.write(batch).await
    }
}

fn parse_failures(bytes: &[u8]) -> Result<u32, &'static str> {
    let bytes = bytes.try_into().map_err(|_| "it is no number")?;
    Ok(u32::from_be_bytes(bytes))
}
