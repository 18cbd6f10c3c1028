//! What a start has found out about the log, and what follows from it.
//!
//! Losses of acknowledged data are written down, so that they are told until somebody has seen them. Blocks with damaged
//! bodies are set aside and fetched again. Heads that a lost batch had set leave a minimum sequence: until the record is fetched
//! again, no lower sequence is accepted, since an acknowledgement said that it was stored.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use perennis_shared::time::Millis;

use crate::batch::CommitError;
use crate::commit::Committer;
use crate::group::{Op, PackOp};
use crate::index::{Index, may_need_packs, missing_files, quarantine_ops};
use crate::keys::{self, Queue};
use crate::kv::{Kv, KvError};
use crate::location::FileNumber;
use crate::log::{GroupFindings, Replay};
use crate::pack::{self, Footer, PackName};
use crate::rows::{
    HeadRow, Loss, LossKind, Place, Row as _, found_at, read_due, write_due, write_min_sequence,
    write_payload,
};

/// Rows of the index that are looked through at once.
const PAGE_ROWS: usize = 4096;

/// What is written into the index with a group that is replayed. Blocks of it that are damaged are found by who reads them, whatever becomes
/// of this start.
pub(crate) fn ops_with(
    index: &Index,
    out: &GroupFindings,
    now: Millis,
) -> Result<Vec<Op>, KvError> {
    let mut ops = Vec::new();
    index.note_losses(found_at(now, &out.losses), &mut ops);
    for (name, sequence) in &out.min_sequences {
        set_min_sequence(index.kv.as_ref(), (name, *sequence), now, &mut ops)?;
    }
    Ok(ops)
}

/// What a start has to write. What was found out of groups stands in the index with them, where nothing later has undone it.
pub(crate) fn owed(index: &Index, replay: &Replay, now: Millis) -> Result<Vec<Op>, KvError> {
    let mut ops = Vec::new();
    let kv = index.kv.as_ref();
    index.note_losses(found_at(now, &replay.losses), &mut ops);
    for name in replay.lifted.iter().chain(replay.min_sequences.keys()) {
        settle_min_sequence(kv, (name, replay.min_sequences.get(name)), now, &mut ops)?;
    }
    for (hash, location) in &replay.damaged {
        // A later group may have brought it again.
        let place = index.place(hash)?;
        if let Some(place) = place.filter(|place| place.location == *location) {
            let reason = "its bytes in the log are damaged".to_owned();
            ops.extend(quarantine_ops(hash, place, reason, now));
            let key = keys::quarantine(hash);
            enqueue(kv, keys::REFETCH, &key[1..], now, &mut ops)?;
        }
    }
    Ok(ops)
}

/// What becomes of the minimum sequence that was set with a group, once all groups behind it are there.
fn settle_min_sequence(
    kv: &dyn Kv,
    (name, min_sequence): (&[u8], Option<&u64>),
    now: Millis,
    ops: &mut Vec<Op>,
) -> Result<(), KvError> {
    let due = kv.value(&keys::queue_key(keys::LOST_HEADS, name))?;
    let due = due.and_then(|row| read_due(&row));
    if due != Some(now) {
        // A later group has put it in again, or taken it out.
        let row = keys::queue_row(keys::LOST_HEADS, now, name);
        if kv.value(&row)?.is_some() {
            ops.push(Op::Delete(row));
        }
    }
    let key = keys::min_sequence(name);
    let stands = kv.value(&key)?.is_some();
    match min_sequence {
        Some(sequence) if !stands => set_min_sequence(kv, (name, *sequence), now, ops),
        None if stands => {
            ops.push(Op::Delete(key));
            dequeue(kv, keys::LOST_HEADS, name, ops)
        }
        _ => Ok(()),
    }
}

