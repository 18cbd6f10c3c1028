//! A route: everything that the server and the OpenAPI document know of one method of one path.
//!
//! Routes are written in the [`table`](super::table) and nowhere else; requests are matched against them by the
//! [`router`](super::router).

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::{Method, Request};

use super::answer::Answer;
use super::call::Call;
use super::refusal::Refusal;
use super::service::Service;
use crate::scope::Scope;

/// Answers a call.
pub(super) type Handler = fn(Call) -> BoxFuture<'static, Result<Answer, Refusal>>;

/// Answers from memory, where the request is one of those that can be; the text is the parameter, still percent-encoded.
pub(super) type InMemory = fn(&Service, &str, &Request<Incoming>) -> Option<Answer>;

/// One route.
pub(super) struct Route {
    /// The name in metrics, in the log and in the OpenAPI document.
    pub(super) name: &'static str,
    pub(super) method: RouteMethod,
    /// Segments; `{x}` takes one, `{*x}` at the end takes the rest, and both take something.
    pub(super) path: &'static str,
    /// Other spellings of the path, which are answered too and not documented.
    pub(super) also: &'static [&'static str],
    /// Who may call.
    pub(super) scope: Scope,
    pub(super) handler: Handler,
    /// Tried before the handler. Routes that have it are matched before all others.
    pub(super) in_memory: Option<InMemory>,
    pub(super) metering: Metering,
    pub(super) summary: &'static str,
    pub(super) query: &'static [Query],
    /// The media type of the request's body.
    pub(super) request: Option<&'static str>,
    pub(super) answers: &'static [Documented],
}

/// The methods that routes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteMethod {
    /// `GET`, and `HEAD`, which is the same without the body.
    Get,
    Post,
    Put,
    Delete,
}

/// How an answer is counted among the memory of all answers under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Metering {
    /// When it is made; without room it is refused.
    WhenMade,
    /// By the handler, in parts.
    ByHandler,
    /// When it is made, and it is given without room too: it tells how the node is.
    NeverRefused,
}

/// One documented answer.
pub(super) struct Documented {
    pub(super) status: u16,
    pub(super) meaning: &'static str,
    pub(super) content: &'static [(&'static str, Shape)],
}

/// What a body looks like.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A JSON document with this schema.
    Schema(Schema),
    /// Text.
    Text,
    /// Bytes.
    Binary,
}

/// A JSON schema: a file in `docs/schema/http`.
#[derive(Clone, Copy)]
pub(super) struct Schema {
    /// The name of the file, without `.json`.
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// A parameter in the query.
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) values: &'static [&'static str],
}

impl RouteMethod {
    /// All, in the order in which `Allow` names them.
    pub(super) const ALL: [RouteMethod; 4] = [
        RouteMethod::Get,
        RouteMethod::Post,
        RouteMethod::Put,
        RouteMethod::Delete,
    ];

    pub(super) fn is(self, method: &Method) -> bool {
        match self {
            RouteMethod::Get => method == Method::GET || method == Method::HEAD,
            RouteMethod::Post => method == Method::POST,
            RouteMethod::Put => method == Method::PUT,
            RouteMethod::Delete => method == Method::DELETE,
        }
    }

    /// Its methods, as `Allow` names them.
    pub(super) const fn methods(self) -> &'static str {
        match self {
            RouteMethod::Get => "GET, HEAD",
            RouteMethod::Post => "POST",
            RouteMethod::Put => "PUT",
            RouteMethod::Delete => "DELETE",
        }
    }

    /// Its field in a path of an OpenAPI document.
    pub(super) const fn field(self) -> &'static str {
        match self {
            RouteMethod::Get => "get",
            RouteMethod::Post => "post",
            RouteMethod::Put => "put",
            RouteMethod::Delete => "delete",
        }
    }
}

impl Route {
    /// A route that everybody may call and that changes nothing.
    pub(super) const fn get(path: &'static str, name: &'static str, handler: Handler) -> Route {
        Route::new(RouteMethod::Get, path, name, Scope::Public, handler)
    }

    /// A route that shows what is for the operator.
    pub(super) const fn watch(path: &'static str, name: &'static str, handler: Handler) -> Route {
        Route::new(RouteMethod::Get, path, name, Scope::Read, handler)
    }

    pub(super) const fn new(
        method: RouteMethod,
        path: &'static str,
        name: &'static str,
        scope: Scope,
        handler: Handler,
    ) -> Route {
        Route {
            name,
            method,
            path,
            also: &[],
            scope,
            handler,
            in_memory: None,
            metering: Metering::WhenMade,
            summary: "",
            query: &[],
            request: None,
            answers: &[],
        }
    }

    /// Whether no specification of others says what its query is: those have unknown keys ignored.
    pub(super) fn is_ours(&self) -> bool {
        self.path.starts_with("/v1/")
    }

    pub(super) const fn also(mut self, also: &'static [&'static str]) -> Route {
        self.also = also;
        self
    }

    pub(super) const fn in_memory(mut self, in_memory: InMemory) -> Route {
        self.in_memory = Some(in_memory);
        self
    }

    pub(super) const fn metering(mut self, metering: Metering) -> Route {
        self.metering = metering;
        self
    }

    pub(super) const fn summary(mut self, summary: &'static str) -> Route {
        self.summary = summary;
        self
    }

    pub(super) const fn query(mut self, query: &'static [Query]) -> Route {
        self.query = query;
        self
    }

    pub(super) const fn request(mut self, media_type: &'static str) -> Route {
        self.request = Some(media_type);
        self
    }

    pub(super) const fn answers(mut self, answers: &'static [Documented]) -> Route {
        self.answers = answers;
        self
    }
}
