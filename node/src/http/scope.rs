//! What a route needs of its caller.
//!
//! Whoever has the bearer token of the node may write; without a token in the configuration everybody may. What is signed by
//! a name's owner may come from any page; what steers the node may not ([`origin`]).

use hyper::Request;
use hyper::header::{self, HeaderValue};

use super::origin;
use super::refusal::Refusal;
use super::service::Service;

/// What a route does with the node, and so who may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// It changes nothing.
    Read,
    /// It stores what a name's owner has signed.
    Publish,
    /// It steers the node.
    Control,
}

impl Scope {
    /// Refuses a caller who may not.
    pub(super) fn admit<B>(self, node: &Service, request: &Request<B>) -> Result<(), Refusal> {
        if self == Scope::Read {
            return Ok(());
        }
        authorize(node, request)?;
        if self == Scope::Control {
            origin::check(&node.config.http, request)?;
        }
        Ok(())
    }
}

/// Checks the bearer token, when this node has one.
fn authorize<B>(node: &Service, request: &Request<B>) -> Result<(), Refusal> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if node.token.admits(given) {
        return Ok(());
    }
    Err(Refusal::new(
        "unauthorized",
        "this node takes writes only with its bearer token",
        "send the header Authorization: Bearer TOKEN with the token from the operator's http.token-file",
    )
    .with_header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer"),
    )
    .closing())
}
