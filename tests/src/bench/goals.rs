//! What each figure is called for people, and what it should reach.

use super::figure::Figure;

mod named;
mod notes;

pub(super) use named::NAMED;

/// Letters of the notes that are said beside a figure.
pub(super) fn letters(figure: &str) -> String {
    let letters = notes::NOTES
        .iter()
        .zip('a'..)
        .filter_map(|((figures, _), letter)| {
            let is_meant = figures
                .iter()
                .any(|name| figure == *name || name.ends_with('/') && figure.starts_with(name));
            is_meant.then_some(letter)
        });
    letters.collect()
}

/// Each note behind its letter.
pub(super) fn notes() -> impl Iterator<Item = (char, &'static str)> {
    ('a'..).zip(notes::NOTES.iter().map(|(_, note)| *note))
}

/// What a figure should reach.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// At least so many times the peer's, measured in the same run.
    TimesPeer(f64),
    /// At most so much more than the peer's.
    AtMostAbovePeer(f64),
    /// At most so many times the peer's.
    AtMostTimesPeer(f64),
    /// Told for its own sake.
    Shown,
}

pub(super) struct Named {
    pub(super) figure: &'static str,
    pub(super) title: &'static str,
    pub(super) goal: Goal,
}

/// The name and goal of a figure; one without an entry is shown under its own name.
pub(super) fn of(figure: &Figure) -> (&str, Goal) {
    NAMED
        .iter()
        .find(|named| named.figure == figure.name)
        .map_or((figure.name.as_str(), Goal::Shown), |named| {
            (named.title, named.goal)
        })
}

/// The goal in words, and whether it is met; `None` where there is nothing to compare with.
pub(super) fn verdict(figure: &Figure, goal: Goal) -> (String, Option<bool>) {
    let peer = figure.peer.as_ref().map(|(_, value)| *value);
    match goal {
        Goal::AtLeast(least) => (format!("≥ {}", short(least)), Some(figure.value >= least)),
        Goal::AtMost(most) => (format!("≤ {}", short(most)), Some(figure.value <= most)),
        Goal::TimesPeer(times) => (
            format!("≥ {}× peer", short(times)),
            figure.ratio().map(|ratio| ratio >= times),
        ),
        Goal::AtMostTimesPeer(times) => (
            format!("≤ {}× peer", short(times)),
            figure.ratio().map(|ratio| ratio <= times),
        ),
        Goal::AtMostAbovePeer(more) => (
            format!("≤ peer + {}", short(more)),
            peer.map(|peer| figure.value <= peer + more),
        ),
        Goal::Shown => (String::new(), None),
    }
}

/// Three figures that count, thousands apart.
pub(super) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        v if v == 0.0 || v >= 100.0 || v.fract() == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 0.1 => 2,
        _ => 4,
    };
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let (sign, digits) = whole
        .strip_prefix('-')
        .map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        "" => format!("{sign}{grouped}"),
        _ => format!("{sign}{grouped}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        for (value, text) in [
            (0.0, "0"),
            (1_234_567.8, "1,234,568"),
            (999.4, "999"),
            (12.345, "12.3"),
            (1.149, "1.15"),
            (8.0, "8"),
            (0.0123, "0.0123"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn a_goal_is_met_or_missed_as_measured() {
        let figure = Figure::new("a", 30.0, "x/s").beside("Peer", 10.0);
        assert_eq!(verdict(&figure, Goal::TimesPeer(3.0)).1, Some(true));
        assert_eq!(verdict(&figure, Goal::TimesPeer(3.1)).1, Some(false));
        assert_eq!(verdict(&figure, Goal::AtMost(29.9)).1, Some(false));
        assert_eq!(verdict(&figure, Goal::AtMostTimesPeer(3.0)).1, Some(true));
        assert_eq!(verdict(&figure, Goal::AtMostTimesPeer(2.9)).1, Some(false));
        assert_eq!(verdict(&figure, Goal::AtMostAbovePeer(20.0)).1, Some(true));
        let alone = Figure::new("a", 30.0, "x/s");
        assert_eq!(verdict(&alone, Goal::TimesPeer(3.0)).1, None);
    }
}
