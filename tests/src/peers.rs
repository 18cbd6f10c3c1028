//! Other implementations of IPFS as processes on loopback: [`kubo`] and [`helia`].
//!
//! A peer speaks with nobody it was not told of, has its own folder, and ends when it is dropped. Nothing here installs
//! anything: where a peer's program is stands in the environment, put there by who installed it (`cargo xtask interop` and
//! `cargo xtask bench`); a peer without one is not here, and what needs it is left out.

pub mod helia;
pub mod kubo;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::measure;

/// Where a program of others was installed; `None` when it was not.
pub(crate) fn installed(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).filter(|path| !path.is_empty())?;
    Some(PathBuf::from(path))
}

/// Writes a file of this many bytes that do not compress into the folder; every size has other bytes.
///
/// # Errors
/// It cannot be written.
fn file_of(dir: &Path, bytes: usize) -> Result<PathBuf> {
    let file = dir.join(format!("file-{bytes}"));
    fs::write(&file, measure::bytes(bytes, bytes as u64))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use crate::binary::workspace;

    #[test]
    fn labels_name_the_versions_that_are_installed() {
        let read = |path: &str| std::fs::read_to_string(workspace().join(path)).unwrap();
        let kubo = super::kubo::LABEL.strip_prefix("Kubo ").unwrap();
        assert!(
            read("tests/interop/kubo/go.mod").contains(&format!("github.com/ipfs/kubo v{kubo} "))
        );
        let helia = super::helia::LABEL.strip_prefix("Helia ").unwrap();
        assert!(
            read("tests/interop/helia/package.json").contains(&format!("\"helia\": \"{helia}\""))
        );
    }
}
