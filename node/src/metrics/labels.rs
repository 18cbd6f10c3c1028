//! The labels of the metrics of requests, writes and lookups.

use std::fmt;

use hyper::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use super::instruments::Labels;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    endpoint: Endpoint,
    class: Class,
}

impl RequestLabels {
    pub(super) fn new(endpoint: &'static str, status: StatusCode) -> RequestLabels {
        let class = match status.as_u16() {
            0..300 => Class::Success,
            300..400 => Class::Redirection,
            400..500 => Class::ClientError,
            _ => Class::ServerError,
        };
        let endpoint = Endpoint(endpoint);
        RequestLabels { endpoint, class }
    }
}

impl Labels for RequestLabels {
    fn known() -> Vec<Self> {
        Vec::new()
    }
}

/// The endpoint of a request, by the name its route has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Endpoint(&'static str);

impl EncodeLabelValue for Endpoint {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

/// The class of a status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Class {
    Success,
    Redirection,
    ClientError,
    ServerError,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    outcome: Outcome,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// It was done.
    Ok,
    /// It was refused by a rule.
    Refused,
    /// It failed.
    Failed,
}

impl From<Outcome> for OutcomeLabels {
    fn from(outcome: Outcome) -> Self {
        Self { outcome }
    }
}

impl Labels for OutcomeLabels {
    fn known() -> Vec<Self> {
        [Outcome::Ok, Outcome::Refused, Outcome::Failed]
            .map(Self::from)
            .into()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LookupLabels {
    found: LookupResult,
}

/// Why a name was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Removal {
    /// The operator has removed it.
    Operator,
    /// Its record has ended, and nothing renewed it for long.
    Lapsed,
    /// Nobody had claimed it, and newer ones needed its room.
    Unclaimed,
}

impl Removal {
    const ALL: [Removal; 3] = [Removal::Operator, Removal::Lapsed, Removal::Unclaimed];

    /// The word for documents and the log.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Removal::Operator => "operator",
            Removal::Lapsed => "lapsed",
            Removal::Unclaimed => "unclaimed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RemovalLabels {
    why: Removal,
}

impl From<Removal> for RemovalLabels {
    fn from(why: Removal) -> Self {
        Self { why }
    }
}

impl Labels for RemovalLabels {
    fn known() -> Vec<Self> {
        Removal::ALL.map(Self::from).into()
    }
}

/// Where a record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum LookupResult {
    /// In memory.
    Cache,
    /// In the store.
    Store,
    /// In the network.
    Network,
    /// Nowhere.
    Absent,
}

impl LookupResult {
    pub(super) const ALL: [LookupResult; 4] = [
        LookupResult::Cache,
        LookupResult::Store,
        LookupResult::Network,
        LookupResult::Absent,
    ];
}

impl From<LookupResult> for LookupLabels {
    fn from(found: LookupResult) -> Self {
        Self { found }
    }
}

impl Labels for LookupLabels {
    fn known() -> Vec<Self> {
        LookupResult::ALL.map(Self::from).into()
    }
}
