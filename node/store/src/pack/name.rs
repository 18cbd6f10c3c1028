//! The names of packs.

use std::fmt;
use std::path::{Path, PathBuf};

/// The name of a pack: the BLAKE3-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackName(pub [u8; 32]);

impl PackName {
    /// The path of the pack in a folder.
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(self.file_name())
    }

    /// The name of its file.
    pub(crate) fn file_name(&self) -> String {
        format!("{self}.pack")
    }

    /// The name of the pack in a file of this name.
    pub(crate) fn parse(file: &str) -> Option<Self> {
        let (digits, []) = file.strip_suffix(".pack")?.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let mut name = [0; 32];
        if digits.len() != name.len() {
            return None;
        }
        for (byte, [high, low]) in name.iter_mut().zip(digits) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(name))
    }
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
