//! The clients of open connections, as the node sees them: whom it waits for, since when, and what they took meanwhile.
//!
//! A slow client costs nothing but its connection until somebody else needs the memory its answer holds. Then those
//! that take less than [`SLOW_BYTES`] a second give way, the slowest first: their connections end, and with them what
//! they held. What the system's own buffers took at once is not counted in a client's favour.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Bytes a second below which a client is slow.
const SLOW_BYTES: f64 = 8_192.0;

/// The most that is counted of a burst: what a client that is not slow takes in so many times of grace.
const BURST: f64 = 4.0;

/// Of the slow ones, one in so many gives way at a time.
const ONE_IN: usize = 8;

/// Shortest time between two times, so that many who wait end no more than one who waits.
const BETWEEN: Duration = Duration::from_millis(200);

/// All open connections.
pub(super) struct Readers {
    begun: Instant,
    /// How long a client may be waited for before it can be slow.
    grace: Duration,
    open: Mutex<HashMap<u64, Arc<Reader>>>,
    opened: AtomicU64,
    /// When some had to give way last.
    looked: Mutex<Option<Duration>>,
}

/// The client of one connection.
#[derive(Default)]
pub(super) struct Reader {
    pace: Mutex<Option<Pace>>,
    gives_way: Notify,
}

/// How a client takes what is there for it, while it has not taken all of it. Times are since the readers began.
struct Pace {
    waited_since: Duration,
    /// When it took something last.
    took_at: Duration,
    /// What it took until then, in bytes; what was before counts less and less, and a burst no more than [`BURST`].
    taken: f64,
}

/// An open connection; it is known until this is dropped.
pub(super) struct OpenReader {
    readers: Arc<Readers>,
    number: u64,
    reader: Arc<Reader>,
}

impl Readers {
    pub(super) fn new(grace: Duration) -> Readers {
        Readers {
            begun: Instant::now(),
            grace,
            open: Mutex::default(),
            opened: AtomicU64::new(0),
            looked: Mutex::default(),
        }
    }

    pub(super) fn open(self: &Arc<Readers>) -> OpenReader {
        let number = self.opened.fetch_add(1, Relaxed);
        let reader = Arc::new(Reader::default());
        self.open.lock().insert(number, Arc::clone(&reader));
        OpenReader {
            readers: Arc::clone(self),
            number,
            reader,
        }
    }

    /// Ends some of those that are slow, for somebody who waits; says how many.
    pub(super) fn hurry(&self) -> usize {
        self.hurry_at(self.begun.elapsed())
    }

    fn hurry_at(&self, now: Duration) -> usize {
        {
            let mut looked = self.looked.lock();
            if looked.is_some_and(|looked| now < looked + BETWEEN) {
                return 0;
            }
            *looked = Some(now);
        }
        let mut slow: Vec<(f64, Arc<Reader>)> = {
            let open = self.open.lock();
            let rated = open.values().filter_map(|reader| {
                let rate = reader.pace.lock().as_ref()?.rate(now, self.grace)?;
                (rate < SLOW_BYTES).then(|| (rate, Arc::clone(reader)))
            });
            rated.collect()
        };
        slow.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
        slow.truncate(slow.len().div_ceil(ONE_IN));
        for (_, reader) in &slow {
            reader.gives_way.notify_one();
        }
        slow.len()
    }
}

impl Pace {
    /// The bytes a second it takes, once it has been waited for long enough to tell.
    fn rate(&self, now: Duration, grace: Duration) -> Option<f64> {
        let is_known = now.saturating_sub(self.waited_since) >= grace;
        is_known.then(|| self.taken_by(now, grace) / grace.as_secs_f64())
    }

    fn taken_by(&self, now: Duration, grace: Duration) -> f64 {
        let past = now.saturating_sub(self.took_at).as_secs_f64();
        self.taken * (-past / grace.as_secs_f64()).exp()
    }
}

