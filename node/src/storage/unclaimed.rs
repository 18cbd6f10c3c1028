//! Names that nobody has claimed: who has written each and how much it holds, in a row beside the head, and the sums of all.
//!
//! A name has such a row as long as the operator has not claimed it (see [`ingest`](crate::ingest)); one without a row is claimed, as
//! are all names of a node that knew no such rows. A queue has the same names by when they were written, so that the oldest are found
//! without reading all. The sums are counted at the start and kept in memory. Must never touch: what is allowed.

use std::collections::HashMap;

use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value, dag_cbor};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::keys::UNCLAIMED_ROW;
use super::nullable::nullable;
use super::queues::UNCLAIMED;
use super::{OpenError, Storage, StorageError, UnclaimedChange, key};
use crate::groups::AddressGroup;

/// Rows counted in one step at the start.
const COUNTED: usize = 1_024;

/// What is kept of a name that nobody has claimed. Stored as DAG-CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnclaimedRow {
    /// From where it was written last; `None` where that is not known.
    pub(crate) group: Option<AddressGroup>,
    /// The bytes of the blocks below its head. What several names share counts for each.
    pub(crate) bytes: u64,
    /// When it was written last.
    pub(crate) written: Millis,
}

impl UnclaimedRow {
    fn to_bytes(self) -> Result<Vec<u8>, CodecError> {
        let group = self.group.map(AddressGroup::to_bytes);
        dag_cbor::encode(&Value::map([
            ("v", Value::from(1_u64)),
            ("from", group.map_or(Value::Null, Value::Bytes)),
            ("bytes", Value::from(self.bytes)),
            ("at", Value::from(self.written.0)),
        ]))
    }

    fn from_bytes(bytes: &[u8]) -> Result<UnclaimedRow, CodecError> {
        let mut fields = Fields::new(dag_cbor::decode(bytes)?)?;
        if fields.take_u64("v")? != 1 {
            return Err(CodecError::field("v", FieldProblem::Range));
        }
        let group: Option<Vec<u8>> = nullable(&mut fields, "from")?;
        let group = match group {
            None => None,
            Some(bytes) => {
                let group = AddressGroup::from_bytes(&bytes);
                let none = || CodecError::field("from", FieldProblem::Invalid("no addresses"));
                Some(group.ok_or_else(none)?)
            }
        };
        let row = UnclaimedRow {
            group,
            bytes: fields.take_u64("bytes")?,
            written: Millis(fields.take_u64("at")?),
        };
        fields.finish()?;
        Ok(row)
    }
}

/// How much some names hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) names: u64,
    pub(crate) bytes: u64,
}

/// How much all names hold that nobody has claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UnclaimedSums {
    pub(crate) total: Held,
    pub(crate) groups: HashMap<AddressGroup, Held>,
}

impl UnclaimedSums {
    pub(crate) fn add(&mut self, row: &UnclaimedRow) {
        let grow = |held: &mut Held| {
            held.names += 1;
            held.bytes = held.bytes.saturating_add(row.bytes);
        };
        grow(&mut self.total);
        if let Some(group) = row.group {
            grow(self.groups.entry(group).or_default());
        }
    }

    pub(crate) fn subtract(&mut self, row: &UnclaimedRow) {
        let shrink = |held: &mut Held| {
            held.names = held.names.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(row.bytes);
        };
        shrink(&mut self.total);
        if let Some(group) = row.group
            && let Some(held) = self.groups.get_mut(&group)
        {
            shrink(held);
            if held.names == 0 {
                self.groups.remove(&group);
            }
        }
    }
}

impl Storage {
    /// What is kept of a name that nobody has claimed; none of one that is claimed. Waits for the disk.
    pub(super) fn unclaimed(&self, name: &Name) -> Result<Option<UnclaimedRow>, StorageError> {
        let row = key(UNCLAIMED_ROW, name.as_bytes());
        self.row(&row, UnclaimedRow::from_bytes)
    }

    /// How much the names hold that nobody has claimed. Waits for the disk.
    pub(crate) fn count_unclaimed(&self) -> Result<UnclaimedSums, OpenError> {
        let mut sums = UnclaimedSums::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.store.metas(UNCLAIMED_ROW, after.as_deref(), COUNTED);
            let rows = rows.map_err(OpenError::Rows)?;
            for (key, bytes) in &rows {
                match UnclaimedRow::from_bytes(bytes) {
                    Ok(row) => sums.add(&row),
                    // The name counts as claimed, and stays.
                    Err(error) => self.set_aside(key, bytes.clone(), None, &error),
                }
            }
            match rows.last() {
                Some((last, _)) => after = Some(last.clone()),
                None => return Ok(sums),
            }
        }
    }

    /// Of the names that nobody has claimed, at most `limit` of those that were written longest ago, the first of them first.
    pub(crate) async fn oldest_unclaimed(
        &self,
        limit: usize,
    ) -> Result<Vec<(Name, UnclaimedRow)>, StorageError> {
        self.blocking(move |this| {
            let all = Millis(u64::MAX);
            let mut oldest = Vec::new();
            let mut claimed = Batch::new();
            for row in this.store.queue_due(UNCLAIMED.number(), all, limit)? {
                if let Ok(name) = Name::from_bytes(&row.key)
                    && let Some(unclaimed) = this.unclaimed(&name)?
                {
                    oldest.push((name, unclaimed));
                } else {
                    // Its row could not be read: it counts as claimed.
                    claimed.dequeue(UNCLAIMED.number(), &row.key, row.due);
                }
            }
            if !claimed.is_empty() {
                this.store.submit(claimed, |_| {});
            }
            Ok(oldest)
        })
        .await
    }
}

