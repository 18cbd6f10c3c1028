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
    taglist::{Blocks, DeviceTag, Hlc, Key, Op, Stamp, tree},
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

/// Signs changes as the entry after `head`, or as the first one. Of several changes of one label the last one
/// counts. An entry without changes is allowed: it publishes a new DID document.
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
    let heads = head.as_slice();
    let next = author.next(heads.iter().copied(), now)?;
    let ops = last_of_each(ops);
    let update = tree::apply(head.and_then(Entry::root), &ops, next.stamp, blocks)?;
    let changes = ops.len() as u64;
    let prev = heads.iter().map(|head| *head.cid()).collect();
    author.seal(next, prev, Some(ops), changes, None, update)
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
    let next = author.next([head], now)?;
    let (update, dropped) = tree::retain(head.root(), blocks, &mut |row| match &row.label {
        Some(label) => !label.is_expired(now),
        None => row.stamp.clock.millis() + keep_removed > now,
    })?;
    author.seal(next, Vec::new(), None, dropped, Some(*head.cid()), update)
}

/// Number and stamp of an entry.
#[derive(Clone, Copy)]
pub(super) struct Next {
    seq: u64,
    pub(super) stamp: Stamp,
}

impl Author<'_> {
    /// What an entry after `heads` gets.
    pub(super) fn next<'e>(
        &self,
        heads: impl IntoIterator<Item = &'e Entry>,
        now: Millis,
    ) -> Result<Next, LogError> {
        let (mut seq, mut clock) = (0, Hlc::ZERO);
        for head in heads {
            if *head.did() != self.did {
                return Err(LogError::OtherIdentity);
            }
            seq = head.seq().max(seq);
            clock = head.clock().max(clock);
        }
        let stamp = Stamp {
            clock: Hlc::tick(clock, now)?,
            device: DeviceTag::from(&self.signer.public()),
        };
        Ok(Next {
            seq: seq.saturating_add(1),
            stamp,
        })
    }

    /// Signs an entry.
    pub(super) fn seal(
        &self,
        next: Next,
        prev: Vec<Cid>,
        ops: Option<Vec<Op>>,
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
            clock: next.stamp.clock,
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
fn last_of_each(ops: Vec<Op>) -> Vec<Op> {
    if ops.len() < 2 {
        return ops;
    }
    let by_key: BTreeMap<Key, Op> = ops.into_iter().map(|op| (op.key(), op)).collect();
    by_key.into_values().collect()
}
