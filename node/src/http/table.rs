//! The tables of routes: the one place where a route is written.
//!
//! The router, the checks of callers, `Allow`, preflights, metrics and the OpenAPI document are all made from it. A new route is
//! an entry in the file of its theme, with its handler, and the test of what it answers.

use super::listener::Listener;
use super::route::{Documented, Query, Route, Schema, Shape};
use crate::scope::Scope;

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
mod snapshots;
mod upkeep;

/// All routes but those of the path gateway, by theme.
static TABLE: &[&[Route]] = &[
    about::ROUTES,
    content::ROUTES,
    names::ROUTES,
    peers::ROUTES,
    fetched::ROUTES,
    imported::ROUTES,
    snapshots::ROUTES,
    upkeep::ROUTES,
];

/// The routes of the path gateway.
static GATEWAY: &[&[Route]] = &[gateway::ROUTES];

/// All routes of a listener.
pub(super) fn routes(listener: Listener) -> impl Iterator<Item = &'static Route> {
    let themes = match listener {
        Listener::Api | Listener::Admin => TABLE,
        Listener::Gateway => GATEWAY,
    };
    themes.iter().flat_map(|theme| theme.iter())
}

/// The refusals that come of the scope of a route.
pub(super) fn refusals(listener: Listener, scope: Scope) -> &'static [Documented] {
    match (listener, scope) {
        (Listener::Gateway, _) | (Listener::Api, Scope::Public) => &[],
        (Listener::Admin, _) => documented![
            403 "called by a page of another origin, or under a name that is not this machine's" ERROR,
        ],
        (Listener::Api, Scope::Publish) => documented![
            401 "the token is not known, or none was sent and the operator wants one (http.publish)" ERROR,
            403 "this name may not publish here, the token has other scopes, or a page of this origin may not" ERROR,
        ],
        (Listener::Api, _) => documented![
            401 "no token was sent, or one that is not known" ERROR,
            403 "the token has other scopes, or a page of another origin calls" ERROR,
        ],
    }
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
mod tests;
