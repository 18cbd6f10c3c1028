//! The places of connections: how many are served at once, and how many more are only let in.
//!
//! A connection that finds no place to be served is let in all the same while there is room to wait: what it asks may be how the
//! node is, and that is answered at once. Whatever else it asks waits for a place, in the order of the requests.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of the connections that are served, one in so many more is let in to wait.
const WAITING_OF: usize = 4;

/// Time after which somebody who waits asks that slow clients give way.
const LOOK: Duration = Duration::from_millis(250);

/// All places.
pub(super) struct Places {
    served: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    most: (u32, u32),
}

/// That of one connection.
pub(super) struct Place {
    all: Arc<Semaphore>,
    held: Mutex<OwnedSemaphorePermit>,
    is_served: AtomicBool,
}

impl Places {
    pub(super) fn new(served: usize) -> Places {
        let waiting = (served / WAITING_OF).max(1);
        let most = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Places {
            served: Arc::new(Semaphore::new(served)),
            waiting: Arc::new(Semaphore::new(waiting)),
            most: (most(served), most(waiting)),
        }
    }

    /// The next place that is free, one to be served if there is one; none when there are to be none any more.
    pub(super) async fn any(&self) -> Option<Place> {
        let served = Arc::clone(&self.served).acquire_owned();
        let waiting = Arc::clone(&self.waiting).acquire_owned();
        let (held, is_served) = tokio::select! {
            biased;
            held = served => (held, true),
            held = waiting => (held, false),
        };
        Some(Place {
            all: Arc::clone(&self.served),
            held: Mutex::new(held.ok()?),
            is_served: AtomicBool::new(is_served),
        })
    }

    /// Ends when nobody has a place.
    pub(super) async fn all_free(&self) {
        let _ = self.waiting.acquire_many(self.most.1).await;
        let _ = self.served.acquire_many(self.most.0).await;
    }
}

impl Place {
    /// Ends when the connection has a place to be served; `hurry` is called while it waits.
    pub(super) async fn served(&self, hurry: impl Fn()) {
        if self.is_served.load(Ordering::Acquire) {
            return;
        }
        let mut place = pin!(Arc::clone(&self.all).acquire_owned());
        loop {
            match tokio::time::timeout(LOOK, place.as_mut()).await {
                Ok(Ok(place)) => {
                    *self.held.lock() = place;
                    self.is_served.store(true, Ordering::Release);
                    return;
                }
                // The node ends, and the connection with it.
                Ok(Err(_)) => return pending().await,
                Err(_) => hurry(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn those_that_find_no_place_are_let_in_and_wait_for_one() {
        let places = Places::new(4);
        let mut served = Vec::new();
        for _ in 0..4 {
            let place = places.any().await.unwrap();
            place
                .served(|| panic!("it has one"))
                .now_or_never()
                .unwrap();
            served.push(place);
        }
        let waiting = places.any().await.unwrap();
        assert!(places.any().now_or_never().is_none(), "one waits");
        assert!(waiting.served(|| ()).now_or_never().is_none());
        let hurried = Notify::new();
        let leaves = async {
            hurried.notified().await;
            hurried.notified().await;
            drop(served.pop());
        };
        tokio::join!(waiting.served(|| hurried.notify_one()), leaves);
        waiting
            .served(|| panic!("it has one"))
            .now_or_never()
            .unwrap();
        // Its place to wait is free again.
        let next = places.any().await.unwrap();
        assert!(places.all_free().now_or_never().is_none());
        drop((served, waiting, next));
        places.all_free().now_or_never().unwrap();
    }
}
