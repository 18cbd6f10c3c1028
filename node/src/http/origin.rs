//! What pages of other origins may do.
//!
//! A browser sends `Origin` with every request of a page that changes something, and with every request to another origin that is to be
//! read. A page whose name was made to resolve to this machine (DNS rebinding) has an origin of its own name, and that name in `Host` too.
//! So where it matters both must name this machine.
//!
//! | scope | pages of other origins |
//! |---|---|
//! | public | read everything |
//! | publish | write where `http.allow-origins` has them, and read the answer |
//! | read, pin, admin | are refused, and cannot read the refusal |
//!
//! On the admin listener all are refused, at every path.

use std::net::IpAddr;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Uri};

use super::listener::Listener;
use super::refusal::Refusal;
use super::sharing::Sharing;
use crate::config::{AllowedOrigins, HttpConfig};
use crate::scope::Scope;

/// The schemes of browser extensions.
const EXTENSIONS: &[&str] = &["chrome-extension", "moz-extension", "safari-web-extension"];

/// Refuses a request of a page that may not call a route of this scope, and says which pages may read the answer.
pub(super) fn check<B>(
    config: &HttpConfig,
    listener: Listener,
    scope: Scope,
    request: &Request<B>,
) -> Result<Sharing, Refusal> {
    let changes = matches!(scope, Scope::Publish | Scope::Pin | Scope::Admin);
    let is_for_this_machine = match listener {
        Listener::Gateway => return Ok(Sharing::Everybody),
        Listener::Api if scope == Scope::Public => return Ok(Sharing::Everybody),
        Listener::Api => changes && config.is_local(),
        Listener::Admin => true,
    };
    let host = host(request);
    if is_for_this_machine && !is_local(host) {
        return Err(refused("Host", host));
    }
    let Some(origin) = text(request) else {
        return Ok(Sharing::Nobody);
    };
    let authority = authority(origin);
    if authority.as_deref() == Some(host) {
        return Ok(Sharing::Nobody);
    }
    if listener == Listener::Api && scope == Scope::Publish {
        match sharing(config, origin) {
            Sharing::Nobody => {}
            shared => return Ok(shared),
        }
    }
    Err(refused("Origin", origin))
}

/// The origin of the page that calls. What is no text is the origin of nobody.
pub(super) fn text<B>(request: &Request<B>) -> Option<&str> {
    header(request, header::ORIGIN)
}

/// Whether what a page of this origin publishes is taken.
fn sharing(config: &HttpConfig, origin: &str) -> Sharing {
    let is_allowed = match &config.allow_origins {
        AllowedOrigins::All => return Sharing::Everybody,
        AllowedOrigins::ByAddress if !config.is_local() => return Sharing::Everybody,
        AllowedOrigins::ByAddress => is_of_this_machine(origin),
        AllowedOrigins::These(origins) => origins
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(origin)),
    };
    match HeaderValue::from_str(origin) {
        Ok(origin) if is_allowed => Sharing::With(origin),
        _ => Sharing::Nobody,
    }
}

/// A page that this machine serves, or an extension of its browser.
fn is_of_this_machine(origin: &str) -> bool {
    let scheme = origin.split("://").next().unwrap_or_default();
    match scheme {
        "http" | "https" => authority(origin).is_some_and(|authority| is_local(&authority)),
        _ => EXTENSIONS.contains(&scheme),
    }
}

/// The host that a request is for.
fn host<B>(request: &Request<B>) -> &str {
    match request.uri().authority() {
        // It wins over the header (RFC 9112, section 3.2.2).
        Some(authority) => authority.as_str(),
        None => header(request, header::HOST).unwrap_or_default(),
    }
}

fn header<B>(request: &Request<B>, name: HeaderName) -> Option<&str> {
    let value = request.headers().get(name)?;
    Some(value.to_str().unwrap_or_default())
}

fn authority(origin: &str) -> Option<String> {
    let uri = origin.parse::<Uri>().ok()?;
    uri.authority()
        .map(|authority| authority.as_str().to_owned())
}

