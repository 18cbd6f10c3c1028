//! What is known of a file that holds blocks.

use std::path::{Path, PathBuf};

use super::version::{Never, Reader, Row};
use crate::frame::Salt;
use crate::layout::{packs, segments};
use crate::location::FileNumber;
use crate::pack::PackName;
use crate::segment::FILE_BYTES;

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A segment of the log.
    Log,
    /// A pack.
    Pack,
    /// A segment of format 1: a file of blocks that is never read as a log again.
    Format1,
}

/// The row of a file.
///
/// version u8 · kind u8 · dropped u8 · id 32 (salt and zeros, name of the pack, or zeros) · live u64 · used u64 · bodies u64
/// · first group u64 · last group u64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileRow {
    pub(crate) kind: FileKind,
    /// Nothing in it is needed any more but, of a log segment, what checkpoints do not have yet.
    pub(crate) is_dropped: bool,
    /// The salt of a segment (its first 16 bytes) or the name of a pack.
    pub(crate) id: [u8; 32],
    /// Bytes of blocks that are still known to lie in it.
    pub(crate) live_bytes: u64,
    /// Bytes that were written.
    pub(crate) used_bytes: u64,
    /// Of a pack: bytes of all blocks in it, alive or not. Of other files 0.
    pub(crate) body_bytes: u64,
    /// Of a log segment: no group in it is lower. Of a pack: the group that took it into use.
    pub(crate) first_group: u64,
    /// Of a log segment: its last group that is in the index.
    pub(crate) last_group: u64,
}

impl FileRow {
    /// The row of a log segment that has nothing in it yet.
    pub(crate) fn log(salt: Salt, first_group: u64) -> Self {
        let mut id = [0; 32];
        id[..16].copy_from_slice(&salt.0);
        Self {
            kind: FileKind::Log,
            is_dropped: false,
            id,
            live_bytes: 0,
            used_bytes: 0,
            body_bytes: 0,
            first_group,
            last_group: first_group,
        }
    }

    /// The row of a pack that is taken into use by a group.
    pub(crate) fn pack(name: PackName, used_bytes: u64, group: u64) -> Self {
        Self {
            kind: FileKind::Pack,
            is_dropped: false,
            id: name.0,
            live_bytes: 0,
            used_bytes,
            body_bytes: 0,
            first_group: group,
            last_group: group,
        }
    }

    /// The name, of a pack.
    pub(crate) fn pack_name(&self) -> Option<PackName> {
        (self.kind == FileKind::Pack).then_some(PackName(self.id))
    }

    /// The name of the file with this number.
    pub(crate) fn file_name(&self, number: FileNumber) -> String {
        match self.pack_name() {
            Some(name) => name.file_name(),
            None => number.to_string(),
        }
    }

    /// Where the file with this number is, in the folder of its store.
    pub(crate) fn path(&self, number: FileNumber, dir: &Path) -> PathBuf {
        match self.pack_name() {
            Some(name) => name.path(&packs(dir)),
            None => number.segment_path(&segments(dir)),
        }
    }

    /// The salt, of a log segment.
    pub(crate) fn salt(&self) -> Option<Salt> {
        let salt = self.id.first_chunk::<16>().copied()?;
        (self.kind == FileKind::Log).then_some(Salt(salt))
    }
}

impl From<Never> for FileRow {
    fn from(never: Never) -> Self {
        match never {}
    }
}

impl Row for FileRow {
    const VERSION: u8 = 1;
    type Previous = Never;

    fn write(&self, out: &mut Vec<u8>) {
        out.push(match self.kind {
            FileKind::Log => 1,
            FileKind::Pack => 2,
            FileKind::Format1 => 3,
        });
        out.push(u8::from(self.is_dropped));
        out.extend_from_slice(&self.id);
        for number in [
            self.live_bytes,
            self.used_bytes,
            self.body_bytes,
            self.first_group,
            self.last_group,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn read(rest: &mut Reader) -> Option<Self> {
        let row = Self {
            kind: match rest.u8()? {
                1 => FileKind::Log,
                2 => FileKind::Pack,
                3 => FileKind::Format1,
                _ => return None,
            },
            is_dropped: match rest.u8()? {
                0 => false,
                1 => true,
                _ => return None,
            },
            id: rest.array()?,
            live_bytes: rest.u64()?,
            used_bytes: rest.u64()?,
            body_bytes: rest.u64()?,
            first_group: rest.u64()?,
            last_group: rest.u64()?,
        };
        let bytes = [row.live_bytes, row.used_bytes, row.body_bytes];
        bytes
            .iter()
            .all(|bytes| *bytes <= FILE_BYTES)
            .then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_a_file() {
        let row = FileRow {
            live_bytes: 1,
            used_bytes: 2,
            body_bytes: 3,
            last_group: 5,
            ..FileRow::log(Salt([9; 16]), 4)
        };
        let hex: String = row
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let numbers: String = (1..=5)
            .map(|number| format!("{number:02x}{}", "00".repeat(7)))
            .collect();
        let golden = format!("010100{}{}{numbers}", "09".repeat(16), "00".repeat(16));
        assert_eq!(hex, golden);
        assert_eq!(FileRow::from_bytes(&row.to_bytes()), Some(row));
        assert_eq!((row.salt(), row.pack_name()), (Some(Salt([9; 16])), None));
        let pack = FileRow::pack(PackName([7; 32]), 1, 2);
        assert_eq!(FileRow::from_bytes(&pack.to_bytes()), Some(pack));
        assert_eq!(
            (pack.salt(), pack.pack_name()),
            (None, Some(PackName([7; 32])))
        );
    }
}
