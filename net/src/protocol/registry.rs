//! Who answers for which protocol, and how many streams are being served.
//!
//! Shared by the swarm's part, the tasks of all connections and the handles. Nothing waits here: a stream has its place at
//! once or none.

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use futures_util::{
    future::{Either, select},
    task::AtomicWaker,
};
use libp2p::{PeerId, Stream, StreamProtocol};
use parking_lot::{Mutex, RwLock};
use perennis_rt as rt;
use tokio::sync::{mpsc, watch};

use super::{AcceptError, Handler, Protocol};
use crate::error::NetError;

/// The protocols of a peer.
pub(super) struct Registry {
    services: RwLock<Services>,
    /// Whether other peers have to be told which protocols there are now.
    has_changed: AtomicBool,
    swarm: AtomicWaker,
}

struct Services {
    by_name: HashMap<StreamProtocol, Arc<Service>>,
    /// What is negotiated: the names of all services.
    names: Arc<[StreamProtocol]>,
    /// Copied into each task that serves a stream; `None` when the peer has ended.
    running: Option<Running>,
}

/// A protocol and who answers for it.
struct Service {
    protocol: Protocol,
    handler: Box<dyn Handler>,
    places: Mutex<Places>,
    has_ended: watch::Sender<bool>,
}

/// The streams that are being served.
#[derive(Default)]
struct Places {
    taken: usize,
    by_peer: HashMap<PeerId, usize>,
}

/// A task that serves a stream has one; nothing is sent on it.
type Running = mpsc::Sender<Infallible>;

/// The tasks that serve streams, seen from where their end is waited for.
pub(crate) struct Serving(mpsc::Receiver<Infallible>);

/// A handler is registered for as long as this lives. Dropping it ends the streams that are being served.
#[must_use = "the protocol is accepted until this is dropped"]
pub struct Registration {
    registry: Arc<Registry>,
    name: StreamProtocol,
}

impl Registry {
    pub(super) fn new() -> (Arc<Self>, Serving) {
        let (running, serving) = mpsc::channel(1);
        let registry = Self {
            services: RwLock::new(Services {
                by_name: HashMap::new(),
                names: Arc::default(),
                running: Some(running),
            }),
            has_changed: AtomicBool::new(false),
            swarm: AtomicWaker::new(),
        };
        (Arc::new(registry), Serving(serving))
    }

    pub(super) fn register(
        self: &Arc<Self>,
        protocol: Protocol,
        handler: Box<dyn Handler>,
    ) -> Result<Registration, AcceptError> {
        let name = protocol.wire_name();
        let mut services = self.services.write();
        if services.running.is_none() {
            return Err(NetError::Stopped.into());
        }
        let Entry::Vacant(place) = services.by_name.entry(name.clone()) else {
            return Err(AcceptError::Taken { protocol });
        };
        place.insert(Arc::new(Service {
            protocol,
            handler,
            places: Mutex::default(),
            has_ended: watch::Sender::new(false),
        }));
        services.list_names();
        drop(services);
        self.tell_swarm();
        Ok(Registration {
            registry: Arc::clone(self),
            name,
        })
    }

    fn unregister(&self, name: &StreamProtocol) {
        let mut services = self.services.write();
        let service = services.by_name.remove(name);
        services.list_names();
        // A handler may hold a registration of its own: it is dropped when nothing is locked.
        drop(services);
        if let Some(service) = service {
            service.has_ended.send_replace(true);
            self.tell_swarm();
        }
    }

    /// Ends all services. None is taken any more.
    pub(super) fn close(&self) {
        let mut services = self.services.write();
        services.running = None;
        let ended = std::mem::take(&mut services.by_name);
        services.list_names();
        drop(services);
        for service in ended.into_values() {
            service.has_ended.send_replace(true);
        }
    }

    /// The protocols that are accepted.
    pub(super) fn names(&self) -> Arc<[StreamProtocol]> {
        Arc::clone(&self.services.read().names)
    }

    /// Whether they have changed since it was last asked; the swarm is woken when they do again.
    pub(super) fn poll_changed(&self, cx: &Context<'_>) -> bool {
        self.swarm.register(cx.waker());
        self.has_changed.swap(false, Ordering::AcqRel)
    }

    /// Whether a stream of this peer is being served.
    pub(super) fn is_served(&self, peer: &PeerId) -> bool {
        let services = self.services.read();
        let mut all = services.by_name.values();
        all.any(|service| service.places.lock().by_peer.contains_key(peer))
    }

    fn tell_swarm(&self) {
        self.has_changed.store(true, Ordering::Release);
        self.swarm.wake();
    }

    /// Serves a stream in a task of its own, or drops it where there is no room: the peer sees it reset.
    pub(super) fn serve(&self, peer: PeerId, name: &StreamProtocol, stream: Stream) {
        let services = self.services.read();
        let service = services.by_name.get(name).cloned();
        let running = services.running.clone();
        drop(services);
        let (Some(service), Some(running)) = (service, running) else {
            return;
        };
        match Place::take(service, peer) {
            Some(place) => rt::spawn(serve(running, place, stream)),
            None => tracing::debug!(%peer, protocol = %name, "a stream beyond the limit is reset"),
        }
    }
}

impl Services {
    fn list_names(&mut self) {
        self.names = self.by_name.keys().cloned().collect();
    }
}

impl Serving {
    /// Waits until every handler is gone, with all that it held.
    pub(crate) async fn ended(mut self) {
        while self.0.recv().await.is_some() {}
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.unregister(&self.name);
    }
}

/// One of the streams that are served at once. Given back when dropped.
struct Place {
    service: Arc<Service>,
    peer: PeerId,
}

impl Place {
    fn take(service: Arc<Service>, peer: PeerId) -> Option<Self> {
        let protocol = &service.protocol;
        let mut places = service.places.lock();
        let of_peer = places.by_peer.get(&peer).copied().unwrap_or_default();
        let most = if places.taken > protocol.streams / 2 {
            protocol.fair_share
        } else {
            protocol.streams_per_peer
        };
        if places.taken >= protocol.streams || of_peer >= most {
            return None;
        }
        places.taken += 1;
        places.by_peer.insert(peer, of_peer + 1);
        drop(places);
        Some(Self { service, peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.service.places.lock();
        places.taken -= 1;
        if let Entry::Occupied(mut of_peer) = places.by_peer.entry(self.peer) {
            *of_peer.get_mut() -= 1;
            if *of_peer.get() == 0 {
                of_peer.remove();
            }
        }
    }
}

/// Serves one stream to its end, its deadline or that of the service. `_running` is dropped after everything else: when
/// no task has one, no handler is left.
async fn serve(_running: Running, place: Place, stream: Stream) {
    let Place { service, peer } = &place;
    let protocol = &service.protocol;
    let mut has_ended = service.has_ended.subscribe();
    let serving = service.handler.serve(*peer, stream);
    let serving = pin!(rt::timeout(protocol.deadline, serving));
    let ended = pin!(has_ended.wait_for(|has_ended| *has_ended));
    match select(serving, ended).await {
        Either::Left((Ok(Ok(())), _)) => {}
        Either::Left((Ok(Err(error)), _)) => {
            tracing::debug!(%peer, %protocol, %error, "a stream was not served");
        }
        Either::Left((Err(_), _)) => {
            tracing::debug!(%peer, %protocol, "a stream took longer than its protocol allows");
        }
        Either::Right(_) => {
            tracing::debug!(%peer, %protocol, "a stream ended with its handler");
        }
    }
}
