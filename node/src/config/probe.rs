//! The settings `probe`.

use std::time::Duration;

use super::setting::table;
use super::syntax::{DAY, MINUTE, SECOND, SpanOr};

table! {
    /// Measuring the routes of records.
    pub struct ProbeConfig at config.probe {
        // Without a period rounds are made only when they are asked for.
        period: Option<Duration> = Some(15 * MINUTE),
            "probe.period" as SpanOr(SECOND, 7 * DAY, "off"),
            "time between two rounds in which the node publishes and resolves its canary name through each route, 1s to 7d, or off";
    }
}
