//! As what a block was seen since it was written.

use super::place::Place;
use super::version::{Never, Reader, Row};

/// What the row of a block says that the file with its bytes does not: whose it is and as what it was put, as of now.
///
/// version u8 · tag u32 · codecs u8 · codec varint…. A block has one from the time it is put or required again under another codec or
/// by another owner. The file says what was so when it was written, and may be older than the segment that tells more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) tag: u32,
    pub(crate) codecs: Vec<u64>,
}

impl Seen {
    pub(crate) fn of(place: &Place) -> Self {
        Self {
            tag: place.tag,
            codecs: place.codecs.clone(),
        }
    }
}

impl From<Never> for Seen {
    fn from(never: Never) -> Self {
        match never {}
    }
}

impl Row for Seen {
    const VERSION: u8 = 1;
    type Previous = Never;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tag.to_le_bytes());
        out.push(self.codecs.len() as u8);
        let mut buffer = unsigned_varint::encode::u64_buffer();
        for codec in &self.codecs {
            out.extend_from_slice(unsigned_varint::encode::u64(*codec, &mut buffer));
        }
    }

    fn read(rest: &mut Reader) -> Option<Self> {
        let tag = rest.u32()?;
        let count = usize::from(rest.u8()?);
        if count > Place::CODECS {
            return None;
        }
        let mut codecs = Vec::with_capacity(count);
        for _ in 0..count {
            let (codec, after) = unsigned_varint::decode::u64(rest.0).ok()?;
            rest.0 = after;
            codecs.push(codec);
        }
        Some(Self { tag, codecs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_what_was_seen() {
        let row = Seen {
            tag: 0x0102,
            codecs: vec![0x55, 0x0129],
        };
        assert_eq!(row.to_bytes(), [1, 2, 1, 0, 0, 2, 0x55, 0xa9, 0x02]);
        assert_eq!(Seen::from_bytes(&row.to_bytes()), Some(row.clone()));
        for cut in 0..row.to_bytes().len() {
            assert_eq!(Seen::from_bytes(&row.to_bytes()[..cut]), None);
        }
        assert_eq!(Seen::from_bytes(&[1, 0, 0, 0, 0, 9]), None);
    }
}
