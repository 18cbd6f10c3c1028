//! From a request to its answer: finds the route, tries memory, checks the caller, and counts what was answered.
//!
//! Blocks and records that are in memory are answered here without a task or a boxed future. Must never touch: what a route
//! answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header;
use hyper::{Method, Request};

use super::answer::{self, Answer, Cause, text_header};
use super::call::Call;
use super::query;
use super::refusal::Refusal;
use super::route::{Counting, InMemory, Route};
use super::router::{self, Matched};
use super::site::Site;

/// Answers a request.
pub(super) async fn respond(node: Arc<Site>, peer: IpAddr, request: Request<Incoming>) -> Answer {
    let started = Instant::now();
    let (route, parameter) = match router::find(request.method(), request.uri().path()) {
        Matched::Route(route, parameter) => (route, parameter),
        Matched::OtherMethods(methods) => {
            return unrouted(&node, other_methods(methods, &request), started);
        }
        Matched::Nothing => return unrouted(&node, no_such_path(), started),
    };
    let in_memory = |find: InMemory| find(&node, parameter, &request);
    let mut answer = match route.in_memory.and_then(in_memory) {
        Some(answer) => answer,
        None => {
            let parameter = query::decoded(parameter);
            let answer = match begin(route, &node, peer, parameter, request) {
                Ok(answering) => answering.await,
                Err(refusal) => Err(refusal),
            };
            answer.unwrap_or_else(Refusal::into_answer)
        }
    };
    if route.counting != Counting::ByHandler {
        let is_told_in_any_case = route.counting == Counting::NeverRefused;
        answer = node.answers.count(answer, is_told_in_any_case);
    }
    answer::finish(&mut answer);
    if let Some(Cause(cause)) = answer.extensions_mut().remove() {
        tracing::error!(endpoint = route.name, error = %cause, "a request failed");
    }
    node.metrics
        .request_answered(route.name, answer.status(), started);
    answer
}

/// Calls the handler, where the caller may.
fn begin(
    route: &Route,
    node: &Arc<Site>,
    peer: IpAddr,
    parameter: Option<String>,
    request: Request<Incoming>,
) -> Result<BoxFuture<'static, Result<Answer, Refusal>>, Refusal> {
    let parameter = parameter.ok_or_else(|| {
        Refusal::new(
            "invalid_path",
            "the path is not well percent-encoded UTF-8",
            "encode it once, with two hexadecimal digits behind each %",
        )
    })?;
    route.scope.admit(node, &request)?;
    let call = Call {
        node: Arc::clone(node),
        peer,
        parameter,
        request,
    };
    Ok((route.handler)(call))
}

/// The answer to a request without a route.
fn unrouted(node: &Site, mut answer: Answer, started: Instant) -> Answer {
    answer::finish(&mut answer);
    node.metrics
        .request_answered("none", answer.status(), started);
    answer
}

/// Answers a preflight, or refuses a method that is not for the path.
fn other_methods(methods: &'static str, request: &Request<Incoming>) -> Answer {
    if request.method() == Method::OPTIONS {
        return answer::preflight(methods);
    }
    Refusal::new(
        "method_not_allowed",
        format!("{} is not for this path", request.method()),
        format!("use {methods}"),
    )
    .with_header(header::ALLOW, text_header(methods.to_owned()))
    .closing()
    .into_answer()
}

fn no_such_path() -> Answer {
    Refusal::not_found("no such path", "GET /openapi.json lists all paths")
        .closing()
        .into_answer()
}
