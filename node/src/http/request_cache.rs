//! What a request says about caches (`Cache-Control`, RFC 9111, section 5.2.1; path gateway specification).

use hyper::body::Incoming;
use hyper::header;
use hyper::{Request, Response, StatusCode};

use super::answer::{Answer, Body};

/// Whether only what is here already is wanted.
pub(super) fn only_if_cached(request: &Request<Incoming>) -> bool {
    says(request, "only-if-cached")
}

/// Whether the answer is to be looked for anew.
pub(super) fn no_cache(request: &Request<Incoming>) -> bool {
    says(request, "no-cache")
}

/// The answer where something is not here and only that was wanted: without a body, as the specification has it.
pub(super) fn not_cached() -> Answer {
    let mut answer = Response::new(Body::Empty);
    *answer.status_mut() = StatusCode::PRECONDITION_FAILED;
    answer
}

fn says(request: &Request<Incoming>, wanted: &str) -> bool {
    let values = request.headers().get_all(header::CACHE_CONTROL).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|directive| directive.trim().eq_ignore_ascii_case(wanted))
}
