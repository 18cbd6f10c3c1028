//! Wiring: from a configuration to a node that serves, and back to files that are closed.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use perennis_rt as rt;
use perennis_shared::error::{ErrorKind, Retryable, chain};
use perennis_shared::ipns::Name;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::clock::{Clock, ClockMark};
use crate::config::{AdminListen, Config};
use crate::damage::{self, Damage};
use crate::data_folder::{FolderGone, InTheWay, in_the_way};
use crate::demand::Demand;
use crate::http::{Listener, Server, Service, UNSENT_BYTES, opening};
use crate::ingest::Ingest;
use crate::keystore::{self, Keystore, KeystoreError};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::opening::OpeningProgress;
use crate::probe::Probe;
use crate::read::Read;
use crate::resolve::Resolve;
use crate::routes::Routes;
use crate::shutdown::Stop;
use crate::storage::{OpenError, Storage};
use crate::swarm::Swarm;
use crate::token::{RouterTokens, TokenError, Tokens};
use crate::workers::Parts;
use crate::workers::gossip::Gossip;
use crate::workers::reprovide::Reprovide;
use crate::workers::republish::Republish;

mod background;
mod protocols;

use background::Background;
use protocols::accept_all;

/// A node that runs. Dropping it stops the node without waiting; [`RunningNode::shutdown`] waits.
pub struct RunningNode {
    node: Arc<Service>,
    http_addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    gateway_addr: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    workers: JoinSet<()>,
}

impl RunningNode {
    /// Opens the data directory, binds the address and starts serving.
    ///
    /// It must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way: the directory, its lock, its format, the key, the address.
    pub async fn start(config: Config) -> Result<RunningNode, StartError> {
        let tokens = Tokens::read(&config.http)?;
        let router_tokens = match &config.ipns.router_tokens {
            Some(folder) => RouterTokens::read(folder, config.ipns.endpoints())?,
            None => RouterTokens::default(),
        };
        // The addresses first: they are taken at once, and nothing was written when one cannot be had.
        let (public, http_addr) = listen("http.listen", config.http.listen).await?;
        let admin = match config.http.admin_listen {
            AdminListen::At(address) => Some(listen_for_operator(address).await?),
            AdminListen::Off => None,
        };
        let admin_addr = admin.as_ref().map(|(_, address)| *address);
        let gateway = match config.http.gateway_listen {
            Some(address) => Some(listen("http.gateway-listen", address).await?),
            None => None,
        };
        let gateway_addr = gateway.as_ref().map(|(_, address)| *address);

        let metrics = Arc::new(Metrics::new());
        let (telling, seen) = OpeningProgress::new();
        let opening = open(&config, telling);
        let mut opening = opening.boxed();
        let mut sockets = vec![(Listener::Api, &public)];
        sockets.extend(admin.iter().map(|(socket, _)| (Listener::Admin, socket)));
        sockets.extend(
            gateway
                .iter()
                .map(|(socket, _)| (Listener::Gateway, socket)),
        );
        for (listener, socket) in sockets {
            let seen = seen.clone();
            opening = opening::answer_while(listener, socket, &config.http, seen, opening).boxed();
        }
        let opened = opening.await;
        let (storage, keystore, followed) = opened?;
        damage::tell_start(&storage);
        metrics.followed_names.set(followed);
        let clock = Arc::new(Clock::new(last_mark(&storage).await));
        let keystore = Arc::new(keystore);
        let read = Arc::new(Read::new(
            storage.clone(),
            &config.cache,
            Arc::clone(&metrics),
        ));
        let demand = Arc::new(Mutex::new(Demand::new(&config.ipns.hot)));
        let mut swarm = Swarm::start(
            &config,
            keystore.identity(),
            Name::from_public_key(&keystore.canary().public()),
            storage.clone(),
            Arc::clone(read.held()),
            Arc::clone(&demand),
        )
        .await?;
        let routes = Arc::new(Routes::new(&config, router_tokens, swarm.net.clone())?);
        let ingest = Arc::new(Ingest::new(
            &config,
            storage.clone(),
            Arc::clone(&read),
            Arc::clone(&keystore),
            Arc::clone(&metrics),
            Arc::clone(&clock),
        ));
        let reprovide = Arc::new(Reprovide::new(
            &config,
            routes.sweep(),
            storage.clone(),
            Arc::clone(&metrics),
        ));
        let republish = Arc::new(Republish::new(
            &config,
            &routes,
            storage.clone(),
            Arc::clone(&metrics),
            Arc::clone(&demand),
            Arc::clone(&reprovide),
        ));
        let gossip = Gossip::if_on(
            &config,
            &routes,
            storage.clone(),
            Arc::clone(&ingest),
            Arc::clone(&metrics),
        );
        let probe = Arc::new(Probe::new(
            &config,
            &routes,
            Arc::clone(&keystore),
            Arc::clone(&metrics),
        ));
        let (stop, stopped) = watch::channel(false);
        let mut background = Background::new(stopped.clone());
        let parts = Parts {
            config: &config,
            clock: &clock,
            storage: &storage,
            read: &read,
            ingest: &ingest,
            routes: &routes,
            metrics: &metrics,
            republish: &republish,
            reprovide: &reprovide,
            probe: &probe,
            gossip: gossip.as_ref(),
            scan_wanted: Arc::default(),
        };
        background.start_all(&parts);
        accept_all(&mut swarm, &parts)?;
        swarm.work(&mut background.tasks, &ingest, &|| Stop(stopped.clone()));
        let resolve = Resolve::new(&config, &routes, storage.clone());
        let node = Node {
            config,
            swarm,
            resolve,
            read,
            ingest,
            keystore,
            metrics,
            damage: Damage::new(storage.clone()),
            republish,
            reprovide,
            demand,
            routes,
            probe,
            workers: background.workers,
            clock,
            tokens,
            started_at: rt::now(),
            storage,
            stopping: AtomicBool::new(false),
        };
        let admin_url = admin_addr.map(url_of);
        let node = Arc::new(Service::new(node, admin_url));
        count(&node, stopped.clone());
        let server = Server::new(Listener::Api, public, Arc::clone(&node));
        let mut servers = vec![tokio::spawn(server.run(stopped.clone()))];
        if let Some((socket, address)) = admin {
            let server = Server::new(Listener::Admin, socket, Arc::clone(&node));
            servers.push(tokio::spawn(server.run(stopped.clone())));
            tracing::info!(%address, "the admin listener serves");
        }
        if let Some((socket, address)) = gateway {
            let server = Server::new(Listener::Gateway, socket, Arc::clone(&node));
            servers.push(tokio::spawn(server.run(stopped)));
            tracing::info!(%address, "the path gateway serves");
        }
        tracing::info!(address = %http_addr, data = %node.config.data.display(), "the node serves");
        Ok(RunningNode {
            node,
            http_addr,
            admin_addr,
            gateway_addr,
            stop,
            servers,
            workers: background.tasks,
        })
    }

