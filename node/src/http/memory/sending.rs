//! The blocks that answers under way are made of: each in memory once, whoever sends it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use perennis_shared::cid::{Block, Cid};

use super::Share;

/// All of them, by CID.
#[derive(Default)]
pub(super) struct Sending(Mutex<HashMap<Cid, Weak<SentBlock>>>);

/// A block with its share of the memory, which is given back when no answer sends it any more.
pub(crate) struct SentBlock {
    block: Block,
    sending: Arc<Sending>,
    _share: Share,
}

impl Sending {
    pub(super) fn find(&self, cid: &Cid) -> Option<Arc<SentBlock>> {
        self.0.lock().get(cid).and_then(Weak::upgrade)
    }

    /// Adds a block; when somebody was faster, theirs is given and the share returns.
    pub(super) fn add(self: &Arc<Sending>, block: Block, share: Share) -> Arc<SentBlock> {
        let mut all = self.0.lock();
        if let Some(sent) = all.get(block.cid()).and_then(Weak::upgrade) {
            return sent;
        }
        let cid = *block.cid();
        let sent = Arc::new(SentBlock {
            block,
            sending: Arc::clone(self),
            _share: share,
        });
        all.insert(cid, Arc::downgrade(&sent));
        sent
    }
}

impl SentBlock {
    pub(crate) fn block(&self) -> &Block {
        &self.block
    }
}

/// The bytes of a block that is being sent.
pub(super) struct BlockBytes(pub(super) Arc<SentBlock>);

impl AsRef<[u8]> for BlockBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.block.bytes()
    }
}

impl Drop for SentBlock {
    fn drop(&mut self) {
        let cid = self.block.cid();
        let mut all = self.sending.0.lock();
        // Another may have been added since the last answer let go of this one.
        if all.get(cid).is_some_and(|sent| sent.strong_count() == 0) {
            all.remove(cid);
        }
    }
}
