//! What tests of workers need: the parts of a node whose peer keeps to itself, and a source that answers when it is told to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use parking_lot::Mutex;
use perennis_shared::ipns::Name;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::reprovide::Reprovide;
use super::republish::Republish;
use super::status::Status;
use super::{Context, Parts};
use crate::clock::Clock;
use crate::config::Config;
use crate::demand::Demand;
use crate::ingest::Ingest;
use crate::keystore::Keystore;
use crate::metrics::Metrics;
use crate::probe::Probe;
use crate::read::Read;
use crate::routes::Routes;
use crate::shutdown::Stop;
use crate::storage::Storage;
use crate::swarm::Swarm;
use crate::token::RouterTokens;

/// The parts of a node, none of which does anything by itself.
pub(super) struct TestParts {
    pub(super) storage: Storage,
    pub(super) ingest: Arc<Ingest>,
    pub(super) metrics: Arc<Metrics>,
    clock: Arc<Clock>,
    config: Config,
    read: Arc<Read>,
    routes: Arc<Routes>,
    republish: Arc<Republish>,
    reprovide: Arc<Reprovide>,
    probe: Arc<Probe>,
    _swarm: Swarm,
    _dir: TempDir,
}

impl TestParts {
    pub(super) async fn new(change: impl FnOnce(&mut Config)) -> TestParts {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.p2p.listen = Some(Vec::new());
        config.p2p.bootstrap = perennis_net::Bootstrap::None;
        config.p2p.dht = perennis_net::DhtMode::Off;
        config.p2p.pubsub = false;
        config.ipns.routers.clear();
        change(&mut config);
        let storage = Storage::open(dir.path(), &config.routers()).unwrap();
        let keystore = Arc::new(Keystore::open(dir.path(), None).unwrap());
        let metrics = Arc::new(Metrics::new());
        let read = Arc::new(Read::new(
            storage.clone(),
            &config.cache,
            Arc::clone(&metrics),
        ));
        let demand = Arc::new(Mutex::new(Demand::new(&config.ipns.hot)));
        let swarm = Swarm::start(
            &config,
            keystore.identity(),
            Name::from_public_key(&keystore.canary().public()),
            storage.clone(),
            Arc::clone(read.held()),
            Arc::clone(&demand),
        );
        let swarm = swarm.await.unwrap();
        let routes =
            Arc::new(Routes::new(&config, RouterTokens::default(), swarm.net.clone()).unwrap());
        let clock = Arc::new(Clock::new(None));
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
            demand,
            Arc::clone(&reprovide),
        ));
        let probe = Probe::new(&config, &routes, keystore, Arc::clone(&metrics));
        TestParts {
            storage,
            ingest,
            metrics,
            clock,
            config,
            read,
            routes,
            republish,
            reprovide,
            probe: Arc::new(probe),
            _swarm: swarm,
            _dir: dir,
        }
    }

    pub(super) fn parts(&self) -> Parts<'_> {
        Parts {
            config: &self.config,
            clock: &self.clock,
            storage: &self.storage,
            read: &self.read,
            ingest: &self.ingest,
            routes: &self.routes,
            metrics: &self.metrics,
            republish: &self.republish,
            reprovide: &self.reprovide,
            probe: &self.probe,
            gossip: None,
            scan_wanted: Arc::default(),
        }
    }

    /// The value of a counter, by its name and labels as they are exported.
    pub(super) fn count(&self, counter: &str) -> u64 {
        let text = self.metrics.text(self.storage.sizes()).unwrap();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(counter)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }
}

/// What a step is given, and what stops it.
pub(super) fn context() -> (Context, Status, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let status = Status::new("tested".to_owned(), "none".to_owned());
    let context = Context::new(status.clone(), Stop(stopped));
    (context, status, stop)
}

/// A source of blocks and records over HTTP.
pub(super) struct Source(TcpListener);

/// A request to a source that waits for its answer.
pub(super) struct Asked {
    pub(super) path: String,
    stream: TcpStream,
}

impl Source {
    pub(super) async fn new() -> Source {
        Source(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// Waits for the next request.
    pub(super) async fn asked(&self) -> Asked {
        let (mut stream, _) = self.0.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        Asked { path, stream }
    }
}

impl Asked {
    pub(super) async fn answer(mut self, media_type: &str, body: &[u8]) {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes()).await.unwrap();
        self.stream.write_all(body).await.unwrap();
    }
}
