use std::collections::BTreeMap;

use super::*;
use crate::guide;
use crate::http::route::RouteMethod;
use crate::scope::Scope;

fn named(route: &Route) -> String {
    let method = route.method.methods().split(',').next().unwrap();
    format!("{method} {}", route.path)
}

/// Written down once more by hand: a route that shows or changes what is the operator's must not become free by a slip.
#[test]
fn each_route_that_is_not_for_everybody_has_its_scope() {
    use Scope::{Admin, Pin, Publish, Read};
    let meant = BTreeMap::from([
        ("GET /metrics", Read),
        ("GET /v1/status", Read),
        ("GET /v1/names", Read),
        ("GET /v1/pins", Read),
        ("GET /v1/index", Read),
        ("GET /v1/fetched", Read),
        ("GET /v1/imported", Read),
        ("GET /v1/peers", Read),
        ("GET /v1/damage", Read),
        ("GET /v1/probe", Read),
        ("GET /v1/probe/plot.svg", Read),
        ("GET /v1/snapshots", Read),
        ("GET /v1/denied", Read),
        ("DELETE /v1/names/{name}/record", Admin),
        ("DELETE /v1/denied/{name}", Admin),
        ("PUT /routing/v1/ipns/{name}", Publish),
        ("POST /v1/names/{name}/publish", Publish),
        ("PUT /v1/names/{name}", Pin),
        ("DELETE /v1/names/{name}", Pin),
        ("POST /v1/fetched/{cid}", Pin),
        ("DELETE /v1/fetched/{cid}", Pin),
        ("POST /v1/imported", Pin),
        ("DELETE /v1/imported/{cid}", Pin),
        ("POST /v1/providers/{cid}", Pin),
        ("POST /v1/peers/connect", Admin),
        ("PUT /v1/peers/{peer}/ban", Admin),
        ("DELETE /v1/peers/{peer}/ban", Admin),
        ("DELETE /v1/damage", Admin),
        ("POST /v1/probe", Admin),
        ("POST /v1/snapshots", Admin),
        ("DELETE /v1/snapshots/{name}", Admin),
    ]);
    let meant: BTreeMap<String, Scope> = meant
        .into_iter()
        .map(|(route, scope)| (route.to_owned(), scope))
        .collect();
    let found: BTreeMap<String, Scope> = routes(Listener::Api)
        .filter(|route| route.scope != Scope::Public)
        .map(|route| (named(route), route.scope))
        .collect();
    assert_eq!(found, meant);
    for route in routes(Listener::Api).filter(|route| route.method != RouteMethod::Get) {
        assert!(
            !matches!(route.scope, Scope::Public | Scope::Read),
            "{}",
            route.path
        );
    }
    for route in routes(Listener::Gateway) {
        assert_eq!(route.scope, Scope::Public, "{}", route.path);
        assert_eq!(route.method, RouteMethod::Get, "{}", route.path);
    }
    // What is answered from memory is answered before a token is looked at.
    for route in routes(Listener::Api).filter(|route| route.in_memory.is_some()) {
        assert_eq!(route.scope, Scope::Public, "{}", route.path);
    }
}

#[test]
fn the_operations_guide_has_every_route_with_its_scope() {
    let row = |scope: Scope| {
        let of_scope = routes(Listener::Api).filter(|route| route.scope == scope);
        let names: Vec<String> = of_scope
            .map(|route| format!("`{}`", named(route)))
            .collect();
        format!("| `{scope}` | {} |\n", names.join(", "))
    };
    let table: String = Scope::ALL.into_iter().map(row).collect();
    guide::hold(
        "| scope | routes |\n|---|---|\n",
        &table,
        "cargo test -p perennis-node --no-default-features --lib table::tests",
    );
}
