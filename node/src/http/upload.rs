//! The body of a request, with a limit of size and of time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;
use crate::config::HttpConfig;

/// A body that is being received.
pub(super) struct Upload {
    body: Incoming,
    left: u64,
    limit: u64,
    /// What to do where it is larger.
    smaller: &'static str,
    idle: Duration,
    pace: Option<Pace>,
    end: Option<Instant>,
}

/// Bytes a second that a body has to bring: what a bad mobile connection brings several times over. Whoever holds a place and memory
/// with less pays nothing for them.
const PACE_BYTES: u32 = 1_024;

/// How far a body is ahead of the slowest that is waited for: never by more than one pause, so that nobody waits long on what was
/// brought fast.
struct Pace {
    until: Instant,
    pause: Duration,
}

impl Pace {
    fn new(pause: Duration, now: Instant) -> Pace {
        Pace {
            until: now + pause,
            pause,
        }
    }

    fn brought(&mut self, bytes: usize, now: Instant) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let until = self.until + Duration::from_secs(1) * bytes / PACE_BYTES;
        self.until = until.min(now + self.pause);
    }
}

/// What helps where a record is too large.
pub(super) const RECORD_ALONE: &str = "a signed record has at most 10,240 bytes: send it alone, and sign one with a shorter value or less data beside it where it is larger itself";

/// What helps where a message with blocks is too large.
pub(super) const FEWER_BLOCKS: &str = "send less at once: leave out blocks the node already has";

/// Longest pause inside a file of the operator's, which may come from a program that is slow at times.
const FILE_IDLE: Duration = Duration::from_secs(120);

impl Upload {
    /// Takes the body of a request, of at most `limit` bytes; `smaller` is what helps the caller where it has more.
    pub(super) fn new(
        request: Request<Incoming>,
        limit: u64,
        smaller: &'static str,
        times: &HttpConfig,
    ) -> Result<Upload, Refusal> {
        let body = request.into_body();
        if body.size_hint().lower() > limit {
            return Err(too_large(limit, smaller));
        }
        Ok(Upload {
            body,
            left: limit,
            limit,
            smaller,
            idle: times.idle_timeout,
            pace: Some(Pace::new(times.idle_timeout, Instant::now())),
            end: Some(Instant::now() + times.body_timeout),
        })
    }

    /// As [`Upload::new`], of a file of the operator's: as a whole it may take any time.
    pub(super) fn of_file(
        request: Request<Incoming>,
        limit: u64,
        smaller: &'static str,
        times: &HttpConfig,
    ) -> Result<Upload, Refusal> {
        let upload = Upload::new(request, limit, smaller, times)?;
        Ok(Upload {
            idle: upload.idle.max(FILE_IDLE),
            pace: None,
            end: None,
            ..upload
        })
    }

    /// The next part; `None` at the end.
    pub(super) async fn part(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let idle = Instant::now() + self.idle;
            let pace = self.pace.as_ref().map(|pace| pace.until);
            let until = idle.min(self.end.unwrap_or(idle)).min(pace.unwrap_or(idle));
            let frame = match timeout_at(until, self.body.frame()).await {
                Err(_) => return Err(too_slow()),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "a body broke off");
                    return Err(broken_off());
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(part) = frame.into_data() else {
                continue;
            };
            self.left = self
                .left
                .checked_sub(part.len() as u64)
                .ok_or_else(|| too_large(self.limit, self.smaller))?;
            if !part.is_empty() {
                if let Some(pace) = &mut self.pace {
                    pace.brought(part.len(), Instant::now());
                }
                return Ok(Some(part));
            }
        }
    }

    /// All of a small body.
    pub(super) async fn whole(mut self) -> Result<Vec<u8>, Refusal> {
        let mut whole = Vec::new();
        while let Some(part) = self.part().await? {
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    }
}

fn too_large(limit: u64, smaller: &'static str) -> Refusal {
    Refusal::new(
        "too_large",
        format!("the body is larger than {limit} bytes"),
        smaller,
    )
    .closing()
}

fn too_slow() -> Refusal {
    Refusal::new(
        "too_slow",
        "the body did not arrive in time",
        "try again on a better connection, or send less at once",
    )
    .closing()
}

fn broken_off() -> Refusal {
    Refusal::new(
        "broken_off",
        "the body ended before it was complete",
        "send the request again",
    )
    .closing()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_to_bring_so_much_whatever_it_brought_before() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let mut pace = Pace::new(10 * second, start);
        // A byte in seven seconds wins next to nothing.
        pace.brought(1, start + 7 * second);
        assert!(pace.until < start + 11 * second);
        // A mebibyte at once is worth one pause.
        pace.brought(1 << 20, start + 8 * second);
        assert_eq!(pace.until, start + 18 * second);
        // Who brings just as much goes on for ever.
        for tick in 9..1_000 {
            pace.brought(1_024, start + tick * second);
            assert_eq!(pace.until, start + (tick + 10) * second);
        }
    }
}
