//! The best record of each name that is followed. Pure: records and the time are arguments.

use std::collections::{BTreeMap, VecDeque};

use perennis_shared::{
    ipns::{Name, Record, RecordError, UnverifiedRecord, compare},
    time::Millis,
};

use super::PubsubError;

/// The names that are followed, and which of them have a newer record that nobody has taken.
#[derive(Debug)]
pub(crate) struct Newest {
    names: BTreeMap<Name, Followed>,
    most: usize,
    /// Names with a record that was not taken yet, each once.
    fresh: VecDeque<Name>,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Followed {
    best: Option<Record>,
    is_fresh: bool,
}

/// How a record compares with the best one that is known.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is valid, and the first or a better one.
    Newer(Record),
    /// It is the one that is known.
    Known,
    /// It is not better than the one that is known.
    Older,
    /// It is no valid record of this name.
    Invalid(RecordError),
}

/// Compares what came as the record of a name with the best one.
///
/// One whose sequence is lower tells nothing new, whoever signed it, so its signature is not looked at: replays of old records
/// cost a peer that floods with them more than they cost here. The best record counts also after its end: a name does not
/// go back.
pub(crate) fn judge(name: &Name, best: Option<&Record>, bytes: &[u8], now: Millis) -> Verdict {
    if best.is_some_and(|best| best.bytes() == bytes) {
        return Verdict::Known;
    }
    let offered = match UnverifiedRecord::parse(bytes) {
        Ok(offered) => offered,
        Err(error) => return Verdict::Invalid(error),
    };
    if best.is_some_and(|best| offered.sequence() < best.sequence()) {
        return Verdict::Older;
    }
    match offered.verify(name, now) {
        Ok(record) => match best {
            Some(best) if record == *best => Verdict::Known,
            Some(best) if compare(&record, best).is_le() => Verdict::Older,
            _ => Verdict::Newer(record),
        },
        Err(error) => Verdict::Invalid(error),
    }
}

impl Newest {
    /// At most `most` names.
    pub(super) fn new(most: usize) -> Self {
        Self {
            names: BTreeMap::new(),
            most,
            fresh: VecDeque::new(),
            is_closed: false,
        }
    }

    pub(super) fn is_followed(&self, name: &Name) -> bool {
        self.names.contains_key(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.names.keys()
    }

    pub(super) fn best(&self, name: &Name) -> Option<&Record> {
        self.names.get(name)?.best.as_ref()
    }

    /// Follows a name from the record that is known of it; false when it was followed already.
    pub(super) fn follow(&mut self, name: Name, best: Option<Record>) -> Result<bool, PubsubError> {
        if self.is_followed(&name) {
            if let Some(best) = best {
                // What is known here already may be better.
                let _ = self.keep(&name, &best);
            }
            return Ok(false);
        }
        if self.names.len() >= self.most {
            return Err(PubsubError::TooMany { most: self.most });
        }
        let followed = Followed {
            best,
            is_fresh: false,
        };
        self.names.insert(name, followed);
        Ok(true)
    }

    /// Follows a name no more; false when it was not followed.
    pub(super) fn leave(&mut self, name: &Name) -> bool {
        self.fresh.retain(|fresh| fresh != name);
        self.names.remove(name).is_some()
    }

    /// Keeps a record of our own making. It is no update.
    pub(super) fn keep(&mut self, name: &Name, record: &Record) -> Result<(), PubsubError> {
        let Some(followed) = self.names.get_mut(name) else {
            return Ok(());
        };
        if let Some(best) = &followed.best
            && compare(record, best).is_lt()
        {
            return Err(PubsubError::Stale {
                seen: best.sequence(),
                offered: record.sequence(),
            });
        }
        followed.best = Some(record.clone());
        Ok(())
    }

    /// Keeps a verified record of a followed name that is better, as an update; false where it is not.
    pub(super) fn offer(&mut self, name: &Name, record: &Record) -> bool {
        let Some(followed) = self.names.get_mut(name) else {
            return false;
        };
        if let Some(best) = &followed.best
            && compare(record, best).is_le()
        {
            return false;
        }
        followed.best = Some(record.clone());
        if !followed.is_fresh {
            followed.is_fresh = true;
            self.fresh.push_back(*name);
        }
        true
    }

    /// The next name with a newer record, and that record.
    pub(super) fn next_update(&mut self) -> Option<(Name, Record)> {
        let name = self.fresh.pop_front()?;
        let followed = self.names.get_mut(&name)?;
        followed.is_fresh = false;
        Some((name, followed.best.clone()?))
    }

    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use perennis_shared::{
        ipns::{RecordFields, create},
        sign::SigningKey,
        time::Timestamp,
    };
    use proptest::prelude::*;

    use super::*;

    const NOW: Millis = Millis(1_790_000_000_000);
    const DAY: u64 = 86_400_000;

    fn key(number: u8) -> SigningKey {
        SigningKey::from_seed(&[number; 32])
    }

    fn name(number: u8) -> Name {
        Name::from_public_key(&key(number).public())
    }

    fn record(number: u8, sequence: u64, end: u64) -> Record {
        let fields = RecordFields {
            value: "/ipfs/bafkqaaa",
            sequence,
            validity: Timestamp::from(Millis(end)),
            ttl: Duration::from_secs(60),
        };
        create(&key(number), &fields).unwrap()
    }

    fn verdict(best: Option<&Record>, bytes: &[u8]) -> &'static str {
        match judge(&name(1), best, bytes, NOW) {
            Verdict::Newer(_) => "newer",
            Verdict::Known => "known",
            Verdict::Older => "older",
            Verdict::Invalid(_) => "invalid",
        }
    }

