//! The rows of format 1's index. The first byte of a key names the table.
//!
//! | table | key after the first byte | value |
//! |---|---|---|
//! | `b` block | CID | segment u32, offset u32, length u32 |
//! | `x` quarantine | CID | when u64, reason |
//! | `h` head | name | version u8, sequence u64, valid until u64, stored at u64, value length u32, value, record |
//! | `e` evidence | name, sequence u64 | record of the refused head |
//! | `p` pin | pin key | CID of the root |
//! | `q` queue by time | queue u8, due u64, key | payload |
//! | `k` queue by key | queue u8, key | due u64 |
//! | `m` meta | key | bytes |
//! | `s` segment | number u32 | live u64, used u64 |
//! | `a` applied | (none) | segment u32, offset u64, group u64 |
//! | `t` total | (none) | blocks u64 |
//! | `u` upkeep | (none) | blocks of this scrub round u64, last CID |
//!
//! Integers in keys are big-endian, those in values little-endian.

use bytes::Bytes;
use perennis_shared::time::Millis;

use crate::location::{FileNumber, Location};
use crate::log::Position;
use crate::rows::HeadRow;

pub(crate) const BLOCK: u8 = b'b';
pub(crate) const QUARANTINE: u8 = b'x';
pub(crate) const HEAD: u8 = b'h';
pub(crate) const EVIDENCE: u8 = b'e';
pub(crate) const PIN: u8 = b'p';
pub(crate) const QUEUE: u8 = b'q';
pub(crate) const QUEUE_KEY: u8 = b'k';
pub(crate) const META: u8 = b'm';
pub(crate) const SEGMENT: u8 = b's';
pub(crate) const APPLIED: u8 = b'a';
pub(crate) const TOTAL: u8 = b't';
pub(crate) const UPKEEP: u8 = b'u';

/// Where a block lies.
pub(crate) fn read_location(value: &[u8]) -> Option<Location> {
    let (parts, rest) = value.as_chunks::<4>();
    let [file, offset, length] = <[[u8; 4]; 3]>::try_from(parts).ok()?;
    rest.is_empty().then(|| Location {
        file: FileNumber(u32::from_le_bytes(file)),
        offset: u32::from_le_bytes(offset),
        length: u32::from_le_bytes(length),
    })
}

/// As [`read_location`] reads it.
pub(crate) fn write_location(location: Location) -> Vec<u8> {
    let parts = [location.file.0, location.offset, location.length];
    parts.map(u32::to_le_bytes).concat()
}

/// How far the log is in the index: behind the last byte of a group.
pub(crate) fn read_position(value: &[u8]) -> Option<Position> {
    let (file, rest) = value.split_first_chunk::<4>()?;
    let (offset, rest) = rest.split_first_chunk::<8>()?;
    let group: [u8; 8] = rest.try_into().ok()?;
    Some(Position {
        file: FileNumber(u32::from_le_bytes(*file)),
        offset: u64::from_le_bytes(*offset),
        group: u64::from_le_bytes(group),
    })
}

/// When a block was set aside, and why.
pub(crate) fn read_quarantine(value: &[u8]) -> Option<(Millis, String)> {
    let (at, reason) = value.split_first_chunk::<8>()?;
    let reason = String::from_utf8_lossy(reason).into_owned();
    Some((Millis(u64::from_le_bytes(*at)), reason))
}

/// When an entry of a queue is due, by its row in `k`.
pub(crate) fn read_due(value: &[u8]) -> Option<Millis> {
    value.try_into().ok().map(u64::from_le_bytes).map(Millis)
}

/// The queue, the due time and the entry in the key of a row in `q`.
pub(crate) fn read_queue_row(key: &[u8]) -> Option<(u8, Millis, &[u8])> {
    let (&queue, rest) = key.get(1..)?.split_first()?;
    let (due, entry) = rest.split_first_chunk::<8>()?;
    Some((queue, Millis(u64::from_be_bytes(*due)), entry))
}

/// The key of a row in `q`.
pub(crate) fn queue_row(queue: u8, due: Millis, entry: &[u8]) -> Vec<u8> {
    [&[QUEUE, queue], due.0.to_be_bytes().as_slice(), entry].concat()
}

/// The key of a row in `k`.
pub(crate) fn queue_key(queue: u8, entry: &[u8]) -> Vec<u8> {
    [&[QUEUE_KEY, queue], entry].concat()
}

/// The row of a head.
pub(crate) fn read_head(value: &[u8]) -> Option<HeadRow> {
    let (&version, rest) = value.split_first()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (valid_until, rest) = rest.split_first_chunk::<8>()?;
    let (stored_at, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (value, record) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    (version == 1).then(|| HeadRow {
        record: Bytes::copy_from_slice(record),
        value: Bytes::copy_from_slice(value),
        sequence: u64::from_le_bytes(*sequence),
        valid_until: Millis(u64::from_le_bytes(*valid_until)),
        stored_at: Millis(u64::from_le_bytes(*stored_at)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn golden_bytes_are_read_and_others_are_not() {
        let location = b"\x07\0\0\0\x01\x02\0\0\x05\0\0\0";
        let read = read_location(location).unwrap();
        assert_eq!((read.file.0, read.offset, read.length), (7, 0x0201, 5));
        assert_eq!(write_location(read), location);
        let position = b"\x07\0\0\0\x01\x02\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
        let read = read_position(position).unwrap();
        assert_eq!(
            (read.file.0, read.offset, read.group),
            (7, 0x0201, u64::MAX)
        );
        for length in 0..30 {
            let zeros = vec![0; length];
            assert_eq!(read_location(&zeros).is_some(), length == 12);
            assert_eq!(read_position(&zeros).is_some(), length == 20);
            assert_eq!(read_due(&zeros).is_some(), length == 8);
            assert_eq!(read_quarantine(&zeros).is_some(), length >= 8);
            assert_eq!(read_queue_row(&zeros).is_some(), length >= 10);
        }
        let key = queue_row(3, Millis(9), b"entry");
        assert_eq!(
            read_queue_row(&key),
            Some((3, Millis(9), b"entry".as_slice()))
        );
    }

    #[test]
    fn a_head_is_read_and_a_cut_one_is_none() {
        let mut bytes = b"\x01\x07\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0\x03\0\0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(b"\x07\0\0\0/ipfs/xrecord");
        let head = HeadRow {
            record: Bytes::from_static(b"record"),
            value: Bytes::from_static(b"/ipfs/x"),
            sequence: 7,
            valid_until: Millis(0x0102),
            stored_at: Millis(3),
        };
        assert_eq!(read_head(&bytes), Some(head));
        for length in 0..36 {
            assert_eq!(read_head(&bytes[..length]), None, "{length}");
        }
        bytes[0] = 2;
        assert_eq!(read_head(&bytes), None);
    }
}
