//! Joining the heads of several devices.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{
    LogError,
    append::{Appended, Author},
    entry::Entry,
    history::common_root,
};
use crate::time::Millis;
use crate::{
    cid::{Block, Cid},
    limits::{ENTRY_PREVIOUS, LimitExceeded},
    taglist::{
        Blocks, Hlc, Overlay,
        tree::{self, Update},
    },
};

/// Signs the entry that follows several heads. Its tree is the join of theirs: of each label the later change
/// stays, and no change of another label is lost. The result's tree is the same whichever device merges.
///
/// # Errors
/// Refuses fewer than two different heads, more than [`ENTRY_PREVIOUS`], heads of another identity and clocks
/// that are too far apart; asks for missing blocks.
pub fn merge<B: Blocks + ?Sized>(
    author: &Author<'_>,
    heads: &[Entry],
    now: Millis,
    blocks: &B,
) -> Result<Appended, LogError> {
    // In the order of `prev`, so that every device joins them in the same order.
    let heads: BTreeMap<Vec<u8>, &Entry> = heads
        .iter()
        .map(|head| (head.cid().to_bytes(), head))
        .collect();
    if heads.len() < 2 {
        return Err(LogError::NothingToMerge);
    }
    LimitExceeded::check("previous entries", ENTRY_PREVIOUS, heads.len())?;
    let next = author.next(heads.values().copied(), Hlc::ZERO, now)?;
    let heads: Vec<&Entry> = heads.into_values().collect();
    let update = merged_tree(&heads, blocks)?;
    let prev = heads.iter().map(|head| *head.cid()).collect();
    author.seal(next, prev, None, 0, None, update)
}

/// The join of the trees of `heads`, relative to the first of them.
pub(super) fn merged_tree<B: Blocks + ?Sized>(
    heads: &[&Entry],
    blocks: &B,
) -> Result<Update, LogError> {
    let Some((first, others)) = heads.split_first() else {
        return Ok(Update::default());
    };
    let mut root = first.root();
    let mut added: Vec<Block> = Vec::new();
    let mut removed: BTreeSet<Cid> = BTreeSet::new();
    for other in others {
        let base = common_root(first, other, blocks)?;
        let update = tree::merge(root, other.root(), base, &Overlay::new(&added, blocks))?;
        root = update.root;
        // What one step adds the next one can give up.
        let given_up: BTreeSet<Cid> = update.removed.iter().copied().collect();
        let own: BTreeSet<Cid> = added.iter().map(|block| *block.cid()).collect();
        added.retain(|block| !given_up.contains(block.cid()));
        removed.extend(given_up.difference(&own));
        for block in update.added {
            removed.remove(block.cid());
            added.push(block);
        }
    }
    Ok(Update {
        root,
        added,
        removed: removed.into_iter().collect(),
    })
}
