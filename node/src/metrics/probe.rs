//! What the latency probe measures.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use serde::Serialize;

use super::instruments::{Counters, Durations, Instruments, Labels};

/// Upper ends of the classes of a histogram, in milliseconds. The last class has none.
pub(crate) const BOUNDS_MS: [u32; 15] = [
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 60_000,
];

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Operation {
    Publish,
    Resolve,
}

/// What an operation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProbeOutcome {
    /// The record was taken, or the current one was found.
    Ok,
    /// Another record than the current one was found.
    Stale,
    /// It was refused, was not found, or took too long.
    Failed,
}

/// Operations of the probe, by route.
pub(crate) struct ProbeMetrics {
    operations: Counters<OperationLabels>,
    durations: Durations<DurationLabels>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    /// `dht`, `pubsub`, or an endpoint of the configuration.
    route: String,
    operation: Operation,
    outcome: ProbeOutcome,
}

impl Labels for OperationLabels {
    fn known() -> Vec<Self> {
        Vec::new()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    route: String,
    operation: Operation,
}

impl Labels for DurationLabels {
    fn known() -> Vec<Self> {
        Vec::new()
    }
}

impl ProbeMetrics {
    pub(super) fn new(make: &mut Instruments<'_>) -> ProbeMetrics {
        ProbeMetrics {
            operations: make.counters(
                "ipns_probe",
                "Times the canary name was published or resolved through a route",
            ),
            durations: make.durations_by(
                "ipns_probe_duration",
                "Time to publish or resolve the canary name through a route, where it ended well",
                || BOUNDS_MS.map(|bound| f64::from(bound) / 1_000.0).into(),
            ),
        }
    }

    /// An operation through a route came to this after so long.
    pub(crate) fn measured(
        &self,
        route: &str,
        operation: Operation,
        outcome: ProbeOutcome,
        took: Duration,
    ) {
        let route = route.to_owned();
        if outcome == ProbeOutcome::Ok {
            let route = route.clone();
            self.durations
                .observe(DurationLabels { route, operation }, took);
        }
        self.operations.inc(OperationLabels {
            route,
            operation,
            outcome,
        });
    }
}
