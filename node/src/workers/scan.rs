//! The pin scan: walks every head, sees that all below it is here, and asks for what is not.
//!
//! Its place is saved after each page of names, so that a restart goes on where it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perennis_rt as rt;
use perennis_shared::ipns::Name;
use tokio::sync::Notify;

use super::{Ending, Worker};
use crate::ingest::{Ingest, IngestError};
use crate::metrics::Metrics;
use crate::read::Read;
use crate::shutdown::Stop;
use crate::storage::walk;
use crate::storage::{NameState, Pin};
use crate::storage::{Storage, StorageError};

/// Names between two savings of the place.
const PAGE: usize = 64;

/// Pause when the store fails, before the round goes on.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Scan {
    pub(super) storage: Storage,
    pub(super) read: Arc<Read>,
    pub(super) ingest: Arc<Ingest>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) period: Duration,
    /// Notified when nobody has a block that was found damaged: a round begins at once, to find out whose it is.
    pub(super) unhad: Arc<Notify>,
}

/// What a round has counted so far.
#[derive(Clone, Copy, Default)]
struct Counted {
    names: u64,
    lists: u64,
}

impl Scan {
    pub(super) async fn run(self, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        loop {
            match self.round(&worker, &mut stop).await {
                Ok(()) => {
                    let next = rt::now().0.saturating_add(self.period.as_millis() as u64);
                    worker.waiting(Some(perennis_shared::time::Millis(next)));
                    let rung = tokio::time::timeout(self.period, self.unhad.notified());
                    if stop.or(rung).await.is_none() {
                        return;
                    }
                }
                Err(error) => {
                    worker.failed(&error);
                    if stop.sleep(PAUSE).await {
                        return;
                    }
                }
            }
            if stop.is_now() {
                return;
            }
        }
    }

    /// Walks all heads, from the saved place on.
    async fn round(&self, worker: &Worker, stop: &mut Stop) -> Result<(), StorageError> {
        self.ingest.mend_pins().await?;
        let mut place = self.storage.scan_place().await?;
        let is_whole = place.is_none();
        let mut counted = Counted::default();
        loop {
            let rows = self.storage.names(place, PAGE).await?;
            let Some((last, _)) = rows.last() else { break };
            place = Some(*last);
            for (name, kept) in rows {
                worker.working(format!("{} names walked, now {name}", counted.names));
                let started = Instant::now();
                match self.name(&name, kept, stop).await {
                    Ok(Some(is_list)) => {
                        counted.names += 1;
                        counted.lists += u64::from(is_list);
                        worker.stepped();
                    }
                    Ok(None) => return Ok(()),
                    // A publish was faster; the next round looks at what it stored.
                    Err(
                        IngestError::Stale { .. }
                        | IngestError::Equivocation { .. }
                        | IngestError::NotFollowed,
                    ) => {}
                    Err(error) => worker.failed(&error),
                }
                // As long again for everybody else.
                if stop.sleep(started.elapsed()).await {
                    return Ok(());
                }
            }
            self.storage.save_scan_place(place).await?;
        }
        self.storage.save_scan_place(None).await?;
        if is_whole {
            self.metrics.counted(counted.names, counted.lists);
        }
        tracing::debug!(
            names = counted.names,
            lists = counted.lists,
            "all heads were walked"
        );
        Ok(())
    }

    /// Walks one head. Tells whether it is a complete tag list; `None` when the node is stopping.
    async fn name(
        &self,
        name: &Name,
        kept: NameState,
        stop: &Stop,
    ) -> Result<Option<bool>, IngestError> {
        self.storage.schedule_missing_routers(*name, &kept).await?;
        let Some(head) = kept.head else {
            return Ok(Some(false));
        };
        if kept.facts.pin == Pin::RecordOnly {
            return Ok(Some(false));
        }
        let most = self.ingest.most_blocks();
        let held = self.read.held().as_ref();
        let Some(walked) = walk(held, head, most, || stop.is_now()).await? else {
            return Ok(None);
        };
        let is_list = self.ingest.settle_walked(name, &kept, &walked).await?;
        Ok(Some(is_list))
    }
}
