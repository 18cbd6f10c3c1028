//! Changes that wait to be signed.
//!
//! A change has its clock reading from the moment it is staged, after everything that was here then: what another
//! device changes later is newer, whichever of the two is published first.

use perennis_rt as rt;
use perennis_shared::{
    error::{ErrorKind, Retryable},
    ipns::Name,
    log::UnverifiedEntry,
    taglist::{DatedOp, Hlc, Op},
};

use super::{Client, rows};
use crate::store::{BlockStore, Changes, StoreError};

/// Why changes were not staged.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// There is no current identity whose list could change.
    #[error("there is no identity here yet")]
    NoIdentity,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StageError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoIdentity => "no_identity",
            Self::Store(error) => error.code(),
        }
    }
}

impl Retryable for StageError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoIdentity => ErrorKind::Reject,
            Self::Store(error) => error.kind(),
        }
    }
}

/// Staged changes and the rows they are in.
pub(super) struct Staged {
    /// Those that can be read.
    pub(super) changes: Vec<DatedOp>,
    /// All rows.
    pub(super) keys: Vec<String>,
    /// Why rows cannot be read.
    pub(super) damaged: Vec<StoreError>,
}

/// How much waits, and since when.
pub(super) struct Waiting {
    /// Changes in rows that can be read.
    pub(super) count: usize,
    /// The clock reading of each of these rows.
    readings: Vec<Hlc>,
    /// All rows.
    keys: Vec<String>,
}

impl Staged {
    /// All of it, or the error of the first row that is damaged: nothing is signed that is only a part.
    pub(super) fn whole(self) -> Result<Self, StoreError> {
        match self.damaged.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(Self {
                damaged: Vec::new(),
                ..self
            }),
        }
    }
}

