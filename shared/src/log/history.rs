//! Reading a log backwards: its entries, how two entries are related, and whether each follows from those before it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{
    EntryError, LogError,
    append::in_effect,
    entry::{Entry, EntryKind, UnverifiedEntry},
    merge::merged_tree,
};
use crate::{
    cid::{Block, Cid},
    taglist::{Blocks, tree},
};

/// The newest `limit` entries of the log that ends with `head`, newest first: by number, then by CID. The head has
/// been verified; the others are the ones it links, directly or not. A compacted log ends with its compaction.
///
/// # Errors
/// Asks for missing blocks; refuses blocks that are no entries, or that do not follow from each other.
pub fn history<B: Blocks + ?Sized>(
    head: &Entry,
    limit: usize,
    blocks: &B,
) -> Result<Vec<Entry>, LogError> {
    let mut open = Open::default();
    open.add(head.clone());
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(entry) = open.newest()
    {
        for cid in entry.prev() {
            let before = load(cid, blocks)?;
            if !precedes(&before, &entry) {
                return Err(LogError::entry(entry.cid(), EntryError::Order));
            }
            open.add(before);
        }
        found.push(entry);
    }
    Ok(found)
}

/// Checks that an entry follows from the entries before it: same identity, the number after theirs, a later
/// clock, and the tree that its changes, or the merge, make of theirs. Changes that an entry does not list
/// and compactions are not made again.
///
/// # Errors
/// Says what does not follow; asks for missing blocks.
pub fn follows<B: Blocks + ?Sized>(entry: &Entry, blocks: &B) -> Result<(), LogError> {
    let mut before = Vec::with_capacity(entry.prev().len());
    for cid in entry.prev() {
        before.push(load(cid, blocks)?);
    }
    let greatest = before.iter().map(Entry::seq).max();
    let is_next = greatest.is_none_or(|seq| seq.checked_add(1) == Some(entry.seq()));
    if !is_next || !before.iter().all(|before| precedes(before, entry)) {
        return Err(LogError::entry(entry.cid(), EntryError::Order));
    }
    let expected = match (entry.kind(), entry.ops()) {
        (EntryKind::Change, Some(ops)) => {
            let before = before.first();
            let effective = in_effect(before, ops.to_vec(), entry.device(), blocks)?;
            if effective.len() < ops.len() {
                return Err(LogError::entry(entry.cid(), EntryError::Root));
            }
            let root = before.and_then(Entry::root);
            tree::apply(root, ops, entry.device(), blocks)?.root
        }
        (EntryKind::Merge, _) => {
            let before: Vec<&Entry> = before.iter().collect();
            merged_tree(&before, blocks)?.root
        }
        (EntryKind::Change, None) | (EntryKind::Compaction, _) => return Ok(()),
    };
    if expected == entry.root() {
        Ok(())
    } else {
        Err(LogError::entry(entry.cid(), EntryError::Root))
    }
}

/// How an entry stands to one that is already known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It is the known one.
    Same,
    /// It builds on the known one.
    Newer,
    /// It belongs to a log that was compacted after the known one was written, and the log between the two is not
    /// there to be read. Readers take it as newer; a device with changes of its own merges.
    NewerCompacted,
    /// The known one builds on it: an old head, replayed.
    Older,
    /// Neither builds on the other: two devices went on independently, or one key signed twice.
    Concurrent,
}

/// How the head `candidate` stands to the head `known`, both verified. Where a log was compacted, the old log
/// is followed as far as its blocks are there.
///
/// # Errors
/// Refuses heads of different identities and blocks that are no entries; asks for missing blocks.
pub fn relation<B: Blocks + ?Sized>(
    known: &Entry,
    candidate: &Entry,
    blocks: &B,
) -> Result<Relation, LogError> {
    if known.did() != candidate.did() {
        return Err(LogError::OtherIdentity);
    }
    if known.cid() == candidate.cid() {
        return Ok(Relation::Same);
    }
    if candidate.seq() > known.seq() {
        return Ok(match ancestry(candidate, known, blocks)? {
            Ancestry::Found => Relation::Newer,
            Ancestry::Unknown => Relation::NewerCompacted,
            Ancestry::No => Relation::Concurrent,
        });
    }
    Ok(match ancestry(known, candidate, blocks)? {
        // A log older than our compaction is not one to go back to.
        Ancestry::Found | Ancestry::Unknown => Relation::Older,
        Ancestry::No => Relation::Concurrent,
    })
}

