//! Aligned ranges of the 256 partitions.

use super::Tag;

/// Partitions in all.
const ALL: u16 = 256;

/// The partition of a tag.
pub(super) fn partition(tag: Tag) -> u16 {
    (tag >> 24) as u16
}

/// A range of partitions whose length is a power of two and divides its start: two such ranges are nested or apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Partitions {
    first: u16,
    count: u16,
}

impl Partitions {
    /// None where that is no aligned range.
    pub(crate) fn new(first: u16, count: u16) -> Option<Self> {
        let is_aligned =
            count.is_power_of_two() && count <= ALL && first.is_multiple_of(count) && first < ALL;
        is_aligned.then_some(Self { first, count })
    }

    /// The smallest range that holds both tags and so all between them.
    pub(crate) fn spanning(a: Tag, b: Tag) -> Self {
        let (a, b) = (partition(a), partition(b));
        // The partitions of an aligned range are those that agree in all bits above its length.
        let count = (a ^ b).checked_ilog2().map_or(1, |bit| 2 << bit);
        Self {
            first: a & !(count - 1),
            count,
        }
    }

    /// The first partition of it.
    pub(crate) fn first(self) -> u16 {
        self.first
    }

    /// How many partitions it has.
    pub(crate) fn count(self) -> u16 {
        self.count
    }

    /// Whether a tag is in one of its partitions.
    pub(crate) fn contains(self, tag: Tag) -> bool {
        (self.first..self.first + self.count).contains(&partition(tag))
    }

    /// The first tag of its second half; none where it is a single partition.
    pub(super) fn middle(self) -> Option<Tag> {
        (self.count > 1).then(|| Tag::from(self.first + self.count / 2) << 24)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_aligned_ranges_are_ranges() {
        for (first, count) in [(0, 256), (0, 1), (255, 1), (64, 64), (128, 128)] {
            assert!(Partitions::new(first, count).is_some(), "{first} {count}");
        }
        for (first, count) in [
            (0, 0),
            (0, 3),
            (1, 2),
            (256, 1),
            (0, 512),
            (u16::MAX, 1),
            (128, 256),
        ] {
            assert_eq!(Partitions::new(first, count), None, "{first} {count}");
        }
    }

    proptest! {
        #[test]
        fn the_span_of_two_tags_is_aligned_holds_both_and_could_not_be_smaller(a: u32, b: u32, near: u8) {
            for b in [b, a ^ u32::from(near) << 24] {
                let span = Partitions::spanning(a, b);
                prop_assert_eq!(Partitions::new(span.first(), span.count()), Some(span));
                prop_assert!(span.contains(a) && span.contains(b));
                match span.middle() {
                    None => prop_assert_eq!(partition(a), partition(b)),
                    Some(middle) => prop_assert!((a < middle) != (b < middle)),
                }
            }
        }
    }
}
