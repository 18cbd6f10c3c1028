//! A job: a queue, what is to be done for each row that is due in it, and the worker that does it.
//!
//! The worker reads the rows that are due, works at some of them at once, and reads on as soon as there is room, so that a slow row
//! holds up no other. It waits when none is left: until the next is due, or until a commit that puts rows into the queue
//! notifies it. Must never touch: what becomes of a row. The job says that,
//! in the batch that records what came of it.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use perennis_rt as rt;

use super::status::Status;
use super::timing::IDLE;
use super::{Context, Step, Worker};
use crate::storage::queues::{DueWindow, Payload, QueueKey, TypedQueue};
use crate::storage::{Storage, StorageError};

/// Shortest wait: rows that are taken out beside may be seen once more.
const SHORTEST: Duration = Duration::from_millis(100);

/// What is done for the rows of a queue.
pub(crate) trait Job: Send + Sync + 'static {
    /// What a row is about.
    type Key: QueueKey + Send + 'static;
    /// What a row says beside that.
    type Payload: Payload + Send + 'static;
    /// A row that is due, with what else is known about it.
    type Due: Send;

    /// Its queue.
    const QUEUE: TypedQueue<Self::Key, Self::Payload>;

    /// Rows that are read at once.
    const BATCH: usize;

    /// Rows that are worked at at the same time.
    const AT_ONCE: usize;

    /// The longest that a row is put off. One that is further ahead was written with a wrong clock, and is due.
    fn longest(&self) -> Duration;

    /// Whether a row that was begun is finished when the node stops: so where it waits for nobody else.
    const FINISHES: bool = false;

    /// Its name, for the operator.
    fn name(&self) -> String;

    /// How it holds itself back, for the operator.
    fn throttle(&self) -> String;

    /// The store that its queue is in.
    fn storage(&self) -> &Storage;

    /// Rows that are due.
    fn due(
        &self,
        window: DueWindow,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Self::Due>, StorageError>> + Send;

    /// The key of such a row.
    fn key(due: &Self::Due) -> Self::Key;

    /// Does what is to be done for a row, and says in the store what becomes of it.
    fn work(
        &self,
        due: Self::Due,
        status: &Status,
    ) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// What it is at with these rows, for people; `None` where each row says that itself.
    fn progress(&self, due: &[Self::Due]) -> Option<String> {
        let _ = due;
        None
    }

    /// What is done once before the first row.
    fn begin(&self, context: &Context) -> impl Future<Output = ()> + Send {
        let _ = context;
        async {}
    }

    /// Some rows were worked at, or none is due. Tells the longest wait before this is to be called again.
    fn pause(&self, is_idle: bool) -> Duration {
        let _ = is_idle;
        IDLE
    }

    /// Waits until rows come into its queue.
    fn notified(&self) -> impl Future<Output = ()> + Send {
        self.storage().queue_notified(Self::QUEUE)
    }
}

/// The worker of a job.
pub(crate) struct JobWorker<J> {
    job: J,
    has_begun: bool,
}

impl<J: Job> JobWorker<J> {
    pub(crate) fn new(job: J) -> JobWorker<J> {
        JobWorker {
            job,
            has_begun: false,
        }
    }
}

impl<J: Job> Worker for JobWorker<J> {
    type Error = StorageError;

    fn name(&self) -> String {
        self.job.name()
    }

