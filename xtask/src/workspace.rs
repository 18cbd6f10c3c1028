//! Where things are: the clone, cargo's target folder, and the cache outside the clone.

use std::{
    env,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// The folder that holds the workspace manifest.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        // Where cargo runs it, not where it was compiled: clones may share a target folder.
        env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
            .parent()
            .expect("xtask lies one level below the root")
            .to_path_buf()
    });
    &ROOT
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, or `target` in the clone.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// What outlives a clone: tools by version. `$XDG_CACHE_HOME/perennis`, or `~/.cache/perennis`.
pub(crate) fn cache() -> PathBuf {
    let base = env::var_os("XDG_CACHE_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .unwrap_or_else(env::temp_dir);
    base.join("perennis")
}
