//! The tables of routes: the one place where a route is written.
//!
//! The router, the checks of callers, `Allow`, preflights, metrics and the OpenAPI document are all made from it. A new route is
//! an entry in the file of its theme, with its handler, and the test of what it answers.

use super::listener::Listener;
use super::route::{Query, Route, Schema, Shape};

/// An `async fn(Call) -> Result<Answer, Refusal>` as the handler of a route.
macro_rules! handler {
    ($handler:path) => {
        |call| Box::pin($handler(call))
    };
}

/// The answers of a route: status, meaning, and what the body is.
macro_rules! documented {
    ($($status:literal $meaning:literal $content:expr),* $(,)?) => {
        &[$(Documented { status: $status, meaning: $meaning, content: $content }),*]
    };
}

/// A document of `docs/schema/http`.
macro_rules! schema {
    ($name:literal) => {
        Shape::Schema(Schema {
            name: $name,
            text: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../docs/schema/http/",
                $name,
                ".json"
            )),
        })
    };
}

/// A body that is JSON of a document of `docs/schema/http`.
macro_rules! json {
    ($name:literal) => {
        &[("application/json", schema!($name))]
    };
}

mod about;
mod content;
mod fetched;
mod gateway;
mod imported;
mod names;
mod peers;
mod upkeep;

/// All routes but those of the path gateway, by theme.
static TABLE: &[&[Route]] = &[
    about::ROUTES,
    content::ROUTES,
    names::ROUTES,
    peers::ROUTES,
    fetched::ROUTES,
    imported::ROUTES,
    upkeep::ROUTES,
];

/// The routes of the path gateway.
static GATEWAY: &[&[Route]] = &[gateway::ROUTES];

/// All routes of a listener.
pub(super) fn routes(listener: Listener) -> impl Iterator<Item = &'static Route> {
    let themes = match listener {
        Listener::Api => TABLE,
        Listener::Gateway => GATEWAY,
    };
    themes.iter().flat_map(|theme| theme.iter())
}

const ERROR: &[(&str, Shape)] = json!("error");
const HTML: &[(&str, Shape)] = &[("text/html", Shape::Text)];

/// Of lists that come in pages.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::http::route::RouteMethod;
    use crate::http::scope::Scope;

    /// Written down once more by hand: what steers the node may be called by no page of another origin, which takes the scope of
    /// what an owner has signed from it.
    #[test]
    fn each_route_that_changes_something_has_its_scope() {
        use Scope::{Control, Publish};
        let meant = BTreeMap::from([
            ("PUT /routing/v1/ipns/{name}", Publish),
            ("POST /v1/names/{name}/publish", Publish),
            ("PUT /v1/names/{name}", Control),
            ("DELETE /v1/names/{name}", Control),
            ("DELETE /v1/names/{name}/record", Control),
            ("DELETE /v1/denied/{name}", Control),
            ("POST /v1/fetched/{cid}", Control),
            ("DELETE /v1/fetched/{cid}", Control),
            ("POST /v1/imported", Control),
            ("DELETE /v1/imported/{cid}", Control),
            ("POST /v1/peers/connect", Control),
            ("PUT /v1/peers/{peer}/ban", Control),
            ("DELETE /v1/peers/{peer}/ban", Control),
            ("POST /v1/providers/{cid}", Control),
            ("DELETE /v1/damage", Control),
            ("POST /v1/probe", Control),
        ]);
        let meant: BTreeMap<String, Scope> = meant
            .into_iter()
            .map(|(route, scope)| (route.to_owned(), scope))
            .collect();
        let (reading, changing): (Vec<&Route>, Vec<&Route>) =
            routes(Listener::Api).partition(|route| route.method == RouteMethod::Get);
        let found: BTreeMap<String, Scope> = changing
            .into_iter()
            .map(|route| {
                (
                    format!("{} {}", route.method.methods(), route.path),
                    route.scope,
                )
            })
            .collect();
        assert_eq!(found, meant);
        for route in reading.into_iter().chain(routes(Listener::Gateway)) {
            assert_eq!(route.scope, Scope::Read, "{}", route.path);
            assert_eq!(route.method, RouteMethod::Get, "{}", route.path);
        }
    }
}
