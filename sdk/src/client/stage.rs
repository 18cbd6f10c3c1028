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
        let staged = self.read_staged(&name).await?;
        let last = staged
            .keys
            .last()
            .and_then(|key| rows::staged_number(&name, key));
        let numbers = last.map_or(0, |last| last + 1)..;
        let clock = self.next_reading(&name, &staged).await?;
        let rows = numbers.zip(ops.chunks(rows::STAGED_ROW_OPS));
        let changes = rows.fold(Changes::new(), |changes, (number, row)| {
            let key = rows::staged_key(&name, number);
            changes.set(key, rows::encode_staged(clock, row))
        });
        self.shared.store.commit(changes).await?;
        Ok(staged.changes.len() + ops.len())
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

    /// Drops all changes that wait, damaged ones as well, which are not counted. Gives their number.
    ///
    /// # Errors
    /// There is no current identity, or the store fails.
    pub async fn discard_staged(&self) -> Result<usize, StageError> {
        let _writing = self.shared.writing.lock().await;
        let name = self.identity().await?.ok_or(StageError::NoIdentity)?.name;
        let staged = self.read_staged(&name).await?;
        let changes = staged.keys.into_iter().fold(Changes::new(), Changes::clear);
        self.shared.store.commit(changes).await?;
        Ok(staged.changes.len())
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

    /// The clock reading of a change that is made now: after the own head and all that waits. Readings from a
    /// time when this device's clock was far ahead do not count; they are corrected when they are signed.
    async fn next_reading(&self, name: &Name, staged: &Staged) -> Result<Hlc, StoreError> {
        let now = rt::now();
        let head = match self.own_head(name).await? {
            Some(head) => self.shared.store.block(&head).await?,
            None => None,
        };
        let head = head.and_then(|block| UnverifiedEntry::parse(&block).ok());
        let waiting = staged.changes.iter().map(|change| change.clock);
        let seen = waiting
            .chain(head.map(|head| head.clock()))
            .filter(|reading| reading.check_drift(now).is_ok())
            .max();
        Ok(Hlc::tick(seen.unwrap_or_default(), now).unwrap_or(Hlc::at(now)))
    }
}
