//! What is damaged or lost, as it is told: in the log at the start, in health, status and metrics, and to the operator.
//!
//! Counting reads the index, so what was found is kept for a moment: whoever asks for health again and again costs little,
//! however much is damaged. Must never touch: mending. That is the workers'.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_shared::time::Millis;
use perennis_store::{Loss, LossKind, QuarantineRow, SetAside};
use serde::{Deserialize, Serialize};

use crate::storage::{KnownDamage, Storage, StorageError, hex};

/// Sentences in a report.
const SENTENCES: usize = 8;

/// Rows and blocks that are told of one by one.
const LISTED: usize = 100;

/// What to do about rows that cannot be read.
pub const ROWS_HINT: &str = "the workers write anew what they can; with the node stopped `perennis store rebuild` brings back those that the log or a checkpoint still has; for the rest publish or follow again, and then `perennis store losses --dismiss`; `perennis store losses` lists the rows";

/// How long a report counts, at least.
const FRESH: Duration = Duration::from_secs(1);

/// A report counts for so many times the time that it took.
const SHARE: u32 = 20;

/// How long a report is waited for where there is an earlier one.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is damaged, of one store.
pub(crate) struct Damage {
    storage: Storage,
    last: Mutex<Option<Last>>,
    /// Held by who looks.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Last {
    at: Duration,
    took: Duration,
    report: Arc<Report>,
}

/// How much is damaged and not mended yet, and the first of it in words.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Losses of acknowledged data that nobody has dismissed.
    pub losses: u64,
    /// How many of each kind, by its word.
    pub losses_by_kind: BTreeMap<String, u64>,
    /// Rows of the index that could not be read.
    pub rows_set_aside: u64,
    /// Blocks that are not served until they were fetched again.
    pub quarantined_blocks: u64,
    /// Those of them that are in line for it.
    pub refetches_waiting: u64,
    /// Names whose newest record is lost and looked for.
    pub lost_heads: u64,
    /// Names of which older records than the lost one are refused.
    pub floors: u64,
    /// The first of it, for people; at most 8.
    pub sentences: Vec<String>,
}

