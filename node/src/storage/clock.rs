//! What is written down of the node's clock: a row of two numbers.

use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::keys::CLOCK;
use super::{Storage, StorageError};
use crate::clock::ClockMark;

impl Storage {
    /// The clock as the node saw it last; `None` where it never did.
    pub(crate) async fn clock_mark(&self) -> Result<Option<ClockMark>, StorageError> {
        let parse = |row: &[u8]| {
            let (numbers, []) = row.as_chunks::<8>() else {
                return None;
            };
            let [seen, steady] = numbers else {
                return None;
            };
            Some(ClockMark {
                seen: Millis(u64::from_be_bytes(*seen)),
                steady: Millis(u64::from_be_bytes(*steady)),
            })
        };
        self.blocking(move |this| this.row(CLOCK, |row| parse(row).ok_or("it is no two numbers")))
            .await
    }

    pub(crate) async fn save_clock_mark(&self, mark: ClockMark) -> Result<(), StorageError> {
        let numbers = [mark.seen, mark.steady].map(|at| at.0.to_be_bytes());
        let mut batch = Batch::new();
        batch.put_meta(CLOCK, numbers.concat());
        self.write(batch).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[tokio::test]
    async fn a_mark_is_read_back_and_what_is_none_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        assert_eq!(storage.clock_mark().await.unwrap(), None);
        let mark = ClockMark {
            seen: Millis(1),
            steady: Millis(u64::MAX),
        };
        storage.save_clock_mark(mark).await.unwrap();
        assert_eq!(storage.clock_mark().await.unwrap(), Some(mark));
        let golden = "0000000000000001ffffffffffffffff";
        let row = storage.store.meta(CLOCK).unwrap().unwrap();
        assert_eq!(hex::encode(row), golden);
        for damaged in [&[0; 15][..], &[0; 24], &[]] {
            let mut batch = Batch::new();
            batch.put_meta(CLOCK, damaged);
            storage.write(batch).await.unwrap();
            assert_eq!(storage.clock_mark().await.unwrap(), None);
            storage.write(Batch::new()).await.unwrap();
        }
        assert!(storage.unreadable_rows().contains(&("places", 3)));
    }
}
