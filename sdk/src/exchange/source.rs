//! Places that blocks are fetched from, asked in a race.
//!
//! The first is asked alone. When it says no, or takes longer than it uses to, the next is asked as well; the first
//! block that is right wins and the others are dropped. A source that has failed, or was overtaken, more often than not of
//! late is asked last.

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use parking_lot::Mutex;
use perennis_rt::{self as rt, BoxFuture, MaybeSend, MaybeSync};
use perennis_shared::cid::{Block, Cid};

use super::SourceError;

/// How long a source that has not answered yet is left alone.
const FIRST_GUESS: Duration = Duration::from_secs(1);
/// Bounds of the time a source is left alone.
const ALONE: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];
/// Failures, as a discounted share in 256ths, above which a source is asked last.
const FAILING: u32 = 128;

/// A place that blocks are fetched from. What it gives has been verified.
pub trait Source: MaybeSend + MaybeSync {
    /// What it is called in messages.
    fn name(&self) -> String;

    /// One block. Calls overlap; dropping the future gives the block up.
    ///
    /// # Errors
    /// It does not have the block, or cannot give it.
    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Block, SourceError>>;
}

impl<S: Source + ?Sized> Source for Arc<S> {
    fn name(&self) -> String {
        S::name(self)
    }

    fn block<'a>(&'a self, cid: &'a Cid) -> BoxFuture<'a, Result<Block, SourceError>> {
        S::block(self, cid)
    }
}

/// Several sources as one. Cheap to clone; clones learn together.
#[derive(Clone, Default)]
pub(super) struct Race {
    lanes: Vec<Arc<Lane>>,
}

struct Lane {
    source: Box<dyn Source>,
    known: Mutex<Known>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    latency: Option<(Duration, Duration)>,
    failures: u32,
}

pub(super) type Failures = Vec<(String, Arc<SourceError>)>;

impl Race {
    pub(super) fn push(&mut self, source: Box<dyn Source>) {
        let known = Mutex::default();
        #[allow(
            clippy::arc_with_non_send_sync,
            reason = "a source may be shared between threads except in a browser, which has one"
        )]
        let lane = Arc::new(Lane { source, known });
        self.lanes.push(lane);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// A block from the first source that gives it, or what each has answered.
    pub(super) async fn block(&self, cid: &Cid) -> Result<Block, Failures> {
        let mut lanes: Vec<&Arc<Lane>> = self.lanes.iter().collect();
        lanes.sort_by_key(|lane| lane.known.lock().failures > FAILING);
        let mut waiting = lanes.into_iter();
        let mut running = FuturesUnordered::new();
        let mut begun: Vec<&Arc<Lane>> = Vec::new();
        let mut failures = Vec::new();
        let mut failed: Vec<&Arc<Lane>> = Vec::new();
        let mut alone = FIRST_GUESS;
        loop {
            if let Some(lane) = waiting.next() {
                alone = lane.alone();
                let place = begun.len();
                begun.push(lane);
                running.push(async move { (place, lane.block(cid).await) });
            } else if running.is_empty() {
                return Err(failures);
            }
            while !running.is_empty() {
                let is_last = waiting.len() == 0;
                let ended = if is_last {
                    running.next().await
                } else {
                    let timer = std::pin::pin!(rt::sleep(alone));
                    match select(running.next(), timer).await {
                        Either::Left((ended, _)) => ended,
                        Either::Right(_) => break,
                    }
                };
                match ended {
                    Some((place, (_, Ok(block)))) => {
                        // Those before it have been given their time, unless they have failed.
                        let slow = begun[..place]
                            .iter()
                            .filter(|lane| !failed.iter().any(|failed| Arc::ptr_eq(failed, lane)));
                        slow.for_each(|lane| lane.known.lock().fail());
                        return Ok(block);
                    }
                    Some((place, (name, Err(error)))) => {
                        failed.push(begun[place]);
                        tracing::debug!(source = name, %cid, %error, "a source did not give a block");
                        failures.push((name, Arc::new(error)));
                        if !is_last {
                            break;
                        }
                    }
                    None => break,
                }
            }
        }
    }
}

