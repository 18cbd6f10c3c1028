//! The listeners of the node: which routes are served on each, and what every answer there says to pages of other origins.

use hyper::header::HeaderValue;

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Everything but the path gateway, for everybody (`http.listen`).
    Api,
    /// The same, for the operator (`http.admin-listen`): every scope is granted there.
    Admin,
    /// The path gateway alone (`http.gateway-listen`): nothing on it changes anything.
    Gateway,
}

impl Listener {
    /// What pages of other origins may send (path gateway specification, as the public conformance suite has it).
    pub(super) const fn allowed_headers(self) -> HeaderValue {
        match self {
            Listener::Api | Listener::Admin => HeaderValue::from_static(
                "Authorization, Cache-Control, Content-Type, Range, X-Requested-With, If-None-Match",
            ),
            Listener::Gateway => HeaderValue::from_static(
                "Cache-Control, Content-Type, If-None-Match, Range, User-Agent, X-Requested-With",
            ),
        }
    }

    /// What pages of other origins may read.
    pub(super) const fn exposed_headers(self) -> HeaderValue {
        match self {
            Listener::Api | Listener::Admin => HeaderValue::from_static(
                "Age, Content-Disposition, Content-Length, Content-Location, Content-Range, ETag, Retry-After, X-Ipfs-Path, X-Ipfs-Roots",
            ),
            Listener::Gateway => HeaderValue::from_static(
                "Age, Content-Disposition, Content-Length, Content-Location, Content-Range, ETag, Retry-After, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, X-Stream-Output",
            ),
        }
    }
}
