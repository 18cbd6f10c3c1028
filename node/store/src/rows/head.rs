//! Heads of names.

use bytes::Bytes;
use perennis_shared::cid::Cid;
use perennis_shared::ipns::{ContentPath, Record};
use perennis_shared::time::Millis;

use super::version::{Never, Reader, Row};

/// The newest head of a name that the store has accepted: its high-water mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadRow {
    /// The record as it was received.
    pub record: Bytes,
    /// What the record points at, for example `/ipfs/bafy…`.
    pub value: Bytes,
    /// The sequence of the record.
    pub sequence: u64,
    /// When the record ends.
    pub valid_until: Millis,
    /// When the store accepted it.
    pub stored_at: Millis,
}

impl HeadRow {
    /// The row of a verified record.
    #[must_use]
    pub fn new(record: &Record, stored_at: Millis) -> Self {
        Self {
            record: record.bytes().clone(),
            value: Bytes::copy_from_slice(record.value()),
            sequence: record.sequence(),
            valid_until: record.validity().to_millis(),
            stored_at,
        }
    }

    /// The block at which the content path begins that the name points at; none where it points at no content.
    #[must_use]
    pub fn head(&self) -> Option<Cid> {
        ContentPath::parse(&self.value).ok()?.cid()
    }
}

impl From<Never> for HeadRow {
    fn from(never: Never) -> Self {
        match never {}
    }
}

/// version u8 · sequence u64 · valid until u64 · stored at u64 · value length u32 · value · record.
impl Row for HeadRow {
    const VERSION: u8 = 1;
    type Previous = Never;

    fn write(&self, out: &mut Vec<u8>) {
        for number in [self.sequence, self.valid_until.0, self.stored_at.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let length = u32::try_from(self.value.len()).expect("a record has at most 10,240 bytes");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.value);
        out.extend_from_slice(&self.record);
    }

    fn read(rest: &mut Reader) -> Option<Self> {
        let sequence = rest.u64()?;
        let valid_until = Millis(rest.u64()?);
        let stored_at = Millis(rest.u64()?);
        let length = rest.u32()? as usize;
        Some(Self {
            value: Bytes::copy_from_slice(rest.bytes(length)?),
            record: Bytes::copy_from_slice(rest.rest()),
            sequence,
            valid_until,
            stored_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> HeadRow {
        HeadRow {
            record: Bytes::from_static(b"record"),
            value: Bytes::from_static(b"/ipfs/x"),
            sequence: 7,
            valid_until: Millis(0x0102),
            stored_at: Millis(3),
        }
    }

    #[test]
    fn golden_bytes_of_a_head() {
        let golden = "010700000000000000020100000000000003000000000000000700000\
                      02f697066732f787265636f7264";
        let hex: String = row()
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, golden);
        assert_eq!(HeadRow::from_bytes(&row().to_bytes()), Some(row()));
    }

    #[test]
    fn a_cut_head_is_no_head() {
        let bytes = row().to_bytes();
        for length in 0..29 + 7 {
            assert_eq!(HeadRow::from_bytes(&bytes[..length]), None, "{length}");
        }
        let mut newer = bytes;
        newer[0] = 2;
        assert_eq!(HeadRow::from_bytes(&newer), None);
    }
}
