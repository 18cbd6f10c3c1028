//! The routes: one table that the server matches against and the OpenAPI document is made from.

use hyper::Method;

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

const ERROR: &[(&str, Shape)] = &[("application/json", Shape::Schema("error"))];
const HTML: &[(&str, Shape)] = &[("text/html", Shape::Text)];

macro_rules! documented {
    ($($status:literal $meaning:literal $content:expr),* $(,)?) => {
        &[$(Documented { status: $status, meaning: $meaning, content: $content }),*]
    };
}

const PAGE_QUERY: &[Query] = &[
    Query {
        name: "after",
        meaning: "go on behind the `next` of the page before",
        values: &[],
    },
    Query {
        name: "limit",
        meaning: "rows on a page, 1 to 1,000, 100 without it",
        values: &[],
    },
];

/// Every route.
pub(crate) static ROUTES: &[Route] = &[
    Route {
        endpoint: Endpoint::Home,
        method: Method::GET,
        path: "/",
        summary: "A page that shows how the node is.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![200 "the page" HTML],
    },
    Route {
        endpoint: Endpoint::Page,
        method: Method::GET,
        path: "/page/{file}",
        summary: "The page for trying an identity in a browser, and its files.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![200 "the file" HTML, 404 "no such file" ERROR],
    },
    Route {
        endpoint: Endpoint::Live,
        method: Method::GET,
        path: "/health/live",
        summary: "Whether the process answers.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![200 "it does" &[("application/json", Shape::Schema("health"))]],
    },
    Route {
        endpoint: Endpoint::Ready,
        method: Method::GET,
        path: "/health/ready",
        summary: "Whether the node takes writes.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![
            200 "it does" &[("application/json", Shape::Schema("health"))],
            503 "it is stopping, its disk is full, or its store failed" &[("application/json", Shape::Schema("health"))],
        ],
    },
    Route {
        endpoint: Endpoint::Metrics,
        method: Method::GET,
        path: "/metrics",
        summary: "Metrics in the OpenMetrics text format.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![200 "the metrics" &[("application/openmetrics-text; version=1.0.0; charset=utf-8", Shape::Text)]],
    },
    Route {
        endpoint: Endpoint::OpenApi,
        method: Method::GET,
        path: "/openapi.json",
        summary: "This document.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![200 "the document" &[("application/json", Shape::Schema("openapi"))]],
    },
    Route {
        endpoint: Endpoint::Block,
        method: Method::GET,
        path: "/ipfs/{cid}",
        summary: "A block or a whole graph of blocks (trustless gateway specification).",
        writes: false,
        query: &[
            Query {
                name: "format",
                meaning: "what to send; wins over the header Accept; raw without both",
                values: &["raw", "car"],
            },
            Query {
                name: "dag-scope",
                meaning: "with car: the block alone, what is needed to read it, or everything below it",
                values: &["block", "entity", "all"],
            },
        ],
        request: None,
        answers: documented![
            200 "the block, or the graph as CARv1 in depth-first order without duplicates" &[
                ("application/vnd.ipld.raw", Shape::Binary),
                ("application/vnd.ipld.car; version=1; order=dfs; dups=n", Shape::Binary),
            ],
            206 "the asked part of the block" &[("application/vnd.ipld.raw", Shape::Binary)],
            304 "what the client has is what there is" &[],
            400 "no CID, or a parameter we do not know" ERROR,
            404 "the block is not here" ERROR,
            406 "a format that is not served" ERROR,
            416 "the range lies outside of the block" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::IpnsGateway,
        method: Method::GET,
        path: "/ipns/{name}",
        summary: "The newest record of a name (trustless gateway specification).",
        writes: false,
        query: &[Query {
            name: "format",
            meaning: "what to send; wins over the header Accept",
            values: &["ipns-record"],
        }],
        request: None,
        answers: documented![
            200 "the record" &[("application/vnd.ipfs.ipns-record", Shape::Binary)],
            304 "what the client has is what there is" &[],
            400 "no IPNS name" ERROR,
            404 "no valid record is here" ERROR,
            406 "a format that is not served" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::RecordGet,
        method: Method::GET,
        path: "/routing/v1/ipns/{name}",
        summary: "The newest record of a name (Delegated Routing V1). A missing record is 200 with another content type, as the specification has it.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![
            200 "the record, or a document that says there is none" &[
                ("application/vnd.ipfs.ipns-record", Shape::Binary),
                ("application/json", Shape::Schema("error")),
            ],
            304 "what the client has is what there is" &[],
            400 "no IPNS name" ERROR,
            406 "a format that is not served" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::RecordPut,
        method: Method::PUT,
        path: "/routing/v1/ipns/{name}",
        summary: "Stores a record durably (Delegated Routing V1). Blocks of an unknown head are fetched later.",
        writes: true,
        query: &[],
        request: Some("application/vnd.ipfs.ipns-record"),
        answers: documented![
            200 "stored" &[("application/json", Shape::Schema("receipt"))],
            400 "no name, no record, or no record of this name" ERROR,
            401 "the bearer token is missing or wrong" ERROR,
            403 "this name may not publish here" ERROR,
            409 "a newer record is known, or one of the same sequence with another value" ERROR,
            413 "above 10,240 bytes" ERROR,
            429 "too many writes, or a quota is used up" ERROR,
            503 "busy" ERROR,
            507 "the disk is full" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::Names,
        method: Method::GET,
        path: "/v1/names",
        summary: "The names this node keeps, in the order of their bytes.",
        writes: false,
        query: PAGE_QUERY,
        request: None,
        answers: documented![
            200 "a page" &[("application/json", Shape::Schema("names"))],
            400 "no cursor or no limit" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::NameStatus,
        method: Method::GET,
        path: "/v1/names/{name}",
        summary: "How one name is: its record, its size, its pins, when it was put where and when it is due again.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![
            200 "its status" &[("application/json", Shape::Schema("name"))],
            400 "no name" ERROR,
            404 "the name is not kept here" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::Publish,
        method: Method::POST,
        path: "/v1/names/{name}/publish",
        summary: "Stores a new head with its blocks durably, all of it or nothing. The body is CARv1 with the roots [head, record]; the record is its last block.",
        writes: true,
        query: &[],
        request: Some("application/vnd.ipld.car"),
        answers: documented![
            200 "stored durably" &[("application/json", Shape::Schema("receipt"))],
            400 "no name, no CAR, or not the message that is expected" ERROR,
            401 "the bearer token is missing or wrong" ERROR,
            403 "this name may not publish here" ERROR,
            408 "the body came too slowly" ERROR,
            409 "a newer record is known, or one of the same sequence with another value" ERROR,
            413 "the message or a block is too large" ERROR,
            415 "another content type" ERROR,
            422 "blocks are missing (they are listed), or the head is not by the name" ERROR,
            429 "too many writes, or a quota is used up" ERROR,
            503 "busy" ERROR,
            507 "the disk is full" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::Pins,
        method: Method::GET,
        path: "/v1/pins",
        summary: "What this node keeps, and for whom.",
        writes: false,
        query: PAGE_QUERY,
        request: None,
        answers: documented![
            200 "a page" &[("application/json", Shape::Schema("pins"))],
            400 "no cursor or no limit" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::Index,
        method: Method::GET,
        path: "/v1/index",
        summary: "The CIDs of pinned tag lists and DID documents, for monitoring.",
        writes: false,
        query: PAGE_QUERY,
        request: None,
        answers: documented![
            200 "a page" &[("application/json", Shape::Schema("index"))],
            400 "no cursor or no limit" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::Status,
        method: Method::GET,
        path: "/v1/status",
        summary: "How the node and each of its background workers is.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![200 "the status" &[("application/json", Shape::Schema("status"))]],
    },
    Route {
        endpoint: Endpoint::Identifier,
        method: Method::GET,
        path: "/1.0/identifiers/{did}",
        summary: "Resolves a DID (DID Resolution, HTTPS binding).",
        writes: false,
        query: &[],
        request: None,
        answers: documented![
            200 "the resolution result, or with Accept the document alone" &[
                ("application/did-resolution", Shape::Schema("did-resolution")),
                ("application/did", Shape::Schema("did-document")),
                ("application/did+ld+json", Shape::Schema("did-document")),
            ],
            400 "no DID we know the method of" &[("application/did-resolution", Shape::Schema("did-resolution"))],
            404 "not known here" &[("application/did-resolution", Shape::Schema("did-resolution"))],
            406 "a format that is not served" &[("application/did-resolution", Shape::Schema("did-resolution"))],
        ],
    },
    Route {
        endpoint: Endpoint::Peers,
        method: Method::GET,
        path: "/v1/peers",
        summary: "The node as a peer: where it listens, who is connected, how many come in and from where.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![200 "the peers" &[("application/json", Shape::Schema("peers"))]],
    },
    Route {
        endpoint: Endpoint::PeerConnect,
        method: Method::POST,
        path: "/v1/peers/connect",
        summary: "Connects to the peer at a multiaddr.",
        writes: true,
        query: &[],
        request: Some("application/json"),
        answers: documented![
            200 "connected" &[("application/json", Shape::Schema("peer-connect"))],
            400 "no multiaddr, no peer in it, or a peer that is banned" ERROR,
            401 "the bearer token is missing or wrong" ERROR,
            403 "called by a page of another origin" ERROR,
            422 "somebody else answers there" ERROR,
            502 "it cannot be reached" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::PeerBan,
        method: Method::PUT,
        path: "/v1/peers/{peer}/ban",
        summary: "Closes the connections with a peer and takes none any more, until the node stops or the ban is lifted.",
        writes: true,
        query: &[],
        request: None,
        answers: documented![
            200 "banned" &[("application/json", Shape::Schema("peer-ban"))],
            400 "no peer id" ERROR,
            401 "the bearer token is missing or wrong" ERROR,
            403 "called by a page of another origin" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::PeerUnban,
        method: Method::DELETE,
        path: "/v1/peers/{peer}/ban",
        summary: "Speaks with a peer again.",
        writes: true,
        query: &[],
        request: None,
        answers: documented![
            200 "not banned" &[("application/json", Shape::Schema("peer-ban"))],
            400 "no peer id" ERROR,
            401 "the bearer token is missing or wrong" ERROR,
            403 "called by a page of another origin" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::Provide,
        method: Method::POST,
        path: "/v1/providers/{cid}",
        summary: "Tells the DHT that this node has a block.",
        writes: true,
        query: &[],
        request: None,
        answers: documented![
            200 "told" &[("application/json", Shape::Schema("provide"))],
            400 "no CID" ERROR,
            401 "the bearer token is missing or wrong" ERROR,
            403 "called by a page of another origin" ERROR,
            404 "the block is not here" ERROR,
            503 "no peers, or too few took it" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::Providers,
        method: Method::GET,
        path: "/v1/providers/{cid}",
        summary: "The peers that say they have a block.",
        writes: false,
        query: &[Query {
            name: "limit",
            meaning: "providers looked for, 1 to 100, 20 without it",
            values: &[],
        }],
        request: None,
        answers: documented![
            200 "the providers" &[("application/json", Shape::Schema("providers"))],
            400 "no CID or no limit" ERROR,
            503 "no peers" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::RoutedProviders,
        method: Method::GET,
        path: "/routing/v1/providers/{cid}",
        summary: "The peers that say they have a block (Delegated Routing V1); JSON lines for those who accept them.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![
            200 "the providers" &[
                ("application/json", Shape::Schema("routing-providers")),
                ("application/x-ndjson", Shape::Text),
            ],
            400 "no CID" ERROR,
            503 "no peers" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::RoutedPeer,
        method: Method::GET,
        path: "/routing/v1/peers/{peer}",
        summary: "Where a peer can be reached (Delegated Routing V1); JSON lines for those who accept them.",
        writes: false,
        query: &[],
        request: None,
        answers: documented![
            200 "the peer, or nobody" &[
                ("application/json", Shape::Schema("routing-peers")),
                ("application/x-ndjson", Shape::Text),
            ],
            400 "no peer id" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::Fetched,
        method: Method::GET,
        path: "/v1/fetched",
        summary: "DAGs that were fetched on demand and are kept, in the order of their CIDs.",
        writes: false,
        query: PAGE_QUERY,
        request: None,
        answers: documented![
            200 "a page" &[("application/json", Shape::Schema("fetched"))],
            400 "no cursor or no limit" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::Fetch,
        method: Method::POST,
        path: "/v1/fetched/{cid}",
        summary: "Fetches the DAG below a CID from peers, verified block by block, and keeps it. Answers with JSON lines: progress, then done or failed.",
        writes: true,
        query: &[Query {
            name: "peer",
            meaning: "multiaddr of a peer to ask, percent-encoded; without it connected peers and those the DHT names",
            values: &[],
        }],
        request: None,
        answers: documented![
            200 "lines" &[("application/x-ndjson", Shape::Text)],
            400 "no CID or no multiaddr" ERROR,
            401 "the bearer token is missing or wrong" ERROR,
            403 "called by a page of another origin" ERROR,
            422 "somebody else answers at the address" ERROR,
            502 "the peer cannot be reached" ERROR,
            507 "the disk is full" ERROR,
        ],
    },
    Route {
        endpoint: Endpoint::Release,
        method: Method::DELETE,
        path: "/v1/fetched/{cid}",
        summary: "Keeps a DAG no longer for having been fetched.",
        writes: true,
        query: &[],
        request: None,
        answers: documented![
            200 "released" &[("application/json", Shape::Schema("release"))],
            400 "no CID" ERROR,
            401 "the bearer token is missing or wrong" ERROR,
            403 "called by a page of another origin" ERROR,
            404 "it was not fetched" ERROR,
            507 "the disk is full" ERROR,
        ],
    },
];

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
