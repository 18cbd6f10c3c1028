//! Moments and waits of workers.

use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::time::Millis;

/// Longest wait of most workers when nothing is due, and after a step that failed.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// The moment that comes after this wait.
pub(super) fn later(wait: Duration) -> Millis {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Millis(rt::now().0.saturating_add(wait))
}

/// How far a moment that has passed may lie ahead of the clock: clocks are set by seconds.
const SLACK: Duration = Duration::from_secs(60);

/// Whether a moment at which something was done has not come yet: it was written with a clock that was wrong, or the clock is
/// wrong now. Nothing is to wait for it.
pub(super) fn is_ahead(done: Millis, now: Millis) -> bool {
    done > now + SLACK
}

/// The longest that [`spread`] makes of a period.
pub(super) fn longest_spread(period: Duration) -> Duration {
    period.saturating_add(period / 10)
}

/// A period with a tenth of jitter to both sides.
pub(super) fn spread(period: Duration, random: u64) -> Duration {
    let fifth = period / 5;
    let width = u64::try_from(fifth.as_micros()).unwrap_or(u64::MAX);
    period - period / 10 + Duration::from_micros(random % width.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        let period = Duration::from_secs(100);
        for random in [0, 1, 17, u64::MAX / 2, u64::MAX] {
            let spread = spread(period, random);
            assert!((period * 9 / 10..=longest_spread(period)).contains(&spread));
        }
    }
}
