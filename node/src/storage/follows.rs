//! Followed names: the row beside the head, and forgetting a name.

use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::FollowState;
use super::keys::{FACTS, FOLLOWED};
use super::queues::{FETCH, FOLLOW, TypedQueue};
use super::{ChangeError, Follow, OpenError, Storage, StorageError, key};
use super::{GraphFacts, Pin};

/// Names counted in one step at the start.
const COUNTED: usize = 1_024;

impl Storage {
    pub(super) fn followed(&self, name: &Name) -> Result<Option<FollowState>, StorageError> {
        let row = key(FOLLOWED, name.as_bytes());
        let Some(bytes) = self.store.meta(&row)? else {
            return Ok(None);
        };
        match FollowState::from_bytes(&bytes) {
            Ok(followed) => Ok(Some(followed)),
            // That it is followed is sure. Were it taken for one that is not, what hangs below it would be let go.
            Err(error) => {
                let followed = FollowState::of_damaged_row(rt::now());
                self.set_aside(&row, bytes, Some(followed.to_bytes()?), &error);
                Ok(Some(followed))
            }
        }
    }

    /// What is kept about following a name, also where its head is lost.
    pub(crate) async fn followed_row(
        &self,
        name: Name,
    ) -> Result<Option<FollowState>, StorageError> {
        self.blocking(move |this| this.followed(&name)).await
    }

    /// Counts the followed names. Waits for the disk.
    pub(crate) fn count_followed(&self) -> Result<u64, OpenError> {
        let mut count = 0;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.store.metas(FOLLOWED, after.as_deref(), COUNTED);
            let rows = rows.map_err(OpenError::Rows)?;
            count += rows.len() as u64;
            match rows.last() {
                Some((last, _)) if rows.len() == COUNTED => after = Some(last.clone()),
                _ => return Ok(count),
            }
        }
    }

    /// When the record of a followed name is looked for again.
    pub(crate) async fn next_look(&self, name: Name) -> Result<Option<Millis>, StorageError> {
        self.blocking(move |this| this.entry_due(FOLLOW, &name))
            .await
    }

    /// Keeps what was found about following a name, and when its record is looked for next.
    pub(crate) async fn save_followed(
        &self,
        name: Name,
        row: FollowState,
        next: Millis,
    ) -> Result<(), StorageError> {
        let next = Some(next);
        let mut batch = Batch::new();
        set(&mut batch, &name, &Follow { row, next })?;
        self.write(batch).await
    }

    /// Ends following a name that stays for another reason; `facts` are what holds from now on.
    pub(crate) async fn unfollow(&self, name: Name, facts: GraphFacts) -> Result<(), ChangeError> {
        let due = self.blocking(move |this| this.dues(&name)).await?;
        let mut batch = Batch::new();
        leave(&mut batch, &name, &due);
        if facts.pin == Pin::Queued {
            FETCH.put(&mut batch, &name, rt::now(), &());
        }
        let facts = facts.to_bytes().map_err(StorageError::from)?;
        batch.put_meta(&key(FACTS, name.as_bytes()), facts);
        self.submit(batch).await
    }
}

/// Takes a name out of what is followed.
pub(super) fn leave(batch: &mut Batch, name: &Name, dues: &[(TypedQueue<Name>, Millis)]) {
    batch.delete_meta(&key(FOLLOWED, name.as_bytes()));
    let is_follow = |queue: &TypedQueue<Name>| queue.number() == FOLLOW.number();
    for (queue, due) in dues.iter().filter(|(queue, _)| is_follow(queue)) {
        queue.take(batch, name, *due);
    }
}

pub(super) fn set(batch: &mut Batch, name: &Name, follow: &Follow) -> Result<(), StorageError> {
    batch.put_meta(&key(FOLLOWED, name.as_bytes()), follow.row.to_bytes()?);
    if let Some(next) = follow.next {
        FOLLOW.put(batch, name, next, &());
    }
    Ok(())
}

#[cfg(all(test, feature = "rocksdb"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs;

    use perennis_store::IndexEngine;

    use super::*;

    #[test]
    fn an_index_that_is_found_damaged_while_it_is_counted_is_made_anew_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Storage::open_counted(dir.path(), IndexEngine::Disk, &[], &mut |_| {});
        let (storage, _) = open().unwrap();
        let mut batch = Batch::new();
        // Enough for blocks of the index that nothing else reads at a start.
        for number in 0..400_u16 {
            let key = [FOLLOWED, &number.to_be_bytes()].concat();
            batch.put_meta(&key, format!("row {number:03} ").repeat(100).into_bytes());
        }
        storage.store.commit(batch).unwrap();
        drop(storage);
        let mut flipped = 0;
        for entry in fs::read_dir(dir.path().join("index")).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            let row = b"row 200 ";
            if let Some(at) = bytes.windows(row.len()).position(|part| part == row) {
                bytes[at] ^= 1;
                fs::write(&path, bytes).unwrap();
                flipped += 1;
            }
        }
        assert_eq!(flipped, 1);
        let (storage, followed) = open().unwrap();
        assert_eq!(followed, 400);
        assert!(storage.store.rebuilt().is_some());
    }
}
