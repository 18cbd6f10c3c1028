//! Times people type and read: `90d`, `2027-01-31`, `in 89 days`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use perennis_shared::time::{DateMeans, Millis, TimeError};

use super::failure::Failure;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const YEAR: u64 = 365 * DAY;

/// Longest span that may be asked for: ten years.
const LONGEST: u64 = 10 * YEAR;

/// The time of this machine's clock.
pub(crate) fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A span of time: a number and `s`, `m`, `h`, `d`, `w` or `y`.
pub(crate) fn parse_span(text: &str, what: &str) -> Result<Duration, Failure> {
    let refused = || {
        Failure::usage(format!("{what} is not a span of time: {text:?}"))
            .hint("write a whole number and a unit: 30m, 12h, 90d, 4w or 1y (at most 10y)")
    };
    let (digits, unit) = text
        .char_indices()
        .next_back()
        .map(|(at, unit)| (&text[..at], unit))
        .ok_or_else(refused)?;
    let unit = match unit {
        's' => SECOND,
        'm' => MINUTE,
        'h' => HOUR,
        'd' => DAY,
        'w' => WEEK,
        'y' => YEAR,
        _ => return Err(refused()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    let millis = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|millis| (1..=LONGEST).contains(millis))
        .ok_or_else(refused)?;
    Ok(Duration::from_millis(millis))
}

/// A moment to come: a span from `now`, a date (its end, UTC), an RFC 3339 time or Unix milliseconds.
pub(crate) fn parse_moment(text: &str, now: Millis, what: &str) -> Result<Millis, Failure> {
    let moment = if let Ok(span) = parse_span(text, what) {
        now + span
    } else {
        Millis::parse_written(text, DateMeans::End).map_err(|error| {
            let failure = Failure::usage(format!("{what} is not a time: {text:?}"));
            // Of what is in no form of a time the hint says how to write it.
            let failure = match error {
                TimeError::Malformed => failure,
                _ => failure.because(&error),
            };
            failure.hint("write 90d, 12h, 4w, a date such as 2027-01-31, or 2027-01-31T12:00:00Z")
        })?
    };
    if moment <= now {
        return Err(Failure::usage(format!("{what} lies in the past: {text}"))
            .hint("give a time to come, such as 90d"));
    }
    Ok(moment)
}

/// `in 89 days`, `3 minutes ago`, `now`
pub(crate) fn relative(moment: Millis, now: Millis) -> String {
    let distance = moment.0.abs_diff(now.0);
    let span = span_text(distance);
    if distance < SECOND {
        "now".to_owned()
    } else if moment > now {
        format!("in {span}")
    } else {
        format!("{span} ago")
    }
}

/// A time for people, to the second: `2027-01-31 12:00:00 UTC (in 89 days)`.
pub(crate) fn moment_text(moment: Millis, now: Millis) -> String {
    let text = moment.to_string();
    let seconds = text.get(.."2027-01-31T12:00:00".len()).unwrap_or(&text);
    format!(
        "{} UTC ({})",
        seconds.replace('T', " "),
        relative(moment, now)
    )
}

/// `90 days`: the largest unit of which there are at least two, or the largest there is one of.
pub(crate) fn span_text(millis: u64) -> String {
    const UNITS: [(u64, &str); 5] = [
        (YEAR, "year"),
        (DAY, "day"),
        (HOUR, "hour"),
        (MINUTE, "minute"),
        (SECOND, "second"),
    ];
    if millis < SECOND {
        return format!("{millis} ms");
    }
    for (index, (unit, name)) in UNITS.iter().enumerate() {
        let last = index + 1 == UNITS.len();
        if millis >= 2 * unit || last {
            return super::page::count((millis + unit / 2) / unit, name);
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);

    #[test]
    fn spans_are_read_and_bounded() {
        assert_eq!(
            parse_span("90d", "x").unwrap(),
            Duration::from_millis(90 * DAY)
        );
        assert_eq!(parse_span("1s", "x").unwrap(), Duration::from_secs(1));
        for bad in [
            "",
            "d",
            "0d",
            "-1d",
            "+1d",
            "1.5h",
            "11y",
            "99999999999999999999d",
            "5",
            "3é",
        ] {
            let failure = parse_span(bad, "--expires").unwrap_err();
            assert_eq!(failure.exit, crate::failure::Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_date_means_the_end_of_that_day() {
        let end = parse_moment("2030-01-31", NOW, "x").unwrap();
        assert_eq!(end.to_string(), "2030-02-01T00:00:00.000Z");
        assert!(parse_moment("2030-02-31", NOW, "x").is_err());
        assert!(parse_moment("2001-01-01", NOW, "x").is_err());
        let counted = parse_moment("1900000000000", NOW, "x").unwrap();
        assert_eq!(counted, Millis(1_900_000_000_000));
        let seconds = parse_moment("1900000000", NOW, "x").unwrap_err();
        assert!(seconds.message.contains("seconds"), "{}", seconds.message);
    }

    #[test]
    fn distances_read_well() {
        let at = |offset: i64| relative(Millis(NOW.0.saturating_add_signed(offset)), NOW);
        assert_eq!(at(0), "now");
        assert_eq!(at(90 * DAY as i64), "in 90 days");
        assert_eq!(at(-(3 * MINUTE as i64)), "3 minutes ago");
        assert_eq!(at(-(MINUTE as i64)), "60 seconds ago");
        assert_eq!(at(-(5 * YEAR as i64)), "5 years ago");
    }
}
