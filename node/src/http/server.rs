//! The server: accepts connections until it is told to stop, and lets those that are open finish.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::{Standing, connection};
use super::listener::Listener;
use super::reserve::Reserve;
use super::service::Service;
use crate::groups::{AddressGroup, Shares};

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

    /// Whose places a connection takes. A proxy calls for many, and at the admin listener everybody is the operator.
    fn group(&self, address: IpAddr) -> Option<AddressGroup> {
        let proxies = &self.node.config.http.trusted_proxies;
        let is_proxy = proxies.iter().any(|prefix| prefix.has(address));
        let is_one = self.listener != Listener::Admin && !is_proxy;
        is_one.then(|| AddressGroup::of(address))
    }

    /// Serves until `stop` becomes true, then finishes the requests it has begun, for at most 20 seconds.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let places = Shares::new(self.node.config.http.max_connections as u64, 1);
        let reserve = Reserve::default();
        let mut open = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                _ = open.join_next(), if !open.is_empty() => continue,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let place = places.one(self.group(peer.ip()));
                    let standing = match &place {
                        Some(_) => Standing::Placed,
                        None => Standing::Heard,
                    };
                    let (node, stop) = (&self.node, stop.clone());
                    let served = connection(stream, self.listener, peer.ip(), node, standing, stop);
                    match place {
                        Some(place) => open.spawn(async move {
                            served.await;
                            drop(place);
                        }),
                        None => open.spawn(reserve.hear(served)),
                    };
                }
                Err(error) => {
                    // Out of file descriptors, mostly: the pause lets connections end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.socket);
        let all_end = async { while open.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, all_end).await.is_err() {
            tracing::warn!("some connections did not end in time and are cut off");
        }
    }
}
