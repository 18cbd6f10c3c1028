//! Files that compress badly, the same each time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Writes a file of this many bytes into the folder; every size has other bytes.
pub(super) fn file(dir: &Path, bytes: usize) -> Result<PathBuf> {
    let file = dir.join(format!("file-{bytes}"));
    fs::write(&file, noise(bytes)).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// A xorshift generator's output.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ bytes as u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(bytes)
    .collect()
}
