//! What holds a collection back: pinned blocks of which it is not known what hangs below them.

use std::collections::BTreeSet;

use perennis_shared::cid::Cid;

use crate::rows::{MANY_OWNERS, NOBODY};

/// Blocks that are named at most.
const NAMED: usize = 64;

/// The blocks, and whose they are.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    tags: BTreeSet<u32>,
    blocks: Vec<Cid>,
}

impl HeldBack {
    /// Notes a block. True where more is held back by it than before.
    pub(super) fn note(&mut self, block: Cid, tag: u32) -> bool {
        if self.blocks.len() < NAMED && !self.blocks.contains(&block) {
            self.blocks.push(block);
        }
        self.tags.insert(tag)
    }

    /// The first blocks that were noted.
    pub(super) fn blocks(&self) -> &[Cid] {
        &self.blocks
    }

    /// Whether nothing is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// Whether everything is held back: a block of several owners, or one for which nobody said whose it is, may have blocks of
    /// anybody below it.
    pub(super) fn is_all(&self) -> bool {
        self.tags.contains(&MANY_OWNERS) || self.tags.contains(&NOBODY)
    }

    /// Whether a block with this tag may hang below one of the blocks. Blocks that nobody owns were put by who said no owner.
    pub(super) fn takes(&self, tag: u32) -> bool {
        self.is_all()
            || (!self.is_empty()
                && (tag == NOBODY || tag == MANY_OWNERS || self.tags.contains(&tag)))
    }
}

#[cfg(test)]
mod tests {
    use perennis_shared::cid::{Codec, cid_of};

    use super::*;

    #[test]
    fn what_may_be_below_is_held() {
        let block = |number: u8| cid_of(Codec::Raw, &[number]);
        let mut held = HeldBack::default();
        assert!(held.is_empty() && !held.takes(5) && !held.takes(NOBODY));
        assert!(held.note(block(1), 5) && !held.note(block(2), 5));
        assert!(held.takes(5) && held.takes(NOBODY) && held.takes(MANY_OWNERS) && !held.takes(6));
        assert!(!held.is_all() && held.note(block(3), MANY_OWNERS));
        assert!(held.is_all() && held.takes(6));
        let mut unowned = HeldBack::default();
        assert!(unowned.note(block(1), NOBODY) && unowned.is_all());
        for number in 0..=255 {
            held.note(block(number), 5);
        }
        assert_eq!(held.blocks().len(), NAMED);
    }
}
