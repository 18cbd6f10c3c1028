//! The HTTP server: connections, routes, and the way of each request to the read door or the write door.
//!
//! Owns sockets, timeouts, sizes and the form of answers. Must never touch the store: handlers call
//! [`Read`](crate::read::Read) and [`Ingest`](crate::ingest::Ingest) only. Requests are matched by hand ([`route`])
//! and served by hyper directly, since blocks and records are answered from memory in a few microseconds and a
//! framework would cost as much again.
//!
//! Invariants: nothing a client sends is held beyond a limit, and of what it is sent no more than the memory for answers
//! has room for ([`memory`]); a client that pauses in a head, a body or in taking an answer loses its connection, and a
//! slow one when others wait for the memory ([`readers`]); every refusal is `{"error":{"code","message","hint"}}`.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

mod answer;
mod damage;
mod document;
mod fetch;
mod follow;
mod gateway;
mod health;
mod identifiers;
mod media;
mod memory;
mod metrics;
mod name_status;
mod names;
mod openapi;
pub(crate) mod opening;
mod origin;
mod page;
mod page_query;
mod parameter;
mod patience;
mod peers;
mod pins;
mod probe;
mod providers;
mod query;
mod readers;
mod records;
mod refusal;
mod route;
mod site;
mod status;
mod upload;

use answer::{Answer, Cause};
use patience::Patient;
use refusal::Refusal;
use route::{Endpoint, Matched};
pub(crate) use site::Site;

/// Largest head of a request, in bytes.
const HEAD_BYTES: usize = 16 << 10;

/// Most headers of a request.
const HEADERS: usize = 64;

/// How long a client may not take any byte of an answer.
const STALL: Duration = Duration::from_secs(30);

/// Bytes of an answer that wait to be written before more of it is made.
const WAITING_BYTES: usize = 2 * gateway::PART_BYTES;

/// Bytes of an answer that the system holds and has not sent.
pub(crate) const UNSENT_BYTES: u32 = 128 << 10;

/// How long requests that are being answered may take when the node stops.
const DRAIN: Duration = Duration::from_secs(20);

/// A server that accepts connections until it is told to stop.
pub(crate) struct Server {
    listener: TcpListener,
    node: Arc<Site>,
}

impl Server {
    pub(crate) fn new(listener: TcpListener, node: Arc<Site>) -> Server {
        Server { listener, node }
    }

    /// Serves until `stop` becomes true, then finishes the requests it has begun, for at most 20 seconds.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let most = self.node.config.http.max_connections;
        let places = Arc::new(Semaphore::new(most));
        loop {
            let place = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let Ok(place) = place else { break };
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = connection(stream, peer.ip(), &self.node, stop.clone());
                    tokio::spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of file descriptors, mostly: the pause lets connections end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.listener);
        let all = u32::try_from(most).unwrap_or(u32::MAX);
        if tokio::time::timeout(DRAIN, places.acquire_many(all))
            .await
            .is_err()
        {
            tracing::warn!("some connections did not end in time and are cut off");
        }
    }
}

fn connection(
    stream: TcpStream,
    peer: IpAddr,
    node: &Arc<Site>,
    mut stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + use<> {
    // An error here means that the connection is gone already; serving it will find that.
    let _ = stream.set_nodelay(true);
    let open = node.metrics.connection();
    let reader = Arc::new(node.answers.readers.open());
    let service = {
        let (node, reader) = (Arc::clone(node), Arc::clone(&reader));
        service_fn(move |request| {
            // The next request is read when the answer before it has gone.
            reader.has_all();
            let node = Arc::clone(&node);
            async move { Ok::<_, Infallible>(respond(node, peer, request).await) }
        })
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(node.config.http.header_timeout)
        .max_header_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .max_buf_size(WAITING_BYTES)
        .serve_connection(
            Patient::new(TokioIo::new(stream), STALL).telling(Arc::clone(&reader)),
            service,
        );
    async move {
        let served = async {
            let mut served = std::pin::pin!(served);
            tokio::select! {
                ended = served.as_mut() => return ended,
                _ = stop.wait_for(|stop| *stop) => {}
            }
            served.as_mut().graceful_shutdown();
            served.await
        };
        tokio::select! {
            ended = served => if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a connection ended early");
            },
            () = reader.gives_way() => {
                tracing::debug!(%peer, "a slow client gives way to others");
            }
        }
        drop(open);
    }
}

async fn respond(node: Arc<Site>, peer: IpAddr, request: Request<Incoming>) -> Answer {
    let started = Instant::now();
    let matched = match route::find(request.method(), request.uri().path()) {
        Matched::Route(Endpoint::Block, cid) => {
            (Endpoint::Block, gateway::cached(&node, cid, &request))
        }
        Matched::Route(Endpoint::RecordGet, name) => {
            (Endpoint::RecordGet, records::cached(&node, name, &request))
        }
        Matched::Route(endpoint, _) => (endpoint, None),
        other => {
            let mut answer = unrouted(&other, &request);
            answer::finish(&mut answer);
            node.metrics.answered("none", answer.status(), started);
            return answer;
        }
    };
    let (endpoint, mut answer) = match matched {
        (endpoint, Some(answer)) => (endpoint, answer),
        (endpoint, None) => {
            let answer = Box::pin(dispatch(&node, peer, endpoint, request)).await;
            (endpoint, answer.unwrap_or_else(Refusal::into_answer))
        }
    };
    if endpoint != Endpoint::Block {
        answer = node.answers.count(answer, tells_how_it_is(endpoint));
    }
    answer::finish(&mut answer);
    if let Some(Cause(cause)) = answer.extensions_mut().remove() {
        tracing::error!(endpoint = endpoint.name(), error = %cause, "a request failed");
    }
    node.metrics
        .answered(endpoint.name(), answer.status(), started);
    answer
}

/// Whether an endpoint is for seeing how the node is, and so is answered whatever memory is left.
fn tells_how_it_is(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Home
            | Endpoint::Page
            | Endpoint::OpenApi
            | Endpoint::Live
            | Endpoint::Ready
            | Endpoint::Metrics
            | Endpoint::Status
    )
}

