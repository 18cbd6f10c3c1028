//! What is damaged, and what is done about it.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Outcome, OutcomeLabels};
use crate::damage::Report;
use crate::storage::TABLES;

/// Kinds of losses that are there as 0 before there is one.
const KINDS: [&str; 13] = [
    "damaged_group",
    "missing_groups",
    "missing_file",
    "unreadable_file",
    "short_file",
    "wrong_file",
    "damaged_frames",
    "unreadable_table",
    "unreadable_pack",
    "damaged_blocks",
    "log_behind_index",
    "migration",
    "unknown_end",
];

/// Damage, and what is done about it.
#[derive(Default)]
pub(crate) struct DamageMetrics {
    losses: Family<KindLabels, Gauge>,
    rows_set_aside: Gauge,
    quarantined: Gauge,
    refetches_waiting: Gauge,
    lost_heads: Gauge,
    floors: Gauge,
    unreadable: Family<TableLabels, Counter>,
    refetched: Family<OutcomeLabels, Counter>,
    found_heads: Family<OutcomeLabels, Counter>,
    upkeep: Family<UpkeepLabels, Counter>,
    held_back: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabels {
    table: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpkeepLabels {
    task: Upkeep,
    outcome: Outcome,
}

/// What the store's upkeep does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Upkeep {
    /// Blocks that no pin reaches are dropped.
    Collection,
    /// Blocks are packed and their old files given back.
    Compaction,
    /// The rows of the index are written down.
    Checkpoint,
    /// All blocks are read again.
    Scrub,
}

impl Upkeep {
    const ALL: [Upkeep; 4] = [
        Upkeep::Collection,
        Upkeep::Compaction,
        Upkeep::Checkpoint,
        Upkeep::Scrub,
    ];
}

impl DamageMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "store_losses",
            "Losses of acknowledged data that were found and not dismissed",
            self.losses.clone(),
        );
        registry.register(
            "store_rows_set_aside",
            "Rows of the index that could not be read and were set aside",
            self.rows_set_aside.clone(),
        );
        registry.register(
            "store_quarantined_blocks",
            "Damaged blocks that have not been fetched again",
            self.quarantined.clone(),
        );
        registry.register(
            "store_refetches_waiting",
            "Damaged blocks in line to be fetched again",
            self.refetches_waiting.clone(),
        );
        registry.register(
            "store_lost_heads",
            "Names whose newest record is lost and looked for",
            self.lost_heads.clone(),
        );
        registry.register(
            "store_floors",
            "Names of which records older than the lost one are refused",
            self.floors.clone(),
        );
        registry.register(
            "store_unreadable_rows",
            "Rows of the node's own that could not be read, by their table",
            self.unreadable.clone(),
        );
        registry.register(
            "store_refetches",
            "Damaged blocks that were asked for again",
            self.refetched.clone(),
        );
        registry.register(
            "store_lost_heads_looked_for",
            "Searches for records that are lost",
            self.found_heads.clone(),
        );
        registry.register(
            "store_upkeep",
            "Rounds of the store's upkeep",
            self.upkeep.clone(),
        );
        registry.register(
            "store_held_back_blocks",
            "Pinned blocks that are damaged, so that garbage that may hang below them was kept in the last collection",
            self.held_back.clone(),
        );
    }

    /// What has not happened yet is there as 0.
    pub(super) fn start_at_zero(&self) {
        for kind in KINDS.map(str::to_owned) {
            self.losses.get_or_create(&KindLabels { kind }).set(0);
        }
        for table in TABLES {
            self.unreadable
                .get_or_create(&TableLabels { table })
                .inc_by(0);
        }
        for outcome in [Outcome::Ok, Outcome::Failed] {
            let labels = OutcomeLabels { outcome };
            for family in [&self.refetched, &self.found_heads] {
                family.get_or_create(&labels).inc_by(0);
            }
            for task in Upkeep::ALL {
                let labels = UpkeepLabels { task, outcome };
                self.upkeep.get_or_create(&labels).inc_by(0);
            }
        }
    }

    /// Shows what was found damaged.
    pub(crate) fn found(&self, report: &Report) {
        for kind in KINDS.map(str::to_owned) {
            self.losses.get_or_create(&KindLabels { kind }).set(0);
        }
        for (kind, count) in &report.losses_by_kind {
            let kind = kind.clone();
            self.losses
                .get_or_create(&KindLabels { kind })
                .set(whole(*count));
        }
        self.rows_set_aside.set(whole(report.rows_set_aside));
        self.quarantined.set(whole(report.quarantined_blocks));
        self.refetches_waiting.set(whole(report.refetches_waiting));
        self.lost_heads.set(whole(report.lost_heads));
        self.floors.set(whole(report.floors));
    }

    /// Shows how many rows of the node's own could not be read since the start.
    pub(crate) fn unreadable(&self, counts: &[(&'static str, u64)]) {
        for (table, count) in counts {
            let counter = self.unreadable.get_or_create(&TableLabels { table });
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    /// A damaged block was asked for again.
    pub(crate) fn refetched(&self, outcome: Outcome) {
        self.refetched
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    /// A lost head was looked for.
    pub(crate) fn looked_for(&self, outcome: Outcome) {
        self.found_heads
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    /// So many damaged blocks held the last collection back.
    pub(crate) fn held_back(&self, blocks: u64) {
        self.held_back.set(whole(blocks));
    }

    /// A round of upkeep ended.
    pub(crate) fn kept_up<T, E>(&self, task: Upkeep, result: &Result<T, E>) {
        let outcome = match result {
            Ok(_) => Outcome::Ok,
            Err(_) => Outcome::Failed,
        };
        self.upkeep
            .get_or_create(&UpkeepLabels { task, outcome })
            .inc();
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
