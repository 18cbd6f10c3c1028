//! What was lost, for people.

use std::fmt;

use perennis_shared::time::Millis;

use super::version::{Never, Reader, Row};
use crate::location::FileNumber;

/// Something that was found damaged or missing, and what it takes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When it was found.
    pub found: Millis,
    /// What it is.
    pub kind: LossKind,
    /// The file.
    pub file: FileNumber,
    /// Where in the file it begins.
    pub offset: u64,
    /// The group of the log; 0 where it is none.
    pub group: u64,
    /// Batches of that group that are lost.
    pub batches: u64,
    /// Names whose head was set by one of them. Until their record is fetched again, lower sequences are refused.
    pub names: u64,
    /// Blocks that are lost and are to be fetched again.
    pub blocks: u64,
    /// Bytes that were moved to the folder `lost`.
    pub moved_bytes: u64,
}

/// What a [`Loss`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossKind {
    /// The last group, which was being written when the process ended. Nothing shows that it was acknowledged.
    TornGroup,
    /// A group that was acknowledged and is damaged. What of it is whole was kept.
    DamagedGroup,
    /// Groups that were acknowledged and are not in the log.
    MissingGroups,
    /// A file that the index knows and that is not there.
    MissingFile,
    /// A file in the folder of the segments that is none of this store's. It was left alone.
    StrayFile,
    /// A segment whose headers cannot be read.
    UnreadableFile,
    /// The log ends before the place to which the index knows it.
    LogBehindIndex,
    /// The index was damaged or gone, and was made anew from the log.
    IndexRebuilt,
    /// A folder of format 1 held something that could not be taken over.
    Migration,
    /// A file does not say any more which blocks are in it, and the index did not know it either.
    UnreadableTable,
    /// A checkpoint was damaged, and another was used. Nothing is lost by that.
    DamagedCheckpoint,
    /// A pack that was about to be taken into use is damaged or gone. Its blocks stay where they were, as far as they are
    /// still there.
    UnreadablePack,
    /// Blocks in a file are damaged. They are set aside and wait to be fetched again.
    DamagedBlocks,
    /// A file of blocks ends before what was written to it.
    ShortFile,
    /// Under the name of a segment there is another file, or one without its headers.
    WrongFile,
    /// Frames of the log that the index has, or a header of its file, are damaged. Nothing is lost by that while the index is whole;
    /// compaction replaces the file.
    DamagedFrames,
    /// The last segment, which was being begun when the process ended: its headers never reached the disk. Nothing shows that anything
    /// in it was acknowledged.
    TornFile,
    /// The file `NEWEST`, which says what was acknowledged last, is gone or damaged: groups may be missing behind this one.
    UnknownEnd,
    /// A segment or a pack that was missing, in whole or in part, is there again. Its blocks were taken; its rows were not, since later groups were
    /// written without them.
    ReturnedFile,
}

