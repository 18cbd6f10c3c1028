//! Asking many places at once.
//!
//! All are asked together under one deadline, and the best valid record wins, not the first: a fast server
//! with an old record must not hide a slow one with the newest. Once somebody has answered, the rest get a
//! shorter time, so that one dead endpoint does not hold every reader up.
//!
//! How each place does is counted ([`Scores`]). While nobody has answered and the place to hope for most takes much
//! longer than it usually does, it is asked once more: a request that got lost costs one such wait, not the deadline.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use parking_lot::Mutex;
use perennis_rt::{self as rt, BoxFuture};
use perennis_shared::ipns::{self, Equivocation, Name, Record};

use super::{RouteError, Router, ScoreInput, Scores};

/// The place asked a second time has taken at least this long.
const HEDGE_MIN: Duration = Duration::from_millis(250);

/// And so many times what it usually takes.
const HEDGE_FACTOR: u32 = 3;

/// How long to wait for answers.
#[derive(Clone, Copy, Debug)]
pub struct CompositeTimes {
    /// For all of them together.
    pub deadline: Duration,
    /// For the rest, from the first valid answer on.
    pub settle: Duration,
}

impl Default for CompositeTimes {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(20),
            settle: Duration::from_secs(2),
        }
    }
}

/// Several routers as one.
pub struct Composite {
    routers: Vec<Arc<dyn Router>>,
    times: CompositeTimes,
    scores: Arc<Mutex<Scores>>,
}

/// What the places that were asked had to say.
#[derive(Debug)]
pub struct Gathered {
    /// The best record among the answers.
    pub best: Record,
    /// The label of who gave it: of several, the one that did best so far.
    pub source: String,
    /// Two answers that contradict each other at the best record's sequence.
    pub equivocation: Option<Equivocation>,
    /// Who had no valid record, and why.
    pub failures: Vec<(String, Arc<RouteError>)>,
    /// Everybody who was asked, those to hope for most first.
    pub asked: Vec<Asked>,
}

/// How one place did when it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its label.
    pub label: String,
    /// The time until it answered, or until nobody waited any more.
    pub took: Duration,
    /// Whether it was asked a second time.
    pub hedged: bool,
    /// The sequence of its record, or why it has none to give.
    pub result: Result<u64, Arc<RouteError>>,
}

/// One place while it is being asked.
struct Asking {
    label: String,
    under_way: usize,
    hedged: bool,
    answer: Option<Result<Record, RouteError>>,
    took: Duration,
}

impl Composite {
    /// Asks all of `routers`.
    #[must_use]
    pub fn new(routers: Vec<Arc<dyn Router>>, times: CompositeTimes) -> Self {
        Self::with_scores(routers, times, Arc::default())
    }

    /// Asks all of `routers`, and counts how they do together with others that share these averages.
    #[must_use]
    pub fn with_scores(
        routers: Vec<Arc<dyn Router>>,
        times: CompositeTimes,
        scores: Arc<Mutex<Scores>>,
    ) -> Self {
        Self {
            routers,
            times,
            scores,
        }
    }

    /// Asks everybody and gathers their answers.
    ///
    /// # Errors
    /// [`RouteError::NotFound`] when all agree that there is no record; [`RouteError::Nobody`] with each
    /// answer when none had a valid one.
    pub async fn gather(&self, name: &Name) -> Result<Gathered, RouteError> {
        let labels: Vec<String> = self.routers.iter().map(|router| router.label()).collect();
        let order = self.scores.lock().order(rt::now(), &labels);
        let mut places: Vec<Asking> = labels.into_iter().map(Asking::new).collect();
        let mut asked = FuturesUnordered::new();
        for index in &order {
            asked.push(self.asking(*index, name));
            places[*index].under_way += 1;
        }
        let start = rt::monotonic();
        let mut ends_at = start + self.times.deadline;
        let mut hedge_at = order.first().map(|best| start + self.hedge(&places[*best]));
        while places.iter().any(Asking::is_open) {
            let now = rt::monotonic();
            let until = hedge_at.map_or(ends_at, |hedge_at| hedge_at.min(ends_at));
            let Ok(next) = rt::timeout(until.saturating_sub(now), asked.next()).await else {
                if rt::monotonic() >= ends_at {
                    break;
                }
                hedge_at = None;
                if let Some(slow) = order.iter().find(|index| places[**index].is_open()) {
                    places[*slow].hedged = true;
                    places[*slow].under_way += 1;
                    asked.push(self.asking(*slow, name));
                }
                continue;
            };
            let Some((index, answer)) = next else { break };
            if places[index].take(answer, rt::monotonic() - start) {
                hedge_at = None;
                ends_at = ends_at.min(rt::monotonic() + self.times.settle);
            }
        }
        drop(asked);
        let after = rt::monotonic().saturating_sub(start);
        self.count(&places, after);
        let places = in_order(places, &order);
        judge(name, places, after)
    }

