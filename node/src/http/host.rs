//! The header `Host`, without which a request of HTTP/1.1 says not whom it is for (RFC 9112, section 3.2).

use std::net::Ipv6Addr;

use hyper::header;
use hyper::{Request, Version};

use super::refusal::Refusal;

/// Refuses a request of HTTP/1.1 without the header, and any with two of them or with one that is no host.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let problem = match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => return Ok(()),
        (Some(_), None) => "the header Host is no host",
        (Some(_), Some(_)) => "the header Host is there twice",
        (None, _) if request.version() < Version::HTTP_11 => return Ok(()),
        (None, _) => "the header Host is missing",
    };
    Err(Refusal::new(
        "invalid_host",
        problem,
        "send one header Host with the name or address that the node is called by, such as Host: node.example:4780",
    )
    .closing())
}

/// Whether it is `host` or `host:port`: an address of IPv6 in brackets, an address of IPv4, or a name.
fn is_host(text: &[u8]) -> bool {
    let rest = match text.strip_prefix(b"[") {
        Some(inside) => {
            let Some(end) = inside.iter().position(|byte| *byte == b']') else {
                return false;
            };
            let (address, rest) = inside.split_at(end);
            let address = str::from_utf8(address).ok();
            if address.is_none_or(|address| address.parse::<Ipv6Addr>().is_err()) {
                return false;
            }
            &rest[1..]
        }
        None => {
            let end = text.iter().position(|byte| *byte == b':');
            let (name, rest) = text.split_at(end.unwrap_or(text.len()));
            // Of the characters of a reg-name (RFC 3986, section 3.2.2) those that are names of somebody.
            let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte);
            if name.is_empty() || !name.iter().all(is_of_name) {
                return false;
            }
            rest
        }
    };
    match rest.strip_prefix(b":") {
        Some(port) => {
            let port = str::from_utf8(port).unwrap_or("no port");
            port.is_empty() || (!port.starts_with('+') && port.parse::<u16>().is_ok())
        }
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "localhost",
            "node.example",
            "node.example:",
            "node.example:4780",
            "a_b-c~d.example",
            "127.0.0.1:4780",
            "[::1]",
            "[2001:db8::1]:65535",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":4780",
            "a b",
            "a/b",
            "a,b",
            "me@node.example",
            "node.example:65536",
            "node.example:+1",
            "node.example:x",
            "node.example:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]]",
            "[localhost]",
            "näme.example",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        let check = |version, hosts: &[&str]| {
            let mut request = Request::builder().version(version);
            for host in hosts {
                request = request.header("host", *host);
            }
            check(&request.body(()).unwrap()).is_ok()
        };
        assert!(check(Version::HTTP_11, &["node.example"]));
        assert!(!check(Version::HTTP_11, &[]));
        assert!(!check(Version::HTTP_11, &["node.example", "node.example"]));
        assert!(!check(Version::HTTP_11, &["a b"]));
        assert!(check(Version::HTTP_10, &[]));
        assert!(!check(Version::HTTP_10, &["a", "b"]));
    }
}
