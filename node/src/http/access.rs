//! Who may call: what each listener grants, and what has to be shown for the rest.
//!
//! At the admin listener everybody is the operator, since only this machine reaches it and no page does ([`origin`](super::origin)).
//! At the public one an address grants nothing, because behind a proxy everybody has the proxy's: what is for everybody is free, what
//! a name's owner has signed is taken by the policy of admission, and everything else needs a token with its scope.

use std::net::IpAddr;

use hyper::Request;
use hyper::header;

use super::answer::text_header;
use super::forwarded;
use super::listener::Listener;
use super::origin;
use super::refusal::Refusal;
use super::service::Service;
use crate::caller::Caller;
use crate::config::PublishPolicy;
use crate::scope::{Scope, Scopes};

/// The scheme of tokens (RFC 6750).
const BEARER: &[u8] = b"Bearer";

/// Who calls, where that one may; else why not.
pub(super) fn admit<B>(
    node: &Service,
    listener: Listener,
    scope: Scope,
    peer: IpAddr,
    request: &Request<B>,
) -> Result<Caller, Refusal> {
    let is_asked = listener == Listener::Api && scope != Scope::Public;
    if !is_asked {
        return Ok(Caller {
            address: peer,
            is_rated: false,
            has_publish_token: false,
            origin: None,
        });
    }
    let trusted = &node.config.http.trusted_proxies;
    let address = forwarded::caller(peer, request.headers(), trusted, &node.proxy_notice)?;
    let granted = granted(node, scope, request)?;
    let has_publish_token = granted.has(Scope::Publish);
    Ok(Caller {
        address,
        is_rated: !has_publish_token,
        has_publish_token,
        origin: origin::text(request).map(Into::into),
    })
}

/// What the caller's token grants, where that is enough for the scope.
fn granted<B>(node: &Service, scope: Scope, request: &Request<B>) -> Result<Scopes, Refusal> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| bearer(value.as_bytes()));
    let is_free = scope == Scope::Publish && node.config.http.publish == PublishPolicy::Open;
    let Some(given) = given else {
        return match is_free {
            true => Ok(Scopes::default()),
            false => Err(unauthorized(node, scope, false)),
        };
    };
    // One that is shown where none is needed is looked at too: whoever shows it takes it for a good one.
    match node.tokens.scopes_of(given) {
        Some(scopes) if is_free || scopes.has(scope) => Ok(scopes),
        Some(scopes) => Err(out_of_scope(node, scope, scopes)),
        None => Err(unauthorized(node, scope, true)),
    }
}

/// The token of the scheme `Bearer`, whose name may be in any case and have several spaces behind it (RFC 9110, section 11.4).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(BEARER) && token.starts_with(b" ");
    is_bearer.then(|| token.trim_ascii_start())
}

fn unauthorized(node: &Service, scope: Scope, is_given: bool) -> Refusal {
    let (message, challenge) = match is_given {
        true => (
            "no token of this node is the one that was sent".to_owned(),
            format!("Bearer error=\"invalid_token\", scope=\"{scope}\""),
        ),
        false => (
            format!("this needs a token with the scope {scope}"),
            format!("Bearer scope=\"{scope}\""),
        ),
    };
    Refusal::new("unauthorized", message, hint(node, scope))
        .with_header(header::WWW_AUTHENTICATE, text_header(challenge))
        .closing()
}

fn out_of_scope(node: &Service, scope: Scope, scopes: Scopes) -> Refusal {
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
    Refusal::new(
        "scope",
        format!("the token grants {scopes}, and this needs the scope {scope}"),
        hint(node, scope),
    )
    .with_header(header::WWW_AUTHENTICATE, text_header(challenge))
    .closing()
}

/// Where it may be called without a token, and how with one.
fn hint(node: &Service, scope: Scope) -> String {
    let with_token = format!(
        "send Authorization: Bearer TOKEN with a token of the scope {scope}, which the node's operator gives"
    );
    match &node.admin {
        Some(admin) => {
            format!("call {admin} on the node's own machine, or {with_token}")
        }
        None => with_token,
    }
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
