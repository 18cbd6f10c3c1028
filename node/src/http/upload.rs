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
    idle: Duration,
    end: Option<Instant>,
}

/// Longest pause inside a file of the operator's, which may come from a program that is slow at times.
const FILE_IDLE: Duration = Duration::from_secs(120);

impl Upload {
    /// Takes the body of a request, of at most `limit` bytes.
    pub(super) fn new(
        request: Request<Incoming>,
        limit: u64,
        times: &HttpConfig,
    ) -> Result<Upload, Refusal> {
        let body = request.into_body();
        if body.size_hint().lower() > limit {
            return Err(too_large(limit));
        }
        Ok(Upload {
            body,
            left: limit,
            limit,
            idle: times.idle_timeout,
            end: Some(Instant::now() + times.body_timeout),
        })
    }

    /// As [`Upload::new`], of a file of the operator's: as a whole it may take any time.
    pub(super) fn of_file(
        request: Request<Incoming>,
        limit: u64,
        times: &HttpConfig,
    ) -> Result<Upload, Refusal> {
        let upload = Upload::new(request, limit, times)?;
        Ok(Upload {
            idle: upload.idle.max(FILE_IDLE),
            end: None,
            ..upload
        })
    }

    /// The next part; `None` at the end.
    pub(super) async fn part(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let idle = Instant::now() + self.idle;
            let until = self.end.map_or(idle, |end| end.min(idle));
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
                .ok_or_else(|| too_large(self.limit))?;
            if !part.is_empty() {
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

fn too_large(limit: u64) -> Refusal {
    Refusal::new(
        "too_large",
        format!("the body is larger than {limit} bytes"),
        "send less at once: leave out blocks the node already has",
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
