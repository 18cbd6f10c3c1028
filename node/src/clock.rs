//! The node's clock: the wall clock, held against the monotonic one, so that a jump is seen and told.
//!
//! What waits for a time must survive a clock that was wrong. A row of a queue that is too far ahead is due
//! ([`DueWindow`](crate::storage::queues::DueWindow)), and doing it once more costs nothing. A rung of a ladder that was
//! released is out for good, so that is decided by a time that does not jump: the *steady* time follows the wall clock
//! at once while it is within an hour, and a day in each hour that the node runs where it is further ahead. A node that
//! was switched off for a month has its rungs out a good day later, long before the end of a record that has 15 days left;
//! one whose clock is a year ahead for an hour releases what would have been due a day later. While the wall clock is
//! behind the steady time, the wall clock counts: nothing is ever released before its time by it.
//!
//! [`Course`] is the rule, as a pure machine. Must never touch: what is done at a time.

use std::time::Duration;

use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_shared::time::Millis;
use serde::Serialize;

/// A difference between what both clocks say has passed is told from here on; below it, clocks are corrected every day.
const TOLD: Duration = Duration::from_secs(120);

/// How far ahead the wall clock is followed at once.
const AT_ONCE: Duration = Duration::from_secs(3_600);

/// No clock shows an earlier time than this release: 2025-11-01.
pub const EARLIEST: Millis = Millis(1_761_955_200_000);

/// How much faster than time passes the steady time follows a clock that is further ahead: a day in an hour.
const CATCH_UP: u32 = 24;

/// How long a jump is shown after it was told.
const SHOWN: Duration = Duration::from_secs(7 * 86_400);

/// What is written down of a clock, for the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockMark {
    /// The wall clock when it was looked at last.
    pub(crate) seen: Millis,
    /// The steady time then, before it was held below the wall clock.
    pub(crate) steady: Millis,
}

/// The wall clock showed something else than the time that had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockJump {
    /// What it showed afterwards.
    pub(crate) at: Millis,
    /// How far it jumped.
    pub(crate) by: Duration,
    /// Whether it went forward: it was set, or the machine slept.
    pub(crate) is_forward: bool,
}

/// What speaks against what the wall clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockDoubt {
    /// It is before this release, or went back lately: it was wrong then, or is now.
    Behind,
    /// It is further than the time that has passed.
    Ahead {
        /// The time that has passed tells this.
        steady: Millis,
    },
}

/// The course of a clock.
#[derive(Debug)]
pub(crate) struct Course {
    mark: ClockMark,
    /// The monotonic clock when the wall clock was looked at last.
    monotonic: Duration,
    /// A jump that nobody was told of yet.
    untold: Option<ClockJump>,
    /// The last jump, and the monotonic clock then.
    last: Option<(ClockJump, Duration)>,
}

impl Course {
    /// A clock at a start, which a run before has left a mark of. Without one it is believed. What it went forward by meanwhile may
    /// be the time that the node was switched off.
    pub(crate) fn new(before: Option<ClockMark>, wall: Millis, monotonic: Duration) -> Course {
        let steady = before.map_or(wall, |before| before.steady);
        let mut course = Course {
            mark: ClockMark { seen: wall, steady },
            monotonic,
            untold: None,
            last: None,
        };
        if let Some(before) = before
            && before.seen - wall >= TOLD
        {
            course.jumped(ClockJump {
                at: wall,
                by: before.seen - wall,
                is_forward: false,
            });
        }
        course.follow(wall, Duration::ZERO);
        course
    }

    /// The clocks show this now. Tells a jump, once.
    pub(crate) fn look(&mut self, wall: Millis, monotonic: Duration) -> Option<ClockJump> {
        let passed = monotonic.saturating_sub(self.monotonic);
        self.monotonic = monotonic;
        let expected = self.mark.seen + passed;
        let is_forward = wall > expected;
        // One of the two is zero.
        let by = (wall - expected).max(expected - wall);
        self.mark.seen = wall;
        self.follow(wall, passed);
        if by >= TOLD {
            self.jumped(ClockJump {
                at: wall,
                by,
                is_forward,
            });
        }
        self.untold.take()
    }

    fn jumped(&mut self, jump: ClockJump) {
        self.untold = Some(jump);
        self.last = Some((jump, self.monotonic));
    }

    fn follow(&mut self, wall: Millis, passed: Duration) {
        let steady = self.mark.steady;
        if wall <= steady {
            return;
        }
        self.mark.steady = match wall - steady <= AT_ONCE {
            true => wall,
            false => wall.min(steady + passed.saturating_mul(CATCH_UP)),
        };
    }

