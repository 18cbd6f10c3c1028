#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use super::*;

/// The name of the route and the parameter.
fn found<'a>(method: &Method, path: &'a str) -> Option<(&'static str, &'a str)> {
    match super::find(Listener::Api, method, path) {
        Matched::Route(route, parameter) => Some((route.name, parameter)),
        _ => None,
    }
}

fn other_methods(method: &Method, path: &str) -> Option<&'static str> {
    match super::find(Listener::Api, method, path) {
        Matched::OtherMethods(methods, _) => Some(methods),
        _ => None,
    }
}

#[test]
fn every_route_is_found_and_answers_other_methods_with_its_own() {
    let mut names = BTreeSet::new();
    for route in routes(Listener::Api) {
        assert!(names.insert(route.name), "{} is there twice", route.name);
        let path = route
            .path
            .replace("{*", "{")
            .replace("{cid}", "bafy")
            .replace("{name}", "k51")
            .replace("{peer}", "12D3")
            .replace("{did}", "did:key:z6Mk")
            .replace("{file}", "index.html");
        assert!(!path.contains('{'), "{path}");
        for path in route.also.iter().copied().chain([&*path]) {
            let method = route.method.methods().split(", ").next().unwrap();
            let method: Method = method.parse().unwrap();
            let (name, _) = found(&method, path).unwrap();
            assert_eq!(name, route.name, "{path}");
            let methods = other_methods(&Method::PATCH, path).unwrap();
            assert!(methods.contains(method.as_str()), "{path}: {methods}");
        }
    }
}

#[test]
fn the_methods_of_a_path_have_one_order() {
    for (path, methods) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/ipfs/bafy", "GET, HEAD, OPTIONS"),
        ("/routing/v1/ipns/k51", "GET, HEAD, PUT, OPTIONS"),
        ("/v1/names/k51", "GET, HEAD, PUT, DELETE, OPTIONS"),
        ("/v1/names/k51/publish", "POST, OPTIONS"),
        ("/v1/providers/bafy", "GET, HEAD, POST, OPTIONS"),
        ("/v1/fetched/bafy", "POST, DELETE, OPTIONS"),
        ("/v1/peers/connect", "POST, OPTIONS"),
        ("/v1/peers/12D3/ban", "PUT, DELETE, OPTIONS"),
        ("/v1/damage", "GET, HEAD, DELETE, OPTIONS"),
        ("/v1/probe", "GET, HEAD, POST, OPTIONS"),
    ] {
        assert_eq!(other_methods(&Method::OPTIONS, path), Some(methods));
    }
    // A CONNECT has no path.
    assert_eq!(
        other_methods(&Method::CONNECT, ""),
        Some("GET, HEAD, OPTIONS")
    );
}

#[test]
fn parameters_are_taken_from_the_path() {
    for (method, path, expected) in [
        (Method::HEAD, "/ipfs/bafy", ("block", "bafy")),
        (Method::GET, "/ipfs/bafy/a//b", ("block", "bafy/a//b")),
        (Method::GET, "/ipfs//", ("block", "/")),
        (Method::GET, "/ipns/k51/a", ("ipns", "k51/a")),
        (Method::GET, "/routing/v1/ipns/k51", ("record_get", "k51")),
        (Method::PUT, "/routing/v1/ipns/k51", ("record_put", "k51")),
        (Method::POST, "/v1/names/k51/publish", ("publish", "k51")),
        (Method::GET, "/v1/names/publish", ("name", "publish")),
        (Method::GET, "/v1/names/k51/", ("name", "k51")),
        (Method::PUT, "/routing/v1/ipns/k51/", ("record_put", "k51")),
        (Method::GET, "/routing/v1/ipns/k51/", ("record_get", "k51")),
        (Method::POST, "/v1/peers/connect", ("peer_connect", "")),
        (
            Method::PUT,
            "/v1/peers/connect/ban",
            ("peer_ban", "connect"),
        ),
        (
            Method::GET,
            "/1.0/identifiers/did%3Akey",
            ("identifier", "did%3Akey"),
        ),
        (
            Method::GET,
            "/1.0/identifiers/did:key:z6Mk/a/b",
            ("identifier", "did:key:z6Mk/a/b"),
        ),
        (Method::GET, "/page", ("page", "")),
        (Method::GET, "/page/", ("page", "")),
        (Method::GET, "/page/a/b.js", ("page", "a/b.js")),
    ] {
        assert_eq!(found(&method, path), Some(expected), "{path}");
    }
    for path in [
        "/ipfs",
        "/ipfs/",
        "/ipns",
        "/ipns/",
        "/v1",
        "/v1/",
        "/v1/names/",
        "/v1/names/a/b",
        "/v1/names//publish",
        "/v1/names/a/b/publish",
        "/v1/names/a/publish/",
        "/v1/names/a//",
        "/v1/peers/",
        "/v1/peers//ban",
        "/v1/status/",
        "/v1/probe/",
        "/routing/v1/ipns/",
        "/routing/v1/ipns/a/b",
        "/routing/v1/providers/",
        "/health",
        "/health/live/",
        "/1.0/identifiers/",
        "/unknown",
        "*",
        "///",
        "//ipfs/bafy",
    ] {
        let nothing = matches!(
            super::find(Listener::Api, &Method::GET, path),
            Matched::Nothing
        );
        assert!(nothing, "{path}");
    }
}
