//! Asking many places at once.
//!
//! All are asked together under one deadline, and the best valid record wins, not the first: a fast server
//! with an old record must not hide a slow one with the newest. Once somebody has answered, the rest get a
//! shorter time, so that one dead endpoint does not hold every reader up; who keeps what was found waits for the rest
//! behind that, record by record ([`Lookup::next_record`]), and gives the best to those who had worse ([`Composite::correct`]).
//!
//! How each place does is counted ([`Scores`]). While nobody has answered and the place to hope for most takes much
//! longer than it usually does, it is asked once more: a request that got lost costs one such wait, not the deadline.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use parking_lot::Mutex;
use perennis_rt::{self as rt, BoxFuture};
use perennis_shared::{
    error::chain,
    ipns::{self, Equivocation, Name, Record},
};

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
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The best record among the answers.
    pub best: Record,
    /// The label of who gave it: of several, the one that did best so far.
    pub source: String,
    /// Who gave a worse record, and which.
    pub worse: Vec<(String, Record)>,
    /// Two answers that contradict each other at the best record's sequence.
    pub equivocation: Option<Equivocation>,
    /// Who had no valid record, and why.
    pub failures: Vec<(String, Arc<RouteError>)>,
    /// Everybody who was asked, those to hope for most first.
    pub asked: Vec<Asked>,
}

impl Gathered {
    /// What one place alone had to say.
    pub(crate) fn only(best: Record, source: String) -> Self {
        Self {
            best,
            source,
            worse: Vec::new(),
            equivocation: None,
            failures: Vec::new(),
            asked: Vec::new(),
        }
    }
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
    answer: Option<Result<Record, Arc<RouteError>>>,
    took: Duration,
}

/// A question to all places that is under way. Dropping it ends it, and counts how each place did.
pub struct Lookup<'a> {
    composite: &'a Composite,
    name: &'a Name,
    /// Places to hope for most first.
    order: Vec<usize>,
    places: Vec<Asking>,
    asked: FuturesUnordered<BoxFuture<'a, (usize, Result<Record, RouteError>)>>,
    start: Duration,
    /// Some time after the first record.
    settles_at: Option<Duration>,
    hedge_at: Option<Duration>,
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

    /// Asks everybody and gathers the answers that come until somebody's record has settled.
    ///
    /// # Errors
    /// [`RouteError::NotFound`] when all agree that there is no record; [`RouteError::Nobody`] with each
    /// answer when none had a valid one.
    pub async fn gather(&self, name: &Name) -> Result<Gathered, RouteError> {
        let mut lookup = self.lookup(name);
        lookup.settle().await;
        lookup.gathered()
    }

    /// Begins to ask everybody. What has come can be looked at as soon as it has settled, while the rest is still waited for.
    #[must_use]
    pub fn lookup<'a>(&'a self, name: &'a Name) -> Lookup<'a> {
        let labels: Vec<String> = self.routers.iter().map(|router| router.label()).collect();
        let order = self.scores.lock().order(rt::now(), &labels);
        let mut places: Vec<Asking> = labels.into_iter().map(Asking::new).collect();
        let asked = FuturesUnordered::new();
        for index in &order {
            asked.push(self.asking(*index, name));
            places[*index].under_way += 1;
        }
        let start = rt::monotonic();
        let hedge_at = order.first().map(|best| start + self.hedge(&places[*best]));
        Lookup {
            composite: self,
            name,
            order,
            places,
            asked,
            start,
            settles_at: None,
            hedge_at,
        }
    }

    /// Gives the best record to the places that answered with a worse one. What they say to that is only logged: nobody waits for it,
    /// and some take no records.
    pub async fn correct(&self, name: &Name, gathered: &Gathered) {
        let behind = self.routers.iter().filter(|router| {
            let label = router.label();
            let worse = |(worse, _): &(String, Record)| *worse == label;
            gathered.worse.iter().any(worse)
        });
        let puts = behind.map(|router| async move {
            let put = rt::timeout(self.times.deadline, router.publish(name, &gathered.best));
            match put.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%name, router = router.label(), error = %chain(&error), "a place keeps its worse record");
                }
                Err(_) => tracing::debug!(%name, router = router.label(), "a place did not take a better record in time"),
            }
        });
        join_all(puts).await;
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
                Some(Ok(_)) => ScoreInput::Answered { took },
                Some(Err(error)) if matches!(**error, RouteError::NotFound { .. }) => {
                    ScoreInput::Answered { took }
                }
                Some(Err(_)) => ScoreInput::Failed { took },
                // It was slower than those that had an answer: that is no failure, but it is slow.
                None if after < self.times.deadline => ScoreInput::Answered { took: after },
                None => ScoreInput::Failed { took: after },
            };
            scores.handle(now, &place.label, input);
        }
    }
}

