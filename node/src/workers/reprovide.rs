//! Tells the DHT again and again which blocks are here, before it forgets them.
//!
//! The keyspace is divided into regions. Each is due once in a period, one after the other, so that the work is spread
//! and the blocks of a region share the lookups of their neighbourhood ([`Sweep`]). What was missed while the node was
//! away is made up for at once. Where the round stands survives a restart. What has just come here is told soon.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use perennis_net::dht::{DhtError, Sweep};
use perennis_rt as rt;
use perennis_shared::cid::Cid;
use perennis_shared::time::Millis;
use tokio::sync::Notify;

use super::Context;
use super::timing::is_ahead;
use crate::config::{Config, ProvideConfig, ProvideStrategy};
use crate::metrics::{Metrics, Outcome};
use crate::storage::{ProvideRound, Storage, StorageError};

pub(crate) mod worker;

/// Parts of the keyspace.
const REGIONS: u16 = 64;

/// Blocks that wait to be told soon; of more, the round tells.
const SOON: usize = 65_536;

/// How long one block may take.
const PROVIDE: Duration = Duration::from_secs(120);

/// Times that a block is tried again before it waits for the next round.
const TRIES: u8 = 4;

/// Blocks that are told of, and how far it has come.
pub(crate) struct Reprovide {
    config: ProvideConfig,
    /// Whether the DHT is told of anything.
    is_on: bool,
    sweep: Sweep,
    storage: Storage,
    metrics: Arc<Metrics>,
    soon: Mutex<VecDeque<Wanted>>,
    wake: Notify,
}

#[derive(Clone, Copy)]
struct Wanted {
    cid: Cid,
    failures: u8,
}

impl Reprovide {
    pub(crate) fn new(
        config: &Config,
        sweep: &Sweep,
        storage: Storage,
        metrics: Arc<Metrics>,
    ) -> Reprovide {
        Reprovide {
            config: config.provide.clone(),
            is_on: config.p2p.has_dht() && config.provide.strategy != ProvideStrategy::Off,
            sweep: sweep.clone(),
            storage,
            metrics,
            soon: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// A block has come here and the DHT is to hear of it.
    pub(crate) fn soon(&self, cid: Cid) {
        if self.is_on && self.put_in(Wanted { cid, failures: 0 }) {
            self.wake.notify_one();
        }
    }

    fn put_in(&self, wanted: Wanted) -> bool {
        let mut soon = self.soon.lock();
        let is_new = soon.len() < SOON && soon.iter().rev().take(64).all(|w| w.cid != wanted.cid);
        if is_new {
            soon.push_back(wanted);
        }
        is_new
    }

    /// Tells of what has just come here; false when the rest waits.
    async fn tell_new(&self, context: &mut Context) -> bool {
        let soon: Vec<Wanted> = self.soon.lock().drain(..).collect();
        if soon.is_empty() {
            return true;
        }
        context.working(format!("telling the DHT of {} new blocks", soon.len()));
        self.tell(soon, context).await
    }

    /// Tells of the region that is due.
    async fn tell_region(&self, context: &mut Context) -> Result<Region, StorageError> {
        let now = rt::now();
        let round = self.round(now).await?;
        let due = self.due(round);
        if due > now {
            return Ok(Region::NotDue(due));
        }
        let cids = self
            .storage
            .provided_in(round.region, REGIONS, self.config.strategy)
            .await?;
        if !cids.is_empty() {
            context.working(format!(
                "telling the DHT of {} blocks, part {} of {REGIONS}",
                cids.len(),
                round.region + 1
            ));
        }
        let wanted = cids.into_iter().map(|cid| Wanted { cid, failures: 0 });
        if !self.tell(wanted.collect(), context).await {
            return Ok(Region::Untold);
        }
        self.storage.save_provide_round(next(round, now)).await?;
        Ok(Region::Told)
    }

    /// The round that is under way. Everything is due where none is, and the rest of one that has not begun yet by the clock.
    async fn round(&self, now: Millis) -> Result<ProvideRound, StorageError> {
        let round = self.storage.provide_round().await?;
        let is_due = |round: &ProvideRound| is_ahead(round.begun, now);
        Ok(match round {
            Some(round) if !is_due(&round) => round,
            round => ProvideRound {
                begun: now - self.config.period,
                region: round.map_or(0, |round| round.region),
            },
        })
    }

    fn due(&self, round: ProvideRound) -> Millis {
        let regions = u32::from(round.region) + 1;
        round.begun + self.config.period * regions / u32::from(REGIONS)
    }

    /// Tells of blocks. False when the node stops or nobody could be asked; what is left waits then.
    async fn tell(&self, wanted: Vec<Wanted>, context: &mut Context) -> bool {
        let mut left: HashMap<Cid, Wanted> =
            wanted.iter().map(|wanted| (wanted.cid, *wanted)).collect();
        let telling = stream::iter(wanted).map(|wanted| async move {
            let provided = rt::timeout(PROVIDE, self.sweep.provide(&wanted.cid)).await;
            let provided = provided.unwrap_or_else(|elapsed| {
                Err(DhtError::Deadline {
                    after: elapsed.after,
                })
            });
            (wanted, provided)
        });
        let mut telling = pin!(telling.buffer_unordered(self.config.concurrency));
        while let Some(next) = context.or_stop(telling.next()).await {
            let Some((wanted, provided)) = next else {
                return true;
            };
            match provided {
                Ok(_) => {
                    self.metrics.provides.inc(Outcome::Ok);
                    context.stepped();
                }
                Err(error) => {
                    self.metrics.provides.inc(Outcome::Failed);
                    context.failed(&error);
                    if matches!(error, DhtError::NoPeers | DhtError::Net(_)) {
                        break;
                    }
                    // It is tried again after the others, and not for ever.
                    if wanted.failures < TRIES {
                        self.put_in(Wanted {
                            failures: wanted.failures + 1,
                            ..wanted
                        });
                    }
                }
            }
            left.remove(&wanted.cid);
        }
        for wanted in left.into_values() {
            self.put_in(wanted);
        }
        false
    }
}

/// What became of the region that is next.
enum Region {
    /// It was told; the one behind it may be due as well.
    Told,
    /// Nobody could be asked.
    Untold,
    /// It is due then.
    NotDue(Millis),
}

fn next(round: ProvideRound, now: Millis) -> ProvideRound {
    if round.region + 1 < REGIONS {
        return ProvideRound {
            region: round.region + 1,
            ..round
        };
    }
    ProvideRound {
        begun: now,
        region: 0,
    }
}
