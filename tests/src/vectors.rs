//! Vectors of public specifications and other implementations: those that lie in this workspace, and a folder outside of it.

use std::path::PathBuf;

use serde_json::Value;

use crate::binary::workspace;
use crate::skipped::skipped;

/// A document of `shared/tests/vectors/made`, which other implementations wrote.
///
/// # Panics
/// When there is none of this name.
#[must_use]
pub fn made(name: &str) -> Value {
    let file = workspace().join("shared/tests/vectors/made").join(name);
    let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The folder of the vectors: `PERENNIS_VECTORS`, else `../shared/vectors` beside the workspace.
#[must_use]
pub fn folder() -> PathBuf {
    std::env::var_os("PERENNIS_VECTORS")
        .map_or_else(|| workspace().join("../shared/vectors"), PathBuf::from)
}

/// A file of the folder; `None`, and the test [`skipped`], when the folder is not there.
///
/// # Panics
/// When the folder is there and the file is not, or where the folder must not lack.
#[must_use]
pub fn read(path: &str) -> Option<Vec<u8>> {
    present()?;
    let file = folder().join(path);
    Some(std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// The folders below one of the folder's; `None`, and the test [`skipped`], when the vectors are not there.
///
/// # Panics
/// When the vectors are there and the folder is not, or where they must not lack.
#[must_use]
pub fn folders(path: &str) -> Option<Vec<PathBuf>> {
    present()?;
    let folder = folder().join(path);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    Some(folders)
}

fn present() -> Option<()> {
    let folder = folder();
    if folder.is_dir() {
        return Some(());
    }
    skipped("vectors", &format!("{} is no folder", folder.display()));
    None
}
