//! What is damaged, and what is done about it.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

use super::instruments::{Counters, Gauge, Gauges, Instruments, Labels};
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
pub(crate) struct DamageMetrics {
    losses: Gauges<KindLabels>,
    rows_set_aside: Gauge,
    quarantined_blocks: Gauge,
    refetches_waiting: Gauge,
    lost_heads: Gauge,
    floors: Gauge,
    unreadable_rows: Counters<TableLabels>,
    pub(crate) refetches: Counters<AttemptLabels>,
    pub(crate) lost_head_lookups: Counters<AttemptLabels>,
    upkeep: Counters<UpkeepLabels>,
    pub(crate) held_back_blocks: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

impl Labels for KindLabels {
    fn known() -> Vec<Self> {
        let labels = KINDS.map(|kind| KindLabels { kind: kind.into() });
        labels.into()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabels {
    table: &'static str,
}

impl Labels for TableLabels {
    fn known() -> Vec<Self> {
        TABLES.map(|table| TableLabels { table }).into()
    }
}

/// How an attempt ended that no rule refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Attempt {
    /// It was done.
    Ok,
    /// It failed.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct AttemptLabels {
    outcome: Attempt,
}

impl From<Attempt> for AttemptLabels {
    fn from(outcome: Attempt) -> Self {
        Self { outcome }
    }
}

impl Labels for AttemptLabels {
    fn known() -> Vec<Self> {
        [Attempt::Ok, Attempt::Failed].map(Self::from).into()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpkeepLabels {
    task: Upkeep,
    outcome: Attempt,
}

impl Labels for UpkeepLabels {
    fn known() -> Vec<Self> {
        let outcomes = [Attempt::Ok, Attempt::Failed];
        let labels = |task| outcomes.map(|outcome| UpkeepLabels { task, outcome });
        Upkeep::ALL.into_iter().flat_map(labels).collect()
    }
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
    pub(super) fn new(make: &mut Instruments<'_>) -> DamageMetrics {
        DamageMetrics {
            losses: make.gauges(
                "store_losses",
                "Losses of acknowledged data that were found and not dismissed",
            ),
            rows_set_aside: make.gauge(
                "store_rows_set_aside",
                "Rows of the index that could not be read and were set aside",
            ),
            quarantined_blocks: make.gauge(
                "store_quarantined_blocks",
                "Damaged blocks that have not been fetched again",
            ),
            refetches_waiting: make.gauge(
                "store_refetches_waiting",
                "Damaged blocks in line to be fetched again",
            ),
            lost_heads: make.gauge(
                "store_lost_heads",
                "Names whose newest record is lost and looked for",
            ),
            floors: make.gauge(
                "store_floors",
                "Names of which records older than the lost one are refused",
            ),
            unreadable_rows: make.counters(
                "store_unreadable_rows",
                "Rows of the node's own that could not be read, by their table",
            ),
            refetches: make.counters(
                "store_refetches",
                "Damaged blocks that were asked for again",
            ),
            lost_head_lookups: make.counters(
                "store_lost_heads_looked_for",
                "Searches for records that are lost",
            ),
            upkeep: make.counters("store_upkeep", "Rounds of the store's upkeep"),
            held_back_blocks: make.gauge(
                "store_held_back_blocks",
                "Pinned blocks that are damaged, so that garbage that may hang below them was kept in the last collection",
            ),
        }
    }

    /// Shows what is known to be damaged.
    pub(crate) fn set_report(&self, report: &Report) {
        self.losses.reset();
        for (kind, count) in &report.losses_by_kind {
            let kind = kind.clone();
            self.losses.set(KindLabels { kind }, *count);
        }
        self.rows_set_aside.set(report.rows_set_aside);
        self.quarantined_blocks.set(report.quarantined_blocks);
        self.refetches_waiting.set(report.refetches_waiting);
        self.lost_heads.set(report.lost_heads);
        self.floors.set(report.floors);
    }

    /// Shows how many rows of the node's own could not be read since the start.
    pub(crate) fn set_unreadable_rows(&self, counts: &[(&'static str, u64)]) {
        for (table, count) in counts {
            self.unreadable_rows.raise_to(TableLabels { table }, *count);
        }
    }

    /// A round of upkeep ended.
    pub(crate) fn upkeep_ended<T, E>(&self, task: Upkeep, result: &Result<T, E>) {
        let outcome = match result {
            Ok(_) => Attempt::Ok,
            Err(_) => Attempt::Failed,
        };
        self.upkeep.inc(UpkeepLabels { task, outcome });
    }
}
