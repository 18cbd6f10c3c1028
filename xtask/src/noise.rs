//! Files that compress badly, the same each time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Writes a file of this many bytes into the folder; every size has other bytes.
///
/// # Errors
/// It cannot be written.
pub(crate) fn file(dir: &Path, bytes: usize) -> Result<PathBuf> {
    let file = dir.join(format!("file-{bytes}"));
    fs::write(&file, bytes_of(bytes as u64, bytes))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The output of a xorshift generator, another for every seed.
pub(crate) fn bytes_of(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
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
