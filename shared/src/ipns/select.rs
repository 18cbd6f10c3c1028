//! Choosing among records of one name (specification, "Record Selection").

use core::cmp::Ordering;

use crate::ipns::Record;

/// Compares two verified records of one name: the greater is to be used.
///
/// The higher sequence wins, then the later end, then the bytewise larger pair of signed data and signature. Every
/// [`Record`] has a version 2 signature, so that the specification's first rule has nothing left to decide. The last
/// rule looks at nothing that a carrier can change (but one bit of an ECDSA P-256 signature, which changes no statement),
/// so that all who know the same records choose the same.
pub fn compare(a: &Record, b: &Record) -> Ordering {
    let rank = |record: &Record| (record.sequence(), record.validity());
    rank(a).cmp(&rank(b)).then_with(|| {
        let (data_a, signature_a) = a.identity();
        let (data_b, signature_b) = b.identity();
        data_a
            .cmp(data_b)
            .then_with(|| signature_a.cmp(signature_b))
    })
}

/// The best of some verified records of one name by [`compare`]; `None` of none.
pub fn select<'a>(records: impl IntoIterator<Item = &'a Record>) -> Option<&'a Record> {
    records.into_iter().max_by(|a, b| compare(a, b))
}

/// Whether two verified records of one name contradict each other: one sequence, two values. Only the holder of the
/// key can make such a pair.
pub fn equivocates(a: &Record, b: &Record) -> bool {
    a.sequence() == b.sequence() && a.value() != b.value()
}

/// Two records of one name and sequence that name different values. Both are signed by the name's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// The one that is used.
    pub kept: Record,
    /// The one that is not.
    pub other: Record,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipns::samples::{fields, key};
    use crate::ipns::{RecordFields, create};
    use crate::time::Timestamp;

    #[test]
    fn the_best_record_is_chosen_by_sequence_then_end_then_bytes() {
        let make = |value, sequence, validity: &str| {
            create(
                &key(1),
                &RecordFields {
                    validity: Timestamp::parse(validity).unwrap(),
                    ..fields(value, sequence)
                },
            )
            .unwrap()
        };
        let (early, late) = ("2100-01-01T00:00:00Z", "2100-01-01T00:00:00.000000001Z");
        let ordered = [
            make("/ipfs/b", 1, late),
            make("/ipfs/a", 2, early),
            make("/ipfs/b", 2, early),
            make("/ipfs/a", 2, late),
            make("/ipfs/a", u64::MAX, early),
        ];
        for (a, left) in ordered.iter().enumerate() {
            for (b, right) in ordered.iter().enumerate() {
                assert_eq!(compare(left, right), a.cmp(&b), "{a} and {b}");
            }
        }
        assert_eq!(select(ordered.iter().rev()), Some(&ordered[4]));
        assert_eq!(select(&ordered[..2]), Some(&ordered[1]));
        assert_eq!(select([]), None);
        assert!(equivocates(&ordered[1], &ordered[2]));
        assert!(!equivocates(&ordered[1], &ordered[3]));
        assert!(!equivocates(&ordered[0], &ordered[1]));
    }
}
