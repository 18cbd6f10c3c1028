//! Whether everything below roots is here: each block is looked at once, however many roots lead to it.
//!
//! Depth first, with a state for each block that was left: it is whole when all is to which it links. A graph has no
//! cycles, since no block can hold its own hash, so no block is met again before it is left. Leaves are not read, only
//! looked for.

use std::collections::HashMap;
use std::sync::Arc;

use perennis_shared::cid::{Cid, Codec, is_identity};
use perennis_shared::codec;

use super::fingerprint::Fingerprints;
use super::known::{Known, Lots, Share};
use super::{KNOWN_BYTES, LookProgress, TOLD};
use crate::ingest::IngestError;
use crate::storage::{HeldBlocks, ImportedState, StorageError};

/// Leaves that are looked for at once.
const LEAVES: usize = 1_024;

/// The memory for a link that is to be followed, or for a block that is told of.
const LINK_BYTES: u64 = 192;

/// A look at graphs.
pub(super) struct Look<'a, P> {
    held: Arc<dyn HeldBlocks>,
    fingerprints: &'a Fingerprints,
    share: &'a mut Share,
    /// The blocks of the file.
    of_file: &'a mut Known,
    progress: P,
    /// The states of blocks under their codecs.
    states: HashMap<u128, State>,
    state_lots: Lots,
    /// Blocks that states are about.
    about: Vec<Cid>,
    about_lots: Lots,
    missing: Vec<Cid>,
    done: LookProgress,
    /// Links of open blocks that are to be followed.
    ahead: u64,
    ahead_lots: Lots,
}

/// Whether all below a block is here; if not, which block it is about, as its place among those that are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Opaque(usize),
    Missing(usize),
}

/// A block below which is being looked.
struct Open {
    fingerprint: u128,
    state: State,
    /// Links to be followed, the next last.
    left: Vec<Cid>,
}

/// What is known of a block when it is come to.
enum Met {
    Left(State),
    Open(Open),
}

impl State {
    /// Of a block and what is below it: what is missing counts before what cannot be read, and what was found first.
    fn with(self, below: State) -> State {
        match (self, below) {
            (State::Missing(_), _) | (_, State::Whole) => self,
            (State::Opaque(_), State::Opaque(_)) => self,
            (_, below) => below,
        }
    }
}

