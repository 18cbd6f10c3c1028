//! Format 1 of the store, read only: what it takes to bring a folder of the first releases to the present format.
//!
//! ```text
//! segment  header (64 bytes) · record · record · … · zeros
//! header   "PERNSEG1" · number u32 · reserved u32 · reserved 44 · CRC-32 of all that u32
//! record   kind u8 · key length u8 · reserved u16 · body length u32 · group u64 · CRC-32 u32 · key · body
//! ```
//!
//! A record of kind 1 is a block (key: its CID), one of kind 2 ends a group and holds its other changes. Its checksums
//! have no key, so a publisher could store blocks whose bytes are records. Nothing here therefore looks for a record:
//! each is read where the one before it ended, from a place that the store itself has written down. What lies behind a
//! record that is not whole is not read.

mod change;
#[cfg(test)]
pub(crate) mod maker;
pub(crate) mod row;
mod segment;
mod tail;

pub(crate) use change::Format1Change;
pub(crate) use segment::Segment;
pub(crate) use tail::{Gap, Group, Tail, Unread, read_tail};
