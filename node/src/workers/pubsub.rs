//! The pubsub worker: follows the names that are kept here by gossip, and tells of their records.
//!
//! Names that the operator follows come first, then the others, until as many are followed as the configuration lets.
//! A record that changed here is told of at once, whether or not its name has a place; each name's record is told of
//! again once in a period, since messages get lost.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use perennis_shared::ipns::Name;
use tokio::time::Instant;

use super::gossip::Gossip;
use super::{Context, Parts, Step, Worker};

/// Shortest pause between two names that are told of again.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct PubsubWorker {
    gossip: Arc<Gossip>,
    stage: Stage,
    /// The time in which each record is told of again.
    period: Duration,
    /// Names whose records have not been told of again in this period.
    turn: Vec<Name>,
    /// The pause between two of them.
    pause: Duration,
    /// When the next one is told of.
    next: Instant,
}

/// What the worker is at.
#[derive(Clone, Copy)]
enum Stage {
    /// It joins the topics of names that are kept, behind this one. Those the operator asked for must have their places
    /// before the others.
    Joining {
        is_followed: bool,
        after: Option<Name>,
    },
    /// It tells of records.
    Telling,
}

impl PubsubWorker {
    /// None where the node does not gossip.
    pub(crate) fn if_on(parts: &Parts<'_>) -> Option<PubsubWorker> {
        let period = parts.config.p2p.pubsub_period;
        parts.gossip.map(|gossip| PubsubWorker {
            gossip: Arc::clone(gossip),
            stage: Stage::Joining {
                is_followed: true,
                after: None,
            },
            period,
            turn: Vec::new(),
            pause: period,
            next: Instant::now() + period,
        })
    }

    /// Joins the topics of a page of names; returns what is to be done next.
    async fn join(&mut self, is_followed: bool, after: Option<Name>, context: &Context) -> Stage {
        match self.gossip.follow_kept(is_followed, after, context).await {
            Ok(Some(after)) => {
                return Stage::Joining {
                    is_followed,
                    after: Some(after),
                };
            }
            Ok(None) => {}
            Err(error) => context.failed(&error),
        }
        if is_followed {
            return Stage::Joining {
                is_followed: false,
                after: None,
            };
        }
        self.next = Instant::now() + self.period;
        Stage::Telling
    }
}

impl Worker for PubsubWorker {
    type Error = Infallible;

    fn name(&self) -> String {
        "pubsub".to_owned()
    }

    fn throttle(&self) -> String {
        "one name at a time".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, Infallible> {
        if let Stage::Joining { is_followed, after } = self.stage {
            self.stage = self.join(is_followed, after, context).await;
            return Ok(Step::Again);
        }
        if self.turn.is_empty() {
            self.turn = self.gossip.pubsub().names();
            let names = u32::try_from(self.turn.len().max(1)).unwrap_or(u32::MAX);
            self.pause = (self.period / names).max(PAUSE);
        }
        // What is due again comes first: it is due now and then, while names may change without a pause.
        let wait = self.next.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            self.next = Instant::now() + self.pause;
            if let Some(name) = self.turn.pop() {
                self.gossip.tell_again(name).await;
            }
            return Ok(Step::Again);
        }
        let Some(name) = self.gossip.changed_names().pop() else {
            return Ok(Step::listen(wait));
        };
        context.working(format!("telling of {name}"));
        if let Err(error) = self.gossip.changed(name).await {
            context.failed(&error);
        }
        context.stepped();
        Ok(Step::Again)
    }

    async fn notified(&mut self) {
        self.gossip.changed_names().added().await;
    }
}
