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

use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_sdk::exchange::Exchange;
use perennis_shared::backoff::Backoff;
use perennis_shared::cid::{Block, Cid, Multihash};
use tokio::sync::Notify;

use super::status::Status;
use super::timing::{IDLE, later};
use super::{Context, Job, Parts};
use crate::ingest::Ingest;
use crate::log_tally::{LogTally, Untold};
use crate::metrics::{Attempt, Metrics};
use crate::read::Read;
use crate::routes::Routes;
use crate::storage::queues::{Attempts, DueWindow, REFETCH, TypedQueue};
use crate::storage::{DamagedBlock, Storage, StorageError};

/// How long one block may take from connected peers and gateways.
const NEAR: Duration = Duration::from_secs(15);

/// How long one block may take from those who provide it.
const FAR: Duration = Duration::from_secs(60);

/// Delays after nobody had a block.
const RETRY: Backoff = Backoff {
    base: Duration::from_secs(5),
    max: Duration::from_secs(6 * 3_600),
    attempts: u32::MAX,
};

pub(crate) struct RefetchJob {
    storage: Storage,
    read: Arc<Read>,
    ingest: Arc<Ingest>,
    routes: Arc<Routes>,
    metrics: Arc<Metrics>,
    /// Notified when nobody had a block: a round of the pin scan begins.
    scan_wanted: Arc<Notify>,
    /// Connected peers and the gateways, while something is due.
    near: Mutex<Option<Arc<Exchange>>>,
    lines: Lines,
}

/// What the log tells of blocks.
#[derive(Default)]
struct Lines {
    fetched: LogTally,
    not_kept: LogTally,
    not_found: LogTally,
}

impl RefetchJob {
    pub(crate) fn new(parts: &Parts<'_>) -> RefetchJob {
        RefetchJob {
            storage: parts.storage.clone(),
            read: Arc::clone(parts.read),
            ingest: Arc::clone(parts.ingest),
            routes: Arc::clone(parts.routes),
            metrics: Arc::clone(parts.metrics),
            scan_wanted: Arc::clone(&parts.scan_wanted),
            near: Mutex::default(),
            lines: Lines::default(),
        }
    }

    /// Stores those again that are whole where they lay: somebody may have put files back while the node was stopped.
    async fn look_again(&self, context: &Context) {
        let (mut after, mut stored) = (None, 0);
        while !context.stop().is_now() {
            match self.storage.look_again(after, Self::BATCH).await {
                Ok(looked) => {
                    stored += looked.stored;
                    context.stepped();
                    match looked.last {
                        Some(last) => after = Some(last),
                        None => break,
                    }
                }
                Err(error) => {
                    context.failed(&error);
                    break;
                }
            }
        }
        if stored > 0 {
            tracing::info!("{stored} blocks that were set aside are whole again where they lay");
        }
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
        let far = self.routes.exchange(Vec::new());
        let far = far.with_source(providers);
        ask(&far, &damaged.cid, FAR).await
    }

    /// Connected peers and the gateways. One session serves until nothing is due: it learns who has what.
    fn near(&self) -> Arc<Exchange> {
        let session = || {
            let gateways = self.routes.gateways().to_vec();
            let near = self.routes.exchange(gateways);
            Arc::new(near.with_source(self.routes.connected()))
        };
        Arc::clone(self.near.lock().get_or_insert_with(session))
    }
}

impl Job for RefetchJob {
    type Key = Multihash;
    type Payload = Attempts;
    type Due = DamagedBlock;

    const QUEUE: TypedQueue<Multihash, Attempts> = REFETCH;
    const BATCH: usize = 64;
    /// With the largest of them it bounds the memory.
    const AT_ONCE: usize = 16;

    fn name(&self) -> String {
        "refetch".to_owned()
    }

    fn throttle(&self) -> String {
        format!("{} blocks at once", Self::AT_ONCE)
    }

    fn longest(&self) -> Duration {
        RETRY.max
    }

    fn storage(&self) -> &Storage {
        &self.storage
    }

    async fn begin(&self, context: &Context) {
        self.look_again(context).await;
    }

    async fn due(
        &self,
        window: DueWindow,
        limit: usize,
    ) -> Result<Vec<DamagedBlock>, StorageError> {
        self.storage.refetches_due(window, limit).await
    }

    fn progress(&self, due: &[DamagedBlock]) -> Option<String> {
        Some(format!("fetching {} damaged blocks again", due.len()))
    }

    fn key(due: &DamagedBlock) -> Multihash {
        *due.cid.hash()
    }

    async fn work(&self, damaged: DamagedBlock, _status: &Status) -> Result<(), StorageError> {
        let near = self.near();
        let cid = damaged.cid;
        if let Some(block) = self.block(&damaged, &near).await {
            if self.ingest.refetched(&damaged, block).await? {
                self.metrics.damage.refetches.inc(Attempt::Ok);
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
            self.scan_wanted.notify_one();
        }
        self.metrics.damage.refetches.inc(Attempt::Failed);
        let failures = damaged.failures.saturating_add(1);
        let delay = RETRY.delay(failures, rt::jitter()).unwrap_or(RETRY.max);
        self.storage.refetch_later(&damaged, later(delay)).await
    }

    fn pause(&self, is_idle: bool) -> Duration {
        if is_idle {
            *self.near.lock() = None;
        }
        self.lines.tell(|line| line.untold(rt::monotonic()));
        self.lines.wait().unwrap_or(IDLE)
    }

    async fn notified(&self) {
        self.storage.refetch_notified().await;
    }
}

/// The node is stopping: nobody tells the rest later.
impl Drop for Lines {
    fn drop(&mut self) {
        self.tell(LogTally::rest);
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