/// Whether `host[:port]` is this machine.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn refused(header: &str, value: &str) -> Refusal {
    let value: String = value.chars().take(100).collect();
    Refusal::new(
        "foreign_origin",
        format!("{header} is {value:?}: a page of another origin may not call this"),
        match header {
            "Host" => "call it by the name localhost or by its address",
            _ => "call from a program, or from a page that this node serves; for publishing the operator names origins in http.allow-origins",
        },
    )
    .closing()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// What becomes of a request, by whom the answer is shared with.
    fn told(
        config: &HttpConfig,
        listener: Listener,
        scope: Scope,
        host: &str,
        origin: Option<&str>,
    ) -> &'static str {
        let mut request = Request::builder().header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        match check(config, listener, scope, &request.body(()).unwrap()) {
            Ok(Sharing::Everybody) => "everybody",
            Ok(Sharing::With(shared)) => {
                assert_eq!(Some(shared.to_str().unwrap()), origin);
                "that one"
            }
            Ok(Sharing::Nobody) => "nobody",
            Err(_) => "refused",
        }
    }

    #[test]
    fn only_this_machine_reaches_the_admin_listener_at_any_path() {
        let config = Config::default().http;
        for (host, origin, is_taken) in [
            ("127.0.0.1:4783", None, true),
            ("localhost:4783", None, true),
            ("[::1]:4783", None, true),
            ("127.0.0.1:4783", Some("http://127.0.0.1:4783"), true),
            ("127.0.0.1:4783", Some("https://evil.example"), false),
            // Another page of this machine is another origin.
            ("127.0.0.1:4783", Some("http://127.0.0.1:8080"), false),
            ("127.0.0.1:4783", Some("chrome-extension://abc"), false),
            ("127.0.0.1:4783", Some("null"), false),
            // A name that resolves to this machine is not its name.
            ("evil.example:4783", Some("http://evil.example:4783"), false),
            ("evil.example", None, false),
            ("", None, false),
            ("localhost.evil.example", None, false),
        ] {
            for scope in Scope::ALL {
                let told = told(&config, Listener::Admin, scope, host, origin);
                let expected = if is_taken { "nobody" } else { "refused" };
                assert_eq!(told, expected, "{scope} {host} {origin:?}");
            }
        }
    }

    #[test]
    fn on_the_public_listener_the_scope_decides_what_a_page_may() {
        let local = Config::default().http;
        let mut public = local.clone();
        public.listen = "0.0.0.0:4780".parse().unwrap();
        let mut behind_proxy = local.clone();
        behind_proxy.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        let mut named = local.clone();
        named.allow_origins = AllowedOrigins::These(vec!["https://app.example".to_owned()]);
        let mut all = local.clone();
        all.allow_origins = AllowedOrigins::All;
        let told = |config, scope, host, origin| told(config, Listener::Api, scope, host, origin);
        let evil = Some("https://evil.example");
        let app = Some("https://app.example");
        let (here, there) = ("127.0.0.1:4780", "node.example");
        for config in [&local, &public, &behind_proxy, &named, &all] {
            assert_eq!(told(config, Scope::Public, there, evil), "everybody");
            for scope in [Scope::Read, Scope::Pin, Scope::Admin] {
                assert_eq!(told(config, scope, here, None), "nobody");
                assert_eq!(told(config, scope, here, evil), "refused");
                assert_eq!(told(config, scope, here, app), "refused");
                let own = Some("http://127.0.0.1:4780");
                assert_eq!(told(config, scope, here, own), "nobody");
            }
        }
        for (config, origin, expected) in [
            (&local, evil, "refused"),
            (&local, Some("null"), "refused"),
            (&local, Some("http://localhost:8080"), "that one"),
            (&local, Some("https://[::1]"), "that one"),
            (&local, Some("chrome-extension://abcdef"), "that one"),
            (&local, Some("moz-extension://0-1-2"), "that one"),
            (&local, Some("ftp://localhost"), "refused"),
            (&local, Some("http://localhost.evil.example"), "refused"),
            (&public, evil, "everybody"),
            (&behind_proxy, evil, "everybody"),
            (&named, evil, "refused"),
            (&named, app, "that one"),
            (&named, Some("http://localhost:8080"), "refused"),
            (&all, evil, "everybody"),
        ] {
            assert_eq!(
                told(config, Scope::Publish, here, origin),
                expected,
                "{origin:?}"
            );
        }
        // A page whose name was made to lead here.
        let rebound = Some("http://evil.example:4780");
        for scope in [Scope::Publish, Scope::Pin, Scope::Admin] {
            for config in [&local, &named, &all] {
                assert_eq!(told(config, scope, "evil.example:4780", rebound), "refused");
                assert_eq!(told(config, scope, "evil.example:4780", None), "refused");
            }
            assert_eq!(told(&public, scope, there, None), "nobody");
            assert_eq!(told(&behind_proxy, scope, there, None), "nobody");
        }
    }
}
