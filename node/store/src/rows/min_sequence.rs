//! The sequence below which no head of a name is accepted, because one that was acknowledged is lost.

use super::version::{read_plain, write_plain};

/// The value of a minimum sequence.
pub(crate) fn write_min_sequence(sequence: u64) -> Vec<u8> {
    write_plain(1, &sequence.to_le_bytes())
}

/// The sequence in a minimum sequence.
pub(crate) fn read_min_sequence(value: &[u8]) -> Option<u64> {
    let sequence = read_plain(1, value)?.try_into().ok()?;
    Some(u64::from_le_bytes(sequence))
}
