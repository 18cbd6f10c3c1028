//! HTTP with deadlines and bounded bodies, the same on both platforms.
//!
//! Three times guard every exchange, because a server may answer slowly in three ways: not accepting the
//! connection, sitting on its answer, or sending the body drop by drop without end. A body is read in
//! chunks, and whoever collects one names the most bytes it will take.

use std::{
    net::IpAddr,
    time::{Duration, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use perennis_shared::error::{ErrorKind, Retryable};
use reqwest::{
    Method,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
    },
};

use super::{BoxStream, monotonic, now, platform, timeout};

pub use super::address_rule::AddressRule;

/// How long to wait for each part of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct HttpTimes {
    /// For a connection. Browsers keep their own time.
    pub connect: Duration,
    /// Between two chunks of a body.
    pub idle: Duration,
    /// From the start of a request to the last byte of its answer, unless the request has its own.
    pub whole: Duration,
}

impl Default for HttpTimes {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(15),
            whole: Duration::from_secs(30),
        }
    }
}

/// A cheap handle to a pool of connections.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    times: HttpTimes,
    rule: Option<AddressRule>,
    forwarder: Option<&'static str>,
}

/// One request to an absolute `http` or `https` URL.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    url: String,
    accept: Option<&'static str>,
    body: Option<(&'static str, Bytes)>,
    authorization: Option<HeaderValue>,
    deadline: Option<Duration>,
}

/// A body that is made while it is sent.
#[cfg_attr(
    target_family = "wasm",
    allow(dead_code, reason = "browsers send only bodies that are whole")
)]
struct Upload {
    content_type: &'static str,
    length: Option<u64>,
    body: reqwest::Body,
}

/// The head of an answer, and its body still to be read.
pub struct Response {
    status: u16,
    headers: HeaderMap,
    body: Body,
}

/// A body that arrives in chunks until its deadline.
pub struct Body {
    chunks: BoxStream<'static, Result<Bytes, reqwest::Error>>,
    idle: Duration,
    within: Duration,
    ends_at: Duration,
}

/// Why an exchange did not come to its end.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The platform's HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] reqwest::Error),
    /// The request itself is malformed.
    #[error("the request is malformed")]
    Request(#[source] reqwest::Error),
    /// No connection came about: name not found, refused, TLS failed, or the browser forbade it.
    #[error("no connection")]
    Connect(#[source] reqwest::Error),
    /// The connection broke before the answer was complete.
    #[error("the connection broke")]
    Broken(#[source] reqwest::Error),
    /// The answer, or its next part, did not come in time.
    #[error("{what} did not come within {} ms", .after.as_millis())]
    Deadline {
        /// What was waited for.
        what: &'static str,
        /// The time it was given.
        after: Duration,
    },
    /// The address is not one that may be dialled.
    #[error("this address must not be dialled")]
    Forbidden,
    /// The body is larger than the caller takes.
    #[error("the body is larger than {max} bytes")]
    TooLarge {
        /// The most bytes the caller takes.
        max: usize,
    },
}

impl Retryable for HttpError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(_) | Self::Broken(_) | Self::Deadline { .. } => ErrorKind::Retry,
            Self::Request(_) | Self::Forbidden | Self::TooLarge { .. } => ErrorKind::Reject,
            Self::Setup(_) => ErrorKind::Fatal,
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect(_))
    }
}

impl Http {
    /// Sets the client up. Nothing is dialled yet.
    ///
    /// # Errors
    /// [`HttpError::Setup`] when the platform has no working TLS or `fetch`.
    pub fn new(times: HttpTimes) -> Result<Self, HttpError> {
        let client = platform::http_client(times.connect).map_err(HttpError::Setup)?;
        Ok(Self {
            client,
            times,
            rule: None,
            forwarder: None,
        })
    }

