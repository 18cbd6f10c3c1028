//! Answers that are JSON documents.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde::Serialize;

use super::answer::{Answer, JSON, NO_STORE, answer};
use super::refusal::Refusal;

/// An answer with a JSON document that changes from call to call.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Answer {
    json_as(status, JSON, document)
}

/// An answer with a document of a media type that is JSON.
pub(super) fn json_as(
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
        Err(error) => Refusal::internal(error).into_answer(),
    }
}
