//! The renewal ladder: records that keep a name alive when its owner does not come back.
//!
//! The owner signs one record that is published at once, and with it the rungs: records of the same name, sequence and
//! value that end later, each a step after the one before. Only the nodes the owner trusts get the rungs. Such a node
//! releases the next rung when the end of the present record comes near. Of two records of one sequence the one that
//! ends later wins, so that a rung that got out early would hold at once until its end; kept back, a rung binds nobody.
//! A new head has a higher sequence and wins over every rung: it voids the ladder, wherever its rungs are. Whoever
//! signs must therefore never give a new value the sequence of a ladder.
//!
//! Must never touch: the clock (the time is an argument), what a node keeps and sends.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::ipns::{Name, Record, RecordError, RecordFields, UnverifiedRecord, create};
use crate::limits::{LADDER_BYTES, LADDER_RUNGS, LADDER_STEP_MAX, LADDER_STEP_MIN, LimitExceeded};
use crate::sign::SigningKey;
use crate::time::{Millis, Timestamp};

/// Longest time before the end of a record at which the next rung is released.
const LEAD_MAX: Duration = Duration::from_secs(15 * 86_400);

/// How many rungs to sign and how far apart their ends are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderPlan {
    /// Number of rungs, at most [`LADDER_RUNGS`].
    pub rungs: usize,
    /// From the end of one rung to the end of the next, [`LADDER_STEP_MIN`] to [`LADDER_STEP_MAX`].
    pub step: Duration,
}

impl Default for LadderPlan {
    /// 12 rungs of 30 days.
    fn default() -> LadderPlan {
        LadderPlan {
            rungs: 12,
            step: Duration::from_secs(30 * 86_400),
        }
    }
}

/// The rungs above a record, verified, each ending later than the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    rungs: Vec<Record>,
}

impl Ladder {
    /// Signs the rungs above a record of the same key. The same arguments give the same bytes.
    ///
    /// # Errors
    /// A plan outside of its bounds, a value that is not text, an end beyond the year 9999.
    pub fn sign(key: &SigningKey, base: &Record, plan: &LadderPlan) -> Result<Ladder, LadderError> {
        LimitExceeded::check("rungs of a ladder", LADDER_RUNGS, plan.rungs)?;
        if !(LADDER_STEP_MIN..=LADDER_STEP_MAX).contains(&plan.step) {
            return Err(LadderError::Step);
        }
        let value = base.path().ok_or(LadderError::OtherValue { rung: 0 })?;
        let mut end = base.validity().to_millis();
        let mut rungs = Vec::with_capacity(plan.rungs);
        for rung in 0..plan.rungs {
            end = end + plan.step;
            let fields = RecordFields {
                value,
                sequence: base.sequence(),
                validity: Timestamp::from(end),
                ttl: Duration::from_nanos(base.ttl_ns()),
            };
            let record =
                create(key, &fields).map_err(|source| LadderError::Record { rung, source })?;
            rungs.push(record);
        }
        Ladder::check(base, rungs)
    }

    /// Verifies the rungs above a record, lowest first: each a record of the same name, sequence and value that ends
    /// later than the one before, at most [`LADDER_STEP_MAX`].
    ///
    /// # Errors
    /// More rungs than [`LADDER_RUNGS`] or [`LADDER_BYTES`] before any is read, and the first rung that does not fit.
    pub fn verify<'a>(
        name: &Name,
        base: &Record,
        rungs: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Ladder, LadderError> {
        let ladder = Ladder::check(base, read(name, rungs)?)?;
        let mut below = base;
        for (rung, record) in ladder.rungs.iter().enumerate() {
            let end = below.validity().to_millis() + LADDER_STEP_MAX;
            // A millisecond is left for what the ends have beside whole ones.
            if record.validity().to_millis() > end + Duration::from_millis(1) {
                return Err(LadderError::TooFar { rung });
            }
            below = record;
        }
        Ok(ladder)
    }

    /// As [`Ladder::verify`], for rungs that were kept: the record that they were signed above may have been replaced
    /// by one of them since. [`Ladder::above`] tells those that are left.
    ///
    /// # Errors
    /// As [`Ladder::verify`].
    pub fn verify_kept<'a>(
        name: &Name,
        rungs: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Ladder, LadderError> {
        let rungs = read(name, rungs)?;
        match rungs.split_first() {
            None => Ok(Ladder::default()),
            Some((lowest, rest)) => {
                Ladder::check(lowest, rest.to_vec())?;
                Ok(Ladder { rungs })
            }
        }
    }