impl Lane {
    /// Asks and learns. A call that is dropped teaches nothing.
    async fn block(&self, cid: &Cid) -> (String, Result<Block, SourceError>) {
        let start = rt::monotonic();
        let answer = self.source.block(cid).await;
        let mut known = self.known.lock();
        if answer.is_ok() {
            known.failures = known.failures * 7 / 8;
            known.measure(rt::monotonic().saturating_sub(start));
        } else {
            known.fail();
        }
        (self.source.name(), answer)
    }

    fn alone(&self) -> Duration {
        let latency = self.known.lock().latency;
        let expected = latency.map(|(mean, deviation)| mean + 4 * deviation);
        expected.unwrap_or(FIRST_GUESS).clamp(ALONE[0], ALONE[1])
    }
}

impl Known {
    fn fail(&mut self) {
        self.failures = self.failures * 7 / 8 + 32;
    }

    /// As TCP measures round trips (RFC 6298).
    fn measure(&mut self, sample: Duration) {
        self.latency = Some(match self.latency {
            None => (sample, sample / 2),
            Some((mean, deviation)) => (
                (mean * 7 + sample) / 8,
                (deviation * 3 + mean.abs_diff(sample)) / 4,
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::future::pending;

    use perennis_shared::cid::{Codec, VerifyError};

    use super::*;

    enum Double {
        Has(Duration),
        Lacks,
        Hangs,
    }

    impl Source for Double {
        fn name(&self) -> String {
            "double".into()
        }

        fn block<'a>(&'a self, _: &'a Cid) -> BoxFuture<'a, Result<Block, SourceError>> {
            Box::pin(async {
                match self {
                    Self::Has(after) => rt::sleep(*after).await,
                    Self::Lacks => return Err(VerifyError::Mismatch.into()),
                    Self::Hangs => pending().await,
                }
                Ok(Block::new(Codec::Raw, &b"x"[..]).unwrap())
            })
        }
    }

    fn race(sources: impl IntoIterator<Item = Double>) -> Race {
        let mut race = Race::default();
        sources
            .into_iter()
            .for_each(|source| race.push(Box::new(source)));
        race
    }

    async fn outcome(race: &Race) -> Result<Block, usize> {
        let cid = perennis_shared::cid::cid_of(Codec::Raw, b"x");
        race.block(&cid).await.map_err(|failures| failures.len())
    }

    #[tokio::test]
    async fn a_source_that_hangs_is_overtaken() {
        let start = rt::monotonic();
        let race = race([Double::Hangs, Double::Hangs, Double::Has(Duration::ZERO)]);
        assert!(outcome(&race).await.is_ok());
        assert!(rt::monotonic() - start >= 2 * FIRST_GUESS);
    }

    #[tokio::test]
    async fn a_refusal_is_followed_at_once_and_all_of_them_are_told() {
        let start = rt::monotonic();
        let race_of_three = race([Double::Lacks, Double::Lacks, Double::Has(Duration::ZERO)]);
        assert!(outcome(&race_of_three).await.is_ok());
        assert!(rt::monotonic() - start < FIRST_GUESS, "no waiting");
        assert_eq!(outcome(&race([Double::Lacks, Double::Lacks])).await, Err(2));
        assert_eq!(outcome(&race([])).await, Err(0));
    }

    #[tokio::test]
    async fn the_last_source_is_waited_for() {
        let slow = Double::Has(FIRST_GUESS * 2);
        assert!(outcome(&race([Double::Hangs, slow])).await.is_ok());
    }

    #[tokio::test]
    async fn a_source_that_is_overtaken_counts_as_one_that_failed() {
        let race = race([
            Double::Hangs,
            Double::Lacks,
            Double::Has(Duration::from_millis(1)),
        ]);
        outcome(&race).await.unwrap();
        let failures = race.lanes.iter().map(|lane| lane.known.lock().failures);
        assert_eq!(failures.collect::<Vec<_>>(), [32, 32, 0]);
    }

    #[tokio::test]
    async fn a_source_that_fails_again_and_again_is_asked_last() {
        let race = race([Double::Lacks, Double::Has(Duration::from_millis(1))]);
        for _ in 0..8 {
            outcome(&race).await.unwrap();
        }
        assert!(race.lanes[0].known.lock().failures > FAILING);
    }
}
