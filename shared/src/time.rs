//! Instants as values: nothing here reads a clock.
//!
//! [`Millis`] is what the product counts with; [`Timestamp`] keeps the nanoseconds that the validity
//! of an IPNS record needs. Both are written as RFC 3339 in UTC. Years run from 0000 to 9999 and
//! there are no leap seconds, as in Unix time.

use core::{
    fmt,
    ops::{Add, Sub},
    str::FromStr,
    time::Duration,
};

/// Seconds of 0000-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
const FIRST_SECOND: i64 = -62_167_219_200;
const LAST_SECOND: i64 = 253_402_300_799;

/// Milliseconds since 1970-01-01T00:00:00Z.
///
/// Sums and differences stop at the ends of the range instead of wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// The last instant that can be written: the end of the year 9999.
    pub const LAST: Millis = Millis(LAST_SECOND as u64 * 1_000 + 999);

    /// The first instant that is taken as a bare count: 1973-03-03T09:46:40Z. A count below it is most likely one of
    /// seconds, which reach it in the year 5138.
    pub const FIRST_COUNT: Millis = Millis(100_000_000_000);

    /// An instant that somebody else counted out in Unix milliseconds.
    ///
    /// # Errors
    /// Refuses one after [`Millis::LAST`], which could not be written and read again, and one before
    /// [`Millis::FIRST_COUNT`].
    pub fn counted(count: u64) -> Result<Millis, TimeError> {
        let instant = Millis(count);
        if instant > Self::LAST {
            return Err(TimeError::OutOfRange);
        }
        if instant < Self::FIRST_COUNT {
            return Err(TimeError::Seconds);
        }
        Ok(instant)
    }

    /// Parses an instant as people write it: a date, which stands for one end of its day in UTC, an RFC 3339 time, or Unix
    /// milliseconds.
    ///
    /// # Errors
    /// As [`Millis::parse_rfc3339`] and [`Millis::counted`].
    pub fn parse_written(text: &str, date: DateMeans) -> Result<Millis, TimeError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let count = text.parse().map_err(|_| TimeError::OutOfRange)?;
            return Millis::counted(count);
        }
        let is_date = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !is_date {
            return Millis::parse_rfc3339(text);
        }
        let midnight = Millis::parse_rfc3339(&alloc::format!("{text}T00:00:00Z"))?;
        Ok(match date {
            DateMeans::Start => midnight,
            DateMeans::End => midnight + Duration::from_secs(86_400),
        })
    }

    /// The instant in UTC without a fraction of a second, which is cut off: `2026-11-21T09:27:00Z`, as XML Schema and DID Core
    /// have it.
    pub fn to_seconds(self) -> alloc::string::String {
        let text = alloc::string::ToString::to_string(&self);
        let (seconds, _) = text.split_once('.').unwrap_or((&text, ""));
        alloc::format!("{seconds}Z")
    }

    /// Parses an RFC 3339 instant; anything finer than a millisecond is cut off.
    ///
    /// # Errors
    /// Refuses other formats and instants before 1970.
    pub fn parse_rfc3339(text: &str) -> Result<Millis, TimeError> {
        let timestamp = Timestamp::from_str(text)?;
        if timestamp.secs < 0 {
            return Err(TimeError::OutOfRange);
        }
        Ok(timestamp.to_millis())
    }
}

/// What a date without a time of day stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateMeans {
    /// The first instant of the day.
    Start,
    /// The first instant behind the day: what ends on a day has that day.
    End,
}

impl Add<Duration> for Millis {
    type Output = Millis;

    fn add(self, duration: Duration) -> Millis {
        Millis(self.0.saturating_add(whole_millis(duration)))
    }
}

impl Sub<Duration> for Millis {
    type Output = Millis;

    fn sub(self, duration: Duration) -> Millis {
        Millis(self.0.saturating_sub(whole_millis(duration)))
    }
}

impl Sub for Millis {
    type Output = Duration;

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    fn sub(self, earlier: Millis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Millis {
    /// RFC 3339 in UTC with three digits of a second; instants after the year 9999 show its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = Timestamp::from(*self);
        write_seconds(f, timestamp.secs)?;
        write!(f, ".{:03}Z", timestamp.nanos / 1_000_000)
    }
}

/// An instant with nanoseconds, between the years 0000 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    secs: i64,
    nanos: u32,
}

impl Timestamp {
    /// An instant `secs` seconds after 1970-01-01T00:00:00Z (before it when negative) plus `nanos`
    /// nanoseconds.
    ///
    /// # Errors
    /// Refuses years outside 0000 to 9999, and a billion nanoseconds or more.
    pub fn new(secs: i64, nanos: u32) -> Result<Timestamp, TimeError> {
        if !(FIRST_SECOND..=LAST_SECOND).contains(&secs) || nanos >= 1_000_000_000 {
            return Err(TimeError::OutOfRange);
        }
        Ok(Timestamp { secs, nanos })
    }