    fn asking<'a>(
        &'a self,
        index: usize,
        name: &'a Name,
    ) -> BoxFuture<'a, (usize, Result<Record, RouteError>)> {
        let router = &self.routers[index];
        Box::pin(async move { (index, router.resolve(name).await) })
    }

    /// How long the place to hope for most is waited for before it is asked again.
    fn hedge(&self, place: &Asking) -> Duration {
        let score = self.scores.lock().score(rt::now(), &place.label);
        (score.latency * HEDGE_FACTOR).max(HEDGE_MIN)
    }

    fn count(&self, places: &[Asking], after: Duration) {
        let mut scores = self.scores.lock();
        let now = rt::now();
        for place in places {
            let took = place.took;
            let input = match &place.answer {
                Some(Ok(_) | Err(RouteError::NotFound { .. })) => ScoreInput::Answered { took },
                Some(Err(_)) => ScoreInput::Failed { took },
                // It was slower than those that had an answer: that is no failure, but it is slow.
                None if after < self.times.deadline => ScoreInput::Answered { took: after },
                None => ScoreInput::Failed { took: after },
            };
            scores.handle(now, &place.label, input);
        }
    }
}

impl Asking {
    fn new(label: String) -> Self {
        Self {
            label,
            under_way: 0,
            hedged: false,
            answer: None,
            took: Duration::ZERO,
        }
    }

    fn is_open(&self) -> bool {
        self.under_way > 0 && !matches!(self.answer, Some(Ok(_)))
    }

    /// Takes an answer; true when it is a record. A second request may make up for the failure of the first.
    fn take(&mut self, answer: Result<Record, RouteError>, took: Duration) -> bool {
        self.under_way -= 1;
        let is_record = answer.is_ok();
        if is_record || self.answer.is_none() {
            self.answer = Some(answer);
            self.took = took;
        }
        is_record
    }
}

fn in_order(places: Vec<Asking>, order: &[usize]) -> Vec<Asking> {
    let mut places: Vec<Option<Asking>> = places.into_iter().map(Some).collect();
    let in_order = order.iter().filter_map(|index| places[*index].take());
    in_order.collect()
}

fn judge(name: &Name, places: Vec<Asking>, after: Duration) -> Result<Gathered, RouteError> {
    let mut records = Vec::new();
    let mut failures = Vec::new();
    let mut asked = Vec::new();
    for place in places {
        let took = if place.answer.is_some() {
            place.took
        } else {
            after
        };
        let result = match place.answer.unwrap_or(Err(RouteError::Deadline { after })) {
            Ok(record) => {
                let sequence = record.sequence();
                records.push((place.label.clone(), record));
                Ok(sequence)
            }
            Err(error) => {
                let error = Arc::new(error);
                failures.push((place.label.clone(), Arc::clone(&error)));
                Err(error)
            }
        };
        asked.push(Asked {
            label: place.label,
            took,
            hedged: place.hedged,
            result,
        });
    }
    let Some(best) = ipns::select(records.iter().map(|(_, record)| record)).cloned() else {
        let is_absent =
            |(_, error): &(_, Arc<RouteError>)| matches!(**error, RouteError::NotFound { .. });
        return Err(if !failures.is_empty() && failures.iter().all(is_absent) {
            RouteError::NotFound { name: *name }
        } else {
            RouteError::Nobody {
                name: *name,
                failures,
            }
        });
    };
    let equivocation = records
        .iter()
        .find(|(_, record)| ipns::equivocates(&best, record))
        .map(|(_, other)| Equivocation {
            kept: best.clone(),
            other: other.clone(),
        });
    let source = records
        .into_iter()
        .find(|(_, record)| *record == best)
        .map_or_else(String::new, |(label, _)| label);
    Ok(Gathered {
        best,
        source,
        equivocation,
        failures,
        asked,
    })
}

impl Router for Composite {
    fn label(&self) -> String {
        let labels: Vec<String> = self.routers.iter().map(|router| router.label()).collect();
        labels.join(", ")
    }

    fn resolve<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Record, RouteError>> {
        Box::pin(async move { Ok(self.gather(name).await?.best) })
    }

    /// Gives the record to all; succeeds when at least one took it.
    fn publish<'a>(
        &'a self,
        name: &'a Name,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<(), RouteError>> {
        Box::pin(async move {
            let puts = self.routers.iter().map(|router| async move {
                let put = rt::timeout(self.times.deadline, router.publish(name, record));
                put.await.unwrap_or_else(|elapsed| {
                    Err(RouteError::Deadline {
                        after: elapsed.after,
                    })
                })
            });
            let mut failures = Vec::new();
            let mut is_kept = false;
            for (router, outcome) in self.routers.iter().zip(join_all(puts).await) {
                match outcome {
                    Ok(()) => is_kept = true,
                    Err(error) => failures.push((router.label(), Arc::new(error))),
                }
            }
            if is_kept {
                return Ok(());
            }
            Err(RouteError::Nobody {
                name: *name,
                failures,
            })
        })
    }
}
