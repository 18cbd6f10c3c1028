//! Undoing what this device signed while its clock was ahead.
//!
//! An entry that is dated more than a day ahead ([`MAX_DRIFT`](perennis_shared::taglist::MAX_DRIFT)) is refused by every
//! reader and by every node whose clock is right, this client included: its list could not be read or published before that
//! day comes. Where no node took such entries, nobody else knows them. So they are undone: the own list goes back to the entry
//! before them, their changes are staged again before those that wait, and the next record has a higher sequence than
//! the one that was signed for them. The record itself is forgotten, so that it is no mark which others are held against.
//!
//! Only what was signed here and is still to be delivered is undone. A clock that is *behind* makes every entry look dated
//! ahead: what a node has acknowledged, and what came from elsewhere, stays, and is told as refused.

use std::collections::HashSet;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::{
    cid::Cid,
    ipns::Name,
    log::{Entry, EntryKind, UnverifiedEntry},
    taglist::{DatedOp, Hlc, Op, tree},
    time::Millis,
};

use super::{
    Client, ListError,
    rows::{self, Acknowledged, Added, RowValue},
    stage::{next_number, stage_rows},
    undone::Undone,
    view::View,
};
use crate::store::{BlockStore, Changes, StoreError};

/// Changes of an import that are read at once.
const PAGE: usize = 1_000;

/// What was undone since it was signed with a clock that was ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MendedClock {
    /// Entries of the own log that no node took.
    pub entries: usize,
    /// Their changes, which wait again to be published.
    pub changes: usize,
    /// When the last of them says it was signed.
    pub dated: Millis,
    /// How far that is ahead of the clock now.
    pub ahead: Duration,
}

/// Entries to be undone, the newest first, and the entry before them.
struct AheadEntries {
    entries: Vec<Entry>,
    before: Option<Entry>,
}

