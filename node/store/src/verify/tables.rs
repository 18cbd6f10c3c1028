//! The tables beside segments of format 1.

use std::io;

use super::{FindingKind, Verifier};
use crate::block_table::BlockTable;
use crate::keys;
use crate::kv::{KvError, KvSnapshot};
use crate::layout::segments;
use crate::location::FileNumber;
use crate::rows::{FileKind, read_location};

impl Verifier<'_> {
    /// Reads the tables of all segments of format 1 that are in use. What is in the segments is held against its hashes
    /// where the index has it.
    pub(super) fn check_tables(&mut self, index: Option<&dyn KvSnapshot>) -> io::Result<()> {
        let dir = segments(self.dir);
        for (number, row) in self.files.clone() {
            if row.kind != FileKind::Format1 || !self.is_in_use(number, &row) {
                continue;
            }
            self.sum.files += 1;
            if let Err(error) = self.disk.open(&number.segment_path(&dir)) {
                if error.kind() == io::ErrorKind::NotFound {
                    self.found_missing(number, row.live_bytes);
                } else {
                    let detail = error.to_string();
                    self.found(FindingKind::Unreadable, number.to_string(), detail);
                }
                continue;
            }
            let name = BlockTable::file_name(number);
            let table = match BlockTable::read(self.disk.as_ref(), &dir, number) {
                Err(error) => {
                    self.found(FindingKind::Unreadable, name, error.to_string());
                    continue;
                }
                Ok(None) => {
                    let detail = "it is damaged or not there: it says what is in a segment of format 1 when the index has to be made anew";
                    self.found(FindingKind::Table, name, detail.to_owned());
                    continue;
                }
                Ok(Some(table)) => table,
            };
            let Some(index) = index else { continue };
            match live_bytes(&table, number, index) {
                Ok(bytes) if bytes < row.live_bytes => {
                    let detail = format!(
                        "it has {bytes} bytes of blocks of the {} that the index has there",
                        row.live_bytes
                    );
                    self.found(FindingKind::Table, name, detail);
                }
                Ok(_) => {}
                Err(error) => self.found_index(&error),
            }
        }
        Ok(())
    }
}

/// Bytes of the blocks in a table that the index has where the table says.
fn live_bytes(
    table: &BlockTable,
    number: FileNumber,
    index: &dyn KvSnapshot,
) -> Result<u64, KvError> {
    let mut bytes = 0;
    for entry in &table.entries {
        let row = index.value(&keys::block(&entry.hash))?;
        if row.and_then(|row| read_location(&row)) == Some(entry.location(number)) {
            bytes += u64::from(entry.length);
        }
    }
    Ok(bytes)
}
