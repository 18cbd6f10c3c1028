//! One connection: its limits and its times, and the requests that come over it one after the other.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::gateway;
use super::listener::Listener;
use super::patience::Patient;
use super::respond::respond;
use super::service::Service;

/// Largest head of a request, in bytes.
pub(super) const HEAD_BYTES: usize = 16 << 10;

/// Most headers of a request.
pub(super) const HEADERS: usize = 64;

/// How long a client may not take any byte of an answer.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// Bytes of an answer that wait to be written before more of it is made.
const WAITING_BYTES: usize = 2 * gateway::PART_BYTES;

/// Bytes of an answer that the system holds and has not sent.
pub(crate) const UNSENT_BYTES: u32 = 128 << 10;

/// How long one without a place may take for the head of its request.
const HEARD_HEAD: Duration = Duration::from_secs(2);

/// How a connection stands among all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has a place, and may ask anything.
    Placed,
    /// It has none: it may ask one thing, how the node is.
    Heard,
}

/// Serves a connection until its client or the node has had enough.
pub(super) fn connection(
    stream: TcpStream,
    listener: Listener,
    peer: IpAddr,
    node: &Arc<Service>,
    standing: Standing,
    mut stop: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + use<> {
    // An error here means that the connection is gone already; serving it will find that.
    let _ = stream.set_nodelay(true);
    let open = node.metrics.connection_opened();
    let reader = Arc::new(node.answers.readers.open());
    let leaves_body = Arc::new(AtomicBool::new(false));
    let service = {
        let (node, reader) = (Arc::clone(node), Arc::clone(&reader));
        let leaves_body = Arc::clone(&leaves_body);
        service_fn(move |request: Request<Incoming>| {
            // The next request is read when the answer before it has gone.
            reader.has_all();
            let (node, leaves_body) = (Arc::clone(&node), Arc::clone(&leaves_body));
            let has_body = !request.body().is_end_stream();
            async move {
                let answer = respond(node, listener, peer, standing, request).await;
                // Who refuses may not have read it to its end. Who was too slow was waited for already.
                let status = answer.status();
                let is_refusal = !status.is_success() && status != StatusCode::REQUEST_TIMEOUT;
                leaves_body.store(has_body && is_refusal, Ordering::Relaxed);
                Ok::<_, Infallible>(answer)
            }
        })
    };
    let header_timeout = match standing {
        Standing::Placed => node.config.http.header_timeout,
        Standing::Heard => node.config.http.header_timeout.min(HEARD_HEAD),
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(standing == Standing::Placed)
        .header_read_timeout(header_timeout)
        .max_header_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .max_buf_size(WAITING_BYTES)
        .serve_connection(
            Patient::new(TokioIo::new(stream), STALL)
                .telling(Arc::clone(&reader))
                .lingering(leaves_body),
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
