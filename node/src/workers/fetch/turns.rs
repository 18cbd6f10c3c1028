//! Turns: how many fetches work at the same time, and how one that waits for a slow source lets others go before it.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use perennis_rt as rt;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many may work at the same time.
pub(super) struct Turns {
    free: Semaphore,
    /// How long a fetch may wait for its sources before its turn is another's.
    patience: Duration,
}

/// The turn of a fetch.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    permit: Option<SemaphorePermit<'a>>,
}

impl Turns {
    pub(super) const fn new(count: usize, patience: Duration) -> Turns {
        Turns {
            free: Semaphore::const_new(count),
            patience,
        }
    }

    /// Waits for a turn.
    pub(super) async fn take(&self) -> Turn<'_> {
        // Nobody closes them.
        let permit = self.free.acquire().await.ok();
        Turn {
            turns: self,
            permit,
        }
    }
}

impl Turn<'_> {
    /// Waits for sources. When they are slow, another fetch goes on meanwhile.
    pub(super) async fn wait_for<T>(&mut self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        match select(answer.as_mut(), pin!(rt::sleep(self.turns.patience))).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                self.permit = None;
                let answer = answer.await;
                self.permit = self.turns.free.acquire().await.ok();
                answer
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_slow_source_lets_others_go_on() {
        let turns = Turns::new(1, Duration::from_millis(1));
        let mut slow = turns.take().await;
        let waiting = pin!(slow.wait_for(pending::<()>()));
        let next = pin!(turns.take());
        assert!(matches!(select(waiting, next).await, Either::Right(_)));
    }

    #[tokio::test]
    async fn an_answer_that_comes_in_time_costs_no_turn() {
        let turns = Turns::new(1, Duration::from_secs(60));
        let mut turn = turns.take().await;
        assert_eq!(turn.wait_for(async { 7 }).await, 7);
        assert_eq!(turns.free.available_permits(), 0);
        drop(turn);
        assert_eq!(turns.free.available_permits(), 1);
    }
}