    /// Sets up a client that dials only addresses the rule lets, for URLs that strangers wrote. What a host's name
    /// resolves to is checked at the moment it is dialled. In a browser, which has rules of its own and shows no
    /// addresses, only URLs with an address in them are checked.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn guarded(times: HttpTimes, rule: AddressRule) -> Result<Self, HttpError> {
        let client =
            platform::guarded_http_client(times.connect, rule).map_err(HttpError::Setup)?;
        Ok(Self {
            client,
            times,
            rule: Some(rule),
            forwarder: None,
        })
    }

    /// The same connections, as who asks on behalf of others: every request says so (RFC 8586, `CDN-Loop`), so that
    /// a question does not go in circles. Not for browsers, which would ask each server for leave first.
    #[must_use]
    pub fn forwarding(mut self, forwarder: &'static str) -> Self {
        self.forwarder = Some(forwarder);
        self
    }

    /// Sends `request` and waits for the head of the answer. Whatever its status, an answer is a success.
    ///
    /// # Errors
    /// No connection, or no answer before the request's deadline.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        self.exchange(request, None).await
    }

    /// As [`Http::send`], with a body that is made while it is sent, of `content_type` and, where that is known, `length`
    /// bytes. It ends when its sender is dropped; a part that is an error breaks the request off. Browsers cannot do this.
    ///
    /// # Errors
    /// As [`Http::send`].
    #[cfg(not(target_family = "wasm"))]
    pub async fn send_stream(
        &self,
        request: Request,
        content_type: &'static str,
        length: Option<u64>,
        mut body: tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>,
    ) -> Result<Response, HttpError> {
        let parts = futures_util::stream::poll_fn(move |context| body.poll_recv(context));
        let body = reqwest::Body::wrap_stream(parts);
        let upload = Upload {
            content_type,
            length,
            body,
        };
        self.exchange(request, Some(upload)).await
    }

    async fn exchange(
        &self,
        request: Request,
        upload: Option<Upload>,
    ) -> Result<Response, HttpError> {
        if let Some(rule) = self.rule
            && literal_address(&request.url).is_some_and(|address| !rule(address))
        {
            return Err(HttpError::Forbidden);
        }
        let within = request.deadline.unwrap_or(self.times.whole);
        let ends_at = monotonic() + within;
        let mut builder = platform::prepare(self.client.request(request.method, &request.url));
        if let Some(accept) = request.accept {
            builder = builder.header(ACCEPT, accept);
        }
        if let Some(authorization) = request.authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        if let Some(forwarder) = self.forwarder {
            builder = builder.header("cdn-loop", forwarder);
        }
        if let Some((content_type, body)) = request.body {
            builder = builder.header(CONTENT_TYPE, content_type).body(body);
        }
        if let Some(upload) = upload {
            builder = builder
                .header(CONTENT_TYPE, upload.content_type)
                .body(upload.body);
            if let Some(length) = upload.length {
                builder = builder.header(CONTENT_LENGTH, length);
            }
        }
        let answer = timeout(within, builder.send())
            .await
            .map_err(|elapsed| HttpError::Deadline {
                what: "an answer",
                after: elapsed.after,
            })?
            .map_err(sending_failed)?;
        Ok(Response {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: Body {
                chunks: Box::pin(answer.bytes_stream()),
                idle: self.times.idle,
                within,
                ends_at,
            },
        })
    }
}

impl Request {
    /// Reads `url`.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url.into())
    }

    /// Puts `body` at `url`.
    #[must_use]
    pub fn put(url: impl Into<String>, content_type: &'static str, body: Bytes) -> Self {
        Self::new(Method::PUT, url.into()).with_body(content_type, body)
    }

    /// Hands `body` to `url`.
    #[must_use]
    pub fn post(url: impl Into<String>, content_type: &'static str, body: Bytes) -> Self {
        Self::new(Method::POST, url.into()).with_body(content_type, body)
    }

    /// Hands a body to `url` that is given when it is sent.
    #[cfg(not(target_family = "wasm"))]
    #[must_use]
    pub fn upload(url: impl Into<String>) -> Self {
        Self::new(Method::POST, url.into())
    }

    /// Removes what is at `url`.
    #[must_use]
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new(Method::DELETE, url.into())
    }

    /// Carries a bearer token (RFC 6750). A token of other than visible ASCII characters is left out.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.authorization =
            HeaderValue::try_from(format!("Bearer {token}"))
                .ok()
                .map(|mut value| {
                    value.set_sensitive(true);
                    value
                });
        self
    }

    /// Asks for one content type.
    #[must_use]
    pub fn accepting(mut self, content_type: &'static str) -> Self {
        self.accept = Some(content_type);
        self
    }

    /// Gives the whole exchange this long instead of [`HttpTimes::whole`].
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    fn new(method: Method, url: String) -> Self {
        Self {
            method,
            url,
            accept: None,
            body: None,
            authorization: None,
            deadline: None,
        }
    }

    fn with_body(mut self, content_type: &'static str, body: Bytes) -> Self {
        self.body = Some((content_type, body));
        self
    }
}

