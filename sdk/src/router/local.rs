//! What this client has seen of a name, kept in its store.
//!
//! One row per name holds the best record ever seen, also after it has expired: it is the high-water mark. A
//! valid record that is older than the mark is a replay and is refused, whoever offers it. Two records of one
//! sequence with different values are an equivocation, which only the key's holder can make (or two of the
//! holder's devices that published at the same time): the better by the selection rules is used, and both are
//! kept as evidence. A record that has ended contradicts none: a valid one of its sequence is a newer one.

use std::sync::Arc;

use futures_util::lock::{Mutex, MutexGuard};
use perennis_rt::{self as rt, BoxFuture};
use perennis_shared::ipns::{self, Equivocation, Name, Record, UnverifiedRecord};
use perennis_shared::time::Millis;

use super::{RouteError, Router};
use crate::store::{
    BlockStore, Changes, StoreError,
    row::{EQUIVOCATION, RECORD},
};

/// The best records seen, by name.
pub struct Local<S> {
    store: Arc<S>,
    /// Held from reading a mark to replacing it.
    observing: Mutex<()>,
}

/// What a record was compared with what had been seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The best record of the name now. It may have expired.
    pub best: Record,
    /// How the offered record compared.
    pub verdict: Verdict,
}

/// How a record compares with the best one seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the first or a better one; it is kept.
    Newer,
    /// It is the one that was seen.
    Same,
    /// It is older: a replay.
    Stale,
    /// It contradicts the one that was seen.
    Equivocation(Box<Equivocation>),
}

impl<S: BlockStore> Local<S> {
    /// Keeps its marks in `store`.
    #[must_use]
    pub fn new(store: Arc<S>) -> Self {
        Self {
            store,
            observing: Mutex::new(()),
        }
    }

    /// The best record ever seen of `name`, expired or not.
    ///
    /// # Errors
    /// The store fails, or the row does not hold a record of this name.
    pub async fn mark(&self, name: &Name) -> Result<Option<Record>, StoreError> {
        let key = mark_key(name);
        let Some(bytes) = self.store.state(&key).await? else {
            return Ok(None);
        };
        parse_mark(name, &key, &bytes).map(Some)
    }

    /// Compares a verified record with the mark and keeps it when it is better, durably.
    ///
    /// # Errors
    /// The store fails.
    pub async fn observe(&self, name: &Name, offered: &Record) -> Result<Observation, StoreError> {
        let _observing = self.observing.lock().await;
        let (observation, changes) = self.compare(name, offered, rt::now()).await?;
        if let Some(changes) = changes {
            self.store.commit(changes).await?;
        }
        Ok(observation)
    }

    /// The two records of the last equivocation of `name`.
    ///
    /// # Errors
    /// The store fails, or the rows do not hold records of this name.
    pub async fn equivocation(&self, name: &Name) -> Result<Option<Equivocation>, StoreError> {
        let [kept_key, other_key] = equivocation_keys(name);
        let kept = self.store.state(&kept_key).await?;
        let other = self.store.state(&other_key).await?;
        let (Some(kept), Some(other)) = (kept, other) else {
            return Ok(None);
        };
        Ok(Some(Equivocation {
            kept: parse_mark(name, &kept_key, &kept)?,
            other: parse_mark(name, &other_key, &other)?,
        }))
    }

    /// The row of a name's mark, to be part of a larger commit.
    pub(crate) fn mark_row(&self, name: &Name) -> String {
        mark_key(name)
    }

    /// Keeps others from replacing a mark until the guard is dropped, so that a larger commit can.
    pub(crate) async fn hold(&self) -> MutexGuard<'_, ()> {
        self.observing.lock().await
    }

    async fn compare(
        &self,
        name: &Name,
        offered: &Record,
        now: Millis,
    ) -> Result<(Observation, Option<Changes>), StoreError> {
        let Some(seen) = self.mark(name).await? else {
            return Ok(newer(name, offered));
        };
        let is_better = ipns::compare(offered, &seen).is_gt();
        if ipns::equivocates(offered, &seen) && !seen.is_expired(now) {
            let (kept, other) = if is_better {
                (offered, &seen)
            } else {
                (&seen, offered)
            };
            let equivocation = Equivocation {
                kept: kept.clone(),
                other: other.clone(),
            };
            let [kept_key, other_key] = equivocation_keys(name);
            let changes = mark_changes(name, kept)
                .set(kept_key, kept.bytes().clone())
                .set(other_key, other.bytes().clone());
            let observation = Observation {
                best: kept.clone(),
                verdict: Verdict::Equivocation(Box::new(equivocation)),
            };
            return Ok((observation, Some(changes)));
        }
        if is_better {
            return Ok(newer(name, offered));
        }
        let verdict = if offered.sequence() < seen.sequence() {
            Verdict::Stale
        } else {
            // One sequence and one value: the same statement, or the same with an earlier end.
            Verdict::Same
        };
        Ok((
            Observation {
                best: seen,
                verdict,
            },
            None,
        ))
    }
}

impl<S: BlockStore> Router for Local<S> {
    fn label(&self) -> String {
        "cache".to_owned()
    }

    /// The best record seen, while it is valid.
    fn resolve<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Record, RouteError>> {
        Box::pin(async move {
            let seen = self.mark(name).await?;
            seen.filter(|record| !record.is_expired(rt::now()))
                .ok_or(RouteError::NotFound { name: *name })
        })
    }

    /// Keeps the record; refuses one that is older than what was seen.
    fn publish<'a>(
        &'a self,
        name: &'a Name,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<(), RouteError>> {
        Box::pin(async move {
            let observation = self.observe(name, record).await?;
            match observation.verdict {
                Verdict::Newer | Verdict::Same | Verdict::Equivocation(_) => Ok(()),
                Verdict::Stale => Err(RouteError::Stale {
                    seen: observation.best.sequence(),
                    offered: record.sequence(),
                }),
            }
        })
    }
}

/// The change that makes `record` the mark of its name, to be part of a larger commit.
pub(crate) fn mark_changes(name: &Name, record: &Record) -> Changes {
    Changes::new().set(mark_key(name), record.bytes().clone())
}

fn newer(name: &Name, offered: &Record) -> (Observation, Option<Changes>) {
    let observation = Observation {
        best: offered.clone(),
        verdict: Verdict::Newer,
    };
    (observation, Some(mark_changes(name, offered)))
}

/// The record in a row of marks or of equivocations.
pub(crate) fn parse_mark(name: &Name, key: &str, bytes: &[u8]) -> Result<Record, StoreError> {
    UnverifiedRecord::parse(bytes)
        .and_then(|record| record.verify_at_any_time(name))
        .map_err(|_| StoreError::CorruptRow {
            key: key.to_owned(),
            what: "not a record of this name",
        })
}

fn mark_key(name: &Name) -> String {
    format!("{RECORD}{name}")
}

fn equivocation_keys(name: &Name) -> [String; 2] {
    [
        format!("{EQUIVOCATION}{name}/kept"),
        format!("{EQUIVOCATION}{name}/other"),
    ]
}
