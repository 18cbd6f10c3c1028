//! What a migration could not take over.

use std::fmt;

use crate::format1::{Gap, Position, SegmentNumber, Unread};

/// Something of format 1 that is damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MigrationLoss {
    /// Groups that were acknowledged and cannot be read.
    Gap(Gap),
    /// What lies behind the last group of the log.
    Unread(Unread),
    /// The log ends before the place to which the index knows it.
    Cut(Position),
    /// A segment in which blocks lay is gone.
    MissingFile {
        segment: SegmentNumber,
        blocks: u64,
    },
    /// Blocks of a segment are not what their CIDs say. They are set aside and wait to be fetched again.
    Damaged {
        segment: SegmentNumber,
        blocks: u64,
    },
    /// A file that is no segment of this store. It is left alone.
    Stray(String),
    /// Rows that cannot be read. They are set aside as they are.
    Rows { rows: u64 },
    /// Entries of queues of which one of two rows was missing.
    QueueEntries { entries: u64 },
}

impl fmt::Display for MigrationLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap(Gap {
                after,
                until,
                unread,
            }) => {
                write!(
                    f,
                    "groups {} to {until} were acknowledged and cannot be read",
                    after.saturating_add(1)
                )?;
                for (count, Unread { segment, offset, bytes }) in unread.iter().enumerate() {
                    let before = if count == 0 { "; see" } else { "," };
                    write!(f, "{before} {bytes} bytes in {segment} from {offset}")?;
                }
                Ok(())
            }
            Self::Unread(Unread {
                segment,
                offset,
                bytes,
            }) => write!(
                f,
                "{bytes} bytes in {segment} from {offset} are no whole group and were not taken over"
            ),
            Self::Cut(Position {
                segment,
                offset,
                group,
            }) => write!(
                f,
                "{segment} ends before {offset}, where the index has group {group}"
            ),
            Self::MissingFile { segment, blocks } => {
                write!(f, "{segment} is not there; {blocks} blocks were in it")
            }
            Self::Damaged { segment, blocks } => {
                write!(f, "{blocks} blocks in {segment} are damaged and set aside")
            }
            Self::Stray(name) => write!(f, "{name} is no segment of this store and was left alone"),
            Self::Rows { rows } => write!(f, "{rows} rows cannot be read and are set aside"),
            Self::QueueEntries { entries } => {
                write!(f, "{entries} entries of queues had one row of two")
            }
        }
    }
}