async fn dispatch(
    node: &Arc<Site>,
    peer: IpAddr,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let uri = request.uri().clone();
    let parameter = match route::find(request.method(), uri.path()) {
        Matched::Route(_, parameter) => query::decoded(parameter).ok_or_else(|| {
            Refusal::new(
                "invalid_path",
                "the path is not well percent-encoded UTF-8",
                "encode it once, with two hexadecimal digits behind each %",
            )
        })?,
        Matched::OtherMethods(_) | Matched::Nothing => String::new(),
    };
    match endpoint {
        Endpoint::Home => Ok(page::home()),
        Endpoint::Page => page::file(&parameter),
        Endpoint::Live => Ok(health::live()),
        Endpoint::Ready => Ok(health::ready(node).await),
        Endpoint::Metrics => metrics::metrics(node).await,
        Endpoint::OpenApi => Ok(openapi::document()),
        Endpoint::Status => Ok(status::status(node).await),
        Endpoint::Block => gateway::block(node, &parameter, &request).await,
        Endpoint::IpnsGateway => records::gateway(node, &parameter, &request).await,
        Endpoint::RecordGet => records::routing(node, &parameter, &request).await,
        Endpoint::RecordPut => {
            authorized(node, &request)?;
            records::put(node, peer, &parameter, request).await
        }
        Endpoint::Names => names::list(node, uri.query()).await,
        Endpoint::NameStatus => name_status::status(node, &parameter).await,
        Endpoint::Follow => {
            controls(node, &request)?;
            follow::follow(node, &parameter, uri.query(), request).await
        }
        Endpoint::Unfollow => {
            controls(node, &request)?;
            follow::unfollow(node, &parameter).await
        }
        Endpoint::Publish => {
            authorized(node, &request)?;
            names::publish(node, peer, &parameter, request).await
        }
        Endpoint::Pins => pins::list(node, uri.query()).await,
        Endpoint::Index => pins::index(node, uri.query()).await,
        Endpoint::Identifier => identifiers::resolve(node, &parameter, &request).await,
        Endpoint::Peers => peers::list(node).await,
        Endpoint::PeerConnect => {
            controls(node, &request)?;
            peers::connect(node, request).await
        }
        Endpoint::PeerBan | Endpoint::PeerUnban => {
            controls(node, &request)?;
            peers::ban(node, &parameter, endpoint == Endpoint::PeerBan).await
        }
        Endpoint::Provide => {
            controls(node, &request)?;
            providers::provide(node, &parameter).await
        }
        Endpoint::Fetch => {
            controls(node, &request)?;
            fetch::start(node, &parameter, uri.query()).await
        }
        Endpoint::Fetched => fetch::list(node, uri.query()).await,
        Endpoint::Release => {
            controls(node, &request)?;
            fetch::release(node, &parameter).await
        }
        Endpoint::Damage => damage::list(node).await,
        Endpoint::DamageDismiss => {
            controls(node, &request)?;
            damage::dismiss(node).await
        }
        Endpoint::Probe => Ok(probe::report(node)),
        Endpoint::ProbePlot => Ok(probe::plot(node)),
        Endpoint::ProbeNow => {
            controls(node, &request)?;
            probe::now(node).await
        }
        Endpoint::Providers => providers::list(node, &parameter, uri.query()).await,
        Endpoint::RoutedProviders => providers::routed_providers(node, &parameter, &request).await,
        Endpoint::RoutedPeer => providers::routed_peer(node, &parameter, &request).await,
    }
}

/// Requests without a route: preflights, other methods, unknown paths.
fn unrouted(matched: &Matched<'_>, request: &Request<Incoming>) -> Answer {
    match matched {
        Matched::OtherMethods(methods) if request.method() == Method::OPTIONS => {
            answer::preflight(methods)
        }
        Matched::OtherMethods(methods) => Refusal::new(
            "method_not_allowed",
            format!("{} is not for this path", request.method()),
            format!("use {methods}"),
        )
        .with_header(header::ALLOW, answer::text_header((*methods).to_owned()))
        .closing()
        .into_answer(),
        Matched::Nothing | Matched::Route(..) => {
            Refusal::not_found("no such path", "GET /openapi.json lists all paths")
                .closing()
                .into_answer()
        }
    }
}

/// Checks a call that steers the node: what is signed by a name's owner may come from any page, this may not.
fn controls(node: &Site, request: &Request<Incoming>) -> Result<(), Refusal> {
    authorized(node, request)?;
    origin::check(&node.config.http, request)
}

/// Checks the bearer token of a call that changes something, when this node has one.
fn authorized(node: &Site, request: &Request<Incoming>) -> Result<(), Refusal> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if node.token.admits(given) {
        return Ok(());
    }
    Err(Refusal::new(
        "unauthorized",
        "this node takes writes only with its bearer token",
        "send the header Authorization: Bearer TOKEN with the token from the operator's http.token-file",
    )
    .with_header(
        header::WWW_AUTHENTICATE,
        header::HeaderValue::from_static("Bearer"),
    )
    .closing())
}
