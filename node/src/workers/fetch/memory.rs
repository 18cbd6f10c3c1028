//! The memory of fetches: one budget for the blocks that have come and are not stored yet, of all that are under way.
//!
//! Where it does not suffice, the fetch that was begun first goes on, and waits for what the others give back: they are asked to, and
//! begin anew later. So however many there are and however slow, one of them always comes to its end.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::watch;

/// The budget.
pub(super) struct FetchMemory {
    bytes: u64,
    shares: Mutex<Shares>,
    changes: watch::Sender<()>,
}

/// Who holds how much.
#[derive(Default)]
struct Shares {
    /// By the order in which they were begun.
    held: BTreeMap<u64, u64>,
    begun: u64,
    /// The one that waits for what the others have.
    waiting: Option<u64>,
}

/// What one fetch has of it; given back when this is dropped.
pub(super) struct Share<'a> {
    memory: &'a FetchMemory,
    number: u64,
}

/// Why there is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMemory {
    /// Others were begun earlier.
    GivesWay,
    /// It needs more than there is.
    TooLarge,
}

impl FetchMemory {
    pub(super) fn new(bytes: u64) -> FetchMemory {
        FetchMemory {
            bytes,
            shares: Mutex::default(),
            changes: watch::Sender::default(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The share of a fetch that begins: nothing yet.
    pub(super) fn begin(&self) -> Share<'_> {
        let mut shares = self.shares.lock();
        let number = shares.begun;
        shares.begun += 1;
        shares.held.insert(number, 0);
        drop(shares);
        Share {
            memory: self,
            number,
        }
    }
}

impl Share<'_> {
    /// Holds more bytes, as soon as there are some. What is held already stays, whatever comes of it.
    pub(super) async fn grow(&self, bytes: u64) -> Result<(), NoMemory> {
        let mut changes = self.memory.changes.subscribe();
        loop {
            changes.mark_unchanged();
            match self.try_grow(bytes) {
                Grown::Yes => return Ok(()),
                Grown::No(why) => return Err(why),
                Grown::Waits => {}
            }
            // Its sender is in the memory itself.
            let _ = changes.changed().await;
        }
    }

    /// Gives back what is held.
    pub(super) fn clear(&self) {
        let mut shares = self.memory.shares.lock();
        shares.held.insert(self.number, 0);
        drop(shares);
        self.memory.changes.send_replace(());
    }

    /// Comes when this fetch is to give back what it holds, for one that was begun earlier.
    pub(super) async fn asked_back(&self) {
        let mut changes = self.memory.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if self.is_asked_back() {
                return;
            }
            let _ = changes.changed().await;
        }
    }

    fn is_asked_back(&self) -> bool {
        let shares = self.memory.shares.lock();
        let holds = shares.held.get(&self.number).is_some_and(|held| *held > 0);
        holds && shares.waiting.is_some_and(|waiting| waiting < self.number)
    }

    fn try_grow(&self, bytes: u64) -> Grown {
        let mut shares = self.memory.shares.lock();
        let held: u64 = shares.held.values().sum();
        if held.saturating_add(bytes) <= self.memory.bytes {
            *shares.held.entry(self.number).or_default() += bytes;
            if shares.waiting == Some(self.number) {
                shares.waiting = None;
            }
            return Grown::Yes;
        }
        let own = shares.held.get(&self.number).copied().unwrap_or_default();
        if own.saturating_add(bytes) > self.memory.bytes {
            return Grown::No(NoMemory::TooLarge);
        }
        let first = shares.held.keys().next();
        if first != Some(&self.number) {
            return Grown::No(NoMemory::GivesWay);
        }
        let is_new = shares.waiting.replace(self.number) != Some(self.number);
        drop(shares);
        if is_new {
            self.memory.changes.send_replace(());
        }
        Grown::Waits
    }
}

enum Grown {
    Yes,
    Waits,
    No(NoMemory),
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut shares = self.memory.shares.lock();
        shares.held.remove(&self.number);
        if shares.waiting == Some(self.number) {
            shares.waiting = None;
        }
        drop(shares);
        self.memory.changes.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn the_first_waits_for_what_the_others_give_back() {
        let memory = FetchMemory::new(100);
        let (first, second, third) = (memory.begin(), memory.begin(), memory.begin());
        first.grow(40).await.unwrap();
        second.grow(60).await.unwrap();
        assert_eq!(third.grow(1).await, Err(NoMemory::GivesWay));
        assert_eq!(second.grow(1).await, Err(NoMemory::GivesWay));
        let mut asked = Box::pin(second.asked_back());
        assert!(poll!(asked.as_mut()).is_pending());
        let mut more = Box::pin(first.grow(50));
        assert!(poll!(more.as_mut()).is_pending());
        asked.await;
        // One that holds nothing has nothing to give back.
        assert!(poll!(pin!(third.asked_back())).is_pending());
        drop(second);
        more.await.unwrap();
        // Nobody waits any more.
        third.grow(10).await.unwrap();
        assert!(poll!(pin!(third.asked_back())).is_pending());
        // With the first gone the next one is.
        drop(first);
        third.grow(90).await.unwrap();
    }

    #[tokio::test]
    async fn one_that_needs_more_than_there_is_does_not_wait() {
        let memory = FetchMemory::new(100);
        let (first, second) = (memory.begin(), memory.begin());
        first.grow(60).await.unwrap();
        assert_eq!(first.grow(41).await, Err(NoMemory::TooLarge));
        first.clear();
        second.grow(100).await.unwrap();
    }

    #[tokio::test]
    async fn who_gave_up_waiting_asks_for_nothing() {
        let memory = FetchMemory::new(100);
        let (first, second) = (memory.begin(), memory.begin());
        second.grow(100).await.unwrap();
        {
            let mut more = pin!(first.grow(1));
            assert!(poll!(more.as_mut()).is_pending());
        }
        drop(first);
        assert!(poll!(pin!(second.asked_back())).is_pending());
    }
}
