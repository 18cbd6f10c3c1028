//! The queues of the node: which there are, what is in them, and who is notified when something comes into one.
//!
//! A queue is declared once, in the table below: its name, its number on disk, and the types of its keys and payloads. A
//! row leaves its queue in the batch that records what came of it, and the worker of a queue is notified when a batch that
//! puts rows into it is durable ([`Storage::submit`]), whoever has committed it. A row whose key cannot be read is told and
//! taken out: it would be due for ever. Must never touch: what the rows are for.

use std::marker::PhantomData;
use std::time::Duration;

use perennis_shared::cid::{Multihash, parse_multihash_bytes};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;
use perennis_store::{Batch, Queue, QueueRow};
use serde::Serialize;
use tokio::sync::Notify;

use super::{Storage, StorageError};

/// Declares the queues, and a table of all of them.
macro_rules! queues {
    (
        range $(#[$range_doc:meta])* $range:ident = $first:literal..=$last:literal;
        $($(#[$doc:meta])* $name:ident: $key:ty, $payload:ty = $number:expr;)*
    ) => {
        $($(#[$doc])* pub(crate) const $name: TypedQueue<$key, $payload> = TypedQueue::new(Queue($number));)*

        $(#[$range_doc])*
        pub(super) const $range: std::ops::RangeInclusive<u8> = $first..=$last;

        /// Every queue that is declared alone: its name, its number, and whether its keys are names.
        const TABLE: &[(&str, Queue, bool)] =
            &[$((stringify!($name), Queue($number), <$key as QueueKey>::IS_NAME)),*];
    };
}

queues! {
    range
    /// Names whose record is to be put to a router, by when; a queue for each router that was ever configured.
    ROUTERS = 16..=215;
    /// Damaged blocks, by when they are fetched again. The store puts them in.
    REFETCH: Multihash, Attempts = perennis_store::REFETCH.0;
    /// Names with missing blocks, by when these are fetched.
    FETCH: Name, () = 1;
    /// Names with rungs of a ladder, by when the next one is to be released.
    LADDER: Name, () = 2;
    /// Followed names, by when their record is looked for again.
    FOLLOW: Name, () = 3;
    /// Names whose head is lost, by when it is looked for again. The store puts them in.
    LOST_HEADS: Name, Attempts = perennis_store::LOST_HEADS.0;
    /// Names that nobody has claimed, by when they were written last. No worker takes them out: who writes and finds no room lets the
    /// first of them go.
    UNCLAIMED: Name, () = 5;
}

/// The queues whose rows are of names, but for those of routers.
pub(super) fn queues_of_names() -> impl Iterator<Item = TypedQueue<Name>> {
    let of_names = TABLE.iter().filter(|(_, _, is_of_names)| *is_of_names);
    of_names.map(|(_, number, _)| TypedQueue::new(*number))
}

/// The queue of the router with this number; none of one that has no place.
pub(super) fn router_queue(router: u8) -> Option<TypedQueue<Name>> {
    let number = ROUTERS.start().checked_add(router)?;
    ROUTERS
        .contains(&number)
        .then_some(TypedQueue::new(Queue(number)))
}

/// A queue whose rows have keys and payloads of these types.
pub(crate) struct TypedQueue<K, P = ()> {
    number: Queue,
    row: PhantomData<fn() -> (K, P)>,
}

impl<K, P> Clone for TypedQueue<K, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, P> Copy for TypedQueue<K, P> {}

/// What a queue holds at most once.
pub(crate) trait QueueKey: Sized {
    /// Whether it is a name.
    const IS_NAME: bool;

    fn to_key(&self) -> Vec<u8>;

    /// `None` of bytes that are no such key.
    fn from_key(key: &[u8]) -> Option<Self>;
}

impl QueueKey for Name {
    const IS_NAME: bool = true;

    fn to_key(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_key(key: &[u8]) -> Option<Name> {
        Name::from_bytes(key).ok()
    }
}

impl QueueKey for Multihash {
    const IS_NAME: bool = false;

    fn to_key(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn from_key(key: &[u8]) -> Option<Multihash> {
        parse_multihash_bytes(key).ok()
    }
}

/// What a row says beside its key and when it is due.
pub(crate) trait Payload {
    fn to_bytes(&self) -> Vec<u8>;

    /// Reads any bytes: a row must not be lost for a payload that is damaged.
    fn from_bytes(bytes: &[u8]) -> Self;
}

impl Payload for () {
    fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    fn from_bytes(_: &[u8]) {}
}

/// Attempts that failed: u32, big-endian. The store puts a row in without any bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attempts(pub(crate) u32);

impl Payload for Attempts {
    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Attempts {
        Attempts(bytes.try_into().map_or(0, u32::from_be_bytes))
    }
}

/// How far a row's time may lie ahead of the longest time that rows are put off before it counts as due: rows are written
/// while time passes, and clocks are set by seconds.
const SLACK: Duration = Duration::from_secs(60);

/// Which rows of a queue are due: those whose time has come, and those that are further ahead than any is ever put off. The
/// clock was wrong when these were written, or is now, and waiting for their time could take years.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DueWindow {
    now: Millis,
    /// Rows of after this are due as well.
    last: Millis,
}

impl DueWindow {
    /// At `now`, in a queue whose rows are put off by `longest` at most.
    pub(crate) fn new(now: Millis, longest: Duration) -> DueWindow {
        DueWindow {
            now,
            last: now + longest + SLACK,
        }
    }
}

/// A row of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueEntry<K, P = ()> {
    pub(crate) key: K,
    pub(crate) payload: P,
    pub(crate) due: Millis,
}

/// A row of a queue for which everything was done: it leaves its queue in the batch that records that, if it is still due
/// then.
#[derive(Clone, Debug)]
pub(crate) struct FinishedRow {
    queue: Queue,
    key: Vec<u8>,
    due: Millis,
}

impl FinishedRow {
    pub(super) fn take_out(&self, batch: &mut Batch) {
        batch.dequeue(self.queue, &self.key, self.due);
    }
}

impl<K: QueueKey, P: Payload> TypedQueue<K, P> {
    const fn new(number: Queue) -> TypedQueue<K, P> {
        TypedQueue {
            number,
            row: PhantomData,
        }
    }

    /// Its number on disk.
    pub(super) const fn number(self) -> Queue {
        self.number
    }

    /// Puts a row in, in place of one with the same key.
    pub(super) fn put(self, batch: &mut Batch, key: &K, due: Millis, payload: &P) {
        batch.enqueue(self.number, &key.to_key(), due, payload.to_bytes());
    }

    /// Puts a row off that is due at `from`: one that was put in again meanwhile stays as it is.
    pub(super) fn put_off(
        self,
        batch: &mut Batch,
        key: &K,
        from: Millis,
        until: Millis,
        payload: &P,
    ) {
        batch.put_off(self.number, &key.to_key(), from, until, payload.to_bytes());
    }

    /// Takes a row out if it is still due then: one that was put in again meanwhile stays.
    pub(super) fn take(self, batch: &mut Batch, key: &K, due: Millis) {
        batch.dequeue(self.number, &key.to_key(), due);
    }
}

impl<K: QueueKey, P: Payload> TypedQueue<K, P> {
    /// A row for which everything is done when the batch is durable that this goes into.
    pub(crate) fn finished(self, key: &K, due: Millis) -> FinishedRow {
        FinishedRow {
            queue: self.number,
            key: key.to_key(),
            due,
        }
    }
}

/// Rows of a queue that are counted at most.
const COUNTED: usize = 1_000;

/// How a queue is, for people.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QueueState {
    /// What is in it.
    name: String,
    /// Rows that are due; a thousand stands for more too.
    due: usize,
    /// When the next row is due, or since when the longest due one is.
    next: Option<String>,
}

impl Storage {
    /// How every queue is: those of the table, and those of these routers.
    pub(crate) async fn queue_states(
        &self,
        routers: Vec<(String, TypedQueue<Name>)>,
        now: Millis,
    ) -> Result<Vec<QueueState>, StorageError> {
        let alone = TABLE.iter().map(|(name, queue, _)| {
            let name = name.to_lowercase().replace('_', " ");
            (name, *queue)
        });
        let of_routers = routers
            .into_iter()
            .map(|(router, queue)| (format!("republish to {router}"), queue.number));
        let queues: Vec<(String, Queue)> = alone.chain(of_routers).collect();
        self.blocking(move |this| {
            let state = |(name, queue)| {
                Ok(QueueState {
                    name,
                    due: this.store.queue_due(queue, now, COUNTED)?.len(),
                    next: this.store.queue_next(queue)?.map(|row| row.due.to_string()),
                })
            };
            queues.into_iter().map(state).collect()
        })
        .await
    }

    /// Rows that are due: first of those that are too far ahead, at most half of the limit, then the longest due first.
    pub(crate) async fn queue_due<K, P>(
        &self,
        queue: TypedQueue<K, P>,
        window: DueWindow,
        limit: usize,
    ) -> Result<Vec<QueueEntry<K, P>>, StorageError>
    where
        K: QueueKey + Send + 'static,
        P: Payload + Send + 'static,
    {
        self.blocking(move |this| this.entries_due(queue, window, limit))
            .await
    }

    /// When the next row of a queue is due.
    pub(crate) async fn queue_next<K: QueueKey + 'static, P: Payload + 'static>(
        &self,
        queue: TypedQueue<K, P>,
    ) -> Result<Option<Millis>, StorageError> {
        self.blocking(move |this| Ok(this.store.queue_next(queue.number)?.map(|row| row.due)))
            .await
    }

    /// Waits until rows were put into a queue since the last time that this ended. Of those who wait for one queue only one
    /// is notified.
    pub(crate) async fn queue_notified<K: QueueKey, P: Payload>(&self, queue: TypedQueue<K, P>) {
        self.shared.queues.of(queue.number).notified().await;
    }

    /// Puts a row in, in place of one with the same key.
    pub(crate) async fn queue_put<K: QueueKey, P: Payload>(
        &self,
        queue: TypedQueue<K, P>,
        key: &K,
        due: Millis,
        payload: P,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        queue.put(&mut batch, key, due, &payload);
        self.write(batch).await
    }

    /// Puts a row off until then, unless it was put in again meanwhile.
    pub(crate) async fn put_off<K: QueueKey, P: Payload>(
        &self,
        queue: TypedQueue<K, P>,
        entry: &QueueEntry<K, P>,
        until: Millis,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        queue.put_off(&mut batch, &entry.key, entry.due, until, &entry.payload);
        self.write(batch).await
    }

    /// Takes a row out of which nothing comes, unless it was put in again meanwhile.
    pub(crate) async fn take_out<K: QueueKey, P: Payload>(
        &self,
        queue: TypedQueue<K, P>,
        entry: &QueueEntry<K, P>,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::new();
        queue.take(&mut batch, &entry.key, entry.due);
        self.write(batch).await
    }

    /// As [`Storage::queue_due`]. Waits for the disk.
    pub(super) fn entries_due<K: QueueKey, P: Payload>(
        &self,
        queue: TypedQueue<K, P>,
        window: DueWindow,
        limit: usize,
    ) -> Result<Vec<QueueEntry<K, P>>, StorageError> {
        let mut entries = Vec::new();
        let mut unreadable = Batch::new();
        // These first, and not all: in a queue that is never empty neither kind waits for the other to end.
        let ahead = limit.div_ceil(2);
        let mut rows = self
            .store
            .queue_due_after(queue.number, window.last, ahead)?;
        let rest = limit - rows.len();
        rows.extend(self.store.queue_due(queue.number, window.now, rest)?);
        for row in rows {
            let QueueRow { key, due, payload } = row;
            let Some(name) = K::from_key(&key) else {
                self.unreadable("queues", &key, &"it names nothing");
                unreadable.dequeue(queue.number, &key, due);
                continue;
            };
            entries.push(QueueEntry {
                key: name,
                payload: P::from_bytes(&payload),
                due,
            });
        }
        if !unreadable.is_empty() {
            self.store.submit(unreadable, |_| {});
        }
        Ok(entries)
    }

    /// When a row is due; none where it is not in the queue. Waits for the disk.
    pub(super) fn entry_due<K: QueueKey, P: Payload>(
        &self,
        queue: TypedQueue<K, P>,
        key: &K,
    ) -> Result<Option<Millis>, StorageError> {
        Ok(self.store.queue_entry(queue.number, &key.to_key())?)
    }
}

/// For each queue, who waits for rows of it.
pub(super) struct Notifications(Vec<Notify>);

impl Notifications {
    pub(super) fn new() -> Notifications {
        Notifications((0..=u8::MAX).map(|_| Notify::new()).collect())
    }

    /// Rows were put into a queue.
    pub(super) fn notify(&self, queue: Queue) {
        self.of(queue).notify_one();
    }

    fn of(&self, queue: Queue) -> &Notify {
        // There is one for each number.
        &self.0[usize::from(queue.0)]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use perennis_shared::sign::SigningKey;

    use super::*;

    fn name(seed: u8) -> Name {
        Name::from_public_key(&SigningKey::from_seed(&[seed; 32]).public())
    }

    fn at(now: u64) -> DueWindow {
        DueWindow::new(Millis(now), Duration::ZERO)
    }

    #[tokio::test]
    async fn a_row_further_ahead_than_any_is_put_off_is_due_and_keeps_no_other_waiting() {
        const DAY: Duration = Duration::from_secs(86_400);
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        // Written while the clock was 100 days ahead, and what a clock of before 1970 or after all time writes.
        let now = Millis(1_790_000_000_000);
        let dues = [
            (1, now - DAY),
            (2, now + DAY),
            (3, now + 100 * DAY),
            (4, now + 101 * DAY),
            (5, Millis(u64::MAX)),
        ];
        for (seed, due) in dues {
            let key = name(seed);
            let put = storage.queue_put(FOLLOW, &key, due, ());
            put.await.unwrap();
        }
        let due = async |window, limit| {
            let due = storage.queue_due(FOLLOW, window, limit).await.unwrap();
            due.iter().map(|entry| entry.key).collect::<Vec<_>>()
        };
        let window = DueWindow::new(now, DAY);
        assert_eq!(due(window, 8).await, [3, 4, 5, 1].map(name));
        assert_eq!(due(window, 2).await, [3, 1].map(name));
        assert_eq!(due(window, 1).await, [3].map(name));
        assert_eq!(due(window, 0).await, []);
        // With a clock that is before all of them, and one that is behind all but the last.
        let before = DueWindow::new(Millis(0), DAY);
        assert_eq!(due(before, 10).await, [1, 2, 3, 4, 5].map(name));
        let after = DueWindow::new(Millis(u64::MAX), DAY);
        assert_eq!(due(after, 10).await, [1, 2, 3, 4, 5].map(name));
        // A row that was brought forward is put off as any other is.
        let rows = storage.queue_due(FOLLOW, window, 1).await.unwrap();
        storage.put_off(FOLLOW, &rows[0], now + DAY).await.unwrap();
        assert_eq!(due(window, 8).await, [4, 5, 1].map(name));
    }

    #[tokio::test]
    async fn the_state_of_every_queue_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        for (seed, due) in [(1, 5), (2, 6), (3, 9)] {
            let key = name(seed);
            storage
                .queue_put(FOLLOW, &key, Millis(due), ())
                .await
                .unwrap();
        }
        let router = router_queue(0).unwrap();
        storage
            .queue_put(router, &name(1), Millis(70), ())
            .await
            .unwrap();
        let routers = vec![("dht".to_owned(), router)];
        let states = storage.queue_states(routers, Millis(6)).await.unwrap();
        let told: Vec<_> = states
            .iter()
            .filter_map(|state| Some((state.name.as_str(), state.due, state.next.as_deref()?)))
            .collect();
        assert_eq!(
            told,
            [
                ("follow", 2, "1970-01-01T00:00:00.005Z"),
                ("republish to dht", 0, "1970-01-01T00:00:00.070Z")
            ]
        );
        assert_eq!(states.len(), TABLE.len() + 1);
    }

    #[test]
    fn no_two_queues_have_one_number_and_numbers_on_disk_stay() {
        let numbers: Vec<u8> = TABLE.iter().map(|(_, queue, _)| queue.0).collect();
        let all: BTreeSet<u8> = numbers.iter().copied().chain(ROUTERS).collect();
        assert_eq!(all.len(), numbers.len() + ROUTERS.count());
        let table: Vec<(&str, u8)> = TABLE
            .iter()
            .map(|(name, queue, _)| (*name, queue.0))
            .collect();
        let on_disk = [
            ("REFETCH", 0),
            ("FETCH", 1),
            ("LADDER", 2),
            ("FOLLOW", 3),
            ("LOST_HEADS", 4),
            ("UNCLAIMED", 5),
        ];
        assert_eq!(table, on_disk);
        assert_eq!(router_queue(0).unwrap().number(), Queue(16));
        assert_eq!(router_queue(199).unwrap().number(), Queue(215));
        assert!(router_queue(200).is_none());
        assert!(router_queue(u8::MAX).is_none());
    }

    #[test]
    fn every_queue_stands_in_the_document_of_the_format() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/FORMAT.md");
        let format = std::fs::read_to_string(path).unwrap();
        let alone = TABLE.iter().map(|(name, queue, _)| (*name, queue.0, "|"));
        let routers = ("ROUTERS", *ROUTERS.start(), "and up |");
        for (name, number, rest) in alone.chain([routers]) {
            // Stories of damage take the numbers from these rows.
            let row = format!("| `q`, `k` queue {number} {rest}");
            assert!(format.contains(&row), "{path} lacks {name}: {row}");
        }
    }

    #[test]
    fn payloads_are_read_back_and_damaged_ones_as_none_that_failed() {
        assert_eq!(Attempts(7).to_bytes(), [0, 0, 0, 7]);
        assert_eq!(Attempts::from_bytes(&[0, 0, 0, 7]), Attempts(7));
        for damaged in [b"".as_slice(), b"1", b"12345"] {
            assert_eq!(Attempts::from_bytes(damaged), Attempts(0));
        }
        assert!(().to_bytes().is_empty());
    }

    #[tokio::test]
    async fn a_row_that_names_nothing_is_taken_out_and_the_others_are_due() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let mut batch = Batch::new();
        batch.enqueue(LADDER.number(), b"nothing", Millis(1), Vec::new());
        LADDER.put(&mut batch, &name(1), Millis(2), &());
        storage.write(batch).await.unwrap();
        let due = storage.queue_due(LADDER, at(3), 10).await.unwrap();
        let keys: Vec<Name> = due.iter().map(|entry| entry.key).collect();
        assert_eq!(keys, [name(1)]);
        storage.take_out(LADDER, &due[0]).await.unwrap();
        assert_eq!(storage.queue_next(LADDER).await.unwrap(), None);
        assert!(storage.unreadable_rows().contains(&("queues", 1)));
    }

    #[tokio::test]
    async fn who_waits_for_a_queue_is_notified_by_the_commit_that_puts_a_row_in() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        storage
            .queue_put(FOLLOW, &name(1), Millis(1), ())
            .await
            .unwrap();
        storage.queue_notified(FOLLOW).await;
        // Of another queue nobody is told, and putting rows off or taking them out tells nobody.
        let due = storage.queue_due(FOLLOW, at(1), 1).await.unwrap();
        storage.put_off(FOLLOW, &due[0], Millis(2)).await.unwrap();
        let due = storage.queue_due(FOLLOW, at(2), 1).await.unwrap();
        storage.take_out(FOLLOW, &due[0]).await.unwrap();
        for queue in [FOLLOW, LADDER] {
            let mut told = std::pin::pin!(storage.queue_notified(queue));
            assert!(futures_util::poll!(told.as_mut()).is_pending());
        }
    }
}
