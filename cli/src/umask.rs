//! Who else may read what this process writes.
//!
//! Everything of a home and of a node's data folder is its owner's only. Some of it is made by libraries that do not ask
//! (RocksDB makes its own files), so the whole process runs under a umask that shuts others out, from its first
//! line on. Only what a person has asked for by name, to keep or to pass on, gets the permissions that their own umask
//! gives.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::Mode;

/// The umask this process was started with.
static GIVEN: OnceLock<Mode> = OnceLock::new();

/// Shuts others out of every file and folder made from now on.
pub(super) fn shut_others_out() {
    let given = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    // Once it is set, the first one stays the person's.
    let _ = GIVEN.set(given);
}

/// Makes or empties a file that the person named, readable by whom their umask lets.
pub(super) fn create_named(path: &Path) -> io::Result<File> {
    let file = File::create(path)?;
    open_to_others(&file);
    Ok(file)
}

/// Gives a file that this process has just made the permissions that the person's umask gives.
fn open_to_others(file: &File) {
    if let Some(given) = GIVEN.get() {
        let mode = 0o666 & !given.as_raw_mode();
        // A file system without permissions refuses; there the file is as open as everything on it.
        let _ = file.set_permissions(Permissions::from_mode(mode));
    }
}
