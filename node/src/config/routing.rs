//! What is told to routers and the DHT, how often, and how they are measured.

use std::time::Duration;

use perennis_sdk::NodeUrl;

/// IPNS records and their republishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpnsConfig {
    /// How often a record is put again to every router.
    pub republish_period: Duration,
    /// Records put at the same time to one router.
    pub republish_concurrency: usize,
    /// Delegated routing endpoints that records are put to, such as `https://delegated-ipfs.dev`.
    pub routers: Vec<String>,
    /// Names that are resolved often.
    pub hot: HotConfig,
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

/// Names that are resolved often, and are put more often for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotConfig {
    /// How often the record of a hot name is put again, if that is more often than others'.
    pub period: Duration,
    /// Resolves an hour from which a name is hot; it is no longer below half of that.
    pub resolves: u32,
    /// Time in which a resolve comes to count half.
    pub half_life: Duration,
    /// Most names that are hot at a time; 0 turns it off.
    pub names: usize,
}

/// Measuring the routes of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Time between two rounds; without one they are made only when they are asked for.
    pub period: Option<Duration>,
}

/// Telling the DHT what is kept here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvideConfig {
    /// Which blocks.
    pub strategy: ProvideStrategy,
    /// Time in which each of them is told once.
    pub period: Duration,
    /// Blocks told at the same time.
    pub concurrency: usize,
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

impl ProvideStrategy {
    /// Its word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Roots => "roots",
            Self::All => "all",
            Self::Off => "off",
        }
    }
}
