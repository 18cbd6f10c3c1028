//! Where a node is.

use std::{fmt, str::FromStr};

use perennis_shared::error::{ErrorKind, Retryable};
use url::{Host, Url};

/// The base URL of a node, gateway or router: `http` or `https`, no credentials, query or fragment. Two
/// spellings of one place are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeUrl(Url);

/// Why a text is no base URL.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeUrlError {
    /// Not an absolute URL.
    #[error("not a URL such as http://127.0.0.1:4780")]
    Malformed,
    /// Another scheme than `http` and `https`.
    #[error("the scheme must be http or https")]
    Scheme,
    /// A user name, query or fragment, which would end up in logs or on every request.
    #[error("a node's URL has no user name, password, query or fragment")]
    Extra,
}

impl Retryable for NodeUrlError {
    fn kind(&self) -> ErrorKind {
        match self {
            NodeUrlError::Malformed | NodeUrlError::Scheme | NodeUrlError::Extra => {
                ErrorKind::Reject
            }
        }
    }
}

impl NodeUrl {
    /// `HOST`, or `HOST:PORT` where the port is not the usual one of the scheme.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// The name or address of the machine, without the port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether nobody on the way reads what is sent there: it is `https`, or this machine.
    #[must_use]
    pub fn is_confidential(&self) -> bool {
        let is_here = match self.0.host() {
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        self.0.scheme() == "https" || is_here
    }

    /// The URL of `path`, which begins without a slash and is made of URL-safe characters, below this base.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{self}/{path}")
    }
}

impl FromStr for NodeUrl {
    type Err = NodeUrlError;

    fn from_str(text: &str) -> Result<Self, NodeUrlError> {
        let url = Url::parse(text.trim()).map_err(|_| NodeUrlError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NodeUrlError::Scheme);
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.query().is_some() || url.fragment().is_some() {
            return Err(NodeUrlError::Extra);
        }
        let mut url = url;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn spellings_of_one_place_are_equal() {
        let one: NodeUrl = "http://127.0.0.1:4780".parse().unwrap();
        for text in ["http://127.0.0.1:4780/", " HTTP://127.0.0.1:4780//\n"] {
            assert_eq!(text.parse::<NodeUrl>().unwrap(), one);
        }
        assert_eq!(one.to_string(), "http://127.0.0.1:4780");
        assert_eq!(one.at("v1/names"), "http://127.0.0.1:4780/v1/names");
    }

    #[test]
    fn path_of_a_base_is_kept() {
        let url: NodeUrl = "https://example.org/perennis/".parse().unwrap();
        assert_eq!(url.at("ipfs/x"), "https://example.org/perennis/ipfs/x");
    }

    #[test]
    fn what_is_sent_over_http_is_read_on_the_way_unless_it_stays_here() {
        for (text, authority, is_confidential) in [
            ("https://node.example", "node.example", true),
            ("https://node.example:443/x", "node.example", true),
            ("http://node.example:4780", "node.example:4780", false),
            ("http://127.0.0.1:4780", "127.0.0.1:4780", true),
            ("http://[::1]:4780", "[::1]:4780", true),
            ("http://LocalHost", "localhost", true),
            ("http://localhost.example", "localhost.example", false),
        ] {
            let url: NodeUrl = text.parse().unwrap();
            assert_eq!(url.authority(), authority);
            assert_eq!(url.is_confidential(), is_confidential, "{text}");
        }
    }

    #[test]
    fn what_is_no_base_is_refused() {
        for (text, error) in [
            ("", NodeUrlError::Malformed),
            ("127.0.0.1:4780", NodeUrlError::Malformed),
            ("ftp://example.org", NodeUrlError::Scheme),
            ("file:///etc/passwd", NodeUrlError::Scheme),
            ("http://me@example.org", NodeUrlError::Extra),
            ("http://example.org/?a=b", NodeUrlError::Extra),
            ("http://example.org/#a", NodeUrlError::Extra),
        ] {
            assert_eq!(text.parse::<NodeUrl>().unwrap_err(), error, "{text}");
        }
    }
}
