//! The keys of the index. The first byte names the table.
//!
//! | table | key after the first byte | value |
//! |---|---|---|
//! | `b` block | CID | segment u32, offset u32, length u32 |
//! | `x` quarantine | CID | when u64, reason |
//! | `h` head | name | [`HeadRow`](crate::HeadRow) |
//! | `e` evidence | name, sequence u64 | record of the refused head |
//! | `p` pin | pin key | CID of the root |
//! | `q` queue by time | queue u8, due u64, key | payload |
//! | `k` queue by key | queue u8, key | due u64 |
//! | `m` meta | key | bytes |
//! | `s` segment | number u32 | live u64, used u64 |
//! | `a` applied | (none) | segment u32, offset u32, group u64 |
//! | `t` total | (none) | blocks u64 |
//! | `u` upkeep | (none) | where the scrub is |
//!
//! Integers in keys are big-endian, so that rows sort by them.

use perennis_shared::cid::{Cid, cid_len, parse_cid_bytes, write_cid};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use crate::segment::{Location, SegmentNumber};

pub(crate) const BLOCK: u8 = b'b';
pub(crate) const QUARANTINE: u8 = b'x';
pub(crate) const HEAD: u8 = b'h';
pub(crate) const EVIDENCE: u8 = b'e';
pub(crate) const PIN: u8 = b'p';
pub(crate) const QUEUE: u8 = b'q';
pub(crate) const QUEUE_KEY: u8 = b'k';
pub(crate) const META: u8 = b'm';
pub(crate) const SEGMENT: u8 = b's';
/// How far the log is in the index.
pub(crate) const APPLIED: u8 = b'a';
/// How many blocks there are.
pub(crate) const TOTAL: u8 = b't';
/// Where the scrub is.
pub(crate) const UPKEEP: u8 = b'u';

/// A queue of due rows. Its number is chosen by the caller and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queue(pub u8);

pub(crate) fn key(table: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(table);
    key.extend_from_slice(rest);
    key
}

/// The first key behind all of a table's.
pub(crate) fn end_of(table: u8) -> Vec<u8> {
    vec![table + 1]
}

/// The first key behind all that begin with `prefix`, which begins with the byte of a table.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.last() == Some(&u8::MAX) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// The first key behind `key`.
pub(crate) fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

pub(crate) fn block(cid: &Cid) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + cid_len(cid));
    key.push(BLOCK);
    write_cid(&mut key, cid);
    key
}

pub(crate) fn cid_of(key: &[u8]) -> Option<Cid> {
    parse_cid_bytes(key.get(1..)?).ok()
}

pub(crate) fn head(name: &Name) -> Vec<u8> {
    key(HEAD, name.as_bytes())
}

pub(crate) fn evidence(name: &Name, sequence: u64) -> Vec<u8> {
    let mut key = key(EVIDENCE, name.as_bytes());
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

pub(crate) fn queue_key(queue: Queue, entry: &[u8]) -> Vec<u8> {
    let mut row = vec![QUEUE_KEY, queue.0];
    row.extend_from_slice(entry);
    row
}

pub(crate) fn queue_row(queue: Queue, due: Millis, entry: &[u8]) -> Vec<u8> {
    let mut row = vec![QUEUE, queue.0];
    row.extend_from_slice(&due.0.to_be_bytes());
    row.extend_from_slice(entry);
    row
}

/// The due time and the entry of a row of a queue.
pub(crate) fn read_queue_row(key: &[u8]) -> Option<(Millis, &[u8])> {
    let (due, entry) = key.get(2..)?.split_first_chunk::<8>()?;
    Some((Millis(u64::from_be_bytes(*due)), entry))
}

pub(crate) fn segment(number: SegmentNumber) -> Vec<u8> {
    key(SEGMENT, &number.0.to_be_bytes())
}

pub(crate) fn write_location(location: Location) -> Vec<u8> {
    let mut value = Vec::with_capacity(12);
    for part in [location.segment.0, location.offset, location.length] {
        value.extend_from_slice(&part.to_le_bytes());
    }
    value
}

pub(crate) fn read_location(value: &[u8]) -> Option<Location> {
    let (segment, rest) = value.split_first_chunk::<4>()?;
    let (offset, rest) = rest.split_first_chunk::<4>()?;
    let length: [u8; 4] = rest.try_into().ok()?;
    Some(Location {
        segment: SegmentNumber(u32::from_le_bytes(*segment)),
        offset: u32::from_le_bytes(*offset),
        length: u32::from_le_bytes(length),
    })
}
