//! The meeting worker: makes those who follow the same name find each other, through the DHT.
//!
//! A name that is newly followed comes first; each of the others has its turn once in a period. A name with enough
//! followers connected is not looked for.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use perennis_net::dht::{DhtError, Sweep};
use perennis_net::pubsub::{meet, rendezvous};
use perennis_net::{Net, Pubsub};
use perennis_shared::ipns::Name;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Context, Step, Worker};

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

pub(crate) struct MeetWorker {
    net: Net,
    pubsub: Pubsub,
    sweep: Sweep,
    /// Names that are newly followed.
    joining: mpsc::UnboundedReceiver<Name>,
    /// Whether nobody is left who follows names.
    is_over: bool,
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

impl MeetWorker {
    pub(crate) fn new(
        net: Net,
        pubsub: Pubsub,
        sweep: Sweep,
        joining: mpsc::UnboundedReceiver<Name>,
    ) -> MeetWorker {
        MeetWorker {
            net,
            pubsub,
            sweep,
            joining,
            is_over: false,
            joined: VecDeque::new(),
            others: Vec::new(),
            told: HashMap::new(),
            pause: PERIOD,
            next: Instant::now() + PERIOD,
        }
    }

    /// A name is newly followed.
    fn join(&mut self, name: Name) {
        if self.joined.is_empty() {
            self.next = Instant::now();
        }
        self.joined.push_back(name);
    }

    /// Begins a period.
    async fn begin(&mut self) {
        self.others = self.pubsub.names();
        let left: Vec<Name> = self.told.keys().copied().collect();
        for name in left {
            if !self.others.contains(&name) {
                self.told.remove(&name);
                // The peer may have stopped; then nobody is told anything.
                let _ = self.net.dht().withdraw(&rendezvous(&name)).await;
            }
        }
        let names = u32::try_from(self.others.len().max(1)).unwrap_or(u32::MAX);
        self.pause = (PERIOD / names).max(PAUSE);
    }

    async fn meet(&mut self, name: Name) -> Result<(), DhtError> {
        let told = self.told.get(&name);
        let is_told = told.is_some_and(|at| at.elapsed() < TOLD);
        if !is_told {
            self.sweep.provide(&rendezvous(&name)).await?;
            self.told.insert(name, Instant::now());
        }
        if self.pubsub.followers(name).await? < ENOUGH {
            let met = meet(self.net.dht(), &name).await?;
            tracing::debug!(%name, met, "followers were looked for");
        }
        Ok(())
    }
}

impl Worker for MeetWorker {
    type Error = Infallible;

    fn name(&self) -> String {
        "pubsub peers".to_owned()
    }

    fn throttle(&self) -> String {
        "one name at a time".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, Infallible> {
        while let Ok(name) = self.joining.try_recv() {
            self.join(name);
        }
        if self.is_over {
            return Ok(Step::Done);
        }
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
        match self.joining.recv().await {
            Some(name) => self.join(name),
            None => self.is_over = true,
        }
    }
}
