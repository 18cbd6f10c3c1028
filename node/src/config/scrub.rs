//! The settings `scrub`.

use std::time::Duration;

use super::setting::table;
use super::syntax::{DAY, KIB, MIB, MINUTE, Size, Span, TIB};

table! {
    /// Reading everything again to find damage.
    pub struct ScrubConfig at config.scrub {
        period: Duration = 7 * DAY,
            "scrub.period" as Span(MINUTE, 365 * DAY),
            "time from the end of a round that reads every block again to the next, 1m to 365d";
        bytes_per_second: u64 = 16 * MIB,
            "scrub.rate" as Size(64 * KIB, TIB),
            "most bytes read in a second by these rounds, 64KiB to 1TiB";
    }
}
