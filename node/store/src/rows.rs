//! The rows of the index, and their bytes.
//!
//! The value of each begins with its version. A row of an earlier version is read through its
//! [`Previous`](version::Row::Previous); one of a later version, or one that is damaged, is none and is set aside.

mod file;
mod head;
mod loss;
mod min_sequence;
mod pin;
mod place;
mod quarantine;
mod queue;
mod seen;
mod version;

pub(crate) use file::{FileKind, FileRow};
pub use head::HeadRow;
pub use loss::{Loss, LossKind};
pub(crate) use loss::{found_at, has_lost_groups};
pub(crate) use min_sequence::{read_min_sequence, write_min_sequence};
pub(crate) use pin::PinRow;
pub(crate) use place::{MANY_OWNERS, NOBODY, Place, merge_tags, owner_tag, read_location};
pub(crate) use quarantine::Quarantined;
pub use quarantine::{QuarantineRow, SetAside};
pub use queue::QueueRow;
pub(crate) use queue::{read_due, read_payload, write_due, write_payload};
pub(crate) use seen::Seen;
pub(crate) use version::{Reader, Row, read_plain, write_plain};
