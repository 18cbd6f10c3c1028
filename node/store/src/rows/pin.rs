//! Roots that are kept.

use perennis_shared::cid::{Cid, parse_cid_bytes, write_cid};

use super::version::{Never, Reader, Row};

/// The row of a pin: version u8 · tag of the owner u32 · CID of the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinRow {
    pub(crate) root: Cid,
    pub(crate) tag: u32,
}

impl From<Never> for PinRow {
    fn from(never: Never) -> Self {
        match never {}
    }
}

impl Row for PinRow {
    const VERSION: u8 = 1;
    type Previous = Never;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tag.to_le_bytes());
        write_cid(out, &self.root);
    }

    fn read(rest: &mut Reader) -> Option<Self> {
        Some(Self {
            tag: rest.u32()?,
            root: parse_cid_bytes(rest.rest()).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::cid::{Block, Codec};

    use super::*;

    #[test]
    fn golden_bytes_of_a_pin() {
        let root = *Block::new(Codec::DagCbor, &b"x"[..]).unwrap().cid();
        let row = PinRow { root, tag: 0x0102 };
        assert_eq!(row.to_bytes()[..9], [1, 2, 1, 0, 0, 1, 0x71, 0x12, 0x20]);
        assert_eq!(PinRow::from_bytes(&row.to_bytes()), Some(row));
        assert_eq!(PinRow::from_bytes(&row.to_bytes()[..40]), None);
    }
}
