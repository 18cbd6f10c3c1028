//! A job: a queue, what is to be done for each row that is due in it, and the worker that does it.
//!
//! The worker reads the rows that are due, works at some of them at once, and waits when none is left: until the next is due,
//! or until a commit that puts rows into the queue notifies it. Must never touch: what becomes of a row. The job says that,
//! in the batch that records what came of it.

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
        let due = job
            .due(DueWindow::new(now, job.longest()), J::BATCH)
            .await?;
        if due.is_empty() {
            let next = job.storage().queue_next(J::QUEUE).await?;
            let wait = next.map_or(IDLE, |due| due - now).clamp(SHORTEST, IDLE);
            return Ok(Step::idle(wait.min(job.pause(true))));
        }
        if let Some(progress) = job.progress(&due) {
            context.working(progress);
        }
        let status = context.status().clone();
        let mut rows = due.into_iter();
        let mut works = FuturesUnordered::new();
        loop {
            // Once the node is stopping no further row is begun.
            let free = match context.stop().is_now() {
                true => 0,
                false => J::AT_ONCE - works.len(),
            };
            let begun = rows.by_ref().take(free).map(|due| job.work(due, &status));
            works.extend(begun);
            let worked = match J::FINISHES {
                true => works.next().await,
                false => context.or_stop(works.next()).await.flatten(),
            };
            match worked {
                Some(worked) => worked?,
                // None is left, or the node is stopping.
                None => break,
            }
            context.stepped();
        }
        job.pause(false);
        Ok(Step::Again)
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
    use perennis_shared::ipns::Name;
    use tempfile::TempDir;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::storage::queues::LADDER;
    use crate::workers::testing::context;

    /// Rows that are due in each test.
    const ROWS: usize = 5;

    /// How far the work at rows is: each is begun, and ends with a permit.
    struct Works {
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
        type Due = ();

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

        async fn due(&self, _window: DueWindow, limit: usize) -> Result<Vec<()>, StorageError> {
            Ok(vec![(); limit])
        }

        async fn work(&self, _due: (), _status: &Status) -> Result<(), StorageError> {
            self.works.begun.fetch_add(1, Ordering::Relaxed);
            self.works.permits.acquire().await.unwrap().forget();
            self.works.ended.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    fn gated<const FINISHES: bool>() -> (JobWorker<Gated<FINISHES>>, Arc<Works>, TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let works = Arc::new(Works {
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
