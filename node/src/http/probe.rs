//! `/v1/probe`: how fast the canary name is published and found through each route.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::answer::{Answer, NO_STORE, answer};
use super::call::Call;
use super::document::json;
use super::refusal::Refusal;

const SVG: HeaderValue = HeaderValue::from_static("image/svg+xml");

/// The picture loads nothing, and its style stands in it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
);

/// What was measured lately.
pub(super) async fn report(call: Call) -> Result<Answer, Refusal> {
    Ok(json(StatusCode::OK, &call.node.probe.report()))
}

/// Measures now.
pub(super) async fn now(call: Call) -> Result<Answer, Refusal> {
    if call.node.probe.measure_now().await {
        report(call).await
    } else {
        Err(Refusal::stopping())
    }
}

/// What was measured lately, as a picture.
pub(super) async fn plot(call: Call) -> Result<Answer, Refusal> {
    let mut answer = answer(StatusCode::OK, SVG, Bytes::from(call.node.probe.plot()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    Ok(answer)
}
