//! What was found damaged: blocks, and rows.

use perennis_shared::cid::{Cid, Multihash};
use perennis_shared::time::Millis;

use super::version::{Never, Reader, Row};
use crate::location::{FileNumber, Location};

/// A block that was found damaged. It is no longer served; a new copy that is put takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineRow {
    /// The block, under the first codec it was put under.
    pub cid: Cid,
    /// When it was set aside.
    pub at: Millis,
    /// The codecs it was put under.
    pub codecs: Vec<u64>,
    /// The file that it lay in.
    pub file: FileNumber,
    /// What was found.
    pub reason: String,
}

impl QuarantineRow {
    pub(crate) fn new(hash: Multihash, row: Quarantined) -> Self {
        let codec = row.codecs.first().copied().unwrap_or(0x55);
        Self {
            cid: Cid::new_v1(codec, hash),
            at: row.at,
            codecs: row.codecs,
            file: row.location.file,
            reason: row.reason,
        }
    }
}

/// The row of a quarantined block: version u8 · when u64 · file u32 · offset u32 · length u32 · tag of the owner u32 · codecs u8
/// · codec varint… · reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Quarantined {
    pub(crate) at: Millis,
    /// Where it lay. A pack knows what the block links to when its bytes are damaged.
    pub(crate) location: Location,
    /// Its owner's tag: what hangs below it may be its owner's only.
    pub(crate) tag: u32,
    pub(crate) codecs: Vec<u64>,
    pub(crate) reason: String,
}

impl From<Never> for Quarantined {
    fn from(never: Never) -> Self {
        match never {}
    }
}

impl Row for Quarantined {
    const VERSION: u8 = 1;
    type Previous = Never;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at.0.to_le_bytes());
        let Location {
            file,
            offset,
            length,
        } = self.location;
        for number in [file.0, offset, length, self.tag] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(self.codecs.len() as u8);
        let mut buffer = unsigned_varint::encode::u64_buffer();
        for codec in &self.codecs {
            out.extend_from_slice(unsigned_varint::encode::u64(*codec, &mut buffer));
        }
        out.extend_from_slice(self.reason.as_bytes());
    }

    fn read(rest: &mut Reader) -> Option<Self> {
        let at = Millis(rest.u64()?);
        let location = Location {
            file: FileNumber(rest.u32()?),
            offset: rest.u32()?,
            length: rest.u32()?,
        };
        let tag = rest.u32()?;
        let mut codecs = Vec::new();
        for _ in 0..rest.u8()? {
            let (codec, after) = unsigned_varint::decode::u64(rest.0).ok()?;
            rest.0 = after;
            codecs.push(codec);
        }
        Some(Self {
            at,
            location,
            tag,
            codecs,
            reason: String::from_utf8(rest.rest().to_vec()).ok()?,
        })
    }
}

/// A row of the index that could not be read. It is out of the way and kept as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its key, the byte of its table first.
    pub key: Vec<u8>,
    /// When it was found.
    pub at: Millis,
    /// What is wrong with it.
    pub reason: String,
    /// Its value.
    pub value: Vec<u8>,
}

impl SetAside {
    /// The value of its row: version u8 · when u64 · reason length u16 · reason · value.
    pub(crate) fn to_row(at: Millis, reason: &str, value: &[u8]) -> Vec<u8> {
        let reason = &reason.as_bytes()[..reason.len().min(usize::from(u16::MAX))];
        let mut row = vec![1];
        row.extend_from_slice(&at.0.to_le_bytes());
        row.extend_from_slice(&(reason.len() as u16).to_le_bytes());
        row.extend_from_slice(reason);
        row.extend_from_slice(value);
        row
    }

    /// What a row of the table says; a row that is damaged itself is told as it is.
    pub(crate) fn from_row(key: &[u8], row: &[u8]) -> Self {
        let read = || {
            let mut rest = Reader(row);
            (rest.u8()? == 1).then_some(())?;
            let at = Millis(rest.u64()?);
            let length = usize::from(rest.u16()?);
            let reason = String::from_utf8_lossy(rest.bytes(length)?).into_owned();
            Some((at, reason, rest.rest().to_vec()))
        };
        let (at, reason, value) =
            read().unwrap_or_else(|| (Millis(0), "this note is damaged".to_owned(), row.to_vec()));
        Self {
            key: key.get(1..).unwrap_or_default().to_vec(),
            at,
            reason,
            value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back() {
        let row = Quarantined {
            at: Millis(5),
            location: Location {
                file: FileNumber(1),
                offset: 2,
                length: 3,
            },
            tag: 6,
            codecs: vec![0x71, 0x55],
            reason: "why".into(),
        };
        assert_eq!(
            row.to_bytes(),
            b"\x01\x05\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x06\0\0\0\x02\x71\x55why"
        );
        assert_eq!(Quarantined::from_bytes(&row.to_bytes()), Some(row));
        let value = SetAside::to_row(Millis(5), "why", b"value");
        assert_eq!(value, b"\x01\x05\0\0\0\0\0\0\0\x03\0whyvalue");
        let read = SetAside::from_row(b"zpkey", &value);
        assert_eq!(
            (read.key.as_slice(), read.value.as_slice()),
            (&b"pkey"[..], &b"value"[..])
        );
        assert_eq!(SetAside::from_row(b"zp", &[9]).value, [9]);
    }
}