/// Refuses heads of a name below this sequence, unless the stored one is as new, and has the lost one looked for.
fn set_min_sequence(
    kv: &dyn Kv,
    (name, sequence): (&[u8], u64),
    now: Millis,
    ops: &mut Vec<Op>,
) -> Result<(), KvError> {
    let stored = kv.value(&keys::key(keys::HEAD, name))?;
    let stored = stored.and_then(|row| HeadRow::from_bytes(&row));
    if stored.is_none_or(|head| head.sequence < sequence) {
        ops.push(Op::Put(
            keys::min_sequence(name),
            write_min_sequence(sequence),
        ));
        enqueue(kv, keys::LOST_HEADS, name, now, ops)?;
    }
    Ok(())
}

/// Takes packs into use that no row has in use and that have blocks which are nowhere else, while something is missing: a lost group may
/// have taken the pack into use, and the files that it was made from are gone; or somebody has put back what a start has missed.
/// Returns what is told of it.
///
/// # Errors
/// It could not be written now. The packs stay, and the next start tries again.
pub(crate) fn take_in_packs(
    committer: &mut Committer,
    missing: &BTreeSet<FileNumber>,
) -> Result<Vec<Loss>, CommitError> {
    let shared = Arc::clone(&committer.shared);
    let index = &shared.index;
    let mut told = Vec::new();
    let losses = index.losses();
    if !may_need_packs(index, &losses).map_err(index_failed)? {
        return Ok(told);
    }
    // One that compaction has dropped waits to be removed, and has nothing that is not elsewhere.
    let missed = missing_files(&losses);
    let known = index.files();
    let known = known
        .iter()
        .filter(|(number, row)| !row.is_dropped || !missed.contains(number));
    let known: HashSet<PackName> = known.filter_map(|(_, row)| row.pack_name()).collect();
    let is_any = are_groups_gone(&losses);
    for name in index.packs.names().map_err(disk_failed)? {
        // One that is damaged stays as it is: it is never taken for a rest.
        if !known.contains(&name)
            && let Ok(footer) = index.packs.footer(&name)
        {
            let ops = take_in(committer, index, (name, &footer), (missing, is_any))?;
            if let Some(Op::Pack(pack)) = ops.last() {
                told.push(Loss {
                    blocks: (pack.entries as u64).saturating_sub(pack.dead.len() as u64),
                    ..Loss::new(LossKind::ReturnedFile, pack.number, 0)
                });
                committer.write_ops(ops)?;
            }
        }
    }
    Ok(told)
}

/// What takes a pack into use for the blocks that are nowhere else, be it only those of them that were set aside; nothing where there are
/// none. The last of it is the pack.
fn take_in(
    committer: &mut Committer,
    index: &Index,
    (name, footer): (PackName, &Footer),
    (missing, is_any): (&BTreeSet<FileNumber>, bool),
) -> Result<Vec<Op>, CommitError> {
    let entries: Vec<_> = footer.entries().collect();
    let (mut dead, mut ops) = (Vec::new(), Vec::new());
    for page in entries.chunks(PAGE_ROWS) {
        let hashes: Vec<_> = page.iter().map(pack::Entry::hash).collect();
        let places = index.places(hashes.iter()).map_err(index_failed)?;
        for ((entry, hash), place) in page.iter().zip(&hashes).zip(places) {
            let is_there = place.is_some_and(|place| !missing.contains(&place.location.file));
            let quarantine = keys::quarantine(hash);
            let is_aside = index.kv.value(&quarantine).map_err(index_failed)?.is_some();
            if is_there || !(is_any || is_aside) {
                dead.push(entry.index());
            } else if is_aside {
                ops.push(Op::Delete(quarantine));
            }
        }
    }
    if dead.len() == entries.len() {
        return Ok(Vec::new());
    }
    let file = index.packs.open(&name).map_err(disk_failed)?;
    let pack = PackOp {
        number: committer.log.take_number().map_err(disk_failed)?,
        name: name.0,
        bytes: file.length().map_err(disk_failed)?,
        entries: footer.len(),
        dead,
        dropped: Vec::new(),
    };
    ops.push(Op::Pack(pack));
    Ok(ops)
}

