//! Refusals: why a call was not done, as a status and the document `{"error":{"code","message","hint"}}`.
//!
//! A person's browser may be given a page instead ([`Refusal::into_page`]). An error of another room becomes a refusal with `?` ([`ClientError`]). Its kind and its code alone decide the status
//! ([`status`]), and it says itself when the same call may succeed. What the document does not tell of its causes goes with
//! the answer as a [`Cause`] and is logged once, with the endpoint, when the answer is sent. Must never touch: the node.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use perennis_shared::cid::Cid;
use perennis_shared::error::{ErrorKind, chain};
use serde::Serialize;

use super::answer::{Answer, Cause, JSON, NO_STORE, answer, text_header};
use super::html::{self, HTML, SHOWS_ONLY};

mod client_error;
mod of_ingest;
mod of_peers;
mod of_routes;
mod of_storage;
mod status;

pub(super) use client_error::ClientError;
pub(super) use of_ingest::FETCH_TOO_LARGE;

/// The code of what nobody outside can do anything about.
pub(super) const INTERNAL: &str = "internal";

/// Why a call was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    hint: String,
    missing: Box<[Cid]>,
    headers: Vec<(HeaderName, HeaderValue)>,
    closes: bool,
    cause: Option<Box<Cause>>,
}

impl Refusal {
    /// A refusal of what the client asks for. Its code decides the status; one without a status of its own is 400.
    pub(super) fn new(
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Refusal {
        let status = status::of(code, ErrorKind::Reject, false);
        Refusal::with_status(status, code, message.into(), hint.into())
    }

    /// What was asked for is not here.
    pub(super) fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal::new("not_found", message, hint)
    }

    /// Whether it says that something is not here.
    pub(super) fn is_absence(&self) -> bool {
        self.code == "not_found"
    }

    /// The same where another specification has its own status for what no schema allows (Delegated Routing V1).
    pub(super) fn unprocessable(mut self) -> Refusal {
        self.status = StatusCode::UNPROCESSABLE_ENTITY;
        self
    }

    /// The node failed for a cause that is for its operator only.
    pub(super) fn internal(cause: impl Error) -> Refusal {
        let message = "the node failed to answer";
        let mut refusal = Refusal::new(INTERNAL, message, "look into the node's log");
        refusal.cause = Some(Box::new(Cause(chain(&cause))));
        refusal
    }

    fn with_status(
        status: StatusCode,
        code: &'static str,
        message: String,
        hint: String,
    ) -> Refusal {
        Refusal {
            status,
            code,
            message,
            hint,
            missing: Box::default(),
            headers: Vec::new(),
            closes: false,
            cause: None,
        }
    }

    /// Says when to try again.
    pub(super) fn retry_after(self, after: Duration) -> Refusal {
        let seconds = after.as_millis().div_ceil(1_000).max(1);
        self.with_header(header::RETRY_AFTER, text_header(seconds.to_string()))
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Refusal {
        self.headers.push((name, value));
        self
    }

    /// Ends the connection after the answer: the rest of the request's body is not read.
    pub(super) fn closing(mut self) -> Refusal {
        self.closes = true;
        self
    }

    pub(super) fn document(&self) -> ErrorDocument<'_> {
        let missing = || self.missing.iter().map(Cid::to_string).collect();
        ErrorDocument {
            error: ErrorBody {
                code: self.code,
                message: &self.message,
                hint: &self.hint,
                missing: (!self.missing.is_empty()).then(missing),
            },
        }
    }

    pub(super) fn into_answer(self) -> Answer {
        let text = serde_json::to_vec(&self.document()).unwrap_or_default();
        self.answer_with(JSON, Bytes::from(text))
    }

    /// The same as a page for a person.
    pub(super) fn into_page(self) -> Answer {
        let page = html::problem(self.status, &self.message, &self.hint);
        let mut answer = self.answer_with(HTML, page);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, SHOWS_ONLY);
        answer
    }

    fn answer_with(self, content_type: HeaderValue, body: Bytes) -> Answer {
        let mut answer = answer(self.status, content_type, body);
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.extend(self.headers);
        if let Some(cause) = self.cause {
            answer.extensions_mut().insert(*cause);
        }
        answer
    }
}

impl<E: ClientError> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        let code = error.code();
        if code == INTERNAL {
            return Refusal::internal(error);
        }
        let status = status::of(code, error.kind(), E::IS_RELAYED);
        let hint = error.hint().to_owned();
        let mut refusal = Refusal::with_status(status, code, error.message(), hint);
        refusal.missing = error.missing().into();
        let hidden = || Box::new(Cause(chain(&error)));
        refusal.cause = error.hides_causes().then(hidden);
        if let Some(after) = error.retry_after() {
            refusal = refusal.retry_after(after);
        }
        refusal.closes = error.closes();
        refusal
    }
}

/// The document of a refusal.
#[derive(Serialize)]
pub(super) struct ErrorDocument<'a> {
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
    hint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<String>>,
}

#[cfg(test)]
mod tests;