impl LossKind {
    fn code(self) -> u8 {
        match self {
            Self::TornGroup => 1,
            Self::DamagedGroup => 2,
            Self::MissingGroups => 3,
            Self::MissingFile => 4,
            Self::StrayFile => 5,
            Self::UnreadableFile => 6,
            Self::LogBehindIndex => 7,
            Self::IndexRebuilt => 8,
            Self::Migration => 9,
            Self::UnreadableTable => 10,
            Self::DamagedCheckpoint => 11,
            Self::UnreadablePack => 12,
            Self::DamagedBlocks => 13,
            Self::ShortFile => 14,
            Self::WrongFile => 15,
            Self::DamagedFrames => 16,
            Self::TornFile => 17,
            Self::UnknownEnd => 18,
            Self::ReturnedFile => 19,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::TornGroup,
            2 => Self::DamagedGroup,
            3 => Self::MissingGroups,
            4 => Self::MissingFile,
            5 => Self::StrayFile,
            6 => Self::UnreadableFile,
            7 => Self::LogBehindIndex,
            8 => Self::IndexRebuilt,
            9 => Self::Migration,
            10 => Self::UnreadableTable,
            11 => Self::DamagedCheckpoint,
            12 => Self::UnreadablePack,
            13 => Self::DamagedBlocks,
            14 => Self::ShortFile,
            15 => Self::WrongFile,
            16 => Self::DamagedFrames,
            17 => Self::TornFile,
            18 => Self::UnknownEnd,
            19 => Self::ReturnedFile,
            _ => return None,
        })
    }

    /// Whether acknowledged data may be gone by it, be it only once the index has to be made anew.
    #[must_use]
    pub fn is_of_acknowledged_data(self) -> bool {
        matches!(
            self,
            Self::DamagedGroup
                | Self::MissingGroups
                | Self::MissingFile
                | Self::UnreadableFile
                | Self::LogBehindIndex
                | Self::Migration
                | Self::UnreadableTable
                | Self::UnreadablePack
                | Self::DamagedBlocks
                | Self::ShortFile
                | Self::WrongFile
                | Self::DamagedFrames
                | Self::UnknownEnd
        )
    }

    /// Whether groups of the log may be gone by it, be it in part.
    pub(crate) fn is_of_groups(self) -> bool {
        matches!(
            self,
            Self::DamagedGroup
                | Self::MissingGroups
                | Self::MissingFile
                | Self::UnreadableFile
                | Self::WrongFile
                | Self::ShortFile
                | Self::UnknownEnd
                | Self::LogBehindIndex
        )
    }

    /// The word for it in metrics and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::TornGroup => "torn_group",
            Self::DamagedGroup => "damaged_group",
            Self::MissingGroups => "missing_groups",
            Self::MissingFile => "missing_file",
            Self::StrayFile => "stray_file",
            Self::UnreadableFile => "unreadable_file",
            Self::LogBehindIndex => "log_behind_index",
            Self::IndexRebuilt => "index_rebuilt",
            Self::Migration => "migration",
            Self::UnreadableTable => "unreadable_table",
            Self::DamagedCheckpoint => "damaged_checkpoint",
            Self::UnreadablePack => "unreadable_pack",
            Self::DamagedBlocks => "damaged_blocks",
            Self::ShortFile => "short_file",
            Self::WrongFile => "wrong_file",
            Self::DamagedFrames => "damaged_frames",
            Self::TornFile => "torn_file",
            Self::UnknownEnd => "unknown_end",
            Self::ReturnedFile => "returned_file",
        }
    }
}

impl Loss {
    pub(crate) fn new(kind: LossKind, file: FileNumber, offset: u64) -> Self {
        Self {
            found: Millis(0),
            kind,
            file,
            offset,
            group: 0,
            batches: 0,
            names: 0,
            blocks: 0,
            moved_bytes: 0,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            offset,
            group,
            batches,
            names,
            blocks,
            moved_bytes,
            ..
        } = self;
        match self.kind {
            LossKind::TornGroup => write!(
                f,
                "{file} at {offset}: group {group} is not whole, as when a write is cut off, and nothing shows that it was acknowledged; it was dropped"
            )?,
            LossKind::DamagedGroup if *batches == 0 && *blocks == 0 => write!(
                f,
                "{file} at {offset}: both heads of group {group} are damaged; how many of its batches are lost is not known"
            )?,
            LossKind::DamagedGroup => write!(
                f,
                "{file} at {offset}: group {group} is damaged; {batches} of its batches are lost, with the heads of {names} names and {blocks} blocks"
            )?,
            LossKind::MissingGroups if file.0 == 0 => write!(
                f,
                "groups up to {group} were acknowledged and are not in the log"
            )?,
            LossKind::MissingGroups => write!(
                f,
                "groups up to {group} were acknowledged and are not in the log, last looked for in {file}"
            )?,
            LossKind::MissingFile if *blocks == 0 && *group > 0 => {
                write!(
                    f,
                    "{file} is not there; groups up to {group} were acknowledged, and which blocks were in it is not known"
                )?;
            }
            LossKind::MissingFile if *blocks == 0 => {
                write!(
                    f,
                    "{file} is not there, and which blocks were in it is not known"
                )?;
            }
            LossKind::MissingFile => {
                write!(
                    f,
                    "file {:08x} is not there; {blocks} blocks were in it",
                    file.0
                )?;
            }
            LossKind::StrayFile => {
                write!(f, "{file} is no segment of this store and was left alone")?
            }
            LossKind::UnreadableFile => {
                write!(f, "both headers of {file} are damaged: it cannot be read")?
            }
            LossKind::LogBehindIndex => write!(
                f,
                "the log ends in {file} before {offset}, where the index has group {group}"
            )?,
            LossKind::IndexRebuilt if *group == 0 => {
                write!(f, "the index was made anew from the log")?;
            }
            LossKind::IndexRebuilt => write!(
                f,
                "the index was made anew from the checkpoint of group {group} and the log behind it"
            )?,
            LossKind::Migration => write!(
                f,
                "{file} of format 1 at {offset}: what follows is damaged and was not taken over"
            )?,
            LossKind::UnreadableTable => write!(
                f,
                "file {:08x} does not say which blocks are in it: it is damaged at {offset}, and the index had to be made anew",
                file.0
            )?,
            LossKind::DamagedCheckpoint if *group == 0 => {
                write!(
                    f,
                    "no checkpoint is there that can be read, and the log alone does not have all rows; one is written soon"
                )?;
            }
            LossKind::DamagedCheckpoint => {
                write!(
                    f,
                    "the checkpoint of group {group} is damaged; another was used"
                )?;
            }
            LossKind::UnreadablePack => write!(
                f,
                "pack {:08x}, which group {group} took into use, cannot be read; its {blocks} blocks are looked for where they were",
                file.0
            )?,
            LossKind::DamagedBlocks => write!(
                f,
                "{blocks} blocks in {file} are damaged; they are set aside and wait to be fetched again"
            )?,
            LossKind::ShortFile => write!(
                f,
                "file {:08x} ends at {offset}, before what was written to it: it was emptied or cut short; blocks that were behind are set aside when they are read, and fetched again",
                file.0
            )?,
            LossKind::WrongFile => write!(
                f,
                "{file} is not the segment that was written under this name: its headers are damaged or those of another; blocks that are not in it are set aside when they are read, and fetched again"
            )?,
            LossKind::DamagedFrames => write!(
                f,
                "file {:08x} at {offset}: what it says of its blocks and rows is damaged; nothing is lost, since the index has it; compaction replaces the file, and two checkpoints after that it is not needed any more",
                file.0
            )?,
            LossKind::ReturnedFile if *group == 0 => write!(
                f,
                "a pack is there, now file {:08x}, with {blocks} blocks that were missing; they were taken",
                file.0
            )?,
            LossKind::ReturnedFile => write!(
                f,
                "{file} is there again: {blocks} of its blocks were missing and were taken; what else stood in its groups up to {group} and is not known is not taken, since later groups were written without it: publish, follow or pin that again"
            )?,
            LossKind::UnknownEnd => write!(
                f,
                "the file NEWEST, which says what was acknowledged last, is gone or damaged: whether groups are missing behind {group} is not known"
            )?,
            LossKind::TornFile => write!(
                f,
                "{file} was being begun when the process ended; nothing shows that anything in it was acknowledged"
            )?,
        }
        if *moved_bytes > 0 {
            write!(f, "; {moved_bytes} bytes were moved to the folder lost")?;
        }
        Ok(())
    }
}

