//! Which store a folder holds, told without its lock: whoever is told that a process has it open can find out whether that is
//! the process it speaks with.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::checkpoint::Checkpoints;
use crate::disk::{Disk as _, LookOnly};
use crate::layout::segments;
use crate::location::{FileNumber, StoreId};
use crate::log::most_common_store;

/// Attempts to read headers while the process that has the store open removes files.
const ATTEMPTS: usize = 3;

/// The id of the store in `dir`, by what most of its segments say, or its newest checkpoint where there is none; none where nothing
/// says it, as before the first write. Takes no lock and changes nothing.
///
/// # Errors
/// The folder or a file in it cannot be read.
pub fn store_id(dir: &Path) -> io::Result<Option<StoreId>> {
    let mut attempt = 1;
    loop {
        match read(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                attempt += 1;
            }
            read => return read,
        }
    }
}

fn read(dir: &Path) -> io::Result<Option<StoreId>> {
    let log = segments(dir);
    let names = match LookOnly.list(&log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    let numbers: Vec<_> = names
        .iter()
        .filter_map(|name| FileNumber::parse(name))
        .collect();
    if let Some(store) = most_common_store(&LookOnly, &log, &numbers)? {
        return Ok(Some(store));
    }
    let newest = Checkpoints::new(Arc::new(LookOnly), dir, None).newest()?;
    Ok(newest.map(|(header, _)| StoreId(header.store)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::{Batch, Store, StoreOptions};

    #[test]
    fn an_open_store_and_its_folder_say_the_same_id_and_another_store_another() {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        assert_eq!(store_id(one.path()).unwrap(), None);
        let ids = [&one, &other].map(|dir| {
            let store = Store::open(dir.path(), &StoreOptions::default()).unwrap();
            assert_eq!(store_id(dir.path()).unwrap(), None);
            let mut batch = Batch::new();
            batch.put_meta(b"key", b"value".to_vec());
            store.commit(batch).unwrap();
            let id = store.id().unwrap().unwrap();
            assert_eq!(store_id(dir.path()).unwrap(), Some(id));
            id.to_string()
        });
        assert_ne!(ids[0], ids[1]);
        assert!(ids.iter().all(|id| id.len() == 32), "{ids:?}");
    }
}