    fn throttle(&self) -> String {
        self.job.throttle()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, StorageError> {
        let job = &self.job;
        if !std::mem::replace(&mut self.has_begun, true) {
            job.begin(context).await;
        }
        let now = rt::now();
        let window = DueWindow::new(now, job.longest());
        let mut rows = job.due(window, J::BATCH).await?.into_iter();
        if rows.len() == 0 {
            let next = job.storage().queue_next(J::QUEUE).await?;
            let wait = next.map_or(IDLE, |due| due - now).clamp(SHORTEST, IDLE);
            return Ok(Step::idle(wait.min(job.pause(true))));
        }
        let tell = |context: &Context, rows: &[J::Due]| {
            if let Some(progress) = job.progress(rows) {
                context.working(progress);
            }
        };
        tell(context, rows.as_slice());
        let status = context.status().clone();
        let mut works = FuturesUnordered::new();
        let mut under_way = HashSet::new();
        // Whether all that is due is being worked at.
        let mut is_drained = false;
        let mut failed = None;
        loop {
            // Once the node is stopping no further row is begun.
            let free = match context.stop().is_now() || failed.is_some() {
                true => 0,
                false => J::AT_ONCE - works.len(),
            };
            if free > 0 && rows.len() == 0 && !is_drained {
                job.pause(false);
                let window = DueWindow::new(rt::now(), job.longest());
                let due = job.due(window, J::BATCH + under_way.len()).await;
                let due = due.unwrap_or_else(|error| {
                    failed = Some(error);
                    Vec::new()
                });
                let is_new = |due: &J::Due| !under_way.contains(&J::key(due).to_key());
                rows = due
                    .into_iter()
                    .filter(is_new)
                    .collect::<Vec<_>>()
                    .into_iter();
                is_drained = rows.len() == 0;
                if !is_drained {
                    tell(context, rows.as_slice());
                }
            }
            for due in rows.by_ref().take(free) {
                let key = J::key(&due).to_key();
                under_way.insert(key.clone());
                works.push(async { (key, job.work(due, &status).await) });
            }
            let has_room = free > 0 && works.len() < J::AT_ONCE;
            if has_room && !is_drained {
                continue;
            }
            let next = async {
                tokio::select! {
                    worked = works.next() => Some(worked),
                    () = job.notified(), if has_room => None,
                }
            };
            let next = match J::FINISHES {
                true => next.await,
                false => context.or_stop(next).await.unwrap_or(Some(None)),
            };
            match next {
                Some(Some((key, worked))) => {
                    // Those that were begun beside it are worked at to their end first.
                    if let Err(error) = worked {
                        failed.get_or_insert(error);
                    }
                    under_way.remove(&key);
                    context.stepped();
                }
                // Nothing is due any more, or the node is stopping.
                Some(None) => break,
                // Rows came.
                None => {}
            }
            is_drained = false;
        }
        job.pause(false);
        failed.map_or(Ok(Step::Again), Err)
    }

    async fn notified(&mut self) {
        self.job.notified().await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::poll;
    use parking_lot::Mutex;
    use perennis_shared::ipns::Name;
    use perennis_shared::sign::SigningKey;
    use perennis_shared::time::Millis;
    use tempfile::TempDir;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::storage::queues::LADDER;
    use crate::workers::testing::context;

    /// Rows that are due in each test.
    const ROWS: usize = 5;

    /// How far the work at rows is: each is begun, and ends with a permit.
    struct Works {
        due: Mutex<Vec<Name>>,
        begun: AtomicUsize,
        ended: AtomicUsize,
        permits: Semaphore,
    }

    impl Works {
        fn seen(&self) -> (usize, usize) {
            let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
            (count(&self.begun), count(&self.ended))
        }
    }

    struct Gated<const FINISHES: bool> {
        works: Arc<Works>,
        storage: Storage,
    }

    impl<const FINISHES: bool> Job for Gated<FINISHES> {
        type Key = Name;
        type Payload = ();
        type Due = Name;

        const QUEUE: TypedQueue<Name> = LADDER;
        const BATCH: usize = ROWS;
        const AT_ONCE: usize = 3;
        const FINISHES: bool = FINISHES;

        fn name(&self) -> String {
            "gated".to_owned()
        }

        fn throttle(&self) -> String {
            "3 rows at once".to_owned()
        }

        fn longest(&self) -> Duration {
            IDLE
        }

        fn storage(&self) -> &Storage {
            &self.storage
        }

        async fn due(&self, _window: DueWindow, limit: usize) -> Result<Vec<Name>, StorageError> {
            Ok(self.works.due.lock().iter().copied().take(limit).collect())
        }

        fn key(due: &Name) -> Name {
            *due
        }

        async fn work(&self, due: Name, _status: &Status) -> Result<(), StorageError> {
            self.works.begun.fetch_add(1, Ordering::Relaxed);
            self.works.permits.acquire().await.unwrap().forget();
            self.works.due.lock().retain(|name| *name != due);
            self.works.ended.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    fn name(seed: u8) -> Name {
        Name::from_public_key(&SigningKey::from_seed(&[seed; 32]).public())
    }

    fn gated<const FINISHES: bool>() -> (JobWorker<Gated<FINISHES>>, Arc<Works>, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let due = (0..ROWS).filter_map(|seed| Some(name(u8::try_from(seed).ok()?)));
        let works = Arc::new(Works {
            due: Mutex::new(due.collect()),
            begun: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            permits: Semaphore::new(0),
        });
        let job = Gated {
            works: Arc::clone(&works),
            storage: Storage::open(dir.path(), &[]).unwrap(),
        };
        (JobWorker::new(job), works, dir)
    }

    #[tokio::test]
    async fn as_many_rows_are_worked_at_as_the_job_says_and_each_that_ends_makes_room() {
        let (mut worker, works, _dir) = gated::<false>();
        let (mut context, _, _stop) = context();
        let mut step = pin!(worker.step(&mut context));
        assert!(poll!(step.as_mut()).is_pending());
        assert_eq!(works.seen(), (3, 0));
        works.permits.add_permits(1);
        assert!(poll!(step.as_mut()).is_pending());
        assert_eq!(works.seen(), (4, 1));
        works.permits.add_permits(ROWS);
        assert_eq!(step.await.unwrap(), Step::Again);
        assert_eq!(works.seen(), (ROWS, ROWS));
    }

    #[tokio::test]
    async fn a_row_that_comes_while_others_are_slow_is_begun_at_once() {
        let (mut worker, works, _dir) = gated::<false>();
        works.due.lock().truncate(2);
        let storage = worker.job.storage.clone();
        let (mut context, _, _stop) = context();
        let mut step = pin!(worker.step(&mut context));
        assert!(poll!(step.as_mut()).is_pending());
        assert_eq!(works.seen(), (2, 0));
        let late = name(9);
        works.due.lock().push(late);
        let put = storage.queue_put(LADDER, &late, Millis(1), ());
        put.await.unwrap();
        assert!(poll!(step.as_mut()).is_pending());
        assert_eq!(works.seen(), (3, 0));
        works.permits.add_permits(3);
        assert_eq!(step.await.unwrap(), Step::Again);
        assert_eq!(works.seen(), (3, 3));
    }

    #[tokio::test]
    async fn a_row_that_is_due_and_taken_out_beside_is_not_looked_for_without_a_pause() {
        let (mut worker, works, _dir) = gated::<false>();
        works.due.lock().clear();
        let storage = worker.job.storage.clone();
        // It is in the queue still, and nothing of it is to be done any more.
        let taken = name(1);
        let put = storage.queue_put(LADDER, &taken, Millis(1), ());
        put.await.unwrap();
        let (mut context, _, _stop) = context();
        let step = worker.step(&mut context).await.unwrap();
        let Step::Idle { wait, .. } = step else {
            panic!("{step:?}");
        };
        assert_eq!(wait, Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_node_that_stops_waits_for_no_row_and_begins_none() {
        let (mut worker, works, _dir) = gated::<false>();
        let (mut context, _, stop) = context();
        let mut step = pin!(worker.step(&mut context));
        assert!(poll!(step.as_mut()).is_pending());
        stop.send(true).unwrap();
        step.await.unwrap();
        assert_eq!(works.seen(), (3, 0));
    }

    #[tokio::test]
    async fn rows_that_were_begun_are_finished_where_the_job_says_so() {
        let (mut worker, works, _dir) = gated::<true>();
        let (mut context, _, stop) = context();
        let mut step = pin!(worker.step(&mut context));
        assert!(poll!(step.as_mut()).is_pending());
        stop.send(true).unwrap();
        assert!(poll!(step.as_mut()).is_pending());
        works.permits.add_permits(ROWS);
        step.await.unwrap();
        assert_eq!(works.seen(), (3, 3));
    }
}
