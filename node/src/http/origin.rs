//! Keeps pages of other origins from steering a node that trusts whoever is on this machine.
//!
//! A browser sends `Origin` with every request of a page that changes something. A page whose name was made to resolve
//! to this machine (DNS rebinding) has an origin of its own name, and that name in `Host` too. So both must name this
//! machine. A node that listens elsewhere has a token, which no page knows.

use std::net::IpAddr;

use hyper::header::{self, HeaderName};
use hyper::{Request, Uri};

use super::refusal::Refusal;
use crate::config::HttpConfig;

/// Refuses a request whose `Origin` or `Host` is not of this machine.
pub(super) fn check<B>(config: &HttpConfig, request: &Request<B>) -> Result<(), Refusal> {
    let text = |name: HeaderName| {
        let value = request.headers().get(name)?;
        // What is no text names no machine.
        Some(value.to_str().unwrap_or_default())
    };
    let host = text(header::HOST).unwrap_or_default();
    if config.listen.ip().is_loopback() && !is_local(host) {
        return Err(refused("Host", host));
    }
    let Some(origin) = text(header::ORIGIN) else {
        return Ok(());
    };
    let authority = origin
        .parse::<Uri>()
        .ok()
        .and_then(|uri| uri.into_parts().authority);
    if authority.is_some_and(|authority| authority.as_str() == host) {
        return Ok(());
    }
    Err(refused("Origin", origin))
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
        format!("{header} is {value:?}: a page of another origin may not steer this node"),
        "call from the command line, or from a page that this node serves",
    )
    .closing()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::config::Config;

    fn passes(host: &str, origin: Option<&str>) -> bool {
        let mut request = Request::builder().header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        check(&Config::default().http, &request.body(()).unwrap()).is_ok()
    }

    #[test]
    fn only_this_machine_steers_a_local_node() {
        assert!(passes("127.0.0.1:4780", None));
        assert!(passes("localhost:4780", None));
        assert!(passes("[::1]:4780", None));
        assert!(passes("127.0.0.1:4780", Some("http://127.0.0.1:4780")));
        assert!(!passes("127.0.0.1:4780", Some("https://evil.example")));
        assert!(!passes("127.0.0.1:4780", Some("http://127.0.0.1:8080")));
        assert!(!passes("127.0.0.1:4780", Some("null")));
        // A name that resolves to this machine is not its name.
        assert!(!passes(
            "evil.example:4780",
            Some("http://evil.example:4780")
        ));
        assert!(!passes("evil.example", None));
        assert!(!passes("", None));
        assert!(!passes("localhost.evil.example", None));
    }
}
