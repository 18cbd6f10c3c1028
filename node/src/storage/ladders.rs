//! The rungs that are kept back, in the row beside the head and in the queue by when the next one is due.

use perennis_shared::codec::{CodecError, FieldProblem};
use perennis_shared::ipns::{Ladder, Name, Record};
use perennis_store::Batch;

use super::{LADDER, RUNGS, Storage, StorageError, key};
use crate::followed::{rungs_from_bytes, rungs_to_bytes};

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
) -> Result<(), StorageError> {
    let row = key(RUNGS, name.as_bytes());
    match ladder.next_release(record.validity()) {
        Some(due) => {
            let rungs = ladder.rungs().iter().map(|rung| &rung.bytes()[..]);
            batch.put_meta(&row, rungs_to_bytes(rungs)?);
            batch.enqueue(LADDER, name.as_bytes(), due, Vec::new());
        }
        None => {
            batch.delete_meta(&row);
        }
    }
    Ok(())
}
