//! Rows of queues: one by time with the payload, one by key with the time.

use perennis_shared::time::Millis;

use super::version::{read_plain, write_plain};

const VERSION: u8 = 1;

/// A row of a queue: what is due, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    /// The entry; a queue holds each at most once.
    pub key: Vec<u8>,
    /// When it is due.
    pub due: Millis,
    /// What the caller keeps with it.
    pub payload: Vec<u8>,
}

/// The value of a row by time.
pub(crate) fn write_payload(payload: &[u8]) -> Vec<u8> {
    write_plain(VERSION, payload)
}

/// The payload in such a value.
pub(crate) fn read_payload(value: &[u8]) -> Option<&[u8]> {
    read_plain(VERSION, value)
}

/// The value of a row by key.
pub(crate) fn write_due(due: Millis) -> Vec<u8> {
    write_plain(VERSION, &due.0.to_le_bytes())
}

/// The time in such a value.
pub(crate) fn read_due(value: &[u8]) -> Option<Millis> {
    let due = read_plain(VERSION, value)?.try_into().ok()?;
    Some(Millis(u64::from_le_bytes(due)))
}
