//! A folder of one measurement.
//!
//! It lies in the target folder, so that it is on a real disk: the system's folder for temporary files may be memory, where
//! a sync costs nothing and what is killed loses nothing. Where the target folder is memory as well, nothing is measured. It has the
//! name of what is measured and of the process, and goes when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::{binary, process};

/// Kinds of file systems that keep nothing but in memory.
const MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// The folder; removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one.
    ///
    /// # Errors
    /// It cannot be made, or is in memory.
    pub fn new(name: &str) -> Result<Self> {
        let path = binary::target()
            .join("bench")
            .join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let scratch = Self(path);
        // A system whose `stat` does not know the question has no file system of these names either.
        let kind = process::output(
            process::command("stat")
                .args(["-f", "-c", "%T"])
                .arg(scratch.path()),
        );
        scratch.must_be_a_disk(kind.as_deref().unwrap_or_default().trim())?;
        Ok(scratch)
    }

    fn must_be_a_disk(&self, kind: &str) -> Result<()> {
        ensure!(
            !MEMORY.contains(&kind),
            "{} is in memory ({kind}), where a sync costs nothing and what is killed loses nothing: name a folder on a disk in \
             CARGO_TARGET_DIR",
            self.0.display()
        );
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now lies in the target folder, which `cargo clean` empties.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn memory_is_no_disk() {
        let scratch = Scratch(PathBuf::from("/nowhere/at-all"));
        for kind in ["ext2/ext3", "btrfs", "overlayfs", ""] {
            scratch.must_be_a_disk(kind).unwrap();
        }
        let error = scratch.must_be_a_disk("tmpfs").unwrap_err().to_string();
        assert!(error.contains("CARGO_TARGET_DIR"), "{error}");
        assert!(error.contains("/nowhere/at-all is in memory"), "{error}");
    }
}
