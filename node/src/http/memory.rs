//! The memory of all answers under way together.
//!
//! One budget (`http.answer-memory`) counts what clients have not taken yet: blocks, parts of CAR files, long documents,
//! and what a walk over a graph holds. A share of it travels with the bytes it is for and comes back when the last of
//! them has gone to the socket or the connection has ended, wherever they are by then. A block is counted once, however
//! many answers send it ([`sending`]). Answers of [`SMALL_BYTES`] and less are not counted: a socket takes them at once,
//! and how the node is must be told whatever else is under way.
//!
//! Invariant: whoever waits for a share holds none but that of a walk, walks may take no more than [`WALKS`] of the
//! budget, and the rest always comes back: clients take what it is for, or give way ([`Readers`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use perennis_shared::cid::{Block, Cid};
use perennis_shared::error::{ErrorKind, Retryable};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Body};
use super::readers::Readers;
use super::refusal::{ClientError, Refusal};
use crate::config::HttpConfig;
use crate::metrics::AnswerMetrics;

mod sending;

pub(super) use sending::SentBlock;
use sending::{BlockBytes, Sending};

/// Largest answer that is not counted, in bytes.
pub(super) const SMALL_BYTES: usize = 16 << 10;

/// Memory is counted in units of this many bytes.
const UNIT_BYTES: usize = 4 << 10;

/// What bytes cost beside themselves.
const SHARE_COST: usize = 256;

/// The part of the budget that walks may take together, in quarters.
const WALKS: u64 = 3;

/// The part of the connections whose answers may be large, in quarters. The others are left for small ones.
const LARGE: usize = 3;

/// How long a request waits for room before it is refused.
pub(super) const REQUEST_PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer under way waits for room before it is broken off.
pub(super) const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// When a client that was refused is told to come back.
const RETRY: Duration = Duration::from_secs(5);

/// Time after which clients that are slow give way to one that waits, and again.
const LOOK: Duration = Duration::from_millis(250);

/// Least time between two lines in the log that say that there is no room.
const TELL: Duration = Duration::from_secs(60);

/// The budget.
pub(crate) struct AnswerMemory {
    room: Arc<Semaphore>,
    units: usize,
    for_walks: Arc<Semaphore>,
    walk_units: usize,
    large: Arc<Semaphore>,
    sending: Arc<Sending>,
    pub(super) readers: Arc<Readers>,
    metrics: AnswerMetrics,
    /// When the log was last told that there was no room.
    told: Mutex<Option<Instant>>,
}

/// A part of the budget, held until this is dropped.
pub(super) struct Share {
    _room: OwnedSemaphorePermit,
}

/// The right to send one large answer; its parts hold it together.
#[derive(Clone)]
pub(super) struct Place {
    _large: Arc<OwnedSemaphorePermit>,
}

/// What a walk over a graph holds of the budget. It grows with the walk.
#[derive(Default)]
pub(super) struct WalkShare(Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>);

/// All memory for answers is taken, and it was not given back in time.
#[derive(Debug, thiserror::Error)]
#[error("the memory for answers is taken (http.answer-memory)")]
pub(super) struct NoRoom;

impl Retryable for NoRoom {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Retry
    }

    fn retry_after(&self) -> Option<Duration> {
        Some(RETRY)
    }
}

impl ClientError for NoRoom {
    fn code(&self) -> &'static str {
        "busy"
    }

    fn message(&self) -> String {
        "the memory this node has for answers is taken by those under way".to_owned()
    }

    fn hint(&self) -> &'static str {
        "try again in a few seconds; its operator can raise http.answer-memory and http.max-connections"
    }

    /// A client that is to come back later keeps no connection meanwhile.
    fn closes(&self) -> bool {
        true
    }
}

