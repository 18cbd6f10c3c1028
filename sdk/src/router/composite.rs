//! Asking many places at once.
//!
//! All are asked together under one deadline, and the best valid record wins, not the first: a fast server
//! with an old record must not hide a slow one with the newest. Once somebody has answered, the rest get a
//! shorter time, so that one dead endpoint does not hold every reader up.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use perennis_shared::ipns::{self, Name, Record};

use super::{Equivocation, RouteError, Router};
use crate::rt::{self, BoxFuture};

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
}

/// What the places that were asked had to say.
#[derive(Debug)]
pub struct Gathered {
    /// The best record among the answers.
    pub best: Record,
    /// The label of who gave it first.
    pub source: String,
    /// Two answers that contradict each other at the best record's sequence.
    pub equivocation: Option<Equivocation>,
    /// Who had no valid record, and why.
    pub failures: Vec<(String, Arc<RouteError>)>,
}

impl Composite {
    /// Asks all of `routers`.
    #[must_use]
    pub fn new(routers: Vec<Arc<dyn Router>>, times: CompositeTimes) -> Self {
        Self { routers, times }
    }

    /// Asks everybody and gathers their answers.
    ///
    /// # Errors
    /// [`RouteError::NotFound`] when all agree that there is no record; [`RouteError::Nobody`] with each
    /// answer when none had a valid one.
    pub async fn gather(&self, name: &Name) -> Result<Gathered, RouteError> {
        let mut asked = FuturesUnordered::new();
        for (index, router) in self.routers.iter().enumerate() {
            let asking = async move { (index, router.resolve(name).await) };
            let asking: BoxFuture<'_, _> = Box::pin(asking);
            asked.push(asking);
        }
        let mut answers: Vec<Option<Result<Record, RouteError>>> =
            self.routers.iter().map(|_| None).collect();
        let start = rt::monotonic();
        let mut ends_at = start + self.times.deadline;
        loop {
            let left = ends_at.saturating_sub(rt::monotonic());
            let Ok(Some((index, answer))) = rt::timeout(left, asked.next()).await else {
                break;
            };
            if answer.is_ok() {
                ends_at = ends_at.min(rt::monotonic() + self.times.settle);
            }
            answers[index] = Some(answer);
        }
        let after = rt::monotonic().saturating_sub(start);
        self.judge(name, answers, after)
    }

    fn judge(
        &self,
        name: &Name,
        answers: Vec<Option<Result<Record, RouteError>>>,
        after: Duration,
    ) -> Result<Gathered, RouteError> {
        let mut records = Vec::new();
        let mut failures = Vec::new();
        for (router, answer) in self.routers.iter().zip(answers) {
            match answer.unwrap_or(Err(RouteError::Deadline { after })) {
                Ok(record) => records.push((router.label(), record)),
                Err(error) => failures.push((router.label(), Arc::new(error))),
            }
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
        })
    }
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
