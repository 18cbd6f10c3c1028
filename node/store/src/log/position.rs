//! Places in the log.

use crate::location::FileNumber;
use crate::segment::{FILE_BYTES, GROUPS_START};

/// A place in the log: behind the last byte of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) file: FileNumber,
    pub(crate) offset: u64,
    pub(crate) group: u64,
}

impl Position {
    /// Before everything.
    pub(crate) const START: Self = Self {
        file: FileNumber(0),
        offset: 0,
        group: 0,
    };

    /// Where in a segment that is not before it what follows it begins.
    pub(crate) fn start_in(self, number: FileNumber) -> u64 {
        if number == self.file {
            self.offset
        } else {
            GROUPS_START
        }
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.file.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&self.group.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (file, rest) = bytes.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let group: [u8; 8] = rest.try_into().ok()?;
        let offset = u64::from_le_bytes(*offset);
        (offset <= FILE_BYTES).then_some(Self {
            file: FileNumber(u32::from_le_bytes(*file)),
            offset,
            group: u64::from_le_bytes(group),
        })
    }
}