impl OpenReader {
    /// It did not take all there was for it.
    pub(super) fn is_waited_for(&self) {
        self.is_waited_for_at(self.readers.begun.elapsed());
    }

    fn is_waited_for_at(&self, now: Duration) {
        self.reader.pace.lock().get_or_insert(Pace {
            waited_since: now,
            took_at: now,
            taken: 0.0,
        });
    }

    /// It took so many bytes.
    pub(super) fn took(&self, bytes: usize) {
        if let Some(pace) = self.reader.pace.lock().as_mut() {
            self.count(pace, self.readers.begun.elapsed(), bytes);
        }
    }

    fn count(&self, pace: &mut Pace, now: Duration, bytes: usize) {
        let grace = self.readers.grace;
        let most = BURST * SLOW_BYTES * grace.as_secs_f64();
        pace.taken = (pace.taken_by(now, grace) + bytes as f64).min(most);
        pace.took_at = now;
    }

    /// It has taken all there was for it.
    pub(super) fn has_all(&self) {
        *self.reader.pace.lock() = None;
    }

    /// Ends when it has to give way to others.
    pub(super) async fn gives_way(&self) {
        self.reader.gives_way.notified().await;
    }
}

impl Drop for OpenReader {
    fn drop(&mut self) {
        self.readers.open.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn second(number: f64) -> Duration {
        Duration::from_secs_f64(number)
    }

    fn took_at(reader: &OpenReader, now: Duration, bytes: usize) {
        if let Some(pace) = reader.reader.pace.lock().as_mut() {
            reader.count(pace, now, bytes);
        }
    }

    fn has_to_go(reader: &OpenReader) -> bool {
        reader.gives_way().now_or_never().is_some()
    }

    #[test]
    fn the_slowest_give_way_first_and_the_fast_and_the_new_never() {
        let readers = Arc::new(Readers::new(GRACE));
        let slow: Vec<OpenReader> = (0..9).map(|_| readers.open()).collect();
        let [fast, done, new, idle] = [(); 4].map(|()| readers.open());
        for reader in slow.iter().chain([&fast, &done]) {
            // What was taken at once does not count.
            reader.took(1 << 20);
            reader.is_waited_for_at(second(1.0));
        }
        for tick in 1..100 {
            let now = second(1.0 + f64::from(tick) / 5.0);
            for (number, reader) in slow.iter().enumerate() {
                took_at(reader, now, 1 + number * 100);
            }
            took_at(&fast, now, 4_000);
        }
        done.has_all();
        new.is_waited_for_at(second(12.0));

        assert_eq!(readers.hurry_at(second(9.0)), 0, "all are in their grace");
        assert_eq!(
            readers.hurry_at(second(21.0)),
            2,
            "an eighth of nine, and no less"
        );
        let gone: Vec<bool> = slow.iter().map(has_to_go).collect();
        assert_eq!(gone[..3], [true, true, false]);
        assert!(!gone[3..].contains(&true));
        for reader in [&fast, &done, &new, &idle] {
            assert!(!has_to_go(reader));
        }
        assert_eq!(readers.hurry_at(second(21.1)), 0, "it has just been done");
    }

    #[test]
    fn neither_a_burst_nor_a_pause_counts_for_long() {
        let readers = Arc::new(Readers::new(GRACE));
        let reader = readers.open();
        reader.is_waited_for_at(second(1.0));
        reader.has_all();
        reader.is_waited_for_at(second(15.0));
        assert_eq!(readers.hurry_at(second(20.0)), 0, "that was another wait");
        took_at(&reader, second(24.0), 1 << 30);
        assert_eq!(readers.hurry_at(second(26.0)), 0);
        assert_eq!(readers.hurry_at(second(40.0)), 1);
        drop(reader);
        assert_eq!(readers.hurry_at(second(50.0)), 0);
        assert!(readers.open.lock().is_empty());
    }
}
