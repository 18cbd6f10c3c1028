//! The refetch: brings blocks that were found damaged, one by one, from whoever has them.
//!
//! The store sets a damaged block aside and puts it into a durable queue. What lies in its place is looked at once more when the node
//! starts. A copy in memory is as good as any. Then connected
//! peers and the gateways of the configuration are asked, and last those who say in the DHT that they have it. What
//! comes is checked against its CID. Where nobody has it, the pin scan is asked to find out whose it is, since a publisher may
//! list sources of his own, and it is asked for again later and later. A file that is gone takes thousands of blocks with it: the log tells
//! the first and counts the others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use perennis_rt as rt;
use perennis_sdk::exchange::Exchange;
use perennis_shared::backoff::Backoff;
use perennis_shared::cid::{Block, Cid};
use tokio::sync::Notify;

use super::{Ending, Worker, later};
use crate::ingest::Ingest;
use crate::log_tally::{LogTally, Untold};
use crate::metrics::{Metrics, Outcome};
use crate::read::Read;
use crate::routes::{Dial, Routes};
use crate::shutdown::Stop;
use crate::storage::{DamagedBlock, REFETCH, Storage, StorageError};

/// Blocks asked for at the same time; with the largest of them it bounds the memory.
pub(super) const AT_ONCE: usize = 16;

/// Blocks taken from the queue at once.
const BATCH: usize = 64;

/// How long one block may take from connected peers and gateways.
const NEAR: Duration = Duration::from_secs(15);

/// How long one block may take from those who provide it.
const FAR: Duration = Duration::from_secs(60);

/// Longest wait when nothing is due, and the shortest.
const IDLE: Duration = Duration::from_secs(60);
const SHORTEST: Duration = Duration::from_millis(100);

/// Delays after nobody had a block.
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(5),
    max: Duration::from_secs(6 * 3_600),
    attempts: u32::MAX,
};

pub(super) struct Refetch {
    storage: Storage,
    read: Arc<Read>,
    ingest: Arc<Ingest>,
    routes: Arc<Routes>,
    metrics: Arc<Metrics>,
    /// Notified when nobody had a block: a round of the pin scan begins.
    scan: Arc<Notify>,
    lines: Lines,
}

/// What the log tells of blocks.
#[derive(Default)]
struct Lines {
    fetched: LogTally,
    not_kept: LogTally,
    not_found: LogTally,
}

