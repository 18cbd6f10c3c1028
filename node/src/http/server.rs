//! The server: accepts connections until it is told to stop, and lets those that are open finish.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::connection::connection;
use super::listener::Listener;
use super::service::Service;

/// How long requests that are being answered may take when the node stops.
const DRAIN: Duration = Duration::from_secs(20);

/// A server that accepts connections until it is told to stop.
pub(crate) struct Server {
    listener: Listener,
    socket: TcpListener,
    node: Arc<Service>,
}

impl Server {
    pub(crate) fn new(listener: Listener, socket: TcpListener, node: Arc<Service>) -> Server {
        Server {
            listener,
            socket,
            node,
        }
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
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection =
                        connection(stream, self.listener, peer.ip(), &self.node, stop.clone());
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
        drop(self.socket);
        let all = u32::try_from(most).unwrap_or(u32::MAX);
        if tokio::time::timeout(DRAIN, places.acquire_many(all))
            .await
            .is_err()
        {
            tracing::warn!("some connections did not end in time and are cut off");
        }
    }
}