    fn check(base: &Record, rungs: Vec<Record>) -> Result<Ladder, LadderError> {
        let mut below = base;
        for (rung, record) in rungs.iter().enumerate() {
            if record.sequence() != base.sequence() {
                return Err(LadderError::OtherSequence { rung });
            }
            if record.value() != base.value() {
                return Err(LadderError::OtherValue { rung });
            }
            if record.validity() <= below.validity() {
                return Err(LadderError::NotRising { rung });
            }
            below = record;
        }
        Ok(Ladder { rungs })
    }

    /// The rungs, lowest first.
    pub fn rungs(&self) -> &[Record] {
        &self.rungs
    }

    /// Whether there is no rung left.
    pub fn is_empty(&self) -> bool {
        self.rungs.is_empty()
    }

    /// Until when the name is alive if every rung is released.
    pub fn alive_until(&self) -> Option<Timestamp> {
        self.rungs.last().map(Record::validity)
    }

    /// What remains when `live` is the record of the name: the rungs that end later, if it is of their sequence and
    /// value; none otherwise, since a new head voids all of them.
    pub fn above(&self, live: &Record) -> Ladder {
        let is_above = |rung: &&Record| {
            rung.sequence() == live.sequence()
                && rung.value() == live.value()
                && rung.validity() > live.validity()
        };
        Ladder {
            rungs: self.rungs.iter().filter(is_above).cloned().collect(),
        }
    }

    /// When the next rung is to be released, while a record that ends at `live_end` is the one of the name: half of
    /// the time from that end to the rung's end before it, at most 15 days. So there is time to put the rung
    /// everywhere, and as little of the ladder as possible is out.
    pub fn next_release(&self, live_end: Timestamp) -> Option<Millis> {
        let end = live_end.to_millis();
        let next = self.rungs.iter().find(|rung| rung.validity() > live_end)?;
        let lead = (next.validity().to_millis() - end) / 2;
        Some(end - lead.min(LEAD_MAX))
    }

    /// The rung that is to be released at `now`, while a record that ends at `live_end` is the one of the name; `None`
    /// where it is not time yet or no rung would still be valid. Where several are due, after a long pause, it is the
    /// first whose own successor is not due.
    pub fn due(&self, live_end: Timestamp, now: Millis) -> Option<&Record> {
        let mut live = live_end;
        let mut due = None;
        while self.next_release(live).is_some_and(|at| at <= now) {
            let next = self.rungs.iter().find(|rung| rung.validity() > live)?;
            live = next.validity();
            due = Some(next);
        }
        due.filter(|rung| !rung.is_expired(now))
    }
}

fn read<'a>(
    name: &Name,
    rungs: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> Result<Vec<Record>, LadderError> {
    LimitExceeded::check("rungs of a ladder", LADDER_RUNGS, rungs.len())?;
    let bytes = rungs.clone().map(<[u8]>::len).sum();
    LimitExceeded::check("bytes of a ladder", LADDER_BYTES, bytes)?;
    let read = |(rung, bytes)| {
        UnverifiedRecord::parse(bytes)
            .and_then(|record| record.verify_at_any_time(name))
            .map_err(|source| LadderError::Record { rung, source })
    };
    rungs.enumerate().map(read).collect()
}

/// Writes a plan as the command line reads it: the number of rungs, `x`, and the step in seconds.
impl core::fmt::Display for LadderPlan {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let days = self.step.as_secs() / 86_400;
        let step: String = if self.step == Duration::from_secs(days * 86_400) {
            format!("{days}d")
        } else {
            format!("{}s", self.step.as_secs())
        };
        write!(f, "{}x{step}", self.rungs)
    }
}

