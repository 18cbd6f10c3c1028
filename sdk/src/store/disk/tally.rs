//! The count of all rows: it tells that one is gone.
//!
//! A checksum shows that a row has changed, not that it is not there any more: one flipped bit in a page's count
//! hides the last row of that page, and a staged label would be lost without a word. So each commit writes how many rows
//! there are, and the sum of their checksums' first bytes, into a row of its own.

use redb::ReadableTable;

use super::{FORMAT, Failure};
use crate::store::row;

/// Its name, under which it is kept in its table and checked.
pub(super) const NAME: &str = "tally";

/// How many rows there are, and the sum of a number that each of them has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    sum: u64,
}

impl Tally {
    /// The one of these rows.
    pub(super) fn count(
        rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    ) -> Result<Self, Failure> {
        let mut tally = Self::default();
        for row in rows.iter()? {
            tally.add(row?.1.value());
        }
        Ok(tally)
    }

    pub(super) fn add(&mut self, stored: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(number_of(stored));
    }

    pub(super) fn remove(&mut self, stored: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(number_of(stored));
    }

    /// The format, the count and the sum, eight bytes each, as a row.
    pub(super) fn encode(self) -> Vec<u8> {
        let numbers = [FORMAT, self.rows, self.sum];
        let value: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
        row::encode(NAME, &value).to_vec()
    }

    /// The tally and the format it was written under; none when it is damaged.
    pub(super) fn decode(stored: &[u8]) -> Option<(u64, Self)> {
        let value = row::decode(NAME, &stored.to_vec().into()).ok()?;
        let [format, rows, sum] = *value.as_chunks::<8>().0 else {
            return None;
        };
        let tally = Self {
            rows: u64::from_be_bytes(rows),
            sum: u64::from_be_bytes(sum),
        };
        Some((u64::from_be_bytes(format), tally))
    }
}

/// The number of a row: the first bytes of its checksum, or of whatever lies there.
fn number_of(stored: &[u8]) -> u64 {
    let checksum = stored.get(1..9).and_then(|bytes| bytes.first_chunk());
    checksum.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_tally_has_its_known_bytes_and_no_other_is_one() {
        let mut tally = Tally::default();
        for name in ["a", "b", "c"] {
            tally.add(&row::encode(name, b"value"));
        }
        tally.remove(&row::encode("b", b"value"));
        assert_eq!(tally.rows, 2);
        let stored = tally.encode();
        assert_eq!(
            hex::encode(&stored),
            "019ce22ac72d6a86c2733bf0e97bf9199800000000000000020000000000000002868be0bdbab5b29e"
        );
        assert_eq!(Tally::decode(&stored), Some((FORMAT, tally)));
        for at in 0..stored.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 0x10;
            assert_eq!(Tally::decode(&damaged), None, "{at}");
        }
        assert_eq!(Tally::decode(b""), None);
        assert_eq!(Tally::decode(&row::encode(NAME, &[0; 16])), None);
    }
}
