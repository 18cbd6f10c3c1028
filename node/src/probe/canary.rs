//! The canary: a name of the node's own that points at nothing, so that it can be published again and again.
//!
//! Its sequence is the time in milliseconds, so that it rises over restarts without being kept, and one more than the
//! last where the clock does not. A sequence that others have of it raises it too: after a clock that was ahead was set
//! back, the node is behind itself for one round.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use perennis_shared::ipns::{Name, Record, RecordFields, create};
use perennis_shared::time::{Millis, Timestamp};

use crate::keystore::Keystore;

/// What it points at: the empty block, which stands in its own CID (identity hash).
const VALUE: &str = "/ipfs/bafkqaaa";

/// How long others may cache its record: hardly. Zero means a default to some.
const TTL: Duration = Duration::from_secs(1);

/// Periods that a record lives, so that one that was missed does not end the name.
const PERIODS: u32 = 4;

/// The least that a record lives: clocks of others may differ.
const SHORTEST: Duration = Duration::from_secs(3_600);

pub(super) struct Canary {
    keystore: Arc<Keystore>,
    name: Name,
    last: Mutex<Option<u64>>,
}

impl Canary {
    pub(super) fn new(keystore: Arc<Keystore>) -> Canary {
        Canary {
            name: Name::from_public_key(&keystore.canary().public()),
            keystore,
            last: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &Name {
        &self.name
    }

    /// The highest sequence that was signed or seen.
    pub(super) fn last(&self) -> Option<u64> {
        *self.last.lock()
    }

    /// Signs a record that is newer than all before it.
    pub(super) fn sign(&self, now: Millis, period: Option<Duration>) -> Record {
        let sequence = {
            let mut last = self.last.lock();
            let next = next(*last, now);
            *last = Some(next);
            next
        };
        let lives = period.unwrap_or_default().saturating_mul(PERIODS);
        let fields = RecordFields {
            value: VALUE,
            sequence,
            validity: Timestamp::from(now + lives.max(SHORTEST)),
            ttl: TTL,
        };
        create(self.keystore.canary(), &fields).expect("the value is a short path")
    }

    /// Somebody has a record of this sequence.
    pub(super) fn saw(&self, sequence: u64) {
        let mut last = self.last.lock();
        *last = (*last).max(Some(sequence));
    }
}

/// The sequence after `last`.
fn next(last: Option<u64>, now: Millis) -> u64 {
    last.map_or(now.0, |last| last.saturating_add(1).max(now.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_790_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn canary() -> (tempfile::TempDir, Canary) {
        let dir = tempfile::tempdir().unwrap();
        let keystore = Keystore::open(dir.path(), None).unwrap();
        (dir, Canary::new(Arc::new(keystore)))
    }

    #[test]
    fn a_sequence_rises_with_the_clock_and_without_it() {
        let (_dir, canary) = canary();
        assert_eq!(canary.last(), None);
        assert_eq!(canary.sign(NOW, None).sequence(), NOW.0);
        assert_eq!(canary.sign(NOW, None).sequence(), NOW.0 + 1);
        assert_eq!(canary.sign(NOW - MINUTE, None).sequence(), NOW.0 + 2);
        assert_eq!(canary.sign(NOW + MINUTE, None).sequence(), NOW.0 + 60_000);
    }

    #[test]
    fn a_clock_that_was_set_back_is_made_up_for_by_what_others_have() {
        let (_dir, canary) = canary();
        canary.sign(NOW - MINUTE, None);
        canary.saw(NOW.0);
        canary.saw(5);
        assert_eq!(canary.sign(NOW - MINUTE, None).sequence(), NOW.0 + 1);
        canary.saw(u64::MAX);
        assert_eq!(canary.sign(NOW, None).sequence(), u64::MAX);
    }

    #[test]
    fn a_record_is_valid_for_the_name_over_some_periods_and_points_at_what_stands_in_it() {
        let (_dir, canary) = canary();
        let day = Duration::from_secs(86_400);
        for (period, lives) in [
            (None, SHORTEST),
            (Some(MINUTE), SHORTEST),
            (Some(day), 4 * day),
        ] {
            let record = canary.sign(NOW, period);
            let parsed = perennis_shared::ipns::UnverifiedRecord::parse(record.bytes()).unwrap();
            parsed.verify(canary.name(), NOW + lives).unwrap();
            assert!(record.is_expired(NOW + lives + Duration::from_secs(1)));
            let head = record.head().unwrap();
            assert!(perennis_shared::cid::is_identity(&head));
        }
    }
}