    /// The time by which what cannot be taken back is decided, while the wall clock shows this.
    pub(crate) fn steady(&self, wall: Millis) -> Millis {
        match wall - self.mark.steady <= AT_ONCE {
            true => wall,
            false => self.mark.steady,
        }
    }

    /// What speaks against what the wall clock shows.
    fn doubt(&self, wall: Millis, monotonic: Duration) -> Option<ClockDoubt> {
        let steady = self.steady(wall);
        let last = self.shown(monotonic);
        if wall < EARLIEST {
            Some(ClockDoubt::Behind)
        } else if steady < wall {
            Some(ClockDoubt::Ahead { steady })
        } else if last.is_some_and(|jump| !jump.is_forward) {
            Some(ClockDoubt::Behind)
        } else {
            None
        }
    }

    /// Whether nothing speaks against what the wall clock shows: it is where the steady time is, and has not jumped for some days.
    fn is_settled(&self, wall: Millis, monotonic: Duration) -> bool {
        self.steady(wall) == wall && self.shown(monotonic).is_none()
    }

    /// The last jump, for some days.
    fn shown(&self, monotonic: Duration) -> Option<ClockJump> {
        let (jump, then) = self.last?;
        (monotonic.saturating_sub(then) < SHOWN).then_some(jump)
    }
}

/// The clock of a node.
pub(crate) struct Clock(Mutex<Course>);

/// How the clock is, as it is told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClockReport {
    now: String,
    /// The time by which rungs are released; behind the clock where that went ahead.
    steady: String,
    last_jump: Option<JumpReport>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JumpReport {
    at: String,
    forward: bool,
    seconds: u64,
}

impl Clock {
    pub(crate) fn new(before: Option<ClockMark>) -> Clock {
        Clock(Mutex::new(Course::new(before, rt::now(), rt::monotonic())))
    }

    /// Looks at the clocks. Tells a jump, once.
    pub(crate) fn look(&self) -> Option<ClockJump> {
        self.0.lock().look(rt::now(), rt::monotonic())
    }

    /// What is to be written down.
    pub(crate) fn mark(&self) -> ClockMark {
        self.0.lock().mark
    }

    /// As [`Course::steady`].
    pub(crate) fn steady(&self, wall: Millis) -> Millis {
        self.0.lock().steady(wall)
    }

    /// Why the wall clock may be ahead or behind, where something speaks against what it shows.
    pub(crate) fn doubt(&self, wall: Millis) -> Option<ClockDoubt> {
        self.0.lock().doubt(wall, rt::monotonic())
    }

    /// As [`Course::is_settled`]. What can be put off and not be taken back waits for that.
    pub(crate) fn is_settled(&self, wall: Millis) -> bool {
        self.0.lock().is_settled(wall, rt::monotonic())
    }