    /// Parses an RFC 3339 instant: `2026-11-21T09:27:00.123456789Z`, with zero to nine digits of a
    /// second and any offset.
    ///
    /// # Errors
    /// Refuses other formats, dates and times of day that do not exist, leap seconds, and instants
    /// whose UTC year is outside 0000 to 9999.
    pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
        text.parse()
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, negative before it.
    pub fn secs(&self) -> i64 {
        self.secs
    }

    /// Nanoseconds after [`Timestamp::secs`], below one billion.
    pub fn nanos(&self) -> u32 {
        self.nanos
    }

    /// The same instant in milliseconds, rounded down; zero for instants before 1970.
    pub fn to_millis(&self) -> Millis {
        match u64::try_from(self.secs) {
            Ok(secs) => Millis(secs * 1_000 + u64::from(self.nanos / 1_000_000)),
            Err(_) => Millis(0),
        }
    }
}

impl From<Millis> for Timestamp {
    /// Instants after the year 9999 become its last nanosecond.
    fn from(millis: Millis) -> Timestamp {
        let secs = i64::try_from(millis.0 / 1_000).unwrap_or(i64::MAX);
        if secs > LAST_SECOND {
            return Timestamp {
                secs: LAST_SECOND,
                nanos: 999_999_999,
            };
        }
        Timestamp {
            secs,
            nanos: (millis.0 % 1_000) as u32 * 1_000_000,
        }
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, always with nine digits of a second, as IPNS records have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_seconds(f, self.secs)?;
        write!(f, ".{:09}Z", self.nanos)
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Timestamp, TimeError> {
        let (head, rest) = text
            .as_bytes()
            .split_at_checked(19)
            .ok_or(TimeError::Malformed)?;
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators.iter().any(|&(at, byte)| head[at] != byte) {
            return Err(TimeError::Malformed);
        }
        let (year, month, day) = (
            digits(&head[0..4])?,
            digits(&head[5..7])?,
            digits(&head[8..10])?,
        );
        let (hour, minute, second) = (
            digits(&head[11..13])?,
            digits(&head[14..16])?,
            digits(&head[17..19])?,
        );
        if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
            return Err(TimeError::OutOfRange);
        }
        if hour > 23 || minute > 59 || second > 60 {
            return Err(TimeError::OutOfRange);
        }
        if second == 60 {
            return Err(TimeError::LeapSecond);
        }
        let (nanos, offset) = split_fraction(rest)?;
        let local =
            days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
        Timestamp::new(local - offset_seconds(offset)?, nanos)
    }
}

/// Why text is no instant.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not in the form of RFC 3339.
    #[error("not an RFC 3339 time such as 2026-11-21T09:27:00Z")]
    Malformed,
    /// No such date or time of day, or a year outside the supported range.
    #[error("no such date or time of day, or outside the supported years")]
    OutOfRange,
    /// A 61st second.
    #[error("there are no leap seconds here, as in Unix time: write second 59")]
    LeapSecond,
    /// A count that is too small for milliseconds.
    #[error(
        "Unix milliseconds have 12 digits or more since 1973: this looks like seconds, to be multiplied by 1000"
    )]
    Seconds,
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn digits(text: &[u8]) -> Result<i64, TimeError> {
    text.iter().try_fold(0, |number, byte| {
        if byte.is_ascii_digit() {
            Ok(number * 10 + i64::from(byte - b'0'))
        } else {
            Err(TimeError::Malformed)
        }
    })
}

/// Splits `.123Z` into nanoseconds and what follows the digits.
fn split_fraction(rest: &[u8]) -> Result<(u32, &[u8]), TimeError> {
    let Some(fraction) = rest.strip_prefix(b".") else {
        return Ok((0, rest));
    };
    let count = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return Err(TimeError::Malformed);
    }
    let scale = 10i64.pow(9 - count as u32);
    let nanos = digits(&fraction[..count])? * scale;
    Ok((nanos as u32, &fraction[count..]))
}