impl Refetch {
    pub(super) fn new(
        storage: &Storage,
        read: &Arc<Read>,
        ingest: &Arc<Ingest>,
        routes: &Arc<Routes>,
        metrics: &Arc<Metrics>,
        scan: &Arc<Notify>,
    ) -> Refetch {
        Refetch {
            storage: storage.clone(),
            read: Arc::clone(read),
            ingest: Arc::clone(ingest),
            routes: Arc::clone(routes),
            metrics: Arc::clone(metrics),
            scan: Arc::clone(scan),
            lines: Lines::default(),
        }
    }

    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        self.look_again(&worker, &stop).await;
        loop {
            let wait = match self.fetch_due(&worker, &mut stop).await {
                Ok(wait) => wait,
                Err(error) => {
                    worker.failed(&error);
                    IDLE
                }
            };
            self.lines.tell(|line| line.untold(rt::monotonic()));
            let wait = self.lines.wait().map_or(wait, |line| line.min(wait));
            worker.waiting(Some(later(wait)));
            let woken = tokio::time::timeout(wait, self.storage.damage_found());
            if stop.is_now() || stop.or(woken).await.is_none() {
                self.lines.tell(LogTally::rest);
                return;
            }
        }
    }

    /// Stores those again that are whole where they lay: somebody may have put files back while the node was stopped.
    async fn look_again(&self, worker: &Worker, stop: &Stop) {
        let (mut after, mut stored) = (None, 0);
        while !stop.is_now() {
            match self.storage.look_again(after, BATCH).await {
                Ok(looked) => {
                    stored += looked.stored;
                    worker.stepped();
                    match looked.last {
                        Some(last) => after = Some(last),
                        None => break,
                    }
                }
                Err(error) => {
                    worker.failed(&error);
                    break;
                }
            }
        }
        if stored > 0 {
            tracing::info!("{stored} blocks that were set aside are whole again where they lay");
        }
    }

    /// Asks for every block that is due; tells how long to wait for the next.
    async fn fetch_due(&self, worker: &Worker, stop: &mut Stop) -> Result<Duration, StorageError> {
        // One session for all of them: it learns who has what.
        let near = self.near();
        loop {
            let now = rt::now();
            let due = self.storage.refetches_due(now, BATCH).await?;
            if due.is_empty() {
                let next = self.storage.next_due(REFETCH).await?;
                return Ok(next.map_or(IDLE, |due| due - now).clamp(SHORTEST, IDLE));
            }
            worker.working(format!("fetching {} damaged blocks again", due.len()));
            let mut fetches = stream::iter(due)
                .map(|damaged| self.fetch(damaged, &near))
                .buffer_unordered(AT_ONCE);
            while let Some(Some(fetched)) = stop.or(fetches.next()).await {
                fetched?;
                worker.stepped();
            }
            if stop.is_now() {
                return Ok(IDLE);
            }
            self.lines.tell(|line| line.untold(rt::monotonic()));
        }
    }

    async fn fetch(&self, damaged: DamagedBlock, near: &Exchange) -> Result<(), StorageError> {
        let cid = damaged.cid;
        if let Some(block) = self.block(&damaged, near).await {
            if self.ingest.refetched(&damaged, block).await? {
                self.metrics.damage.refetched(Outcome::Ok);
                if self.lines.fetched.is_told(rt::monotonic(), damaged.file) {
                    tracing::info!(%cid, "a damaged block was fetched again");
                }
                return Ok(());
            }
            if self.lines.not_kept.is_told(rt::monotonic(), damaged.file) {
                tracing::error!(%cid, "the disk does not keep a damaged block that was fetched again");
            }
        } else if damaged.failures == 0 {
            if self.lines.not_found.is_told(rt::monotonic(), damaged.file) {
                tracing::warn!(%cid, "nobody has a damaged block; it is asked for again later");
            }
            self.scan.notify_one();
        }
        self.metrics.damage.refetched(Outcome::Failed);
        let failures = damaged.failures.saturating_add(1);
        let delay = RETRY.delay(failures, rt::jitter()).unwrap_or(RETRY.max);
        self.storage.refetch_later(&damaged, later(delay)).await
    }

    async fn block(&self, damaged: &DamagedBlock, near: &Exchange) -> Option<Block> {
        let mut cids = [&damaged.cid].into_iter().chain(&damaged.others);
        if let Some(block) = cids.find_map(|cid| self.read.cached_block(cid)) {
            return Some(block);
        }
        if let Some(block) = ask(near, &damaged.cid, NEAR).await {
            return Some(block);
        }
        let providers = self.routes.providers(&damaged.cid);
        let far = self.routes.exchange(Dial::Any, Vec::new());
        let far = far.with_source(providers);
        ask(&far, &damaged.cid, FAR).await
    }

    /// Connected peers and the gateways.
    fn near(&self) -> Exchange {
        let gateways = self.routes.gateways().to_vec();
        let near = self.routes.exchange(Dial::Any, gateways);
        near.with_source(self.routes.connected())
    }
}

impl Lines {
    /// Tells what was counted of each, as far as it is to be told.
    fn tell(&self, untold: impl Fn(&LogTally) -> Option<Untold>) {
        if let Some(untold) = untold(&self.fetched) {
            tracing::info!("{untold} that were damaged were fetched again");
        }
        if let Some(untold) = untold(&self.not_kept) {
            tracing::error!("the disk does not keep {untold} that were damaged and fetched again");
        }
        if let Some(untold) = untold(&self.not_found) {
            tracing::warn!("nobody has {untold} that are damaged; they are asked for again later");
        }
    }

    /// How long until something is to be told.
    fn wait(&self) -> Option<Duration> {
        let now = rt::monotonic();
        let lines = [&self.fetched, &self.not_kept, &self.not_found];
        lines.iter().filter_map(|line| line.wait(now)).min()
    }
}

async fn ask(exchange: &Exchange, cid: &Cid, within: Duration) -> Option<Block> {
    match rt::timeout(within, exchange.block(cid)).await {
        Ok(Ok(block)) => Some(block),
        Ok(Err(error)) => {
            tracing::debug!(%cid, %error, "a damaged block could not be fetched");
            None
        }
        Err(_) => {
            tracing::debug!(%cid, "a damaged block did not come in time");
            None
        }
    }
}