/// Whether the log at `head`, which speaks for its identity, has the entry `older`, which then does as well. The way goes
/// through compactions, whose entries name the head of the log before.
///
/// # Errors
/// Refuses blocks that are no entries, or that do not follow from each other; asks for missing blocks.
pub fn builds_on<B: Blocks + ?Sized>(
    head: &Entry,
    older: &Entry,
    blocks: &B,
) -> Result<bool, LogError> {
    let mut open = Open::default();
    open.add(head.clone());
    while let Some(entry) = open.newest() {
        if entry.cid() == older.cid() {
            return Ok(true);
        }
        if entry.seq() <= older.seq() {
            continue;
        }
        for cid in entry.prev().iter().chain(entry.compacts()) {
            if cid == older.cid() {
                return Ok(true);
            }
            let before = load(cid, blocks)?;
            if !precedes(&before, &entry) {
                return Err(LogError::entry(entry.cid(), EntryError::Order));
            }
            open.add(before);
        }
    }
    Ok(false)
}

enum Ancestry {
    Found,
    No,
    /// The way back ends at a compaction whose old log is not there.
    Unknown,
}

/// Whether `older` is among the entries that `newer` builds on.
fn ancestry<B: Blocks + ?Sized>(
    newer: &Entry,
    older: &Entry,
    blocks: &B,
) -> Result<Ancestry, LogError> {
    let mut open = Open::default();
    open.add(newer.clone());
    let mut end = Ancestry::No;
    while let Some(entry) = open.newest() {
        if entry.cid() == older.cid() {
            return Ok(Ancestry::Found);
        }
        if entry.seq() <= older.seq() {
            continue;
        }
        if entry.prev().contains(older.cid()) || entry.compacts() == Some(older.cid()) {
            return Ok(Ancestry::Found);
        }
        for before in before(&entry, blocks)? {
            match before {
                Some(before) => open.add(before),
                None => end = Ancestry::Unknown,
            }
        }
    }
    Ok(end)
}

/// The tree root of the newest entry that both logs build on: `Some(None)` when its list is empty or the
/// logs have nothing in common, `None` when the way there ends at a compaction whose old log is not there.
///
/// # Errors
/// As [`relation`].
pub fn common_root<B: Blocks + ?Sized>(
    a: &Entry,
    b: &Entry,
    blocks: &B,
) -> Result<Option<Option<Cid>>, LogError> {
    if a.did() != b.did() {
        return Err(LogError::OtherIdentity);
    }
    let mut open = Open::default();
    let mut sides: BTreeMap<Cid, u8> = BTreeMap::new();
    for (entry, side) in [(a, 1), (b, 2)] {
        *sides.entry(*entry.cid()).or_default() |= side;
        open.add(entry.clone());
    }
    let mut way_is_known = true;
    while let Some(entry) = open.newest() {
        let side = sides.get(entry.cid()).copied().unwrap_or_default();
        if side == 3 {
            return Ok(Some(entry.root()));
        }
        for before in before(&entry, blocks)? {
            let Some(before) = before else {
                way_is_known = false;
                continue;
            };
            *sides.entry(*before.cid()).or_default() |= side;
            open.add(before);
        }
    }
    Ok(way_is_known.then_some(None))
}

/// The entries before an entry, the head of a compacted log included; `None` for one that is not there.
fn before<B: Blocks + ?Sized>(entry: &Entry, blocks: &B) -> Result<Vec<Option<Entry>>, LogError> {
    let mut found = Vec::with_capacity(entry.prev().len().max(1));
    let links = entry.prev().iter().map(|cid| (cid, true));
    let named = entry.compacts().into_iter().map(|cid| (cid, false));
    for (cid, is_link) in links.chain(named) {
        match load(cid, blocks) {
            Ok(before) if precedes(&before, entry) => found.push(Some(before)),
            Ok(_) => return Err(LogError::entry(entry.cid(), EntryError::Order)),
            Err(LogError::Missing(_)) if !is_link => found.push(None),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Whether `before` can come before `entry`: one identity, a lower number, an earlier clock.
fn precedes(before: &Entry, entry: &Entry) -> bool {
    before.did() == entry.did() && before.seq() < entry.seq() && before.clock() < entry.clock()
}

/// Reads an entry that a verified entry links.
fn load<B: Blocks + ?Sized>(cid: &Cid, blocks: &B) -> Result<Entry, LogError> {
    let bytes = blocks.block(cid).ok_or(LogError::Missing(*cid))?;
    Block::verified(*cid, bytes)
        .map_err(EntryError::from)
        .and_then(|block| UnverifiedEntry::parse(&block))
        .map(UnverifiedEntry::trusted)
        .map_err(|error| LogError::entry(cid, error))
}

/// Entries to be visited, each once, newest first.
#[derive(Default)]
struct Open {
    entries: BTreeMap<(u64, Cid), Entry>,
    seen: BTreeSet<Cid>,
}

impl Open {
    fn add(&mut self, entry: Entry) {
        if self.seen.insert(*entry.cid()) {
            self.entries.insert((entry.seq(), *entry.cid()), entry);
        }
    }

    fn newest(&mut self) -> Option<Entry> {
        self.entries.pop_last().map(|(_, entry)| entry)
    }
}