impl Lookup<'_> {
    /// Waits until all have answered, or some time has passed since the first record, or the deadline.
    pub async fn settle(&mut self) {
        while self.advance(true).await {}
    }

    /// Waits for one more record, whether or not it is better than those that came; false when all have answered, or the deadline has
    /// come.
    pub async fn next_record(&mut self) -> bool {
        self.advance(false).await
    }

    /// Whether answers are still waited for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        rt::monotonic() < self.start + self.composite.times.deadline
            && self.places.iter().any(Asking::is_open)
    }

    /// What has come until now.
    ///
    /// # Errors
    /// As [`Composite::gather`].
    pub fn gathered(&self) -> Result<Gathered, RouteError> {
        let after = rt::monotonic().saturating_sub(self.start);
        let in_order = self.order.iter().map(|index| &self.places[*index]);
        judge(self.name, in_order, after)
    }

    /// Waits for the next record; false when nothing is waited for any more.
    async fn advance(&mut self, until_settled: bool) -> bool {
        let times = self.composite.times;
        while self.places.iter().any(Asking::is_open) {
            let deadline = self.start + times.deadline;
            let ends_at = match self.settles_at.filter(|_| until_settled) {
                Some(settles_at) => settles_at.min(deadline),
                None => deadline,
            };
            let now = rt::monotonic();
            let until = self
                .hedge_at
                .map_or(ends_at, |hedge_at| hedge_at.min(ends_at));
            let Ok(next) = rt::timeout(until.saturating_sub(now), self.asked.next()).await else {
                if rt::monotonic() >= ends_at {
                    return false;
                }
                self.hedge_at = None;
                self.ask_again();
                continue;
            };
            let Some((index, answer)) = next else {
                return false;
            };
            let now = rt::monotonic();
            if self.places[index].take(answer, now - self.start) {
                self.hedge_at = None;
                self.settles_at.get_or_insert(now + times.settle);
                return true;
            }
        }
        false
    }

    /// Asks the place to hope for most once more.
    fn ask_again(&mut self) {
        let open = |index: &&usize| self.places[**index].is_open();
        if let Some(slow) = self.order.iter().find(open).copied() {
            self.places[slow].hedged = true;
            self.places[slow].under_way += 1;
            self.asked.push(self.composite.asking(slow, self.name));
        }
    }
}

impl Drop for Lookup<'_> {
    fn drop(&mut self) {
        let after = rt::monotonic().saturating_sub(self.start);
        self.composite.count(&self.places, after);
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
            self.answer = Some(answer.map_err(Arc::new));
            self.took = took;
        }
        is_record
    }
}

fn judge<'a>(
    name: &Name,
    places: impl Iterator<Item = &'a Asking>,
    after: Duration,
) -> Result<Gathered, RouteError> {
    let mut records = Vec::new();
    let mut failures = Vec::new();
    let mut asked = Vec::new();
    for place in places {
        let took = if place.answer.is_some() {
            place.took
        } else {
            after
        };
        let result = match &place.answer {
            Some(Ok(record)) => {
                records.push((place.label.clone(), record.clone()));
                Ok(record.sequence())
            }
            refused => {
                let error = match refused {
                    Some(Err(error)) => Arc::clone(error),
                    _ => Arc::new(RouteError::Deadline { after }),
                };
                failures.push((place.label.clone(), Arc::clone(&error)));
                Err(error)
            }
        };
        asked.push(Asked {
            label: place.label.clone(),
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
        .iter()
        .find(|(_, record)| *record == best)
        .map_or_else(String::new, |(label, _)| label.clone());
    records.retain(|(_, record)| ipns::compare(record, &best).is_lt());
    Ok(Gathered {
        best,
        source,
        worse: records,
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
