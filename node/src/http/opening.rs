//! What is answered while the store is being opened: that the process lives, and is not ready yet.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answer::{Answer, finish};
use super::connection::{HEAD_BYTES, HEADERS, STALL};
use super::health;
use super::host;
use super::listener::Listener;
use super::origin;
use super::patience::Patient;
use super::refusal::Refusal;
use super::sharing::Sharing;
use crate::config::HttpConfig;
use crate::opening::Opening;
use crate::scope::Scope;

/// Pause after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that are answered at once; further ones wait.
const CONNECTIONS: usize = 64;

/// Answers on the listener until the store is open.
pub(crate) async fn answer_while<T>(
    listener: Listener,
    socket: &TcpListener,
    config: &HttpConfig,
    seen: watch::Receiver<Option<Opening>>,
    open: impl Future<Output = T>,
) -> T {
    let mut open = pin!(open);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            opened = &mut open => {
                // Each has one request, which is answered in a moment.
                connections.detach_all();
                return opened;
            }
            accepted = socket.accept(), if connections.len() < CONNECTIONS => {
                match accepted {
                    Ok((stream, _)) => {
                        let answer = answer(stream, listener, config.clone(), seen.clone());
                        connections.spawn(answer);
                    }
                    // Out of file descriptors, mostly. The server that comes next tells of it.
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn answer(
    stream: TcpStream,
    listener: Listener,
    config: HttpConfig,
    seen: watch::Receiver<Option<Opening>>,
) {
    let header_timeout = config.header_timeout;
    let service = service_fn(move |request| {
        let answer = respond(listener, &config, &request, *seen.borrow());
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(Patient::new(TokioIo::new(stream), STALL), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn respond(
    listener: Listener,
    config: &HttpConfig,
    request: &Request<Incoming>,
    opening: Option<Opening>,
) -> Answer {
    let checked =
        host::check(request).and_then(|()| origin::check(config, listener, Scope::Public, request));
    let (sharing, mut answer) = match checked {
        Ok(sharing) => (sharing, said(request.uri().path(), opening)),
        Err(refusal) => (Sharing::Nobody, refusal.into_answer()),
    };
    finish(&mut answer, listener, &sharing);
    answer
}

fn said(path: &str, opening: Option<Opening>) -> Answer {
    match path {
        "/health/live" => health::alive(),
        "/health/ready" => health::opening(opening),
        _ => Refusal::new(
            "opening",
            "the node is opening its store",
            "GET /health/ready tells how far it is; try again soon",
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("2"))
        .into_answer(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;

    use super::*;
    use crate::config::Config;
    use crate::opening::OpeningProgress;
    use perennis_store::{RebuildProgress, RebuildStage};

    async fn ask(listener: &TcpListener, path: &str) -> String {
        let mut stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn while_the_store_is_opened_the_node_lives_and_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config::default();
        let (mut telling, seen) = OpeningProgress::new();
        let (done, opened) = oneshot::channel();
        let asked = async {
            assert!(
                ask(&listener, "/health/live")
                    .await
                    .starts_with("HTTP/1.1 200")
            );
            let ready = ask(&listener, "/health/ready").await;
            assert!(
                ready.starts_with("HTTP/1.1 503") && ready.contains("\"opening\""),
                "{ready}"
            );
            telling.tell(RebuildProgress {
                stage: RebuildStage::Files,
                done: 3,
                of: 7,
            });
            let ready = ask(&listener, "/health/ready").await;
            assert!(
                ready.contains(r#""opening":{"stage":"files","done":3,"of":7}"#),
                "{ready}"
            );
            let other = ask(&listener, "/v1/status").await;
            assert!(
                other.starts_with("HTTP/1.1 503") && other.contains("retry-after"),
                "{other}"
            );
            done.send(5).unwrap();
        };
        let opening = answer_while(Listener::Api, &listener, &config.http, seen, opened);
        let ((), opened) = tokio::join!(asked, opening);
        assert_eq!(opened, Ok(5));
    }
}