impl Response {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the answer is of this content type, parameters aside.
    #[must_use]
    pub fn is(&self, content_type: &str) -> bool {
        self.text(CONTENT_TYPE.as_str()).is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default();
            essence.trim().eq_ignore_ascii_case(content_type)
        })
    }

    /// How long the server asks to be left alone (RFC 9110, section 10.2.3), in seconds or as a date.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        parse_retry_after(self.text(RETRY_AFTER.as_str())?, now().0)
    }

    /// Collects the body, at most `max` bytes of it.
    ///
    /// # Errors
    /// The body is larger, stalls, breaks off, or goes on beyond the deadline.
    pub async fn bytes(self, max: usize) -> Result<Bytes, HttpError> {
        let announced = self
            .text(CONTENT_LENGTH.as_str())
            .and_then(|length| length.parse::<u64>().ok());
        if announced.is_some_and(|length| length > max as u64) {
            return Err(HttpError::TooLarge { max });
        }
        let mut body = self.body;
        let mut collected = BytesMut::new();
        while let Some(chunk) = body.chunk().await? {
            if chunk.len() > max - collected.len() {
                return Err(HttpError::TooLarge { max });
            }
            collected.extend_from_slice(&chunk);
        }
        Ok(collected.freeze())
    }

    /// The body, to be read in chunks.
    #[must_use]
    pub fn into_body(self) -> Body {
        self.body
    }

    fn text(&self, header: &str) -> Option<&str> {
        self.headers.get(header)?.to_str().ok()
    }
}

impl Body {
    /// The next chunk, or none at the end.
    ///
    /// # Errors
    /// The body stalls, breaks off, or goes on beyond the deadline.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let left = self.ends_at.saturating_sub(monotonic());
        if left.is_zero() {
            return Err(HttpError::Deadline {
                what: "the end of the answer",
                after: self.within,
            });
        }
        match timeout(left.min(self.idle), self.chunks.next()).await {
            Ok(chunk) => chunk.transpose().map_err(HttpError::Broken),
            Err(elapsed) => Err(HttpError::Deadline {
                what: "the next part of the answer",
                after: elapsed.after,
            }),
        }
    }
}

/// The address in a URL whose host is no name.
fn literal_address(url: &str) -> Option<IpAddr> {
    let url = reqwest::Url::parse(url).ok()?;
    let host = url.host_str()?;
    host.trim_matches(['[', ']']).parse().ok()
}

fn sending_failed(error: reqwest::Error) -> HttpError {
    if error.is_builder() {
        HttpError::Request(error)
    } else if platform::is_connect(&error) {
        HttpError::Connect(error)
    } else {
        HttpError::Broken(error)
    }
}

fn parse_retry_after(value: &str, now_ms: u64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value)
        .ok()?
        .duration_since(UNIX_EPOCH)
        .ok()?;
    Some(at.saturating_sub(Duration::from_millis(now_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_urls_are_seen_in_every_spelling() {
        let loopback = Some(IpAddr::from([127, 0, 0, 1]));
        for url in [
            "http://127.0.0.1:80/x",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.1",
        ] {
            assert_eq!(literal_address(url), loopback, "{url}");
        }
        assert!(literal_address("http://[::1]/").is_some_and(|address| address.is_loopback()));
        assert_eq!(literal_address("http://example.org/127.0.0.1"), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now_ms = 784_111_770_000;
        assert_eq!(
            parse_retry_after("120", now_ms),
            Some(Duration::from_secs(120))
        );
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now_ms),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now_ms * 2),
            Some(Duration::ZERO)
        );
        assert_eq!(parse_retry_after("soon", now_ms), None);
        assert_eq!(parse_retry_after("-1", now_ms), None);
    }
}
