//! The rendezvous worker: makes those who follow the same name find each other, through the DHT.
//!
//! A name that is newly followed comes first; each of the others has its turn once in a period. A name with enough
//! followers connected is not looked for.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use perennis_net::dht::DhtError;
use perennis_net::pubsub::{meet, rendezvous};
use perennis_shared::ipns::Name;
use tokio::time::Instant;

use super::gossip::Gossip;
use super::{Context, Parts, Step, Worker};
use crate::pending_names::PendingNames;
use crate::routes::Routes;

/// The time in which each name has its turn.
const PERIOD: Duration = Duration::from_secs(3_600);

/// How long it counts that this node was told as a follower: others forget it after two days.
const TOLD: Duration = Duration::from_secs(20 * 3_600);

/// How soon a network without peers is asked again.
const LONELY: Duration = Duration::from_secs(5);

/// Shortest pause between two names.
const PAUSE: Duration = Duration::from_millis(100);

/// Connected followers with which a name needs no others: what a mesh wants.
const ENOUGH: usize = 6;

pub(crate) struct RendezvousWorker {
    routes: Arc<Routes>,
    gossip: Arc<Gossip>,
    /// Newly followed names whose turn comes first.
    joined: VecDeque<Name>,
    /// Names that have not had their turn in this period.
    others: Vec<Name>,
    /// Names of which others in the DHT have been told, and when.
    told: HashMap<Name, Instant>,
    /// The pause between two names.
    pause: Duration,
    /// When the next name has its turn.
    next: Instant,
}

impl RendezvousWorker {
    /// None where the node does not gossip, or has no DHT to look for others in.
    pub(crate) fn if_on(parts: &Parts<'_>) -> Option<RendezvousWorker> {
        let gossip = parts.gossip?;
        gossip.joined_names()?;
        Some(RendezvousWorker {
            routes: Arc::clone(parts.routes),
            gossip: Arc::clone(gossip),
            joined: VecDeque::new(),
            others: Vec::new(),
            told: HashMap::new(),
            pause: PERIOD,
            next: Instant::now() + PERIOD,
        })
    }

    /// Looks which names are newly followed.
    fn look_for_joined(&mut self) {
        let pending = self.gossip.joined_names();
        while let Some(name) = pending.and_then(PendingNames::pop) {
            if self.joined.is_empty() {
                self.next = Instant::now();
            }
            self.joined.push_back(name);
        }
    }

    /// Begins a period.
    async fn begin(&mut self) {
        self.others = self.gossip.pubsub().names();
        let left: Vec<Name> = self.told.keys().copied().collect();
        for name in left {
            if !self.others.contains(&name) {
                self.told.remove(&name);
                // The peer may have stopped; then nobody is told anything.
                let _ = self.routes.net().dht().withdraw(&rendezvous(&name)).await;
            }
        }
        let names = u32::try_from(self.others.len().max(1)).unwrap_or(u32::MAX);
        self.pause = (PERIOD / names).max(PAUSE);
    }

    async fn meet(&mut self, name: Name) -> Result<(), DhtError> {
        let told = self.told.get(&name);
        let is_told = told.is_some_and(|at| at.elapsed() < TOLD);
        if !is_told {
            self.routes.sweep().provide(&rendezvous(&name)).await?;
            self.told.insert(name, Instant::now());
        }
        if self.gossip.pubsub().followers(name).await? < ENOUGH {
            let met = meet(self.routes.net().dht(), &name).await?;
            tracing::debug!(%name, met, "followers were looked for");
        }
        Ok(())
    }
}

impl Worker for RendezvousWorker {
    type Error = Infallible;

    fn name(&self) -> String {
        "pubsub peers".to_owned()
    }

    fn throttle(&self) -> String {
        "one name at a time".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, Infallible> {
        self.look_for_joined();
        let wait = self.next.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            return Ok(Step::listen(wait));
        }
        if self.joined.is_empty() && self.others.is_empty() {
            self.begin().await;
        }
        let name = self.joined.pop_front().or_else(|| self.others.pop());
        self.next = Instant::now()
            + match self.joined.is_empty() {
                true => self.pause,
                false => PAUSE,
            };
        let Some(name) = name else {
            return Ok(Step::Again);
        };
        context.working(format!("looking for followers of {name}"));
        let Some(met) = context.or_stop(self.meet(name)).await else {
            return Ok(Step::Done);
        };
        match met {
            Ok(()) => context.stepped(),
            Err(DhtError::NoPeers) => {
                self.joined.push_front(name);
                self.next = Instant::now() + LONELY;
            }
            Err(error) => context.failed(&error),
        }
        Ok(Step::Again)
    }

    async fn notified(&mut self) {
        match self.gossip.joined_names() {
            Some(names) => names.added().await,
            None => std::future::pending().await,
        }
    }
}