/// Everything that is damaged, one by one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The id of the store: whoever asks about a folder sees whether it is the one.
    store: Option<String>,
    #[serde(flatten)]
    report: Report,
    list: Vec<LossDetails>,
    rows: Vec<RowDetails>,
    blocks: Vec<BlockDetails>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LossDetails {
    kind: &'static str,
    found: String,
    file: u32,
    offset: u64,
    group: u64,
    batches: u64,
    names: u64,
    blocks: u64,
    moved_bytes: u64,
    message: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RowDetails {
    table: &'static str,
    key: String,
    found: String,
    reason: String,
    bytes: usize,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockDetails {
    cid: String,
    found: String,
    reason: String,
}

impl Damage {
    pub(crate) fn new(storage: Storage) -> Damage {
        Damage {
            storage,
            last: Mutex::new(None),
            looking: tokio::sync::Mutex::new(()),
        }
    }

    /// What is damaged, as of a moment ago.
    pub(crate) async fn report(&self) -> Result<Arc<Report>, StorageError> {
        let last = self.last.lock().clone();
        let Some(last) = last else {
            return self.look().await;
        };
        let age = rt::monotonic().saturating_sub(last.at);
        if age < FRESH.max(last.took * SHARE) {
            return Ok(last.report);
        }
        // A disk that is slow must not make the node look as if it hung.
        match rt::timeout(PATIENCE, self.look()).await {
            Ok(report) => report,
            Err(_) => Ok(last.report),
        }
    }

    async fn look(&self) -> Result<Arc<Report>, StorageError> {
        let asked = rt::monotonic();
        let _turn = self.looking.lock().await;
        if let Some(last) = &*self.last.lock()
            && last.at >= asked
        {
            return Ok(Arc::clone(&last.report));
        }
        let begun = rt::monotonic();
        let report = Arc::new(Report::of(&self.found(SENTENCES).await?));
        let at = rt::monotonic();
        *self.last.lock() = Some(Last {
            at,
            took: at.saturating_sub(begun),
            report: Arc::clone(&report),
        });
        Ok(report)
    }

    /// Everything that is damaged now.
    pub(crate) async fn details(&self) -> Result<Details, StorageError> {
        Ok(Details::of(&self.found(LISTED).await?))
    }

    /// Forgets the losses that somebody has seen, and tells what is left.
    pub(crate) async fn dismiss(&self) -> Result<Details, StorageError> {
        self.storage.dismiss_losses().await?;
        *self.last.lock() = None;
        self.details().await
    }

    async fn found(&self, most: usize) -> Result<KnownDamage, StorageError> {
        let storage = self.storage.clone();
        rt::blocking(move || storage.damage(most))
            .await
            .map_err(StorageError::interrupted)?
    }
}

impl Report {
    /// Counts what is known of a store.
    #[must_use]
    pub fn of(found: &KnownDamage) -> Report {
        let mut losses_by_kind = BTreeMap::new();
        for loss in &found.losses {
            *losses_by_kind
                .entry(loss.kind.word().to_owned())
                .or_default() += 1;
        }
        let counts = &found.counts;
        Report {
            losses: counts.losses,
            losses_by_kind,
            rows_set_aside: counts.rows_set_aside,
            quarantined_blocks: counts.quarantined_blocks,
            refetches_waiting: counts.refetches,
            lost_heads: counts.lost_heads,
            floors: counts.floors,
            sentences: sentences(found),
        }
    }

    /// How much of each, in words; nothing where nothing is damaged.
    #[must_use]
    pub fn counts(&self) -> Vec<String> {
        let counted = [
            (
                self.losses,
                "loss of acknowledged data",
                "losses of acknowledged data",
            ),
            (self.quarantined_blocks, "damaged block", "damaged blocks"),
            (
                self.lost_heads,
                "lost record that is looked for",
                "lost records that are looked for",
            ),
            (
                self.floors,
                "name that refuses older records",
                "names that refuse older records",
            ),
            (
                self.rows_set_aside,
                "row that cannot be read",
                "rows that cannot be read",
            ),
        ];
        let told = counted
            .into_iter()
            .filter_map(|(count, one, many)| match count {
                0 => None,
                1 => Some(format!("1 {one}")),
                count => Some(format!("{count} {many}")),
            });
        told.collect()
    }
}

/// The first of it, the worst first.
fn sentences(found: &KnownDamage) -> Vec<String> {
    // Rows keep the node from being ready: some are named whatever else there is.
    let room = SENTENCES - found.set_aside.len().min(SENTENCES / 2);
    let losses = found.losses.iter().map(Loss::to_string).take(room);
    let rows = found.set_aside.iter().map(|row| {
        let (table, key) = (row.table(), hex(&row.key));
        format!("a row of {table} ({key}) was set aside: {}", row.reason)
    });
    let blocks = found
        .quarantined
        .iter()
        .map(|row| format!("block {} was set aside: {}", row.cid, row.reason));
    losses.chain(rows).chain(blocks).take(SENTENCES).collect()
}

impl Details {
    /// All that is known of a store.
    #[must_use]
    pub fn of(found: &KnownDamage) -> Details {
        Details {
            store: found.store.map(|store| store.to_string()),
            report: Report::of(found),
            list: found.losses.iter().map(LossDetails::of).collect(),
            rows: found.set_aside.iter().map(RowDetails::of).collect(),
            blocks: found.quarantined.iter().map(BlockDetails::of).collect(),
        }
    }
}

impl LossDetails {
    fn of(loss: &Loss) -> LossDetails {
        LossDetails {
            kind: loss.kind.word(),
            found: loss.found.to_string(),
            file: loss.file.0,
            offset: loss.offset,
            group: loss.group,
            batches: loss.batches,
            names: loss.names,
            blocks: loss.blocks,
            moved_bytes: loss.moved_bytes,
            message: loss.to_string(),
        }
    }
}

impl RowDetails {
    fn of(row: &SetAside) -> RowDetails {
        RowDetails {
            table: row.table(),
            key: hex(&row.key),
            found: row.at.to_string(),
            reason: row.reason.clone(),
            bytes: row.value.len(),
        }
    }
}

impl BlockDetails {
    fn of(row: &QuarantineRow) -> BlockDetails {
        BlockDetails {
            cid: row.cid.to_string(),
            found: Millis::to_string(&row.at),
            reason: row.reason.clone(),
        }
    }
}

/// Tells in the log what the start has found.
pub(crate) fn tell_start(storage: &Storage) {
    if let Some(reason) = storage.rebuilt() {
        tracing::warn!(reason, "the index was made anew from the log");
    }
    for loss in storage.found_at_start() {
        let kind = loss.kind.word();
        if matches!(loss.kind, LossKind::DamagedFrames | LossKind::UnknownEnd) {
            // Whether something is lost is not known, or nothing is yet.
            tracing::error!(kind, "{loss}");
        } else if loss.kind.is_of_acknowledged_data() {
            tracing::error!(kind, "acknowledged data is lost: {loss}");
        } else if matches!(loss.kind, LossKind::TornGroup | LossKind::TornFile) {
            tracing::info!(kind, "{loss}");
        } else {
            tracing::warn!(kind, "{loss}");
        }
    }
}
