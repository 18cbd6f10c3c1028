//! Where bytes lie: the numbers of files that hold blocks, places in them, and whose files they are.
//!
//! All that is said of a block is said in these terms, in the log, in the index and in packs. Nothing here knows what is in a
//! file: that is for [`crate::segment`] and [`crate::pack`], which stand above.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::DiskFile;

/// The number of a file that holds blocks: a log segment or a pack. Later files have higher ones; gaps are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNumber(pub u32);

impl FileNumber {
    /// The one after, where there is one.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The path of the segment with this number.
    pub(crate) fn segment_path(self, dir: &Path) -> PathBuf {
        dir.join(self.to_string())
    }

    /// The number in the name of a segment.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let digits = name.strip_suffix(".seg")?;
        let is_ours = digits.len() == 8
            && digits
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        is_ours.then(|| u32::from_str_radix(digits, 16).ok().map(Self))?
    }
}

impl fmt::Display for FileNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.seg", self.0)
    }
}

/// Where the body of a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The file.
    pub file: FileNumber,
    /// The offset of the block's bytes in the file.
    pub offset: u32,
    /// How many bytes the block has.
    pub length: u32,
}

impl Location {
    /// The offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }

    /// Reads the bytes there. What is claimed of a place is held against the file before memory is taken for it.
    ///
    /// # Errors
    /// The disk's; [`io::ErrorKind::UnexpectedEof`] where the file ends before.
    pub(crate) fn read_from(&self, file: &dyn DiskFile) -> io::Result<Vec<u8>> {
        if file.length()? < self.end() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.read_vec_at(self.length as usize, u64::from(self.offset))
    }
}

/// Which store a file belongs to: drawn when the store is made, and no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(pub(crate) [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        assert_eq!(
            FileNumber::parse(&FileNumber(0xab).to_string()),
            Some(FileNumber(0xab))
        );
        for name in [
            "1.seg",
            "0000000g.seg",
            "00000001",
            "000000001.seg",
            "+0000001.seg",
            "0000000A.seg",
        ] {
            assert_eq!(FileNumber::parse(name), None, "{name}");
        }
        assert_eq!(FileNumber(u32::MAX).next(), None);
    }
}