    /// The address HTTP is served on for everybody.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// The address at which the operator calls, where there is one.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The base URL at which the operator calls, where there is one.
    #[must_use]
    pub fn admin_url(&self) -> Option<String> {
        self.admin_addr.map(url_of)
    }

    /// The address of the path gateway, where there is one.
    #[must_use]
    pub fn gateway_addr(&self) -> Option<SocketAddr> {
        self.gateway_addr
    }

    /// The base URL of the node.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(self.http_addr)
    }

    /// The id of the node as a peer.
    #[must_use]
    pub fn peer_id(&self) -> String {
        self.node.swarm.net.peer_id().to_string()
    }

    /// The addresses at which other peers reach the node, each ending in its id.
    #[must_use]
    pub fn p2p_addresses(&self) -> Vec<String> {
        let addresses = self.node.swarm.net.addresses();
        addresses.iter().map(ToString::to_string).collect()
    }

    /// Waits until the data folder was gone for some seconds: removed, unmounted, or swapped for another. The process should
    /// end then, and without [`RunningNode::shutdown`]: closing the store would write into whatever lies under the
    /// folder's name by now.
    pub async fn data_gone(&self) -> DataGone {
        DataGone(self.node.storage.folder().given_up().await)
    }

    /// Finishes the requests that were begun, for at most 20 seconds, stops the workers at their next step, and
    /// closes the store. What was acknowledged is durable before and without this.
    pub async fn shutdown(mut self) {
        self.node.stopping.store(true, Ordering::Relaxed);
        // The receivers may be gone already; then there is nothing to tell.
        let _ = self.stop.send(true);
        for server in &mut self.servers {
            if let Err(error) = server.await {
                tracing::error!(%error, "an HTTP server ended badly");
            }
        }
        self.node.swarm.stop().await;
        while let Some(ended) = self.workers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a worker ended badly");
            }
        }
        let node = self.node;
        // Closing waits for the disk. A thread that cannot be had leaves it to the end of the process.
        let _ = rt::blocking(move || drop(node)).await;
        tracing::info!("the node has stopped");
    }
}

fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Takes an address to serve HTTP on.
async fn listen(
    setting: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let bind_failed = |source| StartError::Bind {
        setting,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(bind_failed)?;
    let taken = listener.local_addr().map_err(bind_failed)?;
    rt::hold_little_unsent(&listener, UNSENT_BYTES).map_err(bind_failed)?;
    Ok((listener, taken))
}

/// Takes the address at which everything is granted, which no other machine may reach.
async fn listen_for_operator(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let setting = "http.admin-listen";
    if !address.ip().is_loopback() {
        let source = io::Error::new(
            io::ErrorKind::InvalidInput,
            "other machines could reach what needs no token there",
        );
        return Err(StartError::Bind {
            setting,
            address,
            source,
        });
    }
    listen(setting, address).await
}

/// The clock as the run before saw it last. A row that cannot be read keeps no node from starting.
async fn last_mark(storage: &Storage) -> Option<ClockMark> {
    let mark = storage.clock_mark().await;
    mark.unwrap_or_else(|error| {
        tracing::error!(error = %chain(&error), "what the clock showed last cannot be read");
        None
    })
}

/// Counts the names beside everything else: a million of them takes seconds.
fn count(node: &Arc<Service>, stopped: watch::Receiver<bool>) {
    let storage = node.storage.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = storage.count_names(|| *stopped.borrow()) {
            tracing::error!(error = %chain(&error), "the names could not be counted");
        }
    });
}

/// Opens store and key, and counts the followed names.
async fn open(
    config: &Config,
    mut telling: OpeningProgress,
) -> Result<(Storage, Keystore, u64), StartError> {
    let (data, index) = (config.data.clone(), config.index);
    let passphrase_file = config.keystore.passphrase_file.clone();
    let routers = config.routers();
    rt::blocking(move || {
        if let Some(found) = in_the_way(&data) {
            return Err(found.into());
        }
        rt::files::create_private_folder(&data).map_err(|source| StartError::Data {
            path: data.clone(),
            source,
        })?;
        let mut tell = |progress| telling.tell(progress);
        let lost_key = keystore::lost_key(&data);
        let (storage, followed) = Storage::open_counted(&data, index, &routers, &mut tell)?;
        let keystore = Keystore::open(&data, passphrase_file.as_deref())?;
        if let Some(sign) = lost_key {
            tracing::warn!(
                node = keystore.did(),
                "node.key was missing though {sign}: a new key was made, so the node has another peer id, and peers and provider \
                 records that know the old one find it no more; to have it back stop the node and restore node.key and \
                 node.passphrase from a backup"
            );
        }
        Ok((storage, keystore, followed))
    })
    .await?
}

