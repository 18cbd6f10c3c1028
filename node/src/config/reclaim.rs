//! The settings `reclaim`.

use std::time::Duration;

use super::setting::table;
use super::syntax::{DAY, HOUR, MINUTE, Span};

table! {
    /// Giving space back that nothing needs any more.
    pub struct ReclaimConfig at config.reclaim {
        period: Duration = 6 * HOUR,
            "reclaim.period" as Span(MINUTE, 30 * DAY),
            "time from the end of a round that collects garbage and packs what is left to the next, across starts, 1m to 30d";
    }
}
