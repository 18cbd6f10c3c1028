//! The settings `ipns`.

use std::path::PathBuf;
use std::time::Duration;

use perennis_sdk::NodeUrl;

use super::setting::table;
use super::syntax::{DAY, HOUR, Number, Path, SECOND, Span, Urls};

table! {
    /// IPNS records and their republishing.
    pub struct IpnsConfig at config.ipns {
        republish_period: Duration = 4 * HOUR,
            "ipns.republish-period" as Span(SECOND, DAY),
            "time between two puts of a record to a router, 1s to 24h (records in the public DHT end after 48h)";
        republish_concurrency: usize = 16,
            "ipns.republish-concurrency" as Number(1, 1_024),
            "records put at the same time to one router, 1 to 1,024";
        routers: Vec<String> = Vec::new(),
            "ipns.routers" as Urls,
            "delegated routing endpoints that records are put to, and asked for names that are not kept here";
        router_tokens: Option<PathBuf> = None,
            "ipns.router-tokens" as Path,
            "folder of bearer tokens for these endpoints: the file `HOST`, or `HOST:PORT` where the port is not the usual one, holds what each put to that one carries";
    }
    tables {
        /// Names that are resolved often.
        hot: HotConfig,
    }
}

impl IpnsConfig {
    /// The endpoints, each as it was written and as a URL.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&String, NodeUrl)> {
        // The configuration was checked: every text is a URL.
        self.routers
            .iter()
            .filter_map(|text| Some((text, text.parse().ok()?)))
    }
}

table! {
    /// Names that are resolved often, and are put more often for it.
    pub struct HotConfig at config.ipns.hot {
        period: Duration = HOUR,
            "ipns.hot.period" as Span(SECOND, DAY),
            "time between two puts of a name that is resolved often, where it is shorter than ipns.republish-period, 1s to 24h";
        resolves: u32 = 60,
            "ipns.hot.resolves" as Number(1, 1_000_000),
            "resolves an hour from which a name counts as hot, 1 to 1,000,000; it no longer does below half of that";
        half_life: Duration = 6 * HOUR,
            "ipns.hot.half-life" as Span(SECOND, 30 * DAY),
            "time in which a resolve comes to count half, 1s to 30d";
        names: usize = 10_000,
            "ipns.hot.names" as Number(0, 65_536),
            "most names that are hot at a time, 0 to 65,536; 0 turns it off";
    }
}
