//! Counts anew what the index keeps counts of.

use std::collections::BTreeMap;

use crate::keys;
use crate::kv::{Kv, KvBatch, KvError};
use crate::location::FileNumber;
use crate::rows::{FileRow, Row as _, read_location};

/// Counts the blocks, and the bytes that are alive in each of these files, by looking at every place.
///
/// # Errors
/// The index's own.
pub(super) fn recount(
    index: &dyn Kv,
    mut files: BTreeMap<FileNumber, FileRow>,
) -> Result<(), KvError> {
    let mut blocks: u64 = 0;
    for row in files.values_mut() {
        row.live_bytes = 0;
    }
    let snapshot = index.snapshot()?;
    for row in snapshot.rows(&[keys::BLOCK], &keys::end_of(keys::BLOCK)) {
        let (_, row) = row?;
        if let Some(location) = read_location(&row) {
            blocks += 1;
            if let Some(file) = files.get_mut(&location.file) {
                file.live_bytes += u64::from(location.length);
            }
        }
    }
    drop(snapshot);
    let mut batch = KvBatch::default();
    for (number, row) in &files {
        batch.put(keys::file(*number), row.to_bytes());
    }
    batch.put([keys::TOTAL], blocks.to_le_bytes());
    index.write(batch)
}
