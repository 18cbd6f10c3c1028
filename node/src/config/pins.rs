//! The settings `pins`.

use std::time::Duration;

use super::setting::table;
use super::syntax::{DAY, Flag, HOUR, SECOND, Span, Urls};

table! {
    /// Pinning.
    pub struct PinsConfig at config.pins {
        scan_period: Duration = HOUR,
            "pins.scan-period" as Span(SECOND, 30 * DAY),
            "time between two scans of all heads, 1s to 30d";
        sources: Vec<String> = Vec::new(),
            "pins.sources" as Urls,
            "gateways asked for missing blocks, beside those a DID document lists";
        allow_private_sources: bool = false,
            "pins.allow-private-sources" as Flag,
            "whether sources that a DID document lists may be loopback or private addresses";
    }
}
