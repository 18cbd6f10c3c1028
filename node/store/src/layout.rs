//! The names in the folder of a store, for whoever looks at it from outside. Nothing but the store writes there.

use std::path::{Path, PathBuf};

/// The folder of the log.
pub const SEGMENTS: &str = "segments";

/// The folder of packs.
pub const PACKS: &str = "packs";

/// The folder of checkpoints; there is none before the first of them.
pub const CHECKPOINTS: &str = "checkpoints";

/// The folder of the index. While the store is open it stays the same one.
pub const INDEX: &str = "index";

/// The folder of damaged bytes that were moved away; there is none before the first of them.
pub const LOST: &str = "lost";

/// The file that names the format.
pub const FORMAT_FILE: &str = "FORMAT";

/// The file that names the group that was acknowledged last.
pub const NEWEST: &str = "NEWEST";

/// The file that is locked while the store is open.
pub const LOCK: &str = "LOCK";

/// The file that is given up when the disk is full.
pub const RESERVE: &str = "reserve";

/// The folder in which whoever runs the store keeps snapshots of it. The store itself knows nothing of it; there is none before the first.
pub const SNAPSHOTS: &str = "snapshots";

/// All folders of the store itself.
pub const FOLDERS: [&str; 5] = [SEGMENTS, PACKS, CHECKPOINTS, INDEX, LOST];

/// All files that lie in the folder of the store itself.
pub const FILES: [&str; 4] = [FORMAT_FILE, NEWEST, LOCK, RESERVE];

/// The folders that have files once something was stored.
pub const STORED: [&str; 3] = [SEGMENTS, PACKS, CHECKPOINTS];

/// The folders without which acknowledged data is missing.
pub const VITAL: [&str; 4] = [SEGMENTS, PACKS, CHECKPOINTS, INDEX];

/// The folder of the log of the store in `dir`.
pub(crate) fn segments(dir: &Path) -> PathBuf {
    dir.join(SEGMENTS)
}

/// The folder of packs of the store in `dir`.
pub(crate) fn packs(dir: &Path) -> PathBuf {
    dir.join(PACKS)
}

#[cfg(all(test, feature = "rocksdb"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::{Batch, Store, StoreOptions};

    #[test]
    fn a_store_has_these_names_and_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &StoreOptions::default()).unwrap();
        let mut batch = Batch::new();
        batch.put_meta(b"key", b"value".to_vec());
        store.commit(batch).unwrap();
        store.checkpoint().unwrap();
        drop(store);
        let entries = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
        let (folders, files): (Vec<_>, Vec<_>) =
            entries.partition(|entry| entry.file_type().unwrap().is_dir());
        let names = |entries: Vec<fs::DirEntry>| -> BTreeSet<String> {
            let names = entries.iter().map(fs::DirEntry::file_name);
            names.map(|name| name.into_string().unwrap()).collect()
        };
        // Nothing was damaged, so nothing was moved away.
        let expected = FOLDERS.iter().filter(|name| **name != LOST);
        let expected: BTreeSet<String> = expected.map(ToString::to_string).collect();
        assert_eq!(names(folders), expected);
        let expected: BTreeSet<String> = FILES.iter().map(ToString::to_string).collect();
        assert_eq!(names(files), expected);
    }
}
