//! From a request to its answer: finds the route, tries memory, checks the caller, and counts what was answered.
//!
//! Blocks and records that are in memory are answered here without a task or a boxed future. Must never touch: what a route
//! answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header;
use hyper::{Method, Request};

use super::answer::{self, Answer, Cause, text_header};
use super::call::Call;
use super::connection::Standing;
use super::listener::Listener;
use super::origin;
use super::refusal::Refusal;
use super::route::{InMemory, Metering, Route};
use super::router::{self, Matched};
use super::service::Service;
use super::sharing::Sharing;
use super::{access, host, query};
use crate::config::HttpConfig;
use crate::metrics::Metrics;
use crate::scope::Scope;

/// What requests without a route are counted under.
const UNROUTED: &str = "none";

/// What is answered to those too who find no place.
const HEALTH: &str = "/health/";

/// When who found no place is told to come again.
const NO_PLACE: Duration = Duration::from_secs(2);

/// Answers a request that came to a listener.
pub(super) async fn respond(
    node: Arc<Service>,
    listener: Listener,
    peer: IpAddr,
    standing: Standing,
    request: Request<Incoming>,
) -> Answer {
    let started = Instant::now();
    let finish = |endpoint, answer, sharing: &Sharing| {
        finish(&node.metrics, listener, endpoint, answer, sharing, started)
    };
    if let Err(refusal) = host::check(&request) {
        return finish(UNROUTED, refusal.into_answer(), &Sharing::Nobody);
    }
    let path = request.uri().path();
    if standing == Standing::Heard && !path.starts_with(HEALTH) {
        // A page shall read when to come again, as everybody.
        let shared = origin::check(&node.config.http, listener, Scope::Public, &request);
        return finish(UNROUTED, no_place(), &shared.unwrap_or(Sharing::Nobody));
    }
    let (route, parameter) = match router::find(listener, request.method(), path) {
        Matched::Route(route, parameter) => (route, parameter),
        Matched::OtherMethods(methods, routes) => {
            let config = &node.config.http;
            let (answer, sharing) = other_methods(config, listener, methods, routes, &request);
            return finish(UNROUTED, answer, &sharing);
        }
        Matched::Nothing => {
            let shared = origin::check(&node.config.http, listener, Scope::Public, &request);
            return match shared {
                Ok(sharing) => finish(UNROUTED, no_such_path(), &sharing),
                Err(refusal) => finish(UNROUTED, refusal.into_answer(), &Sharing::Nobody),
            };
        }
    };
    let sharing = match origin::check(&node.config.http, listener, route.scope, &request) {
        Ok(sharing) => sharing,
        Err(refusal) => return finish(route.name, refusal.into_answer(), &Sharing::Nobody),
    };
    let in_memory = |find: InMemory| find(&node, parameter, &request);
    let mut answer = match route.in_memory.and_then(in_memory) {
        Some(answer) => answer,
        None => {
            let parameter = query::decoded(parameter);
            let answer = match begin(route, &node, listener, peer, parameter, request) {
                Ok(answering) => answering.await,
                Err(refusal) => Err(refusal),
            };
            answer.unwrap_or_else(Refusal::into_answer)
        }
    };
    if route.metering != Metering::ByHandler {
        let is_told_in_any_case = route.metering == Metering::NeverRefused;
        answer = node.answers.count(answer, is_told_in_any_case);
    }
    finish(route.name, answer, &sharing)
}

/// Finishes an answer, counts it, and tells the log what it does not tell itself.
fn finish(
    metrics: &Metrics,
    listener: Listener,
    endpoint: &'static str,
    mut answer: Answer,
    sharing: &Sharing,
    started: Instant,
) -> Answer {
    answer::finish(&mut answer, listener, sharing);
    if let Some(Cause(cause)) = answer.extensions_mut().remove() {
        tracing::error!(endpoint, error = %cause, "a request failed");
    }
    metrics.request_answered(endpoint, answer.status(), started);
    answer
}

