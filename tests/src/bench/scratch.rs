//! A folder of one measurement.
//!
//! It lies in the target folder, so that it is on a real disk: the system's folder for temporary files may be memory, where
//! a sync costs nothing. It has the name of what is measured and of the process, and goes when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::binary;

/// The folder; removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh one.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let path = binary::target()
            .join("bench")
            .join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
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
