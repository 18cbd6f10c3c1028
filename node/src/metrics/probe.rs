//! What the latency probe measures.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

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
    operations: Family<OutcomeLabels, Counter>,
    seconds: Family<TimeLabels, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    /// `dht`, `pubsub`, or an endpoint of the configuration.
    route: String,
    operation: Operation,
    outcome: ProbeOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TimeLabels {
    route: String,
    operation: Operation,
}

impl ProbeMetrics {
    pub(super) fn new() -> ProbeMetrics {
        ProbeMetrics {
            operations: Family::default(),
            seconds: Family::new_with_constructor(|| {
                Histogram::new(BOUNDS_MS.map(|bound| f64::from(bound) / 1_000.0))
            }),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "ipns_probe",
            "Times the canary name was published or resolved through a route",
            self.operations.clone(),
        );
        registry.register_with_unit(
            "ipns_probe_duration",
            "Time to publish or resolve the canary name through a route, where it ended well",
            Unit::Seconds,
            self.seconds.clone(),
        );
    }

    pub(crate) fn probed(
        &self,
        route: &str,
        operation: Operation,
        outcome: ProbeOutcome,
        took: Duration,
    ) {
        let route = route.to_owned();
        if outcome == ProbeOutcome::Ok {
            let labels = TimeLabels {
                route: route.clone(),
                operation,
            };
            self.seconds
                .get_or_create(&labels)
                .observe(took.as_secs_f64());
        }
        let labels = OutcomeLabels {
            route,
            operation,
            outcome,
        };
        self.operations.get_or_create(&labels).inc();
    }
}
