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

use perennis_shared::time::Millis;

use super::segment::SegmentNumber;

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

/// Where the body of a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) segment: SegmentNumber,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

impl Location {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let parts = [self.segment.0, self.offset, self.length];
        parts.map(u32::to_le_bytes).concat()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (parts, rest) = bytes.as_chunks::<4>();
        let [segment, offset, length] = <[[u8; 4]; 3]>::try_from(parts).ok()?;
        rest.is_empty().then(|| Self {
            segment: SegmentNumber(u32::from_le_bytes(segment)),
            offset: u32::from_le_bytes(offset),
            length: u32::from_le_bytes(length),
        })
    }
}

/// A place in the log: behind the last byte of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: SegmentNumber,
    pub(crate) offset: u64,
    pub(crate) group: u64,
}

impl Position {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (segment, rest) = bytes.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let group: [u8; 8] = rest.try_into().ok()?;
        Some(Self {
            segment: SegmentNumber(u32::from_le_bytes(*segment)),
            offset: u64::from_le_bytes(*offset),
            group: u64::from_le_bytes(group),
        })
    }
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

/// Whether a value is the row of a head.
pub(crate) fn is_head(value: &[u8]) -> bool {
    // The version, and three numbers.
    let length = value.get(25..29).and_then(|length| length.try_into().ok());
    let length = length.map(|length| u32::from_le_bytes(length) as usize);
    value.first() == Some(&1) && length.is_some_and(|length| value.len() - 29 >= length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn golden_bytes_are_read_and_others_are_not() {
        let location = b"\x07\0\0\0\x01\x02\0\0\x05\0\0\0";
        let read = Location::from_bytes(location).unwrap();
        assert_eq!((read.segment.0, read.offset, read.length), (7, 0x0201, 5));
        assert_eq!(read.to_bytes(), location);
        let position = b"\x07\0\0\0\x01\x02\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
        let read = Position::from_bytes(position).unwrap();
        assert_eq!((read.segment.0, read.offset, read.group), (7, 0x0201, u64::MAX));
        for length in 0..30 {
            let zeros = vec![0; length];
            assert_eq!(Location::from_bytes(&zeros).is_some(), length == 12);
            assert_eq!(Position::from_bytes(&zeros).is_some(), length == 20);
            assert_eq!(read_due(&zeros).is_some(), length == 8);
            assert_eq!(read_quarantine(&zeros).is_some(), length >= 8);
            assert_eq!(read_queue_row(&zeros).is_some(), length >= 10);
        }
        let key = queue_row(3, Millis(9), b"entry");
        assert_eq!(read_queue_row(&key), Some((3, Millis(9), b"entry".as_slice())));
    }

    #[test]
    fn a_cut_head_is_no_head() {
        let mut head = vec![1];
        head.extend_from_slice(&[0; 24]);
        head.extend_from_slice(b"\x07\0\0\0/ipfs/xrecord");
        for length in 0..head.len() {
            assert_eq!(is_head(&head[..length]), length >= 36, "{length}");
        }
        head[0] = 2;
        assert!(!is_head(&head));
    }
}
