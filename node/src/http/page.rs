//! `/` and `/page/…`: what a person sees in a browser. The files are part of the program.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::answer::{Answer, answer};
use super::call::Call;
use super::refusal::Refusal;

/// The status page; it reads `/v1/status` and `/v1/names`, and shows `/v1/probe/plot.svg`, at the admin listener. At the public one it says where
/// that is.
static HOME: &str = include_str!("page/home.html");

/// The files under `/page/`, as name and content.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page_files.rs"));

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Pages load their own files and talk to nodes, which may be anywhere; nobody may put them into a frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src *; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The policy of the status page, whose script stands in it.
const HOME_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub(super) async fn home(_: Call) -> Result<Answer, Refusal> {
    let mut answer = answer(StatusCode::OK, HTML, Bytes::from_static(HOME.as_bytes()));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HOME_POLICY);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}

pub(super) async fn file(call: Call) -> Result<Answer, Refusal> {
    let name = match &*call.parameter {
        "" => "index.html",
        name => name,
    };
    let (_, content) = FILES
        .iter()
        .find(|(file, _)| *file == name)
        .ok_or_else(|| {
            Refusal::not_found(
                format!("there is no file {name} here"),
                "a program has the page that `cargo xtask browser --build` made before it was built",
            )
        })?;
    let mut answer = answer(
        StatusCode::OK,
        media_type(name),
        Bytes::from_static(content),
    );
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}

fn media_type(name: &str) -> HeaderValue {
    HeaderValue::from_static(match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    })
}
