//! The pin scan: walks every head, sees that all below it is here, and asks for what is not.
//!
//! Its place is saved after each page of names, so that a restart goes on where it was.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use perennis_shared::ipns::Name;
use tokio::sync::Notify;

use super::{Context, Parts, Step, Worker};
use crate::ingest::{Ingest, IngestError};
use crate::metrics::Metrics;
use crate::read::Read;
use crate::storage::walk;
use crate::storage::{NameState, Pin};
use crate::storage::{Storage, StorageError};

/// Names between two savings of the place.
const PAGE: usize = 64;

/// Pause when the store fails, before the round goes on.
const PAUSE: Duration = Duration::from_secs(10);

pub(crate) struct ScanWorker {
    storage: Storage,
    read: Arc<Read>,
    ingest: Arc<Ingest>,
    metrics: Arc<Metrics>,
    period: Duration,
    /// Notified when nobody has a block that was found damaged: a round begins at once, to find out whose it is.
    wanted: Arc<Notify>,
    round: Option<Round>,
}

/// A round that is under way.
struct Round {
    /// The last name of the page at hand.
    place: Option<Name>,
    /// The place that is saved, for the next start.
    saved: Option<Name>,
    /// Names of that page that are not walked yet.
    page: VecDeque<(Name, NameState)>,
    /// Whether it was begun at the first name.
    is_whole: bool,
    /// Names walked so far, and the complete tag lists among them.
    names: u64,
    lists: u64,
}

impl Worker for ScanWorker {
    type Error = StorageError;

    fn name(&self) -> String {
        "pin scan".to_owned()
    }

    fn throttle(&self) -> String {
        "at most half of the time".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, StorageError> {
        // A round that fails is begun again at the saved place.
        let mut round = match self.round.take() {
            Some(round) => round,
            None => self.begin().await?,
        };
        if round.page.is_empty() && !self.turn_page(&mut round).await? {
            self.end(&round).await?;
            return Ok(Step::idle(self.period));
        }
        let started = Instant::now();
        if let Some((name, kept)) = round.page.pop_front() {
            context.working(format!("{} names walked, now {name}", round.names));
            match self.walk(&name, kept, context).await {
                Ok(Some(is_list)) => {
                    round.names += 1;
                    round.lists += u64::from(is_list);
                    context.stepped();
                }
                Ok(None) => return Ok(Step::Done),
                // A publish was faster; the next round looks at what it stored.
                Err(
                    IngestError::Stale { .. }
                    | IngestError::Equivocation { .. }
                    | IngestError::NotFollowed,
                ) => {}
                Err(error) => context.failed(&error),
            }
        }
        self.round = Some(round);
        // As long again for everybody else.
        Ok(Step::Pause(started.elapsed()))
    }

    async fn notified(&mut self) {
        self.wanted.notified().await;
    }

    fn retry(&self, _failures: u32) -> Duration {
        PAUSE
    }
}

impl ScanWorker {
    pub(crate) fn new(parts: &Parts<'_>) -> ScanWorker {
        ScanWorker {
            storage: parts.storage.clone(),
            read: Arc::clone(parts.read),
            ingest: Arc::clone(parts.ingest),
            metrics: Arc::clone(parts.metrics),
            period: parts.config.pins.scan_period,
            wanted: Arc::clone(&parts.scan_wanted),
            round: None,
        }
    }

    async fn begin(&self) -> Result<Round, StorageError> {
        self.ingest.mend_pins().await?;
        let place = self.storage.scan_place().await?;
        Ok(Round {
            place,
            saved: place,
            page: VecDeque::new(),
            is_whole: place.is_none(),
            names: 0,
            lists: 0,
        })
    }

    /// Saves the place and reads the next page; false at the end of the round.
    async fn turn_page(&self, round: &mut Round) -> Result<bool, StorageError> {
        if round.place != round.saved {
            self.storage.save_scan_place(round.place).await?;
            round.saved = round.place;
        }
        round.page = self.storage.names(round.place, PAGE).await?.into();
        let last = round.page.back().map(|(name, _)| *name);
        round.place = last.or(round.place);
        Ok(last.is_some())
    }

    async fn end(&self, round: &Round) -> Result<(), StorageError> {
        self.storage.save_scan_place(None).await?;
        let (names, lists) = (round.names, round.lists);
        if round.is_whole {
            self.metrics.names.set(names);
            self.metrics.tag_lists.set(lists);
        }
        tracing::debug!(names, lists, "all heads were walked");
        Ok(())
    }

    /// Walks one head. Tells whether it is a complete tag list; `None` when the node is stopping.
    async fn walk(
        &self,
        name: &Name,
        kept: NameState,
        context: &Context,
    ) -> Result<Option<bool>, IngestError> {
        self.storage.put_to_new_routers(*name, &kept).await?;
        let Some(head) = kept.head else {
            return Ok(Some(false));
        };
        if kept.facts.pin == Pin::RecordOnly {
            return Ok(Some(false));
        }
        let most = self.ingest.most_blocks();
        let held = self.read.held().as_ref();
        let walked = walk(held, head, most, || context.stop().is_now()).await?;
        let Some(walked) = walked else {
            return Ok(None);
        };
        let is_list = self
            .ingest
            .settle_walked(name, &kept, &walked, None)
            .await?;
        Ok(Some(is_list))
    }
}