    #[test]
    fn records_are_told_apart() {
        let best = record(1, 5, NOW.0 + DAY);
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            (
                "higher sequence",
                record(1, 6, NOW.0 + DAY).bytes().to_vec(),
                "newer",
            ),
            (
                "later end",
                record(1, 5, NOW.0 + 2 * DAY).bytes().to_vec(),
                "newer",
            ),
            ("the same", best.bytes().to_vec(), "known"),
            (
                "lower sequence",
                record(1, 4, NOW.0 + DAY).bytes().to_vec(),
                "older",
            ),
            (
                "earlier end",
                record(1, 5, NOW.0 + DAY / 2).bytes().to_vec(),
                "older",
            ),
            (
                "wrong key",
                record(2, 9, NOW.0 + DAY).bytes().to_vec(),
                "invalid",
            ),
            (
                "lapsed",
                record(1, 9, NOW.0 - DAY).bytes().to_vec(),
                "invalid",
            ),
            ("no record", b"garbage".to_vec(), "invalid"),
            ("nothing", Vec::new(), "invalid"),
            ("too large", vec![0; 10_241], "invalid"),
        ];
        for (what, bytes, wanted) in &cases {
            assert_eq!(verdict(Some(&best), bytes), *wanted, "{what}");
        }
        assert_eq!(verdict(None, best.bytes()), "newer");
        // A name does not go back when its best record has ended.
        let lapsed = record(1, 5, NOW.0 - DAY);
        let replay = record(1, 4, NOW.0 + DAY);
        assert_eq!(verdict(Some(&lapsed), replay.bytes()), "older");
    }

    #[test]
    fn names_are_bounded_and_updates_are_told_once() {
        let mut newest = Newest::new(2);
        assert!(newest.follow(name(1), None).unwrap());
        assert!(!newest.follow(name(1), None).unwrap());
        assert!(newest.follow(name(2), None).unwrap());
        let full = newest.follow(name(3), None).unwrap_err();
        assert!(matches!(full, PubsubError::TooMany { most: 2 }));
        assert!(!newest.offer(&name(3), &record(3, 1, NOW.0 + DAY)));
        for sequence in [1, 2, 3, 2] {
            newest.offer(&name(1), &record(1, sequence, NOW.0 + DAY));
        }
        newest.offer(&name(2), &record(2, 1, NOW.0 + DAY));
        let (first, best) = newest.next_update().unwrap();
        assert_eq!((first, best.sequence()), (name(1), 3));
        assert!(newest.leave(&name(2)));
        assert!(newest.next_update().is_none(), "nobody follows it any more");
        let stale = newest.keep(&name(1), &record(1, 2, NOW.0 + DAY));
        assert!(matches!(
            stale,
            Err(PubsubError::Stale {
                seen: 3,
                offered: 2
            })
        ));
    }

    proptest! {
        #[test]
        fn the_best_stays_whatever_the_order(sequences in prop::collection::vec(0_u64..9, 1..12)) {
            let mut newest = Newest::new(1);
            newest.follow(name(1), None).unwrap();
            let mut highest = None;
            for sequence in sequences {
                let offered = record(1, sequence, NOW.0 + DAY);
                let is_newer = newest.offer(&name(1), &offered);
                prop_assert_eq!(is_newer, highest.is_none_or(|highest| sequence > highest));
                highest = highest.max(Some(sequence));
                prop_assert_eq!(newest.best(&name(1)).map(Record::sequence), highest);
            }
        }
    }
}
