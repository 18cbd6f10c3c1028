//! What is known of each peer as a source of blocks: what it was asked, how fast it answers, what it sent unasked.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use perennis_shared::{
    cid::Multihash,
    wire::bitswap::{Payload, WantKind},
};

/// Time to an answer that is assumed of a peer that has not answered yet.
const FIRST_GUESS: Duration = Duration::from_millis(250);
/// Bounds of the time after which another peer is asked as well.
const HEDGE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];
/// Size of a block that is assumed of a peer that has not sent one yet, in bytes.
const FIRST_SIZE: usize = 256 << 10;
/// Bytes of blocks that one peer is asked for at once, as far as their sizes can be guessed: what a multiplexer may have to hold.
const BYTES_AT_ONCE: usize = 16 << 20;
/// Blocks that one peer is asked for at once, however large they are.
const LEAST_AT_ONCE: usize = 16;
/// Shortest time after which a peer is asked for the same block once more: its answer may have been lost.
const AGAIN: Duration = Duration::from_secs(3);
/// Questions taken back that are remembered, as their answers may be on their way.
const CANCELLED: usize = 1_024;

/// The number of a hash function, and the length of a digest in bytes.
type HashForm = (u64, u64);

/// One peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    asks: HashMap<Multihash, Ask>,
    /// Questions taken back, oldest first. Some may have been answered, or asked again, since.
    cancelled: VecDeque<Multihash>,
    /// How many questions are open for each hash function and length of digest: which codec a peer gives is its own choice.
    forms: HashMap<HashForm, usize>,
    /// Blocks asked for and neither come nor taken back.
    blocks_open: usize,
    /// Questions open, of both kinds, that are not taken back.
    open: usize,
    /// Payloads taken from messages and not hashed yet.
    hashing: usize,
    latency: Option<Latency>,
    /// About the largest of its latest blocks, in bytes.
    size: Option<usize>,
    /// Deadlines missed since the last answer.
    late: u32,
    unrequested: u64,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    kind: WantKind,
    at: Duration,
    state: AskState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskState {
    /// An answer is waited for.
    Open,
    /// The peer has said that it does not have the block. It still sends it should it come by it.
    Denied,
    /// Taken back. An answer may be on its way.
    Cancelled,
}

#[derive(Clone, Copy, Debug)]
struct Latency {
    mean: Duration,
    deviation: Duration,
}

impl Peer {
    /// Notes that the peer is asked. Whether the question has to be sent.
    pub(super) fn ask(&mut self, now: Duration, hash: Multihash, kind: WantKind) -> bool {
        if let Some(ask) = self.asks.get(&hash)
            && ask.state == AskState::Open
            && ask.kind >= kind
        {
            return false;
        }
        self.take(&hash);
        self.asks.insert(
            hash,
            Ask {
                kind,
                at: now,
                state: AskState::Open,
            },
        );
        *self.forms.entry(form_of(&hash)).or_default() += 1;
        self.open += 1;
        self.blocks_open += usize::from(kind == WantKind::Block);
        true
    }

    /// Notes that it is asked once more for a block that it was asked for. Whether it was.
    pub(super) fn ask_again(&mut self, now: Duration, hash: &Multihash) -> bool {
        let ask = self.asks.get_mut(hash);
        let ask = ask.filter(|ask| ask.kind == WantKind::Block && ask.state == AskState::Open);
        if let Some(ask) = ask {
            ask.at = now;
            return true;
        }
        false
    }

    /// Notes the size of a block that has come.
    pub(super) fn received(&mut self, bytes: usize) {
        let mean = self
            .size
            .map_or(bytes, |size| size - size / 16 + bytes / 16);
        self.size = Some(mean.max(bytes));
    }

    /// How many blocks it should be asked for at once.
    pub(super) fn window(&self) -> usize {
        let size = self.size.unwrap_or(FIRST_SIZE).max(1);
        (BYTES_AT_ONCE / size).max(LEAST_AT_ONCE)
    }

    /// How long an answer is waited for before the same peer is asked once more.
    pub(super) fn again_after(&self) -> Duration {
        self.hedge_after().max(AGAIN)
    }

    /// Notes that a question is taken back. Whether the peer has to be told.
    pub(super) fn cancel(&mut self, hash: &Multihash) -> bool {
        if !self.close(hash, AskState::Cancelled) {
            return false;
        }
        self.cancelled.push_back(*hash);
        if self.cancelled.len() > CANCELLED
            && let Some(oldest) = self.cancelled.pop_front()
            && self
                .asks
                .get(&oldest)
                .is_some_and(|ask| ask.state == AskState::Cancelled)
        {
            self.take(&oldest);
        }
        true
    }

