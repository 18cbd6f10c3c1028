//! What stays though no row has it in use, because it may be the only copy of something: files that somebody may put back, and
//! packs that a lost group may have taken into use.
//!
//! It only says so. Who removes files asks, and so does a start, which takes packs into use.

use std::collections::HashSet;

use perennis_shared::time::Millis;

use crate::keys;
use crate::kv::KvError;
use crate::location::FileNumber;
use crate::rows::{Loss, LossKind, Quarantined, Row as _, has_lost_groups};

use super::Index;

/// How long a file is kept in which blocks were found damaged, in milliseconds: 30 days.
const KEPT_MS: u64 = 30 * 24 * 3_600_000;

/// Whether a pack that no row has in use may be the only copy of its blocks: groups of the log are lost, or blocks are.
pub(crate) fn may_need_packs(index: &Index, losses: &[Loss]) -> Result<bool, KvError> {
    let end = keys::end_of(keys::QUARANTINE);
    let lost = index.kv.scan(&[keys::QUARANTINE], &end, 1)?;
    Ok(!lost.is_empty() || has_lost_groups(losses))
}

/// The files of which it is noted that they were missing.
pub(crate) fn missing_files(losses: &[Loss]) -> HashSet<FileNumber> {
    let missing = losses
        .iter()
        .filter(|loss| loss.kind == LossKind::MissingFile);
    missing.map(|loss| loss.file).collect()
}

/// The files that stay though nothing needs them: those that were missing, and for a while, unless the disk is full, those in which blocks
/// were found damaged. A file that has another's name is all that is left of what is in it.
pub(crate) fn awaited_files(
    index: &Index,
    now: Millis,
    is_full: bool,
) -> Result<HashSet<FileNumber>, KvError> {
    let mut awaited = missing_files(&index.losses());
    if !is_full {
        let end = keys::end_of(keys::QUARANTINE);
        let rows = index.kv.scan(&[keys::QUARANTINE], &end, usize::MAX)?;
        let blocks = rows
            .iter()
            .filter_map(|(_, row)| Quarantined::from_bytes(row));
        let lately = blocks.filter(|block| now.0.saturating_sub(block.at.0) < KEPT_MS);
        awaited.extend(lately.map(|block| block.location.file));
    }
    Ok(awaited)
}
