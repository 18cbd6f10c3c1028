//! The rows of the present format that a migration writes.

use perennis_shared::time::Millis;

use crate::format1::Location;

const VERSION: u8 = 1;
/// Bytes of a block up to which it has no checksums in its row.
const CHUNK_BYTES: u32 = 16 << 10;
/// Most codecs that are kept of one block.
pub(super) const CODECS: usize = 8;
/// The tag of what nobody is known to own: format 1 did not know owners.
const NOBODY: u32 = 0;
/// The queue of damaged blocks that wait to be fetched again.
pub(super) const REFETCH: u8 = 0;

pub(super) const BLOCK: u8 = b'b';
pub(super) const FILE: u8 = b's';
pub(super) const QUARANTINE: u8 = b'x';
pub(super) const QUEUE: u8 = b'q';
pub(super) const QUEUE_KEY: u8 = b'k';
pub(super) const SET_ASIDE: u8 = b'z';
pub(super) const TOTAL: u8 = b't';

pub(super) fn key(table: u8, rest: &[u8]) -> Vec<u8> {
    [&[table], rest].concat()
}

/// The row of a block: where it lies, and under which codecs it was stored.
pub(super) fn place(location: Location, codecs: &[u64], crcs: &[u32]) -> Vec<u8> {
    let Location {
        segment,
        offset,
        length,
    } = location;
    let mut value = vec![VERSION];
    for number in [segment.0, offset, length, NOBODY] {
        value.extend_from_slice(&number.to_le_bytes());
    }
    write_codecs(&mut value, codecs);
    if length > CHUNK_BYTES {
        for crc in crcs {
            value.extend_from_slice(&crc.to_le_bytes());
        }
    }
    value
}

/// The row of a segment of format 1 that stays as a file of blocks.
pub(super) fn file(is_dropped: bool, live_bytes: u64, used_bytes: u64) -> Vec<u8> {
    let mut value = vec![VERSION, 3, u8::from(is_dropped)];
    value.resize(value.len() + 32, 0);
    for number in [live_bytes, used_bytes, 0, 0] {
        value.extend_from_slice(&number.to_le_bytes());
    }
    value
}

/// The row of a block that is damaged.
pub(super) fn quarantined(at: Millis, codecs: &[u64], reason: &str) -> Vec<u8> {
    let mut value = vec![VERSION];
    value.extend_from_slice(&at.0.to_le_bytes());
    value.extend_from_slice(&NOBODY.to_le_bytes());
    write_codecs(&mut value, codecs);
    value.extend_from_slice(reason.as_bytes());
    value
}

/// The row of a pin.
pub(super) fn pin(root: &[u8]) -> Vec<u8> {
    [&[VERSION], NOBODY.to_le_bytes().as_slice(), root].concat()
}

/// A row that is bytes under a version.
pub(super) fn plain(bytes: &[u8]) -> Vec<u8> {
    [&[VERSION], bytes].concat()
}

/// A row that could not be read, as it was.
pub(super) fn set_aside(at: Millis, reason: &str, value: &[u8]) -> Vec<u8> {
    let mut row = vec![VERSION];
    row.extend_from_slice(&at.0.to_le_bytes());
    let length = u16::try_from(reason.len()).expect("reasons are short");
    row.extend_from_slice(&length.to_le_bytes());
    row.extend_from_slice(reason.as_bytes());
    row.extend_from_slice(value);
    row
}

fn write_codecs(out: &mut Vec<u8>, codecs: &[u64]) {
    out.push(u8::try_from(codecs.len()).expect("few codecs are kept"));
    for codec in codecs {
        let mut number = *codec;
        while number > 0x7f {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }
}
