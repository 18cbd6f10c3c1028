//! Changes that wait to be signed.

use perennis_shared::{ipns::Name, taglist::Op};

use super::{Client, rows};
use crate::{
    error::{ErrorKind, Retryable},
    store::{BlockStore, Changes, StoreError},
};

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
    pub(super) ops: Vec<Op>,
    pub(super) keys: Vec<String>,
}

impl<S: BlockStore + 'static> Client<S> {
    /// Keeps changes of the own list, all or none, until [`Client::publish`] signs them. No identity is needed.
    /// Gives the number of changes that wait now.
    ///
    /// # Errors
    /// There is no current identity, or the store fails.
    pub async fn stage(&self, ops: &[Op]) -> Result<usize, StageError> {
        let _writing = self.shared.writing.lock().await;
        let name = self.identity().await?.ok_or(StageError::NoIdentity)?.name;
        let staged = self.read_staged(&name).await?;
        let last = staged.keys.last().and_then(|key| number_of(&name, key));
        let numbers = last.map_or(0, |last| last + 1)..;
        let rows = numbers.zip(ops.chunks(rows::STAGED_ROW_OPS));
        let changes = rows.fold(Changes::new(), |changes, (number, row)| {
            changes.set(rows::staged_key(&name, number), rows::encode_ops(row))
        });
        self.shared.store.commit(changes).await?;
        Ok(staged.ops.len() + ops.len())
    }

    /// The changes that wait, in the order they were made.
    ///
    /// # Errors
    /// There is no current identity, or the store fails.
    pub async fn staged(&self) -> Result<Vec<Op>, StageError> {
        let name = self.identity().await?.ok_or(StageError::NoIdentity)?.name;
        Ok(self.read_staged(&name).await?.ops)
    }

    /// Drops all changes that wait. Gives their number.
    ///
    /// # Errors
    /// There is no current identity, or the store fails.
    pub async fn discard_staged(&self) -> Result<usize, StageError> {
        let _writing = self.shared.writing.lock().await;
        let name = self.identity().await?.ok_or(StageError::NoIdentity)?.name;
        let staged = self.read_staged(&name).await?;
        let changes = staged.keys.into_iter().fold(Changes::new(), Changes::clear);
        self.shared.store.commit(changes).await?;
        Ok(staged.ops.len())
    }

    pub(super) async fn read_staged(&self, name: &Name) -> Result<Staged, StoreError> {
        let store = &self.shared.store;
        let keys = store.state_keys(&rows::staged_prefix(name)).await?;
        let mut ops = Vec::new();
        for key in &keys {
            if let Some(row) = store.state(key).await? {
                ops.extend(rows::parse_ops(key, &row)?);
            }
        }
        Ok(Staged { ops, keys })
    }
}

fn number_of(name: &Name, key: &str) -> Option<u64> {
    key.strip_prefix(&rows::staged_prefix(name))?.parse().ok()
}