fn offset_seconds(offset: &[u8]) -> Result<i64, TimeError> {
    let sign = match offset.first() {
        Some(b'Z') if offset.len() == 1 => return Ok(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(TimeError::Malformed),
    };
    if offset.len() != 6 || offset[3] != b':' {
        return Err(TimeError::Malformed);
    }
    let (hours, minutes) = (digits(&offset[1..3])?, digits(&offset[4..6])?);
    if hours > 23 || minutes > 59 {
        return Err(TimeError::OutOfRange);
    }
    Ok(sign * (hours * 3_600 + minutes * 60))
}

fn write_seconds(f: &mut fmt::Formatter<'_>, secs: i64) -> fmt::Result {
    let (days, of_day) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    write!(
        f,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    )
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar. Years start in March here, so that the
/// leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The reverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn known_instants_are_read_and_written() {
        let table = [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799, 500_000_000),
            ("2026-11-21T10:27:00+01:00", 1_795_253_220, 0),
            ("1969-12-31T23:59:59.000000001Z", -1, 1),
            ("0000-01-01T00:00:00Z", FIRST_SECOND, 0),
            ("9999-12-31T23:59:59.999999999Z", LAST_SECOND, 999_999_999),
        ];
        for (text, secs, nanos) in table {
            let parsed = Timestamp::parse(text).expect(text);
            assert_eq!((parsed.secs(), parsed.nanos()), (secs, nanos), "{text}");
        }
        let written = Timestamp::new(951_868_799, 500_000_000).unwrap();
        assert_eq!(written.to_string(), "2000-02-29T23:59:59.500000000Z");
        assert_eq!(Millis(1_500).to_string(), "1970-01-01T00:00:01.500Z");
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        let malformed = [
            "",
            "2026-11-21",
            "2026-11-21 09:27:00Z",
            "2026-11-21t09:27:00Z",
            "2026-11-21T09:27:00",
            "2026-11-21T09:27:00z",
            "2026-11-21T09:27:00.Z",
            "2026-11-21T09:27:00.1234567890Z",
            "2026-11-21T09:27:00+0100",
            "2026-11-21T09:27:00Zx",
            "+026-11-21T09:27:00Z",
            "2026-11-21T09:27:0äZ",
        ];
        for text in malformed {
            assert_eq!(Timestamp::parse(text), Err(TimeError::Malformed), "{text}");
        }
        let impossible = [
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T23:59:61Z",
            "2026-01-01T00:00:00+24:00",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ];
        for text in impossible {
            assert_eq!(Timestamp::parse(text), Err(TimeError::OutOfRange), "{text}");
        }
        for text in ["2026-12-31T23:59:60Z", "2030-06-30T23:59:60.5+01:00"] {
            assert_eq!(Timestamp::parse(text), Err(TimeError::LeapSecond), "{text}");
        }
    }

    #[test]
    fn what_people_write_has_one_meaning() {
        let written = |text: &str| Millis::parse_written(text, DateMeans::End);
        assert_eq!(
            written("2030-01-31").map(|end| end.to_string()),
            Ok("2030-02-01T00:00:00.000Z".to_string())
        );
        let start = Millis::parse_written("2030-01-31", DateMeans::Start).unwrap();
        assert_eq!(start.to_string(), "2030-01-31T00:00:00.000Z");
        assert_eq!(written("1795253220000"), Ok(Millis(1_795_253_220_000)));
        assert_eq!(
            written("2026-11-21T09:27:00Z"),
            Ok(Millis(1_795_253_220_000))
        );
        for (text, error) in [
            ("1900000000", TimeError::Seconds),
            ("0", TimeError::Seconds),
            ("99999999999", TimeError::Seconds),
            ("253402300800000", TimeError::OutOfRange),
            ("99999999999999999999999", TimeError::OutOfRange),
            ("2030-02-30", TimeError::OutOfRange),
            ("2030-06-30T23:59:60Z", TimeError::LeapSecond),
            ("", TimeError::Malformed),
            ("2030-1-1", TimeError::Malformed),
            ("soon", TimeError::Malformed),
        ] {
            assert_eq!(written(text), Err(error), "{text}");
        }
        assert_eq!(Millis::counted(100_000_000_000), Ok(Millis::FIRST_COUNT));
    }

    #[test]
    fn sums_stop_at_the_ends() {
        assert_eq!(Millis(5) - Duration::from_millis(9), Millis(0));
        assert_eq!(
            Millis(u64::MAX) + Duration::from_millis(1),
            Millis(u64::MAX)
        );
        assert_eq!(Millis(3) - Millis(7), Duration::ZERO);
        assert_eq!(Millis(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(
            Millis::parse_rfc3339("1969-12-31T23:59:59Z"),
            Err(TimeError::OutOfRange)
        );
    }

    proptest! {
        #[test]
        fn every_timestamp_comes_back(
            secs in FIRST_SECOND..=LAST_SECOND,
            nanos in 0u32..1_000_000_000,
        ) {
            let timestamp = Timestamp::new(secs, nanos).unwrap();
            prop_assert_eq!(Timestamp::parse(&timestamp.to_string()), Ok(timestamp));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = Timestamp::parse(&text);
        }
    }
}
