//! Answers: the body type, the headers every answer has, and refusals as documents.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use http_body::{Frame, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use perennis_shared::cid::Cid;
use serde::Serialize;

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

/// An answer with a JSON document that changes from call to call.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Answer {
    json_as(status, JSON, document)
}

/// An answer with a document of a media type that is JSON.
pub(crate) fn json_as(
    status: StatusCode,
    content_type: HeaderValue,
    document: &impl Serialize,
) -> Answer {
    match serde_json::to_vec(document) {
        Ok(text) => {
            let mut answer = answer(status, content_type, Bytes::from(text));
            answer.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
            answer
        }
        // Our documents are made of text, numbers and lists; only a map with other keys could fail.
        Err(error) => {
            tracing::error!(%error, "a document could not be written");
            Refusal::internal().into_answer()
        }
    }
}

/// Lets pages of other origins read the answer, and keeps browsers from guessing its type.
pub(crate) fn finish(answer: &mut Answer) {
    const EXPOSED: HeaderValue = HeaderValue::from_static(
        "Content-Length, Content-Range, ETag, Retry-After, X-Ipfs-Path, X-Ipfs-Roots",
    );
    let headers = answer.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

/// The answer to a browser that asks whether a page of another origin may call.
pub(crate) fn preflight(methods: &'static str) -> Answer {
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(methods),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Authorization, Content-Type, Range, X-Requested-With, If-None-Match",
        ),
    );
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("86400"),
    );
    headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}

/// A header made of text that is known to have only visible characters.
pub(crate) fn text_header(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Why a call was refused: its status and the document `{"error":{"code","message","hint"}}`.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    message: String,
    hint: String,
    missing: Option<Vec<Cid>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    closes: bool,
}

impl Refusal {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Refusal {
        Refusal {
            status,
            code,
            message: message.into(),
            hint: hint.into(),
            missing: None,
            headers: Vec::new(),
            closes: false,
        }
    }

    pub(crate) fn bad_request(
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, code, message, hint)
    }

    pub(crate) fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, "not_found", message, hint)
    }

    pub(crate) fn internal() -> Refusal {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the node failed to answer",
            "look into the node's log",
        )
    }

    /// Adds the CIDs of the blocks that are missing.
    pub(crate) fn with_missing(mut self, missing: Vec<Cid>) -> Refusal {
        self.missing = Some(missing);
        self
    }

    /// Says when to try again.
    pub(crate) fn retry_after(self, after: Duration) -> Refusal {
        let seconds = after.as_millis().div_ceil(1_000).max(1);
        self.with_header(header::RETRY_AFTER, text_header(seconds.to_string()))
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Refusal {
        self.headers.push((name, value));
        self
    }

    /// Ends the connection after the answer: the rest of the request's body is not read.
    pub(crate) fn closing(mut self) -> Refusal {
        self.closes = true;
        self
    }

    pub(crate) fn document(&self) -> ErrorDocument<'_> {
        ErrorDocument {
            error: ErrorBody {
                code: self.code,
                message: &self.message,
                hint: &self.hint,
                missing: self
                    .missing
                    .as_ref()
                    .map(|missing| missing.iter().map(Cid::to_string).collect()),
            },
        }
    }

    pub(crate) fn into_answer(self) -> Answer {
        let text = serde_json::to_vec(&self.document()).unwrap_or_default();
        let mut answer = answer(self.status, JSON, Bytes::from(text));
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.extend(self.headers);
        answer
    }
}

/// The document of a refusal.
#[derive(Serialize)]
pub(crate) struct ErrorDocument<'a> {
    pub(crate) error: ErrorBody<'a>,
}

#[derive(Serialize)]
pub(crate) struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
    hint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<String>>,
}
