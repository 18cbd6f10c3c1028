//! What a disk writes whole or not at all.

/// Bytes of a sector.
const SECTOR_BYTES: usize = 512;

pub(super) fn write(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

/// The parts of a write that lie in one sector each.
pub(super) fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = (SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
        let (sector, after) = rest.split_at(length);
        let found = (at, sector);
        (at, rest) = (at + length, after);
        (length > 0).then_some(found)
    })
}
