//! When and where a change was made: the hybrid logical clock and the device.
//!
//! The clock follows Kulkarni et al., "Logical Physical Clocks" (2014): 48 bits of Unix milliseconds
//! and 16 bits that count changes within a millisecond, in one number. It never goes back, stays ahead of
//! everything it has seen, and is bounded by the wall clock: see [`MAX_DRIFT`].

use core::time::Duration;

use crate::{sign::PublicKey, time::Millis};

/// How far a clock reading may be ahead of the reader's wall clock before it is refused: one day, so that
/// a device with a wrong time zone still works.
pub const MAX_DRIFT: Duration = Duration::from_secs(24 * 60 * 60);

/// A reading of the hybrid logical clock. Later readings are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(u64);

impl Hlc {
    /// The clock's first reading, before everything else.
    pub const ZERO: Hlc = Hlc(0);

    /// A reading from its number: milliseconds in the upper 48 bits, the counter below.
    pub const fn from_u64(number: u64) -> Hlc {
        Hlc(number)
    }

    /// The reading as one number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The first reading within a millisecond. Times after the year 10889 become the last one there is.
    pub const fn at(time: Millis) -> Hlc {
        if time.0 >> 48 == 0 {
            Hlc(time.0 << 16)
        } else {
            Hlc(u64::MAX)
        }
    }

    /// The reading's wall-clock part.
    pub const fn millis(self) -> Millis {
        Millis(self.0 >> 16)
    }

    /// The next reading after `seen`, the greatest reading known, at wall-clock time `now`.
    ///
    /// # Errors
    /// Refuses to follow a reading that is more than [`MAX_DRIFT`] ahead of `now`: one of the two
    /// clocks is wrong.
    pub fn tick(seen: Hlc, now: Millis) -> Result<Hlc, ClockError> {
        seen.check_drift(now)?;
        let next = seen
            .0
            .checked_add(1)
            .ok_or(ClockError { reading: seen, now })?;
        Ok(Hlc(next).max(Hlc::at(now)))
    }

    /// Checks that the reading is not from the future.
    ///
    /// # Errors
    /// Refuses readings more than [`MAX_DRIFT`] ahead of `now`.
    pub fn check_drift(self, now: Millis) -> Result<(), ClockError> {
        if self.millis() > now + MAX_DRIFT {
            return Err(ClockError { reading: self, now });
        }
        Ok(())
    }
}

/// The first eight bytes of the public key that signed a change: enough to order devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceTag(pub [u8; 8]);

impl From<&PublicKey> for DeviceTag {
    fn from(key: &PublicKey) -> DeviceTag {
        let mut tag = [0; 8];
        tag.copy_from_slice(&key.as_bytes()[..8]);
        DeviceTag(tag)
    }
}

/// Which of two changes of one row is the later one: by clock, then by device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The clock reading of the device when the change was made.
    pub clock: Hlc,
    /// The device that made it.
    pub device: DeviceTag,
}

/// A clock reading is too far ahead of the wall clock, or the clock is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a change is dated {}, but it is {now} here; check the clocks of your devices", .reading.millis())]
pub struct ClockError {
    /// The reading that was refused.
    pub reading: Hlc,
    /// The wall-clock time it was compared with.
    pub now: Millis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_follow_the_wall_clock_and_never_go_back() {
        let now = Millis(1_700_000_000_000);
        let first = Hlc::tick(Hlc::ZERO, now).unwrap();
        assert_eq!(first, Hlc::at(now));
        let second = Hlc::tick(first, now).unwrap();
        assert_eq!(second.as_u64(), first.as_u64() + 1);
        let after_jump_back = Hlc::tick(second, Millis(now.0 - 5_000)).unwrap();
        assert!(after_jump_back > second);
        assert_eq!(after_jump_back.millis(), now);
        assert_eq!(
            Hlc::tick(second, now + Duration::from_millis(1))
                .unwrap()
                .millis()
                .0,
            now.0 + 1
        );
    }

    #[test]
    fn readings_from_the_future_are_refused() {
        let now = Millis(1_700_000_000_000);
        assert!(Hlc::at(now + MAX_DRIFT).check_drift(now).is_ok());
        let ahead = Hlc::at(now + MAX_DRIFT + Duration::from_millis(1));
        assert_eq!(
            ahead.check_drift(now),
            Err(ClockError {
                reading: ahead,
                now
            })
        );
        assert!(Hlc::tick(ahead, now).is_err());
        assert!(Hlc::tick(Hlc::from_u64(u64::MAX), Millis(u64::MAX)).is_err());
        assert_eq!(Hlc::at(Millis(u64::MAX)).as_u64(), u64::MAX);
    }
}
