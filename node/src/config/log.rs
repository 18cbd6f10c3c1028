//! The settings `log`.

use super::setting::table;
use super::syntax::{Choice, LogFilter};

table! {
    /// Log lines.
    pub struct LogConfig at config.log {
        format: LogFormat = LogFormat::Human,
            "log.format" as Choice("is no format", &[
                ("human", LogFormat::Human),
                ("json", LogFormat::Json),
            ]),
            "how log lines look: human or json";
        filter: String = "info".to_owned(),
            "log.filter" as LogFilter,
            "which lines are written: error, warn, info, debug, trace, or a filter by module";
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}