impl<S: BlockStore + 'static> Client<S> {
    /// Keeps changes of the own list, all or none, until [`Client::publish`] signs them. No passphrase is needed.
    /// Gives the number of changes that wait now. Damaged ones that wait do not hinder it, and are not counted.
    ///
    /// # Errors
    /// There is no current identity, or the store fails.
    pub async fn stage(&self, ops: &[Op]) -> Result<usize, StageError> {
        let _writing = self.shared.writing.lock().await;
        let name = self.identity().await?.ok_or(StageError::NoIdentity)?.name;
        let waiting = self.waiting(&name).await?;
        let mut number = next_number(&name, &waiting.keys);
        let clock = self.next_reading(&name, &waiting).await?;
        let changes = stage_rows(Changes::new(), &name, &mut number, clock, ops)?;
        self.shared.store.commit(changes).await?;
        Ok(waiting.count + ops.len())
    }

    /// The changes that wait, in the order they were made.
    ///
    /// # Errors
    /// There is no current identity, one of the changes is damaged, or the store fails.
    pub async fn staged(&self) -> Result<Vec<Op>, StageError> {
        let name = self.identity().await?.ok_or(StageError::NoIdentity)?.name;
        let staged = self.read_staged(&name).await?.whole()?.changes.into_iter();
        Ok(staged.map(|change| change.op).collect())
    }

    /// How many changes wait. Damaged ones are not counted.
    ///
    /// # Errors
    /// There is no current identity, or the store fails.
    pub async fn staged_count(&self) -> Result<usize, StageError> {
        let name = self.identity().await?.ok_or(StageError::NoIdentity)?.name;
        Ok(self.waiting(&name).await?.count)
    }

    /// Takes back the changes that were staged last, as many as one call of [`Client::stage`] kept, and gives them; none where
    /// nothing waits.
    ///
    /// # Errors
    /// There is no current identity, the changes are damaged, or the store fails.
    pub async fn unstage(&self) -> Result<Vec<Op>, StageError> {
        let _writing = self.shared.writing.lock().await;
        let name = self.identity().await?.ok_or(StageError::NoIdentity)?.name;
        let store = &self.shared.store;
        let keys = store.state_keys(&rows::staged_prefix(&name)).await?;
        let mut made = None;
        let mut taken: Vec<Vec<DatedOp>> = Vec::new();
        let mut changes = Changes::new();
        for key in keys.into_iter().rev() {
            let Some(row) = store.state(&key).await? else {
                continue;
            };
            let (_, clock) = rows::count_staged(&key, &row)?;
            if *made.get_or_insert(clock) != clock {
                break;
            }
            taken.push(rows::parse_staged(&key, &row)?);
            changes = changes.clear(key);
        }
        store.commit(changes).await?;
        let taken = taken.into_iter().rev().flatten();
        Ok(taken.map(|change| change.op).collect())
    }

    /// Drops all changes that wait, damaged ones as well, which are not counted. Gives their number.
    ///
    /// # Errors
    /// There is no current identity, or the store fails.
    pub async fn discard_staged(&self) -> Result<usize, StageError> {
        let _writing = self.shared.writing.lock().await;
        let name = self.identity().await?.ok_or(StageError::NoIdentity)?.name;
        let waiting = self.waiting(&name).await?;
        let changes = waiting
            .keys
            .into_iter()
            .fold(Changes::new(), Changes::clear);
        self.shared.store.commit(changes).await?;
        Ok(waiting.count)
    }

    pub(super) async fn read_staged(&self, name: &Name) -> Result<Staged, StoreError> {
        let store = &self.shared.store;
        let keys = store.state_keys(&rows::staged_prefix(name)).await?;
        let (mut changes, mut damaged) = (Vec::new(), Vec::new());
        for key in &keys {
            let row = store.state(key).await;
            let read =
                row.and_then(|row| row.map_or(Ok(Vec::new()), |row| rows::parse_staged(key, &row)));
            match read {
                Ok(read) => changes.extend(read),
                Err(error) if error.is_damage() => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(Staged {
            changes,
            keys,
            damaged,
        })
    }

    /// The first rows of changes that wait, with not many more than `most` changes.
    ///
    /// # Errors
    /// One of these rows is damaged, or the store fails.
    pub(super) async fn read_staged_rows(
        &self,
        name: &Name,
        most: usize,
    ) -> Result<Vec<(String, Vec<DatedOp>)>, StoreError> {
        let store = &self.shared.store;
        let (mut rows, mut count) = (Vec::new(), 0);
        for key in store.state_keys(&rows::staged_prefix(name)).await? {
            if count >= most && !rows.is_empty() {
                break;
            }
            if let Some(row) = store.state(&key).await? {
                let ops = rows::parse_staged(&key, &row)?;
                count += ops.len();
                rows.push((key, ops));
            }
        }
        Ok(rows)
    }

    /// How many changes wait, without reading each of them. Damaged rows are not counted.
    pub(super) async fn waiting(&self, name: &Name) -> Result<Waiting, StoreError> {
        let store = &self.shared.store;
        let keys = store.state_keys(&rows::staged_prefix(name)).await?;
        let mut waiting = Waiting {
            count: 0,
            readings: Vec::new(),
            keys,
        };
        for key in &waiting.keys {
            let row = store.state(key).await;
            let read = row.and_then(|row| row.map(|row| rows::count_staged(key, &row)).transpose());
            match read {
                Ok(Some((count, clock))) => {
                    waiting.count += count;
                    waiting.readings.push(clock);
                }
                Ok(None) => {}
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(waiting)
    }

    /// The clock reading of a change that is made now: after the own head and all that waits. Readings from a
    /// time when this device's clock was far ahead do not count; they are corrected when they are signed.
    async fn next_reading(&self, name: &Name, waiting: &Waiting) -> Result<Hlc, StoreError> {
        let now = rt::now();
        let head = match self.own_head(name).await? {
            Some(head) => self.shared.store.block(&head).await?,
            None => None,
        };
        let head = head.and_then(|block| UnverifiedEntry::parse(&block).ok());
        let readings = waiting.readings.iter().copied();
        let seen = readings
            .chain(head.map(|head| head.clock()))
            .filter(|reading| reading.check_drift(now).is_ok())
            .max();
        Ok(Hlc::tick(seen.unwrap_or_default(), now).unwrap_or(Hlc::at(now)))
    }
}

/// The number of the next row of changes that wait.
pub(super) fn next_number(name: &Name, keys: &[String]) -> u64 {
    let last = keys.last().and_then(|key| rows::staged_number(name, key));
    last.map_or(0, |last| last + 1)
}

/// Adds rows of changes that were made at `clock`, from `number` on.
pub(super) fn stage_rows(
    mut changes: Changes,
    name: &Name,
    number: &mut u64,
    clock: Hlc,
    ops: &[Op],
) -> Result<Changes, StoreError> {
    for row in ops.chunks(rows::STAGED_ROW_OPS) {
        let key = rows::staged_key(name, *number);
        let value = rows::encode_staged(&key, clock, row)?;
        changes = changes.set(key, value);
        *number += 1;
    }
    Ok(changes)
}
