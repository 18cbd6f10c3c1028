#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

#[test]
fn every_route_is_found_and_answers_other_methods_with_its_own() {
    for route in ROUTES {
        let path = route
            .path
            .replace("{cid}", "bafy")
            .replace("{name}", "k51")
            .replace("{peer}", "12D3")
            .replace("{did}", "did:key:z6Mk")
            .replace("{file}", "index.html");
        match find(&route.method, &path) {
            Matched::Route(endpoint, _) => assert_eq!(endpoint, route.endpoint),
            other => panic!("{path}: {other:?}"),
        }
        match find(&Method::PATCH, &path) {
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
