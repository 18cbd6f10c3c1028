//! The settings `provide`.

use std::time::Duration;

use super::setting::table;
use super::syntax::{Choice, HOUR, Number, SECOND, Span};

table! {
    /// Telling the DHT what is kept here.
    pub struct ProvideConfig at config.provide {
        strategy: ProvideStrategy = ProvideStrategy::Roots,
            "provide.strategy" as Choice("is no strategy", &[
                ("roots", ProvideStrategy::Roots),
                ("all", ProvideStrategy::All),
                ("off", ProvideStrategy::Off),
            ]),
            "blocks the DHT is told of: roots (heads, and what was fetched), all, or off";
        period: Duration = 22 * HOUR,
            "provide.period" as Span(SECOND, 47 * HOUR),
            "time in which the DHT is told of each of them once, 1s to 47h (provider records end after 48h)";
        concurrency: usize = 16,
            "provide.concurrency" as Number(1, 1_024),
            "blocks the DHT is told of at the same time, 1 to 1,024";
    }
}

/// Which blocks the DHT is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvideStrategy {
    /// The roots of what is pinned: heads, and what was fetched.
    Roots,
    /// Every block.
    All,
    /// None.
    Off,
}