/// Calls the handler, where the caller may.
fn begin(
    route: &Route,
    node: &Arc<Service>,
    listener: Listener,
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
    let caller = access::admit(node, listener, route.scope, peer, &request)?;
    if route.is_ours() {
        query::check(request.uri().query(), route.query).map_err(Refusal::closing)?;
    }
    let call = Call {
        node: Arc::clone(node),
        listener,
        caller,
        parameter,
        request,
    };
    Ok((route.handler)(call))
}

/// Answers a preflight, or refuses a method that is not for the path.
fn other_methods(
    config: &HttpConfig,
    listener: Listener,
    methods: &'static str,
    routes: &[&'static Route],
    request: &Request<Incoming>,
) -> (Answer, Sharing) {
    let shared = |scope| origin::check(config, listener, scope, request);
    let refused = |refusal: Refusal| (refusal.into_answer(), Sharing::Nobody);
    let general = match shared(Scope::Public) {
        Ok(sharing) => sharing,
        Err(refusal) => return refused(refusal),
    };
    if request.method() != Method::OPTIONS {
        let answer = Refusal::new(
            "method_not_allowed",
            format!("{} is not for this path", request.method()),
            format!("use {methods}"),
        )
        .with_header(header::ALLOW, text_header(methods.to_owned()))
        .closing()
        .into_answer();
        return (answer, general);
    }
    let wanted = request
        .headers()
        .get(header::ACCESS_CONTROL_REQUEST_METHOD)
        .and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    let wanted = wanted.and_then(|method| routes.iter().find(|route| route.method.is(&method)));
    let sharing = match wanted.map(|route| shared(route.scope)) {
        Some(Ok(sharing)) => sharing,
        Some(Err(refusal)) => return refused(refusal),
        None => general,
    };
    // What the page itself may: a browser asks once for all methods of a path.
    let is_allowed = |route: &&&Route| {
        matches!(
            shared(route.scope),
            Ok(Sharing::Everybody | Sharing::With(_))
        )
    };
    let allowed = routes.iter().filter(is_allowed);
    let allowed: Vec<&str> = allowed.map(|route| route.method.methods()).collect();
    let allowed = allowed.join(", ");
    (answer::preflight(methods, allowed, listener), sharing)
}

/// That there is no place for this connection.
fn no_place() -> Answer {
    Refusal::new(
        "no_place",
        "as many connections are open as the node serves at once, or as your addresses may have",
        "try again after the time in Retry-After, over fewer connections; the operator may raise http.max-connections",
    )
    .retry_after(NO_PLACE)
    .closing()
    .into_answer()
}

fn no_such_path() -> Answer {
    Refusal::not_found("no such path", "GET /openapi.json lists all paths")
        .closing()
        .into_answer()
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::io;

    use parking_lot::Mutex;
    use tracing::field::{Field, Visit};
    use tracing::{Event, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    /// The lines of the log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.push_str(&format!("{field}={value:?} "));
        }
    }

    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line(format!("{} ", event.metadata().level()));
            event.record(&mut line);
            self.0.lock().push(line.0);
        }
    }

    #[test]
    fn what_an_answer_does_not_tell_stands_in_the_log_once_with_its_endpoint() {
        let lines = Lines::default();
        // While there is one subscriber only, whether a line is of interest is decided by the thread that meets it first.
        let _second = tracing::Dispatch::new(tracing_subscriber::registry());
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        let _guard = tracing::subscriber::set_default(subscriber);
        let finish = |answer| {
            let (metrics, now) = (Metrics::new(), Instant::now());
            finish(
                &metrics,
                Listener::Api,
                "block",
                answer,
                &Sharing::Nobody,
                now,
            )
        };

        let refusal = Refusal::internal(io::Error::other("the disk is on fire"));
        let answer = finish(refusal.into_answer());
        assert!(answer.extensions().get::<Cause>().is_none());
        // What tells all itself needs no line.
        finish(no_such_path());
        let lines = lines.0.lock();
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in [
            "ERROR ",
            "endpoint=\"block\" ",
            "error=the disk is on fire ",
        ] {
            assert!(lines[0].contains(part), "{lines:?}");
        }
    }
}