impl<S: BlockStore + 'static> Client<S> {
    /// Undoes entries of the own log that were signed while this device's clock was more than a day ahead and that no node
    /// took: their changes wait again to be published. None where there is nothing of that kind. [`Client::labels`],
    /// [`Client::history`], [`Client::publish`], [`Client::compact`] and [`Client::restore`] do it by themselves; who calls this
    /// first can tell the person.
    ///
    /// # Errors
    /// A block of such an entry cannot be had, or the store fails.
    pub async fn mend_clock(&self) -> Result<Option<MendedClock>, ListError> {
        if !self.is_own_head_ahead().await? {
            return Ok(None);
        }
        let _publishing = self.shared.publishing.lock().await;
        self.mend_clock_locked().await
    }

    /// As [`Client::mend_clock`], for who holds the lock of publishing.
    pub(super) async fn mend_clock_locked(&self) -> Result<Option<MendedClock>, ListError> {
        if !self.is_own_head_ahead().await? {
            return Ok(None);
        }
        let _writing = self.shared.writing.lock().await;
        let Some(facts) = self.identity().await? else {
            return Ok(None);
        };
        let (name, now) = (facts.name, rt::now());
        let mut view = self.view(&[]);
        let Some(ahead) = self.ahead_entries(&mut view, &name, now).await? else {
            return Ok(None);
        };
        let staged = self.read_staged(&name).await?;
        if !staged.damaged.is_empty() {
            // Numbering them anew would lose these; who repairs them comes here again.
            return Ok(None);
        }
        let undone = ahead_changes(&mut view, &ahead).await?;
        let Some(dated) = ahead.entries.first().map(|entry| entry.clock().millis()) else {
            return Ok(None);
        };
        let mended = MendedClock {
            entries: ahead.entries.len(),
            changes: undone.len(),
            dated,
            ahead: dated - now,
        };

        let mut changes = match &ahead.before {
            Some(before) => Changes::new().set(rows::head_key(&name), before.cid().to_bytes()),
            None => Changes::new().clear(rows::head_key(&name)),
        };
        for entry in &ahead.entries {
            let key = rows::added_key(&name, entry.cid());
            let rows = self.shared.store.state_keys(&key).await?;
            changes = rows.into_iter().fold(changes, Changes::clear);
        }
        let before = ahead.before.as_ref().map_or(Hlc::ZERO, Entry::clock);
        let reading = Hlc::tick(before, now).unwrap_or(Hlc::at(now));
        let waiting = undone.into_iter().chain(staged.changes);
        let waiting = waiting
            .map(|change| redated(change, reading, now))
            .collect();
        changes = stage_anew(changes, &name, &staged.keys, waiting)?;
        let _observing = self.shared.local.hold().await;
        changes = self.undo_record(changes, &name, &ahead).await?;
        self.shared.store.commit(changes).await?;
        tracing::warn!(
            entries = mended.entries,
            changes = mended.changes,
            dated = %mended.dated,
            "this device's clock was ahead: what was signed then and no node took is undone, and its changes wait again"
        );
        Ok(Some(mended))
    }

    /// Whether the newest own entry is dated further ahead than anybody takes.
    async fn is_own_head_ahead(&self) -> Result<bool, StoreError> {
        let Some(facts) = self.identity().await? else {
            return Ok(false);
        };
        let head = match self.own_head(&facts.name).await {
            // Whoever needs the row says so.
            Err(error) if error.is_damage() => None,
            head => head?,
        };
        let block = match head {
            Some(head) => match self.shared.store.block(&head).await {
                Err(StoreError::Corrupt { .. }) => None,
                block => block?,
            },
            None => None,
        };
        let entry = block.and_then(|block| UnverifiedEntry::parse(&block).ok());
        Ok(entry.is_some_and(|entry| entry.clock().check_drift(rt::now()).is_err()))
    }

    /// The newest own entries that are dated ahead; none where one of them was taken by a node or was not signed here.
    async fn ahead_entries(
        &self,
        view: &mut View<'_, S>,
        name: &Name,
        now: Millis,
    ) -> Result<Option<AheadEntries>, ListError> {
        let taken = self.taken_heads(name).await?;
        let mut next = self.own_head(name).await?;
        let mut entries = Vec::new();
        while let Some(cid) = next {
            let entry = undated_entry(view, name, &cid).await?;
            if entry.clock().check_drift(now).is_ok() {
                let before = Some(entry);
                return Ok(Some(AheadEntries { entries, before }));
            }
            let key = rows::added_key(name, &cid);
            let Some(row) = self.shared.store.state(&key).await? else {
                return Ok(None);
            };
            if taken.contains(&cid) {
                return Ok(None);
            }
            // Of a merge the first is the one that was here.
            let previous = Added::from_row(&key, &row)?.previous.first().copied();
            next = entry.compacts().copied().or(previous);
            entries.push(entry);
        }
        let before = None;
        Ok(Some(AheadEntries { entries, before }))
    }

    /// The heads that nodes acknowledged last.
    async fn taken_heads(&self, name: &Name) -> Result<HashSet<Cid>, StoreError> {
        let store = &self.shared.store;
        let mut heads = HashSet::new();
        for key in store.state_keys(&rows::node_prefix(name)).await? {
            if let Some(row) = store.state(&key).await? {
                heads.insert(Acknowledged::from_row(&key, &row)?.head);
            }
        }
        Ok(heads)
    }

    /// Forgets the record that leads to an undone entry, but for its sequence and who waits for it.
    async fn undo_record(
        &self,
        mut changes: Changes,
        name: &Name,
        ahead: &AheadEntries,
    ) -> Result<Changes, StoreError> {
        let is_undone = |head: Option<Cid>| {
            let mut entries = ahead.entries.iter();
            entries.any(|entry| Some(*entry.cid()) == head)
        };
        let mut undone = self.undone(name).await?.unwrap_or_default();
        let mark = self.shared.local.mark(name).await?;
        if let Some(mark) = mark.filter(|mark| is_undone(mark.head())) {
            undone.sequence = undone.sequence.max(mark.sequence());
            changes = changes.clear(self.shared.local.mark_row(name));
        }
        let outbox = self.outbox(name).await?;
        if let Some(outbox) = outbox.filter(|outbox| is_undone(outbox.record.head())) {
            undone.sequence = undone.sequence.max(outbox.record.sequence());
            undone.waiting = super::distinct(undone.waiting.iter().chain(&outbox.waiting));
            changes = changes.clear(rows::outbox_key(name));
        }
        let key = rows::undone_key(name);
        let row = undone.to_row(&key)?;
        Ok(changes.set(key, row))
    }

    /// What was undone since the last publish.
    pub(super) async fn undone(&self, name: &Name) -> Result<Option<Undone>, StoreError> {
        let key = rows::undone_key(name);
        let row = self.shared.store.state(&key).await?;
        row.map(|row| Undone::from_row(&key, &row)).transpose()
    }
}

