//! What the memory for answers comes to.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Clones count into the same numbers.
#[derive(Clone, Default)]
pub(crate) struct AnswerMetrics {
    taken: Gauge,
    refused: Counter,
    gave_way: Counter,
}

impl AnswerMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "http_answer_memory",
            "Memory of answers that clients have not taken yet",
            Unit::Bytes,
            self.taken.clone(),
        );
        registry.register(
            "http_answers_refused",
            "Answers refused or broken off because the memory for answers was taken",
            self.refused.clone(),
        );
        registry.register(
            "http_slow_clients_ended",
            "Connections of slow clients that were ended for others who waited for memory",
            self.gave_way.clone(),
        );
    }

    /// So much is taken now.
    pub(crate) fn taken(&self, bytes: u64) {
        self.taken.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn refused(&self) {
        self.refused.inc();
    }

    pub(crate) fn gave_way(&self, clients: usize) {
        self.gave_way.inc_by(clients as u64);
    }
}