/// Whether groups may be gone of which nothing is known but that: one of them may have taken a pack into use.
fn are_groups_gone(losses: &[Loss]) -> bool {
    // Of a file that the index knew all blocks are set aside.
    losses.iter().any(|loss| {
        loss.kind.is_of_groups() && (loss.kind != LossKind::MissingFile || loss.group > 0)
    })
}

fn index_failed(error: KvError) -> CommitError {
    CommitError::Index(Arc::new(error))
}

fn disk_failed(error: io::Error) -> CommitError {
    CommitError::Disk(Arc::new(error))
}

/// Gives up files that are in use and not there: the blocks in them are set aside and fetched again. Returns what is told of it.
/// What cannot be written now is found again by the next start.
pub(crate) fn give_up(
    committer: &mut Committer,
    missing: &BTreeSet<FileNumber>,
    now: Millis,
) -> Vec<Loss> {
    if missing.is_empty() {
        return Vec::new();
    }
    let loss = |number: &FileNumber| Loss::new(LossKind::MissingFile, *number, 0);
    let mut losses = missing
        .iter()
        .map(|number| (*number, loss(number)))
        .collect();
    // The losses are told whether or not they could be written.
    let _ = write_missing(committer, &mut losses, now);
    found_at(now, losses.values())
}

fn write_missing(
    committer: &mut Committer,
    losses: &mut BTreeMap<FileNumber, Loss>,
    now: Millis,
) -> Result<(), CommitError> {
    // The losses that are to be written yet come first: these get numbers behind them.
    committer.settle()?;
    let shared = Arc::clone(&committer.shared);
    let index = &shared.index;
    shared.quarantined.store(true, Ordering::Release);
    let mut from = vec![keys::BLOCK];
    loop {
        let end = keys::end_of(keys::BLOCK);
        let rows = index
            .kv
            .scan(&from, &end, PAGE_ROWS)
            .map_err(index_failed)?;
        let Some((last, _)) = rows.last() else { break };
        from = keys::after(last.clone());
        let mut ops = Vec::new();
        for (key, row) in &rows {
            if let Some(hash) = keys::hash_of(key)
                && let Some(place) = Place::from_bytes(row)
                && let Some(loss) = losses.get_mut(&place.location.file)
            {
                loss.blocks += 1;
                let reason = format!("file {:08x} is not there", place.location.file.0);
                ops.extend(quarantine_ops(&hash, place, reason, now));
                enqueue(index.kv.as_ref(), keys::REFETCH, &key[1..], now, &mut ops)
                    .map_err(index_failed)?;
            }
        }
        if !ops.is_empty() {
            committer.write_ops(ops)?;
        }
    }
    let mut ops: Vec<_> = losses.keys().map(|number| Op::Drop(*number)).collect();
    index.note_losses(found_at(now, losses.values()), &mut ops);
    committer.write_ops(ops)
}

fn enqueue(
    kv: &dyn Kv,
    queue: Queue,
    key: &[u8],
    now: Millis,
    ops: &mut Vec<Op>,
) -> Result<(), KvError> {
    dequeue(kv, queue, key, ops)?;
    ops.push(Op::Put(
        keys::queue_row(queue, now, key),
        write_payload(&[]),
    ));
    ops.push(Op::Put(keys::queue_key(queue, key), write_due(now)));
    Ok(())
}

fn dequeue(kv: &dyn Kv, queue: Queue, key: &[u8], ops: &mut Vec<Op>) -> Result<(), KvError> {
    let by_key = keys::queue_key(queue, key);
    if let Some(due) = kv.value(&by_key)?.and_then(|row| read_due(&row)) {
        ops.push(Op::Delete(keys::queue_row(queue, due, key)));
        ops.push(Op::Delete(by_key));
    }
    Ok(())
}
