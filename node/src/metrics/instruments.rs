//! What a metric is made of: counters, gauges, histograms, and families of them.
//!
//! Each is made by [`Instruments`], which registers it, and in no other way: none of the types here has a constructor. So a metric
//! that exists is shown. They are shown in the order in which they are made. Clones count into the same numbers.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge;
use prometheus_client::metrics::histogram;
use prometheus_client::registry::{Registry, Unit};

/// Makes metrics and registers them.
pub(super) struct Instruments<'a>(pub(super) &'a mut Registry);

/// A number that grows. It is shown as `NAME_total`.
#[derive(Clone)]
pub(crate) struct Counter(counter::Counter);

/// A number that comes and goes.
#[derive(Clone)]
pub(crate) struct Gauge(gauge::Gauge);

/// A share of something, 0 to 1.
pub(crate) struct Share(gauge::Gauge<f64, AtomicU64>);

/// How often numbers of some size came, by classes of sizes.
pub(crate) struct Histogram(histogram::Histogram);

/// Counters, one for each set of labels.
pub(crate) struct Counters<L>(Family<L, counter::Counter>);

/// Gauges, one for each set of labels.
pub(crate) struct Gauges<L>(Family<L, gauge::Gauge>);

/// Times, one histogram for each set of labels.
pub(crate) struct Durations<L>(Family<L, histogram::Histogram, Classes>);

/// Makes histograms whose classes end at the numbers that this gives.
#[derive(Clone, Copy)]
struct Classes(fn() -> Vec<f64>);

impl MetricConstructor<histogram::Histogram> for Classes {
    fn new_metric(&self) -> histogram::Histogram {
        histogram::Histogram::new((self.0)())
    }
}

/// The labels of a family.
pub(crate) trait Labels:
    EncodeLabelSet + Clone + Debug + Eq + Hash + Send + Sync + 'static
{
    /// The sets that are shown as 0 before anything has happened, so that the first time it does can be seen as a change. Empty
    /// where they are not known before.
    fn known() -> Vec<Self>;
}

impl Instruments<'_> {
    pub(super) fn counter(&mut self, name: &str, help: &str) -> Counter {
        let counter = counter::Counter::default();
        self.0.register(name, help, counter.clone());
        Counter(counter)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        let gauge = gauge::Gauge::default();
        self.0.register(name, help, gauge.clone());
        Gauge(gauge)
    }

    /// A gauge whose unit is added to its name.
    pub(super) fn gauge_in(&mut self, unit: Unit, name: &str, help: &str) -> Gauge {
        let gauge = gauge::Gauge::default();
        self.0.register_with_unit(name, help, unit, gauge.clone());
        Gauge(gauge)
    }

    pub(super) fn share(&mut self, name: &str, help: &str) -> Share {
        let gauge = gauge::Gauge::default();
        self.0.register(name, help, gauge.clone());
        Share(gauge)
    }

    /// A histogram whose classes end at `bounds`; the last has no end.
    pub(super) fn histogram(&mut self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        let histogram = histogram::Histogram::new(bounds.iter().copied());
        self.0.register(name, help, histogram.clone());
        Histogram(histogram)
    }

    /// A histogram of times in seconds, which is added to its name.
    pub(super) fn durations(&mut self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        let histogram = histogram::Histogram::new(bounds.iter().copied());
        self.0
            .register_with_unit(name, help, Unit::Seconds, histogram.clone());
        Histogram(histogram)
    }

    pub(super) fn counters<L: Labels>(&mut self, name: &str, help: &str) -> Counters<L> {
        let family = Family::<L, counter::Counter>::default();
        self.0.register(name, help, family.clone());
        for labels in L::known() {
            drop(family.get_or_create(&labels));
        }
        Counters(family)
    }

    pub(super) fn gauges<L: Labels>(&mut self, name: &str, help: &str) -> Gauges<L> {
        let family = Family::<L, gauge::Gauge>::default();
        self.0.register(name, help, family.clone());
        let gauges = Gauges(family);
        gauges.reset();
        gauges
    }

    /// Histograms of times in seconds, which is added to their name.
    pub(super) fn durations_by<L: Labels>(
        &mut self,
        name: &str,
        help: &str,
        bounds: fn() -> Vec<f64>,
    ) -> Durations<L> {
        let family = Family::new_with_constructor(Classes(bounds));
        self.0
            .register_with_unit(name, help, Unit::Seconds, family.clone());
        for labels in L::known() {
            drop(family.get_or_create(&labels));
        }
        Durations(family)
    }
}

impl Counter {
    pub(crate) fn inc(&self) {
        self.0.inc();
    }

    pub(crate) fn add(&self, number: u64) {
        self.0.inc_by(number);
    }
}

impl Gauge {
    /// A number that is too large is shown as the largest there is.
    pub(crate) fn set(&self, number: impl TryInto<i64>) {
        self.0.set(number.try_into().unwrap_or(i64::MAX));
    }

    /// Adds a number, which may be negative.
    pub(crate) fn add(&self, number: i64) {
        self.0.inc_by(number);
    }
}

impl Share {
    pub(super) fn set(&self, share: f64) {
        self.0.set(share);
    }
}

impl Histogram {
    pub(crate) fn observe(&self, number: f64) {
        self.0.observe(number);
    }

    pub(crate) fn observe_time(&self, took: Duration) {
        self.0.observe(took.as_secs_f64());
    }
}

impl<L: Labels> Counters<L> {
    pub(crate) fn inc(&self, labels: impl Into<L>) {
        self.0.get_or_create(&labels.into()).inc();
    }

    pub(crate) fn count(&self, labels: impl Into<L>) -> u64 {
        self.0.get_or_create(&labels.into()).get()
    }

    /// Brings a counter up to a number that is counted elsewhere.
    pub(super) fn raise_to(&self, labels: impl Into<L>, number: u64) {
        let counter = self.0.get_or_create(&labels.into());
        counter.inc_by(number.saturating_sub(counter.get()));
    }
}

impl<L: Labels> Gauges<L> {
    pub(super) fn set(&self, labels: impl Into<L>, number: u64) {
        let gauge = self.0.get_or_create(&labels.into());
        gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// Sets all whose labels are known to 0.
    pub(super) fn reset(&self) {
        for labels in L::known() {
            self.set(labels, 0);
        }
    }
}

impl<L: Labels> Durations<L> {
    pub(super) fn observe(&self, labels: impl Into<L>, took: Duration) {
        self.0
            .get_or_create(&labels.into())
            .observe(took.as_secs_f64());
    }
}
