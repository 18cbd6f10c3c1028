//! What a route needs of its caller.
//!
//! Whoever has the bearer token of the node may write; without a token in the configuration everybody may. What is signed by
//! a name's owner may come from any page; what steers the node may not ([`origin`]).

use hyper::Request;
use hyper::header::{self, HeaderValue};

use super::origin;
use super::refusal::Refusal;
use super::service::Service;

/// The scheme of tokens (RFC 6750).
const BEARER: &[u8] = b"Bearer";

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

/// The token of the scheme `Bearer`, whose name may be in any case and have several spaces behind it (RFC 9110, section 11.4).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(BEARER) && token.starts_with(b" ");
    is_bearer.then(|| token.trim_ascii_start())
}

/// Checks the bearer token, when this node has one.
fn authorize<B>(node: &Service, request: &Request<B>) -> Result<(), Refusal> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| bearer(value.as_bytes()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_read_in_any_case_and_the_token_as_it_is() {
        for (value, token) in [
            ("Bearer Abc", Some("Abc")),
            ("bearer Abc", Some("Abc")),
            ("BEARER   Abc", Some("Abc")),
            ("Bearer ", Some("")),
            ("Bearer", None),
            ("BearerAbc", None),
            ("Bearer\tAbc", None),
            ("Basic Abc", None),
            ("Bear", None),
            ("", None),
        ] {
            assert_eq!(
                bearer(value.as_bytes()),
                token.map(str::as_bytes),
                "{value}"
            );
        }
    }
}