/// Why records are not a ladder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LadderError {
    /// More rungs, or larger ones, than are taken.
    #[error("the ladder is too large")]
    TooLarge(#[from] LimitExceeded),
    /// The step of the plan is too short or too long.
    #[error("a step of a ladder has 1 second to 366 days")]
    Step,
    /// A rung is no valid record of the name.
    #[error("rung {} of the ladder is not valid", rung + 1)]
    Record {
        /// Its place, the lowest is 0.
        rung: usize,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A rung has another sequence than the record below.
    #[error("rung {} of the ladder has another sequence than its record", rung + 1)]
    OtherSequence {
        /// Its place, the lowest is 0.
        rung: usize,
    },
    /// A rung has another value than the record below, or one that is not text.
    #[error("rung {} of the ladder has another value than its record", rung + 1)]
    OtherValue {
        /// Its place, the lowest is 0.
        rung: usize,
    },
    /// A rung ends too long after what is below it.
    #[error("rung {} of the ladder ends more than {} days after the one below", rung + 1, LADDER_STEP_MAX.as_secs() / 86_400)]
    TooFar {
        /// Its place, the lowest is 0.
        rung: usize,
    },
    /// A rung ends no later than what is below it.
    #[error("rung {} of the ladder ends no later than the one below", rung + 1)]
    NotRising {
        /// Its place, the lowest is 0.
        rung: usize,
    },
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;
    use crate::ipns::samples::{VALUE, fields, key, name_of};
    use crate::ipns::{compare, equivocates};

    const DAY: Duration = Duration::from_secs(86_400);
    const START: Millis = Millis(1_800_000_000_000);

    fn base(sequence: u64, value: &str) -> Record {
        let fields = RecordFields {
            validity: Timestamp::from(START + 90 * DAY),
            ..fields(value, sequence)
        };
        create(&key(1), &fields).unwrap()
    }

    fn signed(plan: &LadderPlan) -> Ladder {
        Ladder::sign(&key(1), &base(7, VALUE), plan).unwrap()
    }

    fn verify(base: &Record, rungs: &[Record]) -> Result<Ladder, LadderError> {
        let bytes = rungs.iter().map(|rung| &rung.bytes()[..]);
        Ladder::verify(&name_of(&key(1)), base, bytes)
    }

    #[test]
    fn what_is_signed_is_verified_and_outlives_the_record_step_by_step() {
        let ladder = signed(&LadderPlan::default());
        assert_eq!(verify(&base(7, VALUE), ladder.rungs()), Ok(ladder.clone()));
        assert_eq!(ladder, signed(&LadderPlan::default()));
        let kept = ladder.rungs().iter().map(|rung| &rung.bytes()[..]);
        assert_eq!(
            Ladder::verify_kept(&name_of(&key(1)), kept.clone()),
            Ok(ladder.clone())
        );
        assert!(Ladder::verify_kept(&name_of(&key(1)), kept.rev()).is_err());
        assert_eq!(ladder.rungs().len(), 12);
        let mut below = base(7, VALUE);
        for (rung, record) in ladder.rungs().iter().enumerate() {
            assert!(compare(record, &below).is_gt());
            assert!(!equivocates(record, &below));
            let end = START + (90 + 30 * (rung as u32 + 1)) * DAY;
            assert_eq!(record.validity(), Timestamp::from(end));
            below = record.clone();
        }
        assert_eq!(ladder.alive_until(), Some(below.validity()));
        assert_eq!(LadderPlan::default().to_string(), "12x30d");
        // A new head wins over every rung.
        assert!(compare(&base(8, "/ipfs/bafkqaaa"), &below).is_gt());
        assert!(ladder.above(&base(8, VALUE)).is_empty());
    }

    #[test]
    fn a_rung_is_due_half_a_step_before_the_end_at_most_15_days() {
        let end = Timestamp::from(START + 90 * DAY);
        let ladder = signed(&LadderPlan::default());
        assert_eq!(ladder.next_release(end), Some(START + 75 * DAY));
        assert_eq!(
            ladder.due(end, START + 75 * DAY - Duration::from_millis(1)),
            None
        );
        assert_eq!(ladder.due(end, START + 75 * DAY), Some(&ladder.rungs()[0]));
        let live = &ladder.rungs()[0];
        assert_eq!(
            ladder.next_release(live.validity()),
            Some(START + 105 * DAY)
        );
        let rest = ladder.above(live);
        assert_eq!(rest.rungs(), &ladder.rungs()[1..]);
        assert_eq!(rest.due(live.validity(), START + 104 * DAY), None);
        // A node that slept goes to the rung that is due now, and does not go through those before it.
        assert_eq!(ladder.due(end, START + 200 * DAY), Some(&ladder.rungs()[4]));
        // The last one, and after its end none.
        let last = ladder.rungs().last().unwrap();
        assert_eq!(ladder.due(end, last.validity().to_millis()), Some(last));
        assert_eq!(ladder.due(end, last.validity().to_millis() + DAY), None);
        assert_eq!(ladder.next_release(last.validity()), None);
        // Long steps are released 15 days before the end, short ones half a step.
        let year = LadderPlan {
            rungs: 1,
            step: 365 * DAY,
        };
        assert_eq!(signed(&year).next_release(end), Some(START + 75 * DAY));
        let short = LadderPlan {
            rungs: 1,
            step: 2 * DAY,
        };
        assert_eq!(signed(&short).next_release(end), Some(START + 89 * DAY));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_rung() {
        let ladder = signed(&LadderPlan::default());
        let with = |rung: usize, record: Record| {
            let mut rungs = ladder.rungs().to_vec();
            rungs[rung] = record;
            verify(&base(7, VALUE), &rungs).unwrap_err()
        };
        let end = ladder.rungs()[3].validity();
        let make = |seed, sequence, value, validity| {
            let fields = RecordFields {
                validity,
                ..fields(value, sequence)
            };
            create(&key(seed), &fields).unwrap()
        };
        assert_eq!(
            with(3, make(1, 8, VALUE, end)),
            LadderError::OtherSequence { rung: 3 }
        );
        assert_eq!(
            with(3, make(1, 7, "/ipfs/bafkqaaa", end)),
            LadderError::OtherValue { rung: 3 }
        );
        let equal = ladder.rungs()[2].clone();
        assert_eq!(with(3, equal), LadderError::NotRising { rung: 3 });
        assert_eq!(with(0, base(7, VALUE)), LadderError::NotRising { rung: 0 });
        assert_eq!(
            with(3, make(2, 7, VALUE, end)),
            LadderError::Record {
                rung: 3,
                source: RecordError::BadSignature
            }
        );
        let many: Vec<Record> = (0..=LADDER_RUNGS).map(|_| base(7, VALUE)).collect();
        assert!(matches!(
            verify(&base(7, VALUE), &many),
            Err(LadderError::TooLarge(_))
        ));
        let large = alloc::vec![0_u8; LADDER_BYTES / 2 + 1];
        let two = [&large[..], &large[..]];
        let refused = Ladder::verify(&name_of(&key(1)), &base(7, VALUE), two.into_iter());
        assert!(matches!(refused, Err(LadderError::TooLarge(_))));
    }

    #[test]
    fn a_rung_too_far_above_the_one_below_is_refused_and_kept_where_it_is() {
        let rung = |days: u32| {
            let fields = RecordFields {
                validity: Timestamp::from(START + (90 + days) * DAY),
                ..fields(VALUE, 7)
            };
            create(&key(1), &fields).unwrap()
        };
        let base = base(7, VALUE);
        assert!(verify(&base, &[rung(366), rung(732)]).is_ok());
        let refused = verify(&base, &[rung(367)]).unwrap_err();
        assert_eq!(refused, LadderError::TooFar { rung: 0 });
        let far = [rung(30), rung(397)];
        let refused = verify(&base, &far).unwrap_err();
        assert_eq!(refused, LadderError::TooFar { rung: 1 });
        assert_eq!(
            refused.to_string(),
            "rung 2 of the ladder ends more than 366 days after the one below"
        );
        // What was taken in before there was this limit is released as it was signed.
        let kept = far.iter().map(|rung| &rung.bytes()[..]);
        assert!(Ladder::verify_kept(&name_of(&key(1)), kept).is_ok());
    }

    #[test]
    fn plans_are_bounded() {
        let sign =
            |rungs, step| Ladder::sign(&key(1), &base(7, VALUE), &LadderPlan { rungs, step });
        assert!(sign(0, DAY).unwrap().is_empty());
        assert!(matches!(
            sign(LADDER_RUNGS + 1, DAY),
            Err(LadderError::TooLarge(_))
        ));
        assert_eq!(sign(1, Duration::from_millis(999)), Err(LadderError::Step));
        assert_eq!(sign(1, 367 * DAY), Err(LadderError::Step));
        let largest = sign(LADDER_RUNGS, 366 * DAY).unwrap();
        let bytes: usize = largest.rungs().iter().map(|rung| rung.bytes().len()).sum();
        assert!(bytes <= LADDER_BYTES, "{bytes}");
    }

    proptest! {
        #[test]
        fn a_node_that_looks_at_any_times_never_lets_the_name_lapse_before_the_last_rung(
            rungs in 1usize..6,
            hours in 1u32..2_000,
            looks in proptest::collection::vec(1u32..400, 1..40),
        ) {
            let plan = LadderPlan { rungs, step: hours * Duration::from_secs(3_600) };
            let ladder = signed(&plan);
            let mut live = base(7, VALUE);
            let mut now = START;
            for hours in looks {
                now = now + hours * Duration::from_secs(3_600);
                let before = live.clone();
                if let Some(rung) = ladder.above(&live).due(live.validity(), now) {
                    prop_assert!(compare(rung, &before).is_gt());
                    prop_assert!(!rung.is_expired(now));
                    // Nothing is released whose predecessor is not near its end.
                    let place = ladder.rungs().iter().position(|other| other == rung).unwrap();
                    let below = if place == 0 { base(7, VALUE) } else { ladder.rungs()[place - 1].clone() };
                    let lead = (plan.step / 2).min(LEAD_MAX);
                    prop_assert!(below.validity().to_millis() - lead <= now);
                    live = rung.clone();
                }
                let last = ladder.alive_until().unwrap().to_millis();
                prop_assert!(now > last || !live.is_expired(now));
            }
        }
    }
}
