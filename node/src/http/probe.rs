//! `/v1/probe`: how fast the canary name is published and found through each route.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::answer::{Answer, NO_STORE, answer};
use super::document::json;
use super::refusal::Refusal;
use crate::http::site::Site;

const SVG: HeaderValue = HeaderValue::from_static("image/svg+xml");

/// The picture loads nothing, and its style stands in it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
);

/// What was measured lately.
pub(super) fn report(node: &Site) -> Answer {
    json(StatusCode::OK, &node.probe.report())
}

/// Measures now.
pub(super) async fn now(node: &Site) -> Result<Answer, Refusal> {
    if node.probe.measure_now().await {
        Ok(report(node))
    } else {
        Err(Refusal::stopping())
    }
}

/// What was measured lately, as a picture.
pub(super) fn plot(node: &Site) -> Answer {
    let mut answer = answer(StatusCode::OK, SVG, Bytes::from(node.probe.plot()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    answer
}
