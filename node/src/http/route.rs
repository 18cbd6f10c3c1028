//! The routes: one table that the server matches against and the OpenAPI document is made from.

use hyper::Method;

mod table;

pub(crate) use table::ROUTES;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    Home,
    Page,
    Live,
    Ready,
    Metrics,
    OpenApi,
    Block,
    IpnsGateway,
    RecordGet,
    RecordPut,
    Names,
    NameStatus,
    Publish,
    Pins,
    Index,
    Status,
    Identifier,
    Peers,
    PeerConnect,
    PeerBan,
    PeerUnban,
    Provide,
    Providers,
    RoutedProviders,
    RoutedPeer,
    Fetch,
    Fetched,
    Release,
}

/// One documented answer.
pub(crate) struct Documented {
    pub(crate) status: u16,
    pub(crate) meaning: &'static str,
    pub(crate) content: &'static [(&'static str, Shape)],
}

/// What a body looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A JSON document of the schema file with this name.
    Schema(&'static str),
    /// Text.
    Text,
    /// Bytes.
    Binary,
}

/// A parameter in the query.
pub(crate) struct Query {
    pub(crate) name: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) values: &'static [&'static str],
}

/// One route.
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) method: Method,
    /// Segments; `{x}` takes one, `{x...}` at the end takes the rest.
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    /// Whether the bearer token is needed when the node has one.
    pub(crate) writes: bool,
    pub(crate) query: &'static [Query],
    pub(crate) request: Option<&'static str>,
    pub(crate) answers: &'static [Documented],
}

impl Endpoint {
    /// The name in metrics and in the OpenAPI document.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Endpoint::Home => "home",
            Endpoint::Page => "page",
            Endpoint::Live => "live",
            Endpoint::Ready => "ready",
            Endpoint::Metrics => "metrics",
            Endpoint::OpenApi => "openapi",
            Endpoint::Block => "block",
            Endpoint::IpnsGateway => "ipns",
            Endpoint::RecordGet => "record_get",
            Endpoint::RecordPut => "record_put",
            Endpoint::Names => "names",
            Endpoint::NameStatus => "name",
            Endpoint::Publish => "publish",
            Endpoint::Pins => "pins",
            Endpoint::Index => "index",
            Endpoint::Status => "status",
            Endpoint::Identifier => "identifier",
            Endpoint::Peers => "peers",
            Endpoint::PeerConnect => "peer_connect",
            Endpoint::PeerBan => "peer_ban",
            Endpoint::PeerUnban => "peer_unban",
            Endpoint::Provide => "provide",
            Endpoint::Providers => "providers",
            Endpoint::RoutedProviders => "providers_routing",
            Endpoint::RoutedPeer => "peers_routing",
            Endpoint::Fetch => "fetch",
            Endpoint::Fetched => "fetched",
            Endpoint::Release => "release",
        }
    }
}

