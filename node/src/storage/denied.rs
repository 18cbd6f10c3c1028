//! Names that the operator has removed and takes no more: a row for each, until they are allowed again.

use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::keys::DENIED;
use super::{Storage, StorageError, key};

impl Storage {
    /// Since when a name is taken no more; none where it may come. A row that cannot be read still says that it may not. Waits for
    /// the disk.
    pub(super) fn denied_since(&self, name: &Name) -> Result<Option<Millis>, StorageError> {
        let row = self.store.meta(&key(DENIED, name.as_bytes()))?;
        Ok(row.map(|row| since(&row)))
    }

    /// As [`Storage::denied_since`].
    pub(crate) async fn is_denied(&self, name: Name) -> Result<Option<Millis>, StorageError> {
        self.blocking(move |this| this.denied_since(&name)).await
    }

    /// Takes a name no more.
    pub(super) fn deny(&self, batch: &mut Batch, name: &Name, since: Millis) {
        let value = since.0.to_be_bytes().to_vec();
        batch.put_meta(&key(DENIED, name.as_bytes()), value);
    }

    /// Lets a name come again; false where it may already.
    pub(crate) async fn allow(&self, name: Name) -> Result<bool, StorageError> {
        if self.is_denied(name).await?.is_none() {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.delete_meta(&key(DENIED, name.as_bytes()));
        self.write(batch).await?;
        Ok(true)
    }

    /// At most `limit` of the names behind `after` that are taken no more, and since when.
    pub(crate) async fn denied(
        &self,
        after: Option<Name>,
        limit: usize,
    ) -> Result<Vec<(Name, Millis)>, StorageError> {
        self.blocking(move |this| {
            let after = after.map(|name| key(DENIED, name.as_bytes()));
            let rows = this.store.metas(DENIED, after.as_deref(), limit)?;
            let names = rows.iter().filter_map(|(key, value)| {
                let name = Name::from_bytes(key.strip_prefix(DENIED)?).ok()?;
                Some((name, since(value)))
            });
            Ok(names.collect())
        })
        .await
    }
}

fn since(row: &[u8]) -> Millis {
    Millis(row.try_into().map_or(0, u64::from_be_bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::sign::SigningKey;

    use super::*;

    #[tokio::test]
    async fn a_name_is_denied_until_it_is_allowed_and_by_a_damaged_row_too() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let name = |seed: u8| Name::from_public_key(&SigningKey::from_seed(&[seed; 32]).public());
        let mut batch = Batch::new();
        storage.deny(&mut batch, &name(1), Millis(7));
        batch.put_meta(&key(DENIED, name(2).as_bytes()), b"damaged".as_slice());
        storage.write(batch).await.unwrap();
        assert_eq!(storage.is_denied(name(1)).await.unwrap(), Some(Millis(7)));
        assert_eq!(storage.is_denied(name(2)).await.unwrap(), Some(Millis(0)));
        assert_eq!(storage.is_denied(name(3)).await.unwrap(), None);
        let listed = storage.denied(None, 1).await.unwrap();
        let rest = storage.denied(Some(listed[0].0), 9).await.unwrap();
        assert_eq!((listed.len(), rest.len()), (1, 1));
        assert!(storage.allow(name(1)).await.unwrap());
        assert!(!storage.allow(name(1)).await.unwrap());
        assert_eq!(storage.is_denied(name(1)).await.unwrap(), None);
        assert_eq!(
            storage.denied(None, 9).await.unwrap(),
            [(name(2), Millis(0))]
        );
    }
}
