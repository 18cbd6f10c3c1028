//! Vectors of public specifications and other implementations, which lie outside the workspace.

use std::path::PathBuf;

use crate::binary::workspace;

/// The folder of the vectors: `PERENNIS_VECTORS`, else `../shared/vectors` beside the workspace.
#[must_use]
pub fn folder() -> PathBuf {
    std::env::var_os("PERENNIS_VECTORS")
        .map_or_else(|| workspace().join("../shared/vectors"), PathBuf::from)
}

/// A file of the vectors; `None`, said on stderr, when the folder is not there.
///
/// # Panics
/// When the folder is there and the file is not.
#[must_use]
pub fn read(path: &str) -> Option<Vec<u8>> {
    present()?;
    let file = folder().join(path);
    Some(std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// The folders below one of the vectors' folders; `None`, said on stderr, when the vectors are not there.
///
/// # Panics
/// When the vectors are there and the folder is not.
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

#[allow(
    clippy::print_stderr,
    reason = "a skipped vector test says so, and only the test's output can tell"
)]
fn present() -> Option<()> {
    if folder().is_dir() {
        return Some(());
    }
    eprintln!("skipped: no vectors at {}", folder().display());
    None
}
