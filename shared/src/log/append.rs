//! Adding to a log, and starting it anew.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

use super::{
    LogError,
    entry::{Body, Entry},
};
use crate::{
    cid::{Block, Cid},
    did::Did,
    sign::SigningKey,
    taglist::{
        Blocks, DatedOp, DeviceTag, Hlc, Key, Op,
        tree::{self, TreeError},
    },
    time::Millis,
};

/// Who signs, and under which DID document.
#[derive(Clone, Copy)]
pub struct Author<'a> {
    /// Whose log it is.
    pub did: Did,
    /// The device's key.
    pub signer: &'a SigningKey,
    /// The block of the DID document that lists the key.
    pub document: Cid,
}

/// A signed entry and what it changes among the blocks.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The new head.
    pub entry: Entry,
    /// New blocks: those of the tree, children before parents, and the entry's own as the last one.
    pub added: Vec<Block>,
    /// Blocks of the tree before that the new one does not have. Earlier entries still link to them.
    pub removed: Vec<Cid>,
}

/// Signs changes made now as the entry after `head`, or as the first one. Of several changes of one label the last
/// one counts. An entry without changes is allowed: it publishes a new DID document.
///
/// # Errors
/// Refuses a head of another identity and a clock too far behind the head's; asks for missing blocks of
/// the tree.
pub fn append<B: Blocks + ?Sized>(
    author: &Author<'_>,
    head: Option<&Entry>,
    ops: Vec<Op>,
    now: Millis,
    blocks: &B,
) -> Result<Appended, LogError> {
    let next = author.next(head, Hlc::ZERO, now)?;
    let clock = next.clock;
    let changes = last_of_each(ops.into_iter().map(|op| DatedOp { op, clock }));
    author.change(head, next, changes, blocks)
}

/// Signs changes made at different times as the entry after `head`, or as the first one. Of several changes of one
/// label the last one counts, and it is left out where the list has a later one already ([`in_effect`]). A
/// change that is dated in the future gets the clock reading of the entry.
///
/// # Errors
/// As [`append`].
pub fn append_dated<B: Blocks + ?Sized>(
    author: &Author<'_>,
    head: Option<&Entry>,
    changes: Vec<DatedOp>,
    now: Millis,
    blocks: &B,
) -> Result<Appended, LogError> {
    let readings = changes.iter().map(|change| change.clock);
    let newest = readings
        .filter(|clock| clock.check_drift(now).is_ok())
        .max();
    let next = author.next(head, newest.unwrap_or_default(), now)?;
    let changes = changes.into_iter().map(|change| DatedOp {
        clock: change.clock.min(next.clock),
        op: change.op,
    });
    let changes = in_effect(head, last_of_each(changes), author.device(), blocks)?;
    author.change(head, next, changes, blocks)
}

/// Those of the changes, each of another label, that the list at `head` does not have a later one than. Changes that
/// were made after `head` was signed are not looked up.
///
/// # Errors
/// Asks for missing blocks of the tree, and refuses blocks that are no nodes of one.
pub fn in_effect<B: Blocks + ?Sized>(
    head: Option<&Entry>,
    mut changes: Vec<DatedOp>,
    device: DeviceTag,
    blocks: &B,
) -> Result<Vec<DatedOp>, TreeError> {
    let Some(head) = head else {
        return Ok(changes);
    };
    let mut failed = None;
    let mut rows = tree::Lookup::new(head.root(), blocks);
    changes.retain(|change| {
        // No row of a list is later than the entry it belongs to.
        if failed.is_some() || change.clock > head.clock() {
            return true;
        }
        match rows.row(&change.key()) {
            Ok(row) => row.is_none_or(|row| {
                let stamp = change.stamp(device);
                change.op.clone().into_row(stamp).replaces(&row)
            }),
            Err(error) => {
                failed = Some(error);
                true
            }
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(changes),
    }
}

/// Starts a new log in the place of the one that ends with `head`. The new log's tree has the latest row of
/// each label; labels that have expired at `now` are left out, and so are removed labels once
/// they have been removed for `keep_removed`. Until then a removal is kept so that a device that has been away
/// does not bring the label back; [`super::merge()`] still recognises later ones when it can see
/// where the logs parted.
///
/// # Errors
/// As [`append`].
pub fn compact<B: Blocks + ?Sized>(
    author: &Author<'_>,
    head: &Entry,
    keep_removed: Duration,
    now: Millis,
    blocks: &B,
) -> Result<Appended, LogError> {
    let next = author.next([head], Hlc::ZERO, now)?;
    let (update, dropped) = tree::retain(head.root(), blocks, &mut |row| match &row.label {
        Some(label) => !label.is_expired(now),
        None => row.stamp.clock.millis() + keep_removed > now,
    })?;
    author.seal(next, Vec::new(), None, dropped, Some(*head.cid()), update)
}

/// Number and clock reading of an entry.
#[derive(Clone, Copy)]
pub(super) struct Next {
    seq: u64,
    pub(super) clock: Hlc,
}

impl Author<'_> {
    /// What orders this device among those that change a label at one clock reading.
    pub(super) fn device(&self) -> DeviceTag {
        DeviceTag::from(&self.signer.public())
    }

    /// What an entry after `heads` gets that carries changes up to the reading `made`.
    pub(super) fn next<'e>(
        &self,
        heads: impl IntoIterator<Item = &'e Entry>,
        made: Hlc,
        now: Millis,
    ) -> Result<Next, LogError> {
        let (mut seq, mut clock) = (0, made);
        for head in heads {
            if *head.did() != self.did {
                return Err(LogError::OtherIdentity);
            }
            seq = head.seq().max(seq);
            clock = head.clock().max(clock);
        }
        Ok(Next {
            seq: seq.saturating_add(1),
            clock: Hlc::tick(clock, now)?,
        })
    }

    /// Signs changes, sorted by key and all of them in effect, as the entry after `head`.
    fn change<B: Blocks + ?Sized>(
        &self,
        head: Option<&Entry>,
        next: Next,
        changes: Vec<DatedOp>,
        blocks: &B,
    ) -> Result<Appended, LogError> {
        let root = head.and_then(Entry::root);
        let update = tree::apply(root, &changes, self.device(), blocks)?;
        let count = changes.len() as u64;
        let prev = head.iter().map(|head| *head.cid()).collect();
        self.seal(next, prev, Some(changes), count, None, update)
    }

    /// Signs an entry.
    pub(super) fn seal(
        &self,
        next: Next,
        prev: Vec<Cid>,
        ops: Option<Vec<DatedOp>>,
        changes: u64,
        compacts: Option<Cid>,
        update: tree::Update,
    ) -> Result<Appended, LogError> {
        let body = Body {
            did: self.did,
            doc: self.document,
            key: self.signer.public(),
            ops,
            seq: next.seq,
            prev,
            root: update.root,
            clock: next.clock,
            changes,
            compacts,
        };
        let entry = Entry::sign(body, self.signer)?;
        let mut added = update.added;
        added.push(entry.block().clone());
        Ok(Appended {
            entry,
            added,
            removed: update.removed,
        })
    }
}

/// Sorts changes by key; the last one of each key stays.
fn last_of_each(changes: impl IntoIterator<Item = DatedOp>) -> Vec<DatedOp> {
    let by_key: BTreeMap<Key, DatedOp> = changes
        .into_iter()
        .map(|change| (change.key(), change))
        .collect();
    by_key.into_values().collect()
}