/// Puts these changes in the place of all that are staged.
fn stage_anew(
    changes: Changes,
    name: &Name,
    former: &[String],
    waiting: Vec<DatedOp>,
) -> Result<Changes, StoreError> {
    let mut number = next_number(name, former);
    let mut changes = former.iter().cloned().fold(changes, Changes::clear);
    for group in waiting.chunk_by(|one, next| one.clock == next.clock) {
        let ops: Vec<Op> = group.iter().map(|change| change.op.clone()).collect();
        changes = stage_rows(changes, name, &mut number, group[0].clock, &ops)?;
    }
    Ok(changes)
}

/// The entry `cid` of the log of `name`, whenever it says that it was signed.
async fn undated_entry<S: BlockStore>(
    view: &mut View<'_, S>,
    name: &Name,
    cid: &Cid,
) -> Result<Entry, ListError> {
    let block = view.block(cid).await?;
    let refused = |source| ListError::Entry {
        cid: Box::new(*cid),
        source: Box::new(source),
    };
    let unverified = UnverifiedEntry::parse(&block).map_err(refused)?;
    let document = view.block(unverified.document()).await?;
    let dated = unverified.clock().millis();
    unverified.verify(name, &document, dated).map_err(refused)
}

/// The changes of entries, the oldest first.
async fn ahead_changes<S: BlockStore>(
    view: &mut View<'_, S>,
    ahead: &AheadEntries,
) -> Result<Vec<DatedOp>, ListError> {
    let mut changes = Vec::new();
    let mut root = ahead.before.as_ref().and_then(Entry::root);
    for entry in ahead.entries.iter().rev() {
        match (entry.kind(), entry.ops()) {
            (EntryKind::Change, Some(ops)) => changes.extend_from_slice(ops),
            // An import does not list its changes: the trees have them.
            (EntryKind::Change, None) => imported(view, root, entry, &mut changes).await?,
            // What was merged is merged again with the next publish, and a compaction changes no label.
            (EntryKind::Merge | EntryKind::Compaction, _) => {}
        }
        root = entry.root();
    }
    Ok(changes)
}

/// What an entry changes of the list with this root.
async fn imported<S: BlockStore>(
    view: &mut View<'_, S>,
    root: Option<Cid>,
    entry: &Entry,
    changes: &mut Vec<DatedOp>,
) -> Result<(), ListError> {
    let mut after = None;
    loop {
        let diff = view.run(|blocks| tree::diff(root, entry.root(), after.as_ref(), PAGE, blocks));
        let page = diff.await?;
        changes.extend(page.items.into_iter().map(|change| DatedOp {
            op: change.after.map_or(Op::Remove(change.key), Op::Set),
            clock: entry.clock(),
        }));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// A change that is dated ahead counts from now.
fn redated(change: DatedOp, reading: Hlc, now: Millis) -> DatedOp {
    match change.clock.check_drift(now) {
        Ok(()) => change,
        Err(_) => DatedOp {
            clock: reading,
            op: change.op,
        },
    }
}

#[cfg(test)]
mod tests;