/// Bytes that are sent, and what they hold until they are.
struct Counted<T> {
    bytes: T,
    _place: Place,
    _share: Option<Share>,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Counted<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl AnswerMemory {
    pub(crate) fn new(config: &HttpConfig, metrics: AnswerMetrics) -> AnswerMemory {
        let units = |bytes: u64| {
            usize::try_from(bytes / UNIT_BYTES as u64)
                .unwrap_or(Semaphore::MAX_PERMITS)
                .min(Semaphore::MAX_PERMITS)
        };
        let room = units(config.answer_memory_bytes);
        let for_walks = units(config.answer_memory_bytes / 4 * WALKS);
        let large = (config.max_connections * LARGE / 4).max(1);
        AnswerMemory {
            room: Arc::new(Semaphore::new(room)),
            units: room,
            for_walks: Arc::new(Semaphore::new(for_walks)),
            walk_units: for_walks,
            large: Arc::new(Semaphore::new(large)),
            sending: Arc::new(Sending::default()),
            readers: Arc::new(Readers::new(config.idle_timeout)),
            metrics,
            told: Mutex::default(),
        }
    }

    /// What is taken of the budget, in bytes.
    pub(crate) fn taken_bytes(&self) -> u64 {
        let taken = self.units.saturating_sub(self.room.available_permits());
        taken as u64 * UNIT_BYTES as u64
    }

    /// The right to send a large answer, if it can be had at once.
    pub(super) fn place_now(&self) -> Option<Place> {
        let large = Arc::clone(&self.large).try_acquire_owned().ok()?;
        Some(Place::of(large))
    }

    /// The right to send a large answer, after some patience.
    pub(super) async fn place(&self) -> Result<Place, NoRoom> {
        let large = self.wait(&self.large, 1, REQUEST_PATIENCE).await?;
        Ok(Place::of(large))
    }

    /// A share for so many bytes, if it can be had at once.
    pub(super) fn share_now(&self, bytes: usize) -> Option<Share> {
        let units = units_of(bytes);
        let room = Arc::clone(&self.room).try_acquire_many_owned(units).ok()?;
        Some(Share { _room: room })
    }

    /// A share for so many bytes. The caller holds no other meanwhile.
    pub(super) async fn share(&self, bytes: usize, patience: Duration) -> Result<Share, NoRoom> {
        let room = self.wait(&self.room, units_of(bytes), patience).await?;
        Ok(Share { _room: room })
    }

    /// Makes the share of a walk large enough for so many bytes, if that can be done at once.
    pub(super) fn grow_now(&self, walk: &mut WalkShare, bytes: usize) -> bool {
        let more = walk.lacks(bytes);
        if more == 0 {
            return true;
        }
        let for_walks = Arc::clone(&self.for_walks).try_acquire_many_owned(more);
        let room = Arc::clone(&self.room).try_acquire_many_owned(more);
        let (Ok(for_walks), Ok(room)) = (for_walks, room) else {
            return false;
        };
        walk.add(for_walks, room);
        true
    }

    /// Makes the share of a walk large enough for so many bytes. The caller holds no other meanwhile.
    pub(super) async fn grow(
        &self,
        walk: &mut WalkShare,
        bytes: usize,
        patience: Duration,
    ) -> Result<(), NoRoom> {
        if bytes / UNIT_BYTES >= self.walk_units {
            return Err(self.is_short());
        }
        let more = walk.lacks(bytes);
        let for_walks = self.wait(&self.for_walks, more, patience).await?;
        let room = self.wait(&self.room, more, patience).await?;
        walk.add(for_walks, room);
        Ok(())
    }

    /// A block that answers under way are made of already.
    pub(super) fn sent(&self, cid: &Cid) -> Option<Arc<SentBlock>> {
        self.sending.find(cid)
    }

    /// Counts a block that is to be sent, if there is room at once.
    pub(super) fn send_now(&self, block: &Block) -> Option<Arc<SentBlock>> {
        if let Some(sent) = self.sent(block.cid()) {
            return Some(sent);
        }
        let share = self.share_now(block.bytes().len())?;
        Some(self.send_with(block.clone(), share))
    }

    /// Sends a block with a share that was taken for it.
    pub(super) fn send_with(&self, block: Block, share: Share) -> Arc<SentBlock> {
        self.sending.add(block, share)
    }

    /// Counts a document that was made for one answer. Without room it is refused, unless it says how the node is: that
    /// is told in any case, and made of what is bounded anyway.
    pub(super) fn count(&self, answer: Answer, is_told_in_any_case: bool) -> Answer {
        let Body::Full(bytes) = answer.body() else {
            return answer;
        };
        if bytes.len() <= SMALL_BYTES {
            return answer;
        }
        match (self.place_now(), self.share_now(bytes.len())) {
            (Some(place), Some(share)) => answer.map(|body| match body {
                Body::Full(bytes) => Body::Full(counted(bytes, place, Some(share))),
                body => body,
            }),
            _ if is_told_in_any_case => answer,
            _ => Refusal::from(self.is_short()).into_answer(),
        }
    }

    /// Tells the operator that somebody found no room: each time by number, in the log now and then.
    fn is_short(&self) -> NoRoom {
        self.metrics.refused.inc();
        let now = Instant::now();
        let mut told = self.told.lock();
        if told.is_none_or(|told| now >= told + TELL) {
            *told = Some(now);
            tracing::warn!(
                taken_bytes = self.taken_bytes(),
                large_answers_left = self.large.available_permits(),
                "answers are refused or broken off: the memory for them is taken (http.answer-memory, http.max-connections)"
            );
        }
        NoRoom
    }

    /// Somebody waits: clients that are slow give way.
    fn hurry(&self) {
        let ended = self.readers.hurry();
        if ended > 0 {
            tracing::debug!(ended, "slow clients give way to one that waits");
            self.metrics.slow_clients_ended.add(ended as u64);
        }
    }

    async fn wait(
        &self,
        budget: &Arc<Semaphore>,
        units: u32,
        patience: Duration,
    ) -> Result<OwnedSemaphorePermit, NoRoom> {
        let mut share = std::pin::pin!(Arc::clone(budget).acquire_many_owned(units));
        let end = Instant::now() + patience;
        loop {
            let look = end.min(Instant::now() + LOOK);
            match timeout_at(look, share.as_mut()).await {
                Ok(share) => return share.map_err(|_| NoRoom),
                Err(_) if look == end => return Err(self.is_short()),
                Err(_) => self.hurry(),
            }
        }
    }
}

impl Place {
    fn of(large: OwnedSemaphorePermit) -> Place {
        Place {
            _large: Arc::new(large),
        }
    }
}

impl WalkShare {
    /// Units it lacks for so many bytes.
    fn lacks(&self, bytes: usize) -> u32 {
        let held = self.0.as_ref().map_or(0, |(room, _)| room.num_permits());
        let lacks = bytes.div_ceil(UNIT_BYTES).saturating_sub(held);
        u32::try_from(lacks).unwrap_or(u32::MAX)
    }

