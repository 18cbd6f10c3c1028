//! The rungs that are kept back, in the row beside the head and in the queue by when the next one is due.

use std::time::Duration;

use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value, dag_cbor};
use perennis_shared::ipns::{Ladder, Name, Record};
use perennis_shared::time::Millis;
use perennis_store::Batch;

use super::keys::RUNGS;
use super::queues::LADDER;
use super::{Storage, StorageError, key};

/// A ladder is looked at after so long at the latest, however far its next rung is: a row that was written with a wrong clock
/// is found by its time.
pub(crate) const LADDER_LOOK: Duration = Duration::from_secs(86_400);

impl Storage {
    /// The rungs that are kept back for a name; some of them may have been released or voided meanwhile
    /// ([`Ladder::above`] tells).
    pub(crate) async fn ladder(&self, name: Name) -> Result<Ladder, StorageError> {
        self.blocking(move |this| {
            let parse = |bytes: &[u8]| {
                let rungs = rungs_from_bytes(bytes)?;
                let rungs = Ladder::verify_kept(&name, rungs.iter().map(Vec::as_slice));
                let damaged = |_| CodecError::field("rungs", FieldProblem::Invalid("no ladder"));
                rungs.map_err(damaged)
            };
            // Rungs that are damaged cannot be released; the next publish brings others.
            let ladder = this.row(&key(RUNGS, name.as_bytes()), parse)?;
            Ok(ladder.unwrap_or_default())
        })
        .await
    }
}

/// Keeps these rungs above a record in place of others. A row of the queue without rungs goes away when it is due.
pub(super) fn set(
    batch: &mut Batch,
    name: &Name,
    ladder: &Ladder,
    record: &Record,
    now: Millis,
) -> Result<(), StorageError> {
    let row = key(RUNGS, name.as_bytes());
    match ladder.next_release(record.validity()) {
        Some(due) => {
            let rungs = ladder.rungs().iter().map(|rung| &rung.bytes()[..]);
            batch.put_meta(&row, rungs_to_bytes(rungs)?);
            LADDER.put(batch, name, due.min(now + LADDER_LOOK), &());
        }
        None => {
            batch.delete_meta(&row);
        }
    }
    Ok(())
}

/// The rungs of a kept ladder as the row beside the head: a version and the records, lowest first.
fn rungs_to_bytes<'a>(rungs: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, CodecError> {
    let rungs = rungs.map(|rung| Value::Bytes(rung.to_vec())).collect();
    dag_cbor::encode(&Value::map([
        ("v", Value::from(1_u64)),
        ("rungs", Value::List(rungs)),
    ]))
}

/// Reads what [`rungs_to_bytes`] wrote.
fn rungs_from_bytes(bytes: &[u8]) -> Result<Vec<Vec<u8>>, CodecError> {
    let mut fields = Fields::new(dag_cbor::decode(bytes)?)?;
    if fields.take_u64("v")? != 1 {
        return Err(CodecError::field("v", FieldProblem::Range));
    }
    let rungs = fields.take_list("rungs")?;
    fields.finish()?;
    Ok(rungs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn rungs_are_read_back() {
        let rungs = [b"one".as_slice(), b"two"];
        let bytes = rungs_to_bytes(rungs.into_iter()).unwrap();
        assert_eq!(rungs_from_bytes(&bytes).unwrap(), rungs);
        assert!(rungs_from_bytes(b"\xa0").is_err());
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let golden = "a26176016572756e67738143010203";
        let bytes = rungs_to_bytes([[1, 2, 3].as_slice()].into_iter()).unwrap();
        assert_eq!(hex::encode(bytes), golden);
    }
}