impl<'a, P: FnMut(LookProgress) + Send> Look<'a, P> {
    pub(super) fn new(
        held: Arc<dyn HeldBlocks>,
        fingerprints: &'a Fingerprints,
        share: &'a mut Share,
        of_file: &'a mut Known,
        progress: P,
    ) -> Look<'a, P> {
        Look {
            held,
            fingerprints,
            share,
            of_file,
            progress,
            states: HashMap::new(),
            state_lots: Lots::default(),
            about: Vec::new(),
            about_lots: Lots::default(),
            missing: Vec::new(),
            done: LookProgress::default(),
            ahead: 0,
            ahead_lots: Lots::default(),
        }
    }

    /// Looks at everything below a root that was not looked at yet.
    pub(super) async fn at(&mut self, root: Cid) -> Result<ImportedState, IngestError> {
        let mut stack = Vec::new();
        let mut met = self.meet(root).await?;
        loop {
            let state = match met {
                Met::Open(open) => {
                    stack.push(open);
                    State::Whole
                }
                Met::Left(state) => state,
            };
            let Some(open) = stack.last_mut() else {
                return Ok(self.imported(state));
            };
            open.state = open.state.with(state);
            met = match open.left.pop() {
                Some(next) => {
                    self.ahead -= 1;
                    self.meet(next).await?
                }
                None => {
                    let left = (open.fingerprint, open.state);
                    stack.pop();
                    self.leave(left.0, left.1)?;
                    Met::Left(left.1)
                }
            };
        }
    }

    /// How many blocks are missing, and the first of them.
    pub(super) fn end(self) -> (u64, Vec<Cid>) {
        (self.done.missing, self.missing)
    }

    fn imported(&self, state: State) -> ImportedState {
        match state {
            State::Whole => ImportedState::Pinned,
            State::Opaque(place) => ImportedState::Opaque(self.about[place]),
            State::Missing(place) => ImportedState::Incomplete(self.about[place]),
        }
    }

    fn leave(&mut self, fingerprint: u128, state: State) -> Result<(), IngestError> {
        let known = self.states.len() as u64;
        self.state_lots.reach(self.share, known, KNOWN_BYTES)?;
        self.states.insert(fingerprint, state);
        Ok(())
    }

    async fn meet(&mut self, cid: Cid) -> Result<Met, IngestError> {
        let fingerprint = self.fingerprints.of_codec(&cid);
        if let Some(state) = self.states.get(&fingerprint) {
            return Ok(Met::Left(*state));
        }
        let links = if is_identity(&cid) {
            codec::links(&cid, cid.hash().digest())
        } else if is_leaf(&cid) {
            let mut state = State::Whole;
            self.meet_leaves(&[cid], &mut state).await?;
            return Ok(Met::Left(state));
        } else {
            match self.held.block(&cid).await {
                Ok(Some(block)) => {
                    self.reached(&cid);
                    codec::links(&cid, block.bytes())
                }
                // A damaged block was set aside; it is missing like any other.
                Ok(None) | Err(StorageError::Corrupt(_)) => {
                    let state = self.lacks(cid)?;
                    self.leave(fingerprint, state)?;
                    return Ok(Met::Left(state));
                }
                Err(error) => return Err(error.into()),
            }
        };
        let Ok(links) = links else {
            let state = State::Opaque(self.tell_about(cid)?);
            self.leave(fingerprint, state)?;
            return Ok(Met::Left(state));
        };
        let mut state = State::Whole;
        let mut leaves = Vec::new();
        let mut left = Vec::new();
        for link in links {
            match self.states.get(&self.fingerprints.of_codec(&link)) {
                Some(known) => state = state.with(*known),
                None if is_leaf(&link) && !is_identity(&link) => leaves.push(link),
                None => left.push(link),
            }
        }
        for some in leaves.chunks(LEAVES) {
            self.meet_leaves(some, &mut state).await?;
        }
        left.reverse();
        left.shrink_to_fit();
        self.ahead += left.len() as u64;
        // The open block itself takes as much as a link.
        self.ahead_lots
            .reach(self.share, self.ahead + 1, LINK_BYTES)?;
        Ok(Met::Open(Open {
            fingerprint,
            state,
            left,
        }))
    }

    /// Looks for blocks that link to nothing.
    async fn meet_leaves(&mut self, leaves: &[Cid], state: &mut State) -> Result<(), IngestError> {
        let answers = self.held.has(leaves).await;
        for (cid, is_here) in leaves.iter().zip(answers) {
            let fingerprint = self.fingerprints.of_codec(cid);
            // The same leaf may be linked to twice.
            if let Some(known) = self.states.get(&fingerprint) {
                *state = state.with(*known);
                continue;
            }
            let found = if is_here? {
                self.reached(cid);
                State::Whole
            } else {
                self.lacks(*cid)?
            };
            self.leave(fingerprint, found)?;
            *state = state.with(found);
        }
        Ok(())
    }

    fn reached(&mut self, cid: &Cid) {
        self.done.blocks += 1;
        self.of_file.reached(self.fingerprints.of_hash(cid));
        (self.progress)(self.done);
    }

    fn lacks(&mut self, cid: Cid) -> Result<State, IngestError> {
        self.done.missing += 1;
        if self.missing.len() < TOLD {
            self.missing.push(cid);
        }
        (self.progress)(self.done);
        Ok(State::Missing(self.tell_about(cid)?))
    }

    fn tell_about(&mut self, cid: Cid) -> Result<usize, IngestError> {
        let place = self.about.len();
        self.about_lots
            .reach(self.share, place as u64, LINK_BYTES)?;
        self.about.push(cid);
        Ok(place)
    }
}

/// Whether a block links to nothing, whatever its bytes are.
fn is_leaf(cid: &Cid) -> bool {
    cid.codec() == Codec::Raw.code() && !is_identity(cid)
}