    /// How it is now.
    pub(crate) fn report(&self) -> ClockReport {
        let course = self.0.lock();
        let now = rt::now();
        ClockReport {
            now: now.to_string(),
            steady: course.steady(now).to_string(),
            last_jump: course.shown(rt::monotonic()).map(|jump| JumpReport {
                at: jump.at.to_string(),
                forward: jump.is_forward,
                seconds: jump.by.as_secs(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_790_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(86_400);

    fn course() -> Course {
        Course::new(None, NOW, HOUR)
    }

    #[test]
    fn a_clock_that_is_right_or_nearly_is_followed_and_nothing_is_told() {
        let mut course = course();
        for minute in 1..600 {
            let passed = minute * MINUTE;
            // A minute fast after ten hours.
            let wall = NOW + passed + minute * Duration::from_millis(100);
            assert_eq!(course.look(wall, HOUR + passed), None);
            assert_eq!(course.steady(wall), wall);
        }
        // Corrected by less than is told, in both directions.
        let wall = NOW + 10 * HOUR;
        assert_eq!(course.look(wall, 11 * HOUR), None);
        assert_eq!(course.look(wall + MINUTE, 11 * HOUR), None);
        assert_eq!(course.steady(wall + MINUTE), wall + MINUTE);
    }

    #[test]
    fn a_jump_is_told_once_and_shown_for_a_week() {
        let mut course = course();
        let jump = course.look(NOW + 100 * DAY, HOUR + MINUTE);
        let by = 100 * DAY - MINUTE;
        let at = NOW + 100 * DAY;
        let forward = ClockJump {
            at,
            by,
            is_forward: true,
        };
        assert_eq!(jump, Some(forward));
        assert_eq!(course.look(at + MINUTE, HOUR + 2 * MINUTE), None);
        assert_eq!(course.shown(HOUR + 2 * MINUTE), Some(forward));
        assert_eq!(course.shown(9 * DAY), None);
        let back = course
            .look(NOW, HOUR + 3 * MINUTE)
            .map(|jump| jump.is_forward);
        assert_eq!(back, Some(false));
        // A clock of before 1970 shows its beginning.
        assert!(course.look(Millis(0), HOUR + 4 * MINUTE).is_some());
        assert_eq!(course.steady(Millis(0)), Millis(0));
        // Nothing overflows at the ends of both clocks.
        course.look(Millis(u64::MAX), Duration::MAX);
        assert!(course.look(NOW, Duration::ZERO).is_some());
    }

    #[test]
    fn a_clock_far_ahead_is_followed_a_day_in_an_hour_and_one_that_is_right_again_at_once() {
        let mut course = course();
        let ahead = NOW + 440 * DAY;
        course.look(ahead, HOUR);
        assert_eq!(course.steady(ahead), NOW);
        course.look(ahead + HOUR, 2 * HOUR);
        assert_eq!(course.steady(ahead + HOUR), NOW + DAY);
        // The wall clock counts where it is behind.
        course.look(NOW + HOUR, 2 * HOUR);
        assert_eq!(course.steady(NOW + HOUR), NOW + HOUR);
        // One that had really been away is there in the end.
        for hours in 1..500 {
            course.look(ahead + hours * HOUR, 2 * HOUR + hours * HOUR);
        }
        let wall = ahead + 499 * HOUR;
        assert_eq!(course.steady(wall), wall);
    }

    #[test]
    fn what_speaks_against_a_clock_is_told() {
        let mut course = course();
        assert_eq!(course.doubt(NOW, HOUR), None);
        let early = EARLIEST - MINUTE;
        assert_eq!(course.doubt(early, HOUR), Some(ClockDoubt::Behind));
        let ahead = NOW + 100 * DAY;
        course.look(ahead, HOUR + MINUTE);
        let steady = course.steady(ahead);
        assert!(steady < NOW + DAY);
        let doubt = course.doubt(ahead, HOUR + MINUTE);
        assert_eq!(doubt, Some(ClockDoubt::Ahead { steady }));
        assert!(!course.is_settled(ahead, HOUR + MINUTE));
        // It is set back: nobody can tell which was right, for a week.
        course.look(NOW + 2 * MINUTE, HOUR + 2 * MINUTE);
        let back = NOW + 2 * MINUTE;
        assert_eq!(
            course.doubt(back, HOUR + 2 * MINUTE),
            Some(ClockDoubt::Behind)
        );
        assert!(!course.is_settled(back, HOUR + 2 * MINUTE));
        let later = HOUR + 8 * DAY;
        course.look(NOW + 8 * DAY, later);
        assert_eq!(course.doubt(NOW + 8 * DAY, later), None);
        assert!(course.is_settled(NOW + 8 * DAY, later));
    }

    #[test]
    fn a_start_goes_on_where_the_run_before_was() {
        let before = ClockMark {
            seen: NOW,
            steady: NOW,
        };
        // Stopped for half an hour, and killed before the last minutes were written down.
        let mut soon = Course::new(Some(before), NOW + HOUR / 2, HOUR);
        assert_eq!(soon.steady(NOW + HOUR / 2), NOW + HOUR / 2);
        assert_eq!(soon.look(NOW + HOUR / 2, HOUR), None);
        // Switched off for a year, or the clock is wrong: nobody can tell.
        let mut later = Course::new(Some(before), NOW + 365 * DAY, HOUR);
        assert_eq!(later.steady(NOW + 365 * DAY), NOW);
        assert_eq!(later.look(NOW + 365 * DAY, HOUR), None);
        // A clock that is behind the run before was wrong then, or is now.
        let ahead = ClockMark {
            seen: NOW + 100 * DAY,
            steady: NOW + DAY,
        };
        let mut back = Course::new(Some(ahead), NOW, HOUR);
        let jump = back.look(NOW, HOUR).map(|jump| (jump.by, jump.is_forward));
        assert_eq!(jump, Some((100 * DAY, false)));
        assert_eq!(back.steady(NOW), NOW);
        // A machine without a battery starts in 1970, and has its time from the network a moment later.
        let mut old = Course::new(Some(before), Millis(5), HOUR);
        assert_eq!(old.steady(Millis(5)), Millis(5));
        assert!(old.look(NOW + MINUTE, HOUR + MINUTE).is_some());
        assert_eq!(old.steady(NOW + MINUTE), NOW + MINUTE);
    }
}
