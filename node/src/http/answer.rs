//! Answers: the body type, and the headers every answer has.
//!
//! Must never touch: what an answer says. Documents are made in [`document`](super::document), refusals in
//! [`refusal`](super::refusal).

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body::{Frame, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

use super::listener::Listener;
use super::sharing::Sharing;

/// An answer.
pub(crate) type Answer = Response<Body>;

/// What an answer's body is made of.
pub(crate) enum Body {
    /// Nothing more.
    Empty,
    /// All of it, shared with the cache it comes from.
    Full(Bytes),
    /// Parts that are made when the one before has gone. An error ends the connection, so that the client sees a body
    /// that was cut off and not one that is complete.
    Stream(BoxStream<'static, Result<Bytes, BrokenOff>>),
}

/// The rest of a body could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be finished")]
pub(crate) struct BrokenOff(#[source] pub(crate) Box<dyn Error + Send + Sync>);

/// What failed below an answer and is not told in it; it goes to the log when the answer is sent.
#[derive(Clone, Debug)]
pub(crate) struct Cause(pub(crate) String);

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Body::Stream(parts) => parts
                .as_mut()
                .poll_next(context)
                .map(|part| part.map(|part| part.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        if bytes.is_empty() {
            Body::Empty
        } else {
            Body::Full(bytes)
        }
    }
}

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer with a body of this kind.
pub(crate) fn answer(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Body>,
) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    answer
}

/// Says which pages of other origins may read the answer, and keeps browsers from guessing its type.
pub(crate) fn finish(answer: &mut Answer, listener: Listener, sharing: &Sharing) {
    let headers = answer.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if listener == Listener::Gateway {
        allow(
            headers,
            listener,
            HeaderValue::from_static("GET, HEAD, OPTIONS"),
        );
    }
    let origin = match sharing {
        Sharing::Nobody => return,
        Sharing::Everybody => HeaderValue::from_static("*"),
        Sharing::With(origin) => {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            origin.clone()
        }
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let exposed = listener.exposed_headers();
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}

/// Says what pages of other origins may ask.
fn allow(headers: &mut HeaderMap, listener: Listener, methods: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let allowed = listener.allowed_headers();
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
}

/// The answer to a browser that asks whether a page of another origin may call: `methods` are those of the path, `allowed` those that
/// it may use.
pub(crate) fn preflight(methods: &'static str, allowed: String, listener: Listener) -> Answer {
    let mut answer = no_content();
    let headers = answer.headers_mut();
    if !allowed.is_empty() {
        allow(headers, listener, text_header(allowed));
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static("86400"),
        );
    }
    headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

/// That what was asked for is done, and nothing more.
pub(crate) fn no_content() -> Answer {
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// A header made of text that is known to have only visible characters.
pub(crate) fn text_header(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}
