//! What the memory for answers comes to.

use prometheus_client::registry::Unit;

use super::instruments::{Counter, Gauge, Instruments};

/// Clones count into the same numbers.
#[derive(Clone)]
pub(crate) struct AnswerMetrics {
    pub(crate) memory_bytes: Gauge,
    pub(crate) refused: Counter,
    pub(crate) slow_clients_ended: Counter,
}

impl AnswerMetrics {
    pub(super) fn new(make: &mut Instruments<'_>) -> AnswerMetrics {
        AnswerMetrics {
            memory_bytes: make.gauge_in(
                Unit::Bytes,
                "http_answer_memory",
                "Memory of answers that clients have not taken yet",
            ),
            refused: make.counter(
                "http_answers_refused",
                "Answers refused or broken off because the memory for answers was taken",
            ),
            slow_clients_ended: make.counter(
                "http_slow_clients_ended",
                "Connections of slow clients that were ended for others who waited for memory",
            ),
        }
    }
}
