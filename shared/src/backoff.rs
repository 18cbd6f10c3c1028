//! When to try again: exponential delays with jitter, as a pure function of the number of failures.

use core::time::Duration;

/// A policy of retries.
///
/// After the first failure the delay lies between `base` and twice that, after each further one
/// twice as high, and never above `max`. Where in that range is decided by a random number, so that
/// many clients that failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Shortest delay.
    pub base: Duration,
    /// Longest delay.
    pub max: Duration,
    /// Most attempts, the first included.
    pub attempts: u32,
}

impl Default for Backoff {
    /// 500 ms to 4 s, 5 attempts.
    fn default() -> Backoff {
        Backoff {
            base: Duration::from_millis(500),
            max: Duration::from_secs(4),
            attempts: 5,
        }
    }
}

impl Backoff {
    /// The policy while nobody is there to be asked: pauses do not grow and there are at most four attempts, so that a server that
    /// comes back within a second is reached, and one that is not there is told soon. By default 0.9 to 1.5 s.
    #[must_use]
    pub fn unreachable(&self) -> Backoff {
        let max = self.base.min(self.max);
        Backoff {
            base: max * 3 / 5,
            max,
            attempts: self.attempts.min(4),
        }
    }

    /// How long to wait after `failures` failed attempts (1 after the first), or `None` when there
    /// shall be no further one. `random` is any number, a new one for each delay.
    pub fn delay(&self, failures: u32, random: u64) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        let doublings = failures.saturating_sub(1);
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let shortest = self.base.saturating_mul(factor).min(self.max / 2);
        let shortest = shortest.max(self.base.min(self.max));
        let longest = self.base.saturating_mul(factor).saturating_mul(2);
        let longest = longest.min(self.max).max(shortest);
        let width = u64::try_from((longest - shortest).as_micros()).unwrap_or(u64::MAX);
        let jitter = random % width.saturating_add(1).max(1);
        Some(shortest + Duration::from_micros(jitter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn default_policy_doubles_from_500_ms_to_4_s_and_gives_up_after_5_attempts() {
        let policy = Backoff::default();
        let bounds = [(500, 1_000), (1_000, 2_000), (2_000, 4_000), (2_000, 4_000)];
        for (failures, (shortest, longest)) in (1..).zip(bounds) {
            let width = (longest - shortest) * 1_000;
            let first = policy.delay(failures, 0);
            let last = policy.delay(failures, width);
            assert_eq!(first, Some(Duration::from_millis(shortest)));
            assert_eq!(last, Some(Duration::from_millis(longest)));
        }
        assert_eq!(policy.delay(5, 0), None);
        assert_eq!(policy.delay(u32::MAX, 0), None);
    }

    #[test]
    fn nobody_there_is_told_within_a_second_and_a_half() {
        let policy = Backoff::default().unreachable();
        for failures in 1..4 {
            for random in [0, 100_000, 200_000] {
                let pause = policy.delay(failures, random).unwrap();
                let wanted = Duration::from_millis(300)..=Duration::from_millis(500);
                assert!(wanted.contains(&pause), "{pause:?}");
            }
        }
        assert_eq!(policy.delay(4, 0), None);
        let once = Backoff {
            attempts: 1,
            ..Backoff::default()
        };
        assert_eq!(once.unreachable().delay(1, 0), None);
    }

    #[test]
    fn different_random_numbers_give_different_delays() {
        let policy = Backoff::default();
        for failures in 1..5 {
            assert_ne!(policy.delay(failures, 1), policy.delay(failures, 2));
        }
    }

    proptest! {
        #[test]
        fn delays_stay_within_the_policy(
            base in 0u64..100_000,
            extra in 0u64..100_000,
            attempts: u32,
            failures: u32,
            random: u64,
        ) {
            let policy = Backoff {
                base: Duration::from_millis(base),
                max: Duration::from_millis(base + extra),
                attempts,
            };
            match policy.delay(failures, random) {
                Some(delay) => {
                    prop_assert!(failures < attempts);
                    prop_assert!((policy.base..=policy.max).contains(&delay));
                }
                None => prop_assert!(failures >= attempts),
            }
        }
    }
}