impl From<Never> for Loss {
    fn from(never: Never) -> Self {
        match never {}
    }
}

/// version u8 · kind u8 · found u64 · file u32 · offset u64 · group u64 · batches u64 · names u64 · blocks u64 · moved u64.
impl Row for Loss {
    const VERSION: u8 = 1;
    type Previous = Never;

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind.code());
        out.extend_from_slice(&self.found.0.to_le_bytes());
        out.extend_from_slice(&self.file.0.to_le_bytes());
        for number in [
            self.offset,
            self.group,
            self.batches,
            self.names,
            self.blocks,
            self.moved_bytes,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn read(rest: &mut Reader) -> Option<Self> {
        Some(Self {
            kind: LossKind::from_code(rest.u8()?)?,
            found: Millis(rest.u64()?),
            file: FileNumber(rest.u32()?),
            offset: rest.u64()?,
            group: rest.u64()?,
            batches: rest.u64()?,
            names: rest.u64()?,
            blocks: rest.u64()?,
            moved_bytes: rest.u64()?,
        })
    }
}

/// These losses, with the time at which they were found.
pub(crate) fn found_at<'a>(now: Millis, losses: impl IntoIterator<Item = &'a Loss>) -> Vec<Loss> {
    let losses = losses.into_iter().cloned();
    losses.map(|loss| Loss { found: now, ..loss }).collect()
}

/// Whether acknowledged groups of the log are among these losses, be it in part.
pub(crate) fn has_lost_groups(losses: &[Loss]) -> bool {
    losses.iter().any(|loss| loss.kind.is_of_groups())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_and_says_something() {
        for code in 1..=19 {
            let kind = LossKind::from_code(code);
            let row = Loss {
                found: Millis(3),
                group: 7,
                moved_bytes: 5,
                ..Loss::new(kind.unwrap_or(LossKind::TornGroup), FileNumber(2), 4160)
            };
            assert_eq!(row.kind.code(), code);
            assert_eq!(Loss::from_bytes(&row.to_bytes()), Some(row.clone()));
            assert!(
                row.to_string()
                    .ends_with("5 bytes were moved to the folder lost")
            );
        }
        assert_eq!(LossKind::from_code(20), None);
    }
}
