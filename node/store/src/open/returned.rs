//! Segments that are there again after a start has missed them, be it whole or in part: somebody has put them back.
//!
//! Later groups were written without what stood in them, so their rows are not applied: that would undo what came after. Blocks
//! are what their hash says, whenever they come: those that are not stored are stored again, and what waited for them goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use perennis_shared::cid::{Block, Cid, Multihash};

use crate::batch::Batch;
use crate::commit::Committer;
use crate::group::{Entry, Op};
use crate::index::Index;
use crate::keys;
use crate::kv::KvError;
use crate::location::FileNumber;
use crate::log::{Files, Groups, Position};
use crate::rows::{Loss, LossKind, write_plain};
use crate::segment::Segment;

/// Bytes of blocks that are stored with one commit, unless one block is larger.
const BATCH_BYTES: usize = 8 << 20;

/// The segments that the index is past, and of which it is noted that something of them was missing; where groups are missing, also those
/// that it does not know: which file a group was in stands nowhere else.
pub(crate) fn returned(index: &Index, files: &Files, applied: Position) -> Vec<Segment> {
    let losses = index.losses();
    let has_gap = losses
        .iter()
        .any(|loss| loss.kind == LossKind::MissingGroups);
    let missed: BTreeSet<FileNumber> = losses
        .iter()
        .filter(|loss| {
            matches!(
                loss.kind,
                LossKind::MissingFile
                    | LossKind::MissingGroups
                    | LossKind::UnreadableFile
                    | LossKind::ShortFile
                    | LossKind::WrongFile
            )
        })
        .map(|loss| loss.file)
        .collect();
    let here = files.log.range(..applied.file);
    let here = here.filter(|(number, _)| {
        missed.contains(number) || (has_gap && index.file(**number).is_none())
    });
    here.map(|(_, file)| file.segment.clone()).collect()
}

/// Stores the blocks in these segments that are not stored. Returns what is told of it. What cannot be read or written now is left to the
/// next start.
pub(crate) fn take_blocks(committer: &mut Committer, segments: &[Segment]) -> Vec<Loss> {
    let mut told = Vec::new();
    for segment in segments {
        let mut taking = Taking {
            committer,
            segment,
            batch: Batch::new(),
            bytes: 0,
            blocks: 0,
            seen: Vec::new(),
        };
        let last_group = taking.take();
        if !taking.seen.is_empty() {
            told.push(Loss {
                group: last_group,
                blocks: taking.blocks,
                ..Loss::new(LossKind::ReturnedFile, segment.number, 0)
            });
        }
    }
    told
}

struct Taking<'a> {
    committer: &'a mut Committer,
    segment: &'a Segment,
    batch: Batch,
    bytes: usize,
    blocks: u64,
    /// Notes that its copies of blocks are not needed any more, be it that they were taken or not: what was collected since is not taken
    /// by the next start again.
    seen: Vec<Op>,
}

impl Taking<'_> {
    /// Takes what it can. Returns the last group that was found.
    fn take(&mut self) -> u64 {
        let mut last = 0;
        let Ok(mut groups) = Groups::new(self.segment, 0, false) else {
            return last;
        };
        while let Ok(Some(found)) = groups.next() {
            last = found.group;
            for (_, batch) in &found.batches {
                if self.take_entries(&batch.entries).is_err() {
                    return last;
                }
            }
        }
        self.commit();
        // Where it cannot be written now, the next start takes them again.
        let _ = self.committer.write_ops(self.seen.clone());
        last
    }

    fn take_entries(&mut self, entries: &[Entry]) -> Result<(), KvError> {
        let shared = Arc::clone(&self.committer.shared);
        let index = &shared.index;
        let hashes: BTreeMap<Multihash, &Entry> =
            entries.iter().map(|entry| (entry.hash, entry)).collect();
        let places = index.places(hashes.keys())?;
        for ((hash, entry), place) in hashes.iter().zip(places) {
            let dead = keys::dead_copy(self.segment.number, hash);
            if index.kv.value(&dead)?.is_some() {
                continue;
            }
            // One that is damaged here is not taken, and may be whole when the file is put back once more.
            let is_elsewhere = match place {
                Some(place) => place.location.file != self.segment.number,
                None => self.take_entry(entry),
            };
            if is_elsewhere {
                self.seen.push(Op::Put(dead, write_plain(1, &[])));
            }
        }
        Ok(())
    }

    /// False where its bytes are not the block.
    fn take_entry(&mut self, entry: &Entry) -> bool {
        let location = entry.location(self.segment.number);
        let bytes = location.read_from(self.segment.file.as_ref()).ok();
        let cid = Cid::new_v1(entry.codec, entry.hash);
        let Some(block) = bytes.and_then(|bytes| Block::verified(cid, bytes).ok()) else {
            return false;
        };
        self.bytes += block.bytes().len();
        self.batch.put_block(block);
        if self.bytes >= BATCH_BYTES {
            self.commit();
        }
        true
    }

    fn commit(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() {
            return;
        }
        let blocks = batch.blocks.len() as u64;
        let (answer, answered) = std::sync::mpsc::channel();
        let reply = Box::new(move |result| drop(answer.send(result)));
        self.committer.commit(vec![(batch, reply)], false);
        if let Ok(Ok(_)) = answered.try_recv() {
            self.blocks += blocks;
        }
    }
}