    /// Notes that the block has come, or word that it is there. Whether it was asked for.
    pub(super) fn answered(&mut self, now: Duration, hash: &Multihash) -> bool {
        let Some(ask) = self.take(hash) else {
            return false;
        };
        self.late = 0;
        if ask.state == AskState::Open && (ask.kind == WantKind::Block || self.latency.is_none()) {
            self.measure(now.saturating_sub(ask.at));
        }
        true
    }

    /// Notes word that the block is not there. Whether an answer was waited for.
    pub(super) fn denied(&mut self, hash: &Multihash) -> bool {
        let is_open = self
            .asks
            .get(hash)
            .is_some_and(|ask| ask.state == AskState::Open);
        if is_open {
            self.late = 0;
            self.close(hash, AskState::Denied);
        }
        is_open
    }

    /// Whether the peer is being asked for the block itself.
    pub(super) fn is_asked_for(&self, hash: &Multihash) -> bool {
        let ask = self.asks.get(hash);
        ask.is_some_and(|ask| ask.kind == WantKind::Block && ask.state == AskState::Open)
    }

    /// What of a message can be an answer, as far as that is known without hashing. The rest is dropped and counted.
    pub(super) fn admit(&mut self, payload: Vec<Payload>) -> Vec<Payload> {
        let count = payload.len();
        let room = self.asks.len().saturating_sub(self.hashing);
        let known = |payload: &Payload| self.forms.contains_key(&payload.prefix().hash_form());
        let admitted: Vec<Payload> = payload.into_iter().filter(known).take(room).collect();
        self.unrequested += (count - admitted.len()) as u64;
        self.hashing += admitted.len();
        admitted
    }

    /// So many admitted payloads have been hashed.
    pub(super) fn hashed(&mut self, count: usize) {
        self.hashing -= count.min(self.hashing);
    }

    /// Counts a block that turned out not to be asked for.
    pub(super) fn count_unrequested(&mut self) {
        self.unrequested += 1;
    }

    /// Blocks this peer has sent that nobody asked it for.
    pub(super) fn unrequested(&self) -> u64 {
        self.unrequested
    }

    /// A deadline has passed without an answer.
    pub(super) fn is_late(&mut self) {
        self.late += 1;
    }

    /// How long a question stays alone before another peer is asked as well.
    pub(super) fn hedge_after(&self) -> Duration {
        let expected = self.latency.map_or(FIRST_GUESS * 4, |latency| {
            latency.mean + 4 * latency.deviation
        });
        (expected * (1 + self.late.min(4))).clamp(HEDGE[0], HEDGE[1])
    }

    /// What one more block is expected to cost; the smallest is the best. It grows with what the peer is busy with, so that
    /// work spreads over peers by their speed, and a slow one is tried again when the others have enough to do.
    pub(super) fn cost(&self) -> Duration {
        let mean = self.latency.map_or(FIRST_GUESS, |latency| latency.mean);
        let patience = 1 + self.late.min(100);
        let open = u32::try_from(self.blocks_open).unwrap_or(u32::MAX);
        let share = mean.max(Duration::from_micros(1)) / 4;
        share * (patience * patience) * open.saturating_add(4).min(1 << 12)
    }

    pub(super) fn blocks_open(&self) -> usize {
        self.blocks_open
    }

    /// Answers that are waited for.
    pub(super) fn answers_open(&self) -> usize {
        self.open
    }

    /// Changes the state of a question that is not taken back. Whether there is one.
    fn close(&mut self, hash: &Multihash, state: AskState) -> bool {
        let ask = self.asks.get_mut(hash);
        let Some(ask) = ask.filter(|ask| ask.state != AskState::Cancelled) else {
            return false;
        };
        if std::mem::replace(&mut ask.state, state) == AskState::Open {
            self.open -= 1;
            self.blocks_open -= usize::from(ask.kind == WantKind::Block);
        }
        true
    }

    fn take(&mut self, hash: &Multihash) -> Option<Ask> {
        let ask = self.asks.remove(hash)?;
        if ask.state == AskState::Open {
            self.open -= 1;
            self.blocks_open -= usize::from(ask.kind == WantKind::Block);
        }
        let form = form_of(hash);
        if let Some(count) = self.forms.get_mut(&form) {
            *count -= 1;
            if *count == 0 {
                self.forms.remove(&form);
            }
        }
        Some(ask)
    }

    /// As TCP measures round trips (RFC 6298).
    fn measure(&mut self, sample: Duration) {
        self.latency = Some(match self.latency {
            None => Latency {
                mean: sample,
                deviation: sample / 2,
            },
            Some(known) => Latency {
                mean: (known.mean * 7 + sample) / 8,
                deviation: (known.deviation * 3 + known.mean.abs_diff(sample)) / 4,
            },
        });
    }
}

fn form_of(hash: &Multihash) -> HashForm {
    (hash.code(), u64::from(hash.size()))
}
