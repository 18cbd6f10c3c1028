//! The settings `follow`.

use std::time::Duration;

use super::setting::table;
use super::syntax::{DAY, HOUR, SECOND, Span};

table! {
    /// Names of others that are followed.
    pub struct FollowConfig at config.follow {
        period: Duration = HOUR,
            "follow.period" as Span(SECOND, 7 * DAY),
            "time between two searches for the record of a followed name, 1s to 7d";
    }
}
