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
    Follow,
    Unfollow,
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
    Damage,
    DamageDismiss,
    Probe,
    ProbeNow,
    ProbePlot,
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
            Endpoint::Follow => "follow",
            Endpoint::Unfollow => "unfollow",
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
            Endpoint::Damage => "damage",
            Endpoint::DamageDismiss => "damage_dismiss",
            Endpoint::Probe => "probe",
            Endpoint::ProbeNow => "probe_now",
            Endpoint::ProbePlot => "probe_plot",
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
                "damage" => match *method {
                    Method::DELETE => Matched::Route(Endpoint::DamageDismiss, ""),
                    _ if read => Matched::Route(Endpoint::Damage, ""),
                    _ => Matched::OtherMethods("GET, HEAD, DELETE, OPTIONS"),
                },
                "probe" => match *method {
                    Method::POST => Matched::Route(Endpoint::ProbeNow, ""),
                    _ if read => Matched::Route(Endpoint::Probe, ""),
                    _ => Matched::OtherMethods("GET, HEAD, POST, OPTIONS"),
                },
                _ => Matched::Nothing,
            },
            Some(("names", name)) => match name.strip_suffix("/publish") {
                Some(name) if one_segment(name) => match *method {
                    Method::POST => Matched::Route(Endpoint::Publish, name),
                    _ => Matched::OtherMethods("POST, OPTIONS"),
                },
                None if one_segment(name) => match *method {
                    Method::PUT => Matched::Route(Endpoint::Follow, name),
                    Method::DELETE => Matched::Route(Endpoint::Unfollow, name),
                    _ if read => Matched::Route(Endpoint::NameStatus, name),
                    _ => Matched::OtherMethods("GET, HEAD, PUT, DELETE, OPTIONS"),
                },
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
            Some(("probe", "plot.svg")) => get(Endpoint::ProbePlot, ""),
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

#[cfg(test)]
mod tests;