/// Keeps this of a name, or that it is claimed.
pub(super) fn set(
    batch: &mut Batch,
    name: &Name,
    UnclaimedChange { before, after }: UnclaimedChange,
) -> Result<(), StorageError> {
    let row = key(UNCLAIMED_ROW, name.as_bytes());
    match after {
        _ if before == after => {}
        Some(after) => {
            batch.put_meta(&row, after.to_bytes()?);
            if before.is_none_or(|before| before.written != after.written) {
                UNCLAIMED.put(batch, name, after.written, &());
            }
        }
        None => {
            if let Some(before) = before {
                batch.delete_meta(&row);
                UNCLAIMED.take(batch, name, before.written);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::sign::SigningKey;

    use super::*;

    fn name(seed: u8) -> Name {
        Name::from_public_key(&SigningKey::from_seed(&[seed; 32]).public())
    }

    fn row(address: Option<&str>, bytes: u64, written: u64) -> UnclaimedRow {
        UnclaimedRow {
            group: address.map(|address| AddressGroup::of(address.parse().unwrap())),
            bytes,
            written: Millis(written),
        }
    }

    fn change(before: Option<UnclaimedRow>, after: Option<UnclaimedRow>) -> UnclaimedChange {
        UnclaimedChange { before, after }
    }

    #[test]
    fn golden_bytes_of_version_1() {
        for (row, golden) in [
            (
                row(Some("192.0.2.7"), 4_096, 5),
                "a4617601626174056466726f6d44c00002076562797465731910 00",
            ),
            (
                row(Some("2001:db8:7:8::1"), 0, 5),
                "a4617601626174056466726f6d4620010db8000765627974657300",
            ),
            (
                row(None, 0, 5),
                "a4617601626174056466726f6df665627974657300",
            ),
        ] {
            let golden = golden.replace(' ', "");
            assert_eq!(hex::encode(row.to_bytes().unwrap()), golden);
            let bytes = hex::decode(golden).unwrap();
            assert_eq!(UnclaimedRow::from_bytes(&bytes).unwrap(), row);
        }
        let newer = Value::map([("v", Value::from(2_u64))]);
        let newer = dag_cbor::encode(&newer).unwrap();
        assert!(UnclaimedRow::from_bytes(&newer).is_err());
    }

    #[tokio::test]
    async fn the_sums_are_those_of_the_rows_and_the_oldest_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let rows = [
            (name(1), row(Some("192.0.2.7"), 10, 30)),
            (name(2), row(Some("192.0.2.7"), 20, 10)),
            (name(3), row(Some("2001:db8::1"), 40, 20)),
            (name(4), row(None, 80, 40)),
        ];
        let mut batch = Batch::new();
        for (name, row) in &rows {
            set(&mut batch, name, change(None, Some(*row))).unwrap();
        }
        storage.write(batch).await.unwrap();
        let oldest = storage.oldest_unclaimed(3).await.unwrap();
        assert_eq!(oldest, [rows[1], rows[2], rows[0]]);
        let sums = storage.count_unclaimed().unwrap();
        let held = |names, bytes| Held { names, bytes };
        assert_eq!(sums.total, held(4, 150));
        let group = rows[0].1.group.unwrap();
        assert_eq!(sums.groups[&group], held(2, 30));

        // One is written again, one is claimed, and one cannot be read any more.
        let mut batch = Batch::new();
        let newer = row(Some("192.0.2.8"), 25, 50);
        let changed = change(Some(rows[1].1), Some(newer));
        set(&mut batch, &name(2), changed).unwrap();
        set(&mut batch, &name(3), change(Some(rows[2].1), None)).unwrap();
        batch.put_meta(
            &key(UNCLAIMED_ROW, name(4).as_bytes()),
            b"damaged".as_slice(),
        );
        storage.write(batch).await.unwrap();
        let sums = storage.count_unclaimed().unwrap();
        assert_eq!(sums.total, held(2, 35));
        assert_eq!(sums.groups[&group], held(1, 10));
        for _ in 0..2 {
            let oldest = storage.oldest_unclaimed(9).await.unwrap();
            assert_eq!(oldest, [rows[0], (name(2), newer)]);
            storage.write(Batch::new()).await.unwrap();
        }
        assert_eq!(storage.store.queue_len(UNCLAIMED.number()).unwrap(), 2);

        let mut sums = sums;
        sums.subtract(&rows[0].1);
        sums.subtract(&newer);
        assert_eq!(sums, UnclaimedSums::default());
    }
}