/// The data folder, or a part of it, is not there any more.
#[derive(Debug, thiserror::Error)]
#[error("the data directory, or a part of it, is gone")]
pub struct DataGone(#[source] FolderGone);

impl Retryable for DataGone {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Fatal
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} ({setting})")]
    Bind {
        /// The setting that names it.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system reported.
        source: io::Error,
    },
    /// The data directory cannot be made.
    #[error("the data directory {} cannot be used", path.display())]
    Data {
        /// The directory.
        path: PathBuf,
        /// What the system reported.
        source: io::Error,
    },
    /// Something is in the place of the data directory, or of a part of it.
    #[error(transparent)]
    InTheWay(#[from] InTheWay),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The peer cannot be started.
    #[error("the peer-to-peer side cannot start")]
    Peer(#[from] perennis_net::StartError),
    /// Two handlers answer for one protocol between peers.
    #[error("a protocol between peers cannot be accepted")]
    Protocol(#[from] perennis_net::AcceptError),
    /// The node's key cannot be used.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The bearer token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The HTTP client for routers and sources cannot be set up.
    #[error("no HTTP client can be set up")]
    Client(#[from] rt::http::HttpError),
    /// The start was interrupted.
    #[error("the start was interrupted")]
    Interrupted(#[from] rt::Cancelled),
}

impl Retryable for StartError {
    /// As of the part that failed. An address that cannot be had is fatal for this installation, though another start may find it
    /// free: whoever holds it has to be stopped.
    fn kind(&self) -> ErrorKind {
        match self {
            StartError::InTheWay(found) => found.kind(),
            StartError::Store(error) => error.kind(),
            StartError::Keystore(error) => error.kind(),
            StartError::Token(error) => error.kind(),
            StartError::Peer(error) => error.kind(),
            StartError::Protocol(error) => error.kind(),
            StartError::Client(error) => error.kind(),
            StartError::Bind { .. } | StartError::Data { .. } | StartError::Interrupted(_) => {
                ErrorKind::Fatal
            }
        }
    }
}

impl StartError {
    /// A word for machines, stable between versions.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            StartError::Bind { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => "port_in_use",
                _ => "cannot_listen",
            },
            StartError::Data { .. } => "data_directory",
            StartError::InTheWay(found) => found.code(),
            StartError::Store(error) => error.code(),
            StartError::Peer(_) => "p2p_listen",
            StartError::Protocol(error) => error.code(),
            StartError::Keystore(_) => "node_key",
            StartError::Token(_) => "token_file",
            StartError::Client(_) => "http_client",
            StartError::Interrupted(_) => "interrupted",
        }
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            StartError::Bind {
                setting, source, ..
            } => bind_hint(setting, source.kind()),
            StartError::InTheWay(found) => found.hint(),
            StartError::Data { .. } => {
                "make the directory writable for the node's user, or give another one with --data"
            }
            StartError::Store(error) => error.hint(),
            StartError::Peer(_) => {
                "give addresses of this machine and free ports with --p2p-listen (port 0 takes a free one), or none"
            }
            StartError::Protocol(_) => "this is a fault of the program: report it",
            StartError::Keystore(_) => {
                "restore node.key and its passphrase from a backup; without them remove both files, and the node makes a new key"
            }
            StartError::Token(TokenError::Readable { .. }) => {
                "write https in ipns.routers, or take the file out of ipns.router-tokens"
            }
            StartError::Token(TokenError::File { .. }) => {
                "correct the line, or take it out; `perennis node token` writes lines"
            }
            StartError::Token(TokenError::Io { .. }) => {
                "write the file, readable by the node's user only: that of http.token-file has a token of at least 16 visible characters, that of http.tokens is what `perennis node token` writes"
            }
            StartError::Token(_) => {
                "write a token of at least 16 visible characters into the file, readable by the node's user only"
            }
            StartError::Client(_) => "check the system's TLS certificates",
            StartError::Interrupted(_) => "start the node again",
        }
    }
}

/// What to do where an address cannot be had.
fn bind_hint(setting: &str, kind: io::ErrorKind) -> &'static str {
    let is_admin = setting == "http.admin-listen";
    match kind {
        io::ErrorKind::AddrInUse if is_admin => {
            "stop the program that listens there (another node does by default), or give another address with --admin-listen (port 0 takes a free one, none turns it off)"
        }
        io::ErrorKind::AddrInUse => {
            "stop the program that listens there, or give another address with --listen (port 0 takes a free one)"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges: give a higher one",
        _ if is_admin => {
            "give an address of loopback such as 127.0.0.1:4783 with --admin-listen, or none"
        }
        _ => "give an address of this machine with --listen",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_store::OpenError as StoreOpenError;

    use super::*;

    #[tokio::test]
    async fn every_reason_not_to_start_has_its_kind() {
        let path = || PathBuf::from("/data");
        let io = || io::Error::from(io::ErrorKind::AddrInUse);
        let bind = StartError::Bind {
            setting: "http.listen",
            address: SocketAddr::from(([127, 0, 0, 1], 80)),
            source: io(),
        };
        let data = StartError::Data {
            path: path(),
            source: io(),
        };
        let in_the_way = InTheWay::NoFolder {
            path: path(),
            found: "a file",
        };
        let newer = StoreOpenError::NewerFormat {
            dir: path(),
            found: 9,
            known: 2,
        };
        let transport = perennis_net::StartError::Transport("no luck".into());
        let interrupted = rt::blocking::<(), _>(|| panic!("no luck")).await;
        let interrupted = interrupted.unwrap_err();
        for (error, kind) in [
            (bind, ErrorKind::Fatal),
            (data, ErrorKind::Fatal),
            (in_the_way.into(), ErrorKind::Fatal),
            (OpenError::Store(newer).into(), ErrorKind::Reject),
            (OpenError::TooManyRouters.into(), ErrorKind::Fatal),
            (transport.into(), ErrorKind::Fatal),
            (
                KeystoreError::NoNodeKey { path: path() }.into(),
                ErrorKind::Fatal,
            ),
            (
                TokenError::Unusable { path: path() }.into(),
                ErrorKind::Fatal,
            ),
            (rt::http::HttpError::Forbidden.into(), ErrorKind::Reject),
            (interrupted.into(), ErrorKind::Fatal),
        ] {
            assert_eq!(StartError::kind(&error), kind, "{error}");
        }
    }
}