    fn add(&mut self, for_walks: OwnedSemaphorePermit, room: OwnedSemaphorePermit) {
        match &mut self.0 {
            Some((held_for_walks, held_room)) => {
                held_for_walks.merge(for_walks);
                held_room.merge(room);
            }
            None => self.0 = Some((for_walks, room)),
        }
    }
}

/// A block's bytes for an answer that has this place.
pub(super) fn block_bytes(sent: Arc<SentBlock>, place: Place) -> Bytes {
    counted(BlockBytes(sent), place, None)
}

/// Bytes for an answer that has this place, with their share.
pub(super) fn counted<T>(bytes: T, place: Place, share: Option<Share>) -> Bytes
where
    T: AsRef<[u8]> + Send + 'static,
{
    Bytes::from_owner(Counted {
        bytes,
        _place: place,
        _share: share,
    })
}

fn units_of(bytes: usize) -> u32 {
    let units = (bytes + SHARE_COST).div_ceil(UNIT_BYTES);
    u32::try_from(units).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use hyper::StatusCode;
    use perennis_shared::cid::Codec;

    use super::*;
    use crate::config::Config;
    use crate::http::answer::{JSON, answer};
    use crate::metrics::Metrics;

    const MIB: usize = 1 << 20;

    fn memory(bytes: usize) -> AnswerMemory {
        let mut config = Config::default().http;
        config.answer_memory_bytes = bytes as u64;
        AnswerMemory::new(&config, Metrics::new().answers)
    }

    fn block(byte: u8) -> Block {
        Block::new(Codec::Raw, vec![byte; MIB]).unwrap()
    }

    #[test]
    fn a_block_is_counted_once_until_the_last_slice_of_it_has_gone() {
        let memory = memory(8 * MIB);
        let send = |block: &Block| {
            let sent = memory.send_now(block).unwrap();
            block_bytes(sent, memory.place_now().unwrap())
        };
        let (one, again, other) = (send(&block(1)), send(&block(1)), send(&block(2)));
        assert_eq!(one, block(1).bytes());
        let of_two = memory.taken_bytes();
        assert!((2 * MIB as u64..3 * MIB as u64).contains(&of_two));
        let slice = again.slice(5..6);
        drop((one, again, other));
        assert!(memory.sent(block(2).cid()).is_none());
        assert_eq!(memory.taken_bytes(), of_two / 2);
        assert!(memory.sent(block(1).cid()).is_some());
        drop(slice);
        assert!(memory.sent(block(1).cid()).is_none());
        assert_eq!(memory.taken_bytes(), 0);
        // It can be sent anew.
        assert_eq!(send(&block(1)), block(1).bytes());
    }

    #[tokio::test]
    async fn what_is_given_back_goes_to_who_waits_and_patience_ends() {
        let memory = memory(8 * MIB);
        let most = memory.share_now(7 * MIB).unwrap();
        assert!(memory.share_now(2 * MIB).is_none());
        assert!(memory.share(2 * MIB, Duration::ZERO).await.is_err());
        let waits = memory.share(2 * MIB, ANSWER_PATIENCE);
        let gives_back = async { drop(most) };
        let (share, ()) = tokio::join!(waits, gives_back);
        drop(share.unwrap());
        assert_eq!(memory.taken_bytes(), 0);
    }

    #[tokio::test]
    async fn walks_leave_room_for_what_is_sent() {
        let memory = memory(8 * MIB);
        let (mut one, mut other) = (WalkShare::default(), WalkShare::default());
        assert!(memory.grow_now(&mut one, 4 * MIB));
        assert!(memory.grow_now(&mut one, MIB), "it has that already");
        assert!(memory.grow_now(&mut other, 2 * MIB));
        assert!(!memory.grow_now(&mut other, 3 * MIB));
        let none = Duration::ZERO;
        assert!(memory.grow(&mut other, 3 * MIB, none).await.is_err());
        // More than all walks together may have is not waited for.
        let larger = memory.grow(&mut other, 7 * MIB, ANSWER_PATIENCE).await;
        assert!(larger.is_err());
        assert!(memory.share_now(MIB).is_some());
        drop(one);
        memory.grow(&mut other, 3 * MIB, none).await.unwrap();
        drop(other);
        assert_eq!(memory.taken_bytes(), 0);
    }

    #[test]
    fn small_answers_and_those_about_the_node_need_no_room() {
        let memory = memory(8 * MIB);
        let _all = memory.share_now(8 * MIB - UNIT_BYTES).unwrap();
        let document = |bytes: usize| {
            let body = Bytes::from(vec![0; bytes]);
            answer(StatusCode::OK, JSON, body)
        };
        let status = |answer: Answer| answer.status().as_u16();
        assert_eq!(status(memory.count(document(SMALL_BYTES), false)), 200);
        assert_eq!(status(memory.count(document(SMALL_BYTES + 1), true)), 200);
        let refused = memory.count(document(SMALL_BYTES + 1), false);
        assert_eq!(status(refused), 503);
    }
}
