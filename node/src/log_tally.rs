//! Lines of the node's log that would come once for each block: the first are told, the rest is counted.
//!
//! One file that is gone takes thousands of blocks with it, and as many lines would bury the one that says so. Metrics count every
//! block all the same. No clock is read here: who tells says when.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use perennis_store::FileNumber;

/// Lines that are told one by one in a window.
const ALONE: u64 = 3;

/// Time from the first line to the sum of those that were not told.
const WINDOW: Duration = Duration::from_secs(60);

/// Files that a sum names.
const NAMED: usize = 4;

/// Lines of one kind.
#[derive(Debug, Default)]
pub(crate) struct LogTally {
    window: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    begun: Duration,
    told: u64,
    untold: Untold,
}

/// Lines that were counted and not told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Untold {
    pub(crate) count: u64,
    /// Those about a block of which it is known in which file it lay.
    files: BTreeMap<FileNumber, u64>,
}

impl LogTally {
    /// Whether to tell of one more block by itself; it is counted otherwise. Files that are known are bounded by those of the store.
    pub(crate) fn is_told(&self, now: Duration, file: Option<FileNumber>) -> bool {
        let mut window = self.window.lock();
        let window = window.get_or_insert_with(|| Window {
            begun: now,
            told: 0,
            untold: Untold::default(),
        });
        if window.told < ALONE {
            window.told += 1;
            return true;
        }
        window.untold.count += 1;
        if let Some(file) = file {
            *window.untold.files.entry(file).or_default() += 1;
        }
        false
    }

    /// What was counted, once the window is over; the next line begins another.
    pub(crate) fn untold(&self, now: Duration) -> Option<Untold> {
        let mut window = self.window.lock();
        let ended = window.take_if(|window| now >= window.begun.saturating_add(WINDOW))?;
        Some(ended.untold).filter(|untold| untold.count > 0)
    }

    /// How long until [`untold`](LogTally::untold) has something to tell; none while nothing was counted.
    pub(crate) fn wait(&self, now: Duration) -> Option<Duration> {
        let window = self.window.lock();
        let counting = window.as_ref().filter(|window| window.untold.count > 0)?;
        Some(counting.begun.saturating_add(WINDOW).saturating_sub(now))
    }

    /// What was counted, whether or not the window is over: nobody tells it later.
    pub(crate) fn rest(&self) -> Option<Untold> {
        self.untold(Duration::MAX)
    }
}

impl Untold {
    /// Where the blocks lay, those with the most of them first; empty where that is not known.
    pub(crate) fn files(&self) -> String {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|(number, count)| (std::cmp::Reverse(**count), **number));
        let named = files.iter().take(NAMED);
        let mut parts: Vec<_> = named
            .map(|(number, count)| format!("{count} of {number}"))
            .collect();
        if files.len() > NAMED {
            parts.push(format!("the rest of {} more files", files.len() - NAMED));
        }
        parts.join(", ")
    }
}

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = if self.count == 1 { "block" } else { "blocks" };
        write!(f, "{} more {blocks}", self.count)?;
        if self.files.is_empty() {
            return Ok(());
        }
        write!(f, " ({})", self.files())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_are_told_and_the_rest_is_one_line_a_minute() {
        let tally = LogTally::default();
        let mut told = 0;
        for number in 0..10_000 {
            let file = FileNumber(1 + u32::from(number % 10 == 0));
            told += u32::from(tally.is_told(at(5), Some(file)));
            assert_eq!(tally.untold(at(5)), None);
        }
        assert_eq!(told, 3);
        assert_eq!(tally.wait(at(6)), Some(at(59)));
        assert_eq!(tally.untold(at(64)), None);
        let untold = tally.untold(at(65)).unwrap();
        assert_eq!(
            untold.to_string(),
            "9997 more blocks (8998 of 00000001.seg, 999 of 00000002.seg)"
        );
        // It begins anew, and what stays within bounds is told alone.
        assert_eq!((tally.untold(at(66)), tally.wait(at(66))), (None, None));
        for _ in 0..3 {
            assert!(tally.is_told(at(100), None));
        }
        assert_eq!(tally.untold(at(200)), None);
        assert!(tally.is_told(at(200), None));
    }

    #[test]
    fn what_was_counted_is_told_at_the_end() {
        let tally = LogTally::default();
        assert_eq!(tally.rest(), None);
        for _ in 0..4 {
            tally.is_told(at(1), None);
        }
        assert_eq!(tally.rest().unwrap().to_string(), "1 more block");
        assert_eq!(tally.rest(), None);
    }

    #[test]
    fn few_files_are_named() {
        let tally = LogTally::default();
        for number in 0..13 {
            tally.is_told(at(1), Some(FileNumber(number)));
        }
        let files = tally.rest().unwrap().files();
        assert_eq!(files.matches("1 of ").count(), NAMED, "{files}");
        assert!(files.ends_with("the rest of 6 more files"), "{files}");
    }
}