/// What a method and a path come to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Matched<'a> {
    /// A route, and the text its parameter stands for, still percent-encoded.
    Route(Endpoint, &'a str),
    /// A path that other methods are for; they are named as in `Allow`.
    OtherMethods(&'static str),
    /// No path of ours.
    Nothing,
}

/// Finds the endpoint of a request. HEAD is GET without the body.
pub(crate) fn find<'a>(method: &Method, path: &'a str) -> Matched<'a> {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let (first, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let read = method == Method::GET || method == Method::HEAD;
    let get = |endpoint: Endpoint, parameter: &'a str| {
        if read {
            Matched::Route(endpoint, parameter)
        } else {
            Matched::OtherMethods("GET, HEAD, OPTIONS")
        }
    };
    // The paths that are asked for most come first.
    match (first, rest) {
        ("ipfs", cid) if !cid.is_empty() => get(Endpoint::Block, cid),
        ("routing", rest) => match rest.strip_prefix("v1/ipns/") {
            Some(name) if one_segment(name) => match *method {
                Method::PUT => Matched::Route(Endpoint::RecordPut, name),
                _ if read => Matched::Route(Endpoint::RecordGet, name),
                _ => Matched::OtherMethods("GET, HEAD, PUT, OPTIONS"),
            },
            _ => match rest.strip_prefix("v1/") {
                Some(rest) => match rest.split_once('/') {
                    Some(("providers", cid)) if one_segment(cid) => {
                        get(Endpoint::RoutedProviders, cid)
                    }
                    Some(("peers", peer)) if one_segment(peer) => get(Endpoint::RoutedPeer, peer),
                    _ => Matched::Nothing,
                },
                None => Matched::Nothing,
            },
        },
        ("ipns", name) if !name.is_empty() => get(Endpoint::IpnsGateway, name),
        ("v1", rest) => match rest.split_once('/') {
            None => match rest {
                "names" => get(Endpoint::Names, ""),
                "pins" => get(Endpoint::Pins, ""),
                "index" => get(Endpoint::Index, ""),
                "status" => get(Endpoint::Status, ""),
                "peers" => get(Endpoint::Peers, ""),
                "fetched" => get(Endpoint::Fetched, ""),
                _ => Matched::Nothing,
            },
            Some(("names", name)) => match name.strip_suffix("/publish") {
                Some(name) if one_segment(name) => match *method {
                    Method::POST => Matched::Route(Endpoint::Publish, name),
                    _ => Matched::OtherMethods("POST, OPTIONS"),
                },
                None if one_segment(name) => get(Endpoint::NameStatus, name),
                _ => Matched::Nothing,
            },
            Some(("peers", "connect")) => match *method {
                Method::POST => Matched::Route(Endpoint::PeerConnect, ""),
                _ => Matched::OtherMethods("POST, OPTIONS"),
            },
            Some(("peers", peer)) => match peer.strip_suffix("/ban") {
                Some(peer) if one_segment(peer) => match *method {
                    Method::PUT => Matched::Route(Endpoint::PeerBan, peer),
                    Method::DELETE => Matched::Route(Endpoint::PeerUnban, peer),
                    _ => Matched::OtherMethods("PUT, DELETE, OPTIONS"),
                },
                _ => Matched::Nothing,
            },
            Some(("providers", cid)) if one_segment(cid) => match *method {
                Method::POST => Matched::Route(Endpoint::Provide, cid),
                _ if read => Matched::Route(Endpoint::Providers, cid),
                _ => Matched::OtherMethods("GET, HEAD, POST, OPTIONS"),
            },
            Some(("fetched", cid)) if one_segment(cid) => match *method {
                Method::POST => Matched::Route(Endpoint::Fetch, cid),
                Method::DELETE => Matched::Route(Endpoint::Release, cid),
                _ => Matched::OtherMethods("POST, DELETE, OPTIONS"),
            },
            Some(_) => Matched::Nothing,
        },
        ("1.0", rest) => match rest.strip_prefix("identifiers/") {
            Some(did) if one_segment(did) => get(Endpoint::Identifier, did),
            _ => Matched::Nothing,
        },
        ("health", "live") => get(Endpoint::Live, ""),
        ("health", "ready") => get(Endpoint::Ready, ""),
        ("metrics", "") => get(Endpoint::Metrics, ""),
        ("openapi.json", "") => get(Endpoint::OpenApi, ""),
        ("page", file) => get(Endpoint::Page, file),
        ("", "") => get(Endpoint::Home, ""),
        _ => Matched::Nothing,
    }
}

fn one_segment(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

/// Decodes `%41` in a parameter. `None` for what is not well formed or not UTF-8.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// The value of a query parameter, still percent-encoded.
pub(crate) fn query<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_route_is_found_and_answers_other_methods_with_its_own() {
        for route in ROUTES {
            let path = route
                .path
                .replace("{cid}", "bafy")
                .replace("{name}", "k51")
                .replace("{did}", "did:key:z6Mk")
                .replace("{file}", "index.html");
            match find(&route.method, &path) {
                Matched::Route(endpoint, _) => assert_eq!(endpoint, route.endpoint),
                other => panic!("{path}: {other:?}"),
            }
            match find(&Method::DELETE, &path) {
                Matched::OtherMethods(methods) => {
                    assert!(methods.contains(route.method.as_str()), "{path}: {methods}");
                }
                other => panic!("{path}: {other:?}"),
            }
        }
    }

    #[test]
    fn parameters_are_taken_from_the_path() {
        assert_eq!(
            find(&Method::HEAD, "/ipfs/bafy"),
            Matched::Route(Endpoint::Block, "bafy")
        );
        assert_eq!(
            find(&Method::POST, "/v1/names/k51/publish"),
            Matched::Route(Endpoint::Publish, "k51")
        );
        for path in [
            "/ipfs",
            "/ipfs/",
            "/v1",
            "/v1/names/",
            "/v1/names/a/b",
            "/v1/names//publish",
            "/routing/v1/ipns/",
            "/routing/v1/ipns/a/b",
            "/health",
            "/health/live/",
            "/1.0/identifiers/",
            "/unknown",
        ] {
            assert_eq!(find(&Method::GET, path), Matched::Nothing, "{path}");
        }
    }

    #[test]
    fn percent_encoding_is_decoded_strictly() {
        assert_eq!(decoded("did%3Akey%3az").as_deref(), Some("did:key:z"));
        assert_eq!(decoded("a%"), None);
        assert_eq!(decoded("a%4"), None);
        assert_eq!(decoded("a%zz"), None);
        assert_eq!(decoded("%ff"), None);
    }

    #[test]
    fn query_parameters_are_found() {
        assert_eq!(
            query(Some("format=car&dag-scope=all"), "dag-scope"),
            Some("all")
        );
        assert_eq!(query(Some("format"), "format"), None);
        assert_eq!(query(None, "format"), None);
    }
}
