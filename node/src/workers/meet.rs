//! The meeting worker: makes those who follow the same name find each other, through the DHT.
//!
//! A name that is newly followed comes first; each of the others has its turn once in a period. A name with enough
//! followers connected is not looked for.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use perennis_net::dht::{DhtError, Sweep};
use perennis_net::pubsub::{meet, rendezvous};
use perennis_net::{Net, Pubsub};
use perennis_shared::ipns::Name;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Ending, Worker};
use crate::shutdown::Stop;

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
    pub(crate) net: Net,
    pub(crate) pubsub: Pubsub,
    pub(crate) sweep: Sweep,
    /// Names that are newly followed.
    pub(crate) joined: mpsc::UnboundedReceiver<Name>,
}

/// Whose turn it is.
#[derive(Default)]
struct Turn {
    /// Newly followed names.
    joined: VecDeque<Name>,
    /// Names that have not had their turn in this period.
    others: Vec<Name>,
    /// Names of which others in the DHT have been told, and when.
    told: HashMap<Name, Instant>,
}

impl MeetWorker {
    pub(super) async fn run(mut self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        let mut turn = Turn::default();
        let mut pause = PERIOD;
        let mut next = Instant::now() + pause;
        loop {
            worker.waiting(None);
            tokio::select! {
                joined = stop.or(self.joined.recv()) => {
                    let Some(Some(name)) = joined else { return };
                    if turn.joined.is_empty() {
                        next = Instant::now();
                    }
                    turn.joined.push_back(name);
                    continue;
                }
                () = tokio::time::sleep_until(next) => {}
            }
            if turn.joined.is_empty() && turn.others.is_empty() {
                pause = self.begin(&mut turn).await;
            }
            let name = turn.joined.pop_front().or_else(|| turn.others.pop());
            next = Instant::now() + if turn.joined.is_empty() { pause } else { PAUSE };
            let Some(name) = name else { continue };
            worker.working(format!("looking for followers of {name}"));
            let Some(met) = stop.or(self.meet(name, &mut turn.told)).await else {
                return;
            };
            match met {
                Ok(()) => worker.stepped(),
                Err(DhtError::NoPeers) => {
                    turn.joined.push_front(name);
                    next = Instant::now() + LONELY;
                }
                Err(error) => worker.failed(&error),
            }
        }
    }

    /// Begins a period; returns the pause between two names.
    async fn begin(&self, turn: &mut Turn) -> Duration {
        turn.others = self.pubsub.names();
        let left: Vec<Name> = turn.told.keys().copied().collect();
        for name in left {
            if !turn.others.contains(&name) {
                turn.told.remove(&name);
                // The peer may have stopped; then nobody is told anything.
                let _ = self.net.dht().withdraw(&rendezvous(&name)).await;
            }
        }
        let names = u32::try_from(turn.others.len().max(1)).unwrap_or(u32::MAX);
        (PERIOD / names).max(PAUSE)
    }

    async fn meet(&self, name: Name, told: &mut HashMap<Name, Instant>) -> Result<(), DhtError> {
        let is_told = told.get(&name).is_some_and(|at| at.elapsed() < TOLD);
        if !is_told {
            self.sweep.provide(&rendezvous(&name)).await?;
            told.insert(name, Instant::now());
        }
        if self.pubsub.followers(name).await? < ENOUGH {
            let met = meet(self.net.dht(), &name).await?;
            tracing::debug!(%name, met, "followers were looked for");
        }
        Ok(())
    }
}
