//! One way by which records are published and found.

use std::time::Duration;

use perennis_net::dht::DhtError;
use perennis_net::{Net, Pubsub, PubsubError};
use perennis_rt as rt;
use perennis_rt::http::{HttpError, HttpTimes};
use perennis_sdk::router::{Dht, Http, RouteError, Router};
use perennis_shared::backoff::Backoff;
use perennis_shared::ipns::{Name, Record};

use crate::config::{Config, DHT_ROUTER};
use crate::resolve::FORWARDER;

/// The first pause before peers are asked again that have not heard of a record by gossip yet; it doubles.
const HEARING: Duration = Duration::from_millis(20);

/// The time after which a peer must have heard of it.
const HEARD: Duration = Duration::from_secs(5);

pub(super) enum Route {
    /// The DHT, or one endpoint: it has answered when it has taken a record.
    Router {
        label: String,
        router: Box<dyn Router>,
    },
    /// Connected peers that follow the name: they are told, and hear of it when they do.
    Gossip(Pubsub),
}

/// Why an operation did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum Miss {
    /// There is nobody to try it with: nothing can be said about the route.
    #[error("{0}")]
    Nobody(&'static str),
    /// It failed.
    #[error(transparent)]
    Failed(RouteError),
}

impl Route {
    /// Every route that the configuration has.
    ///
    /// # Errors
    /// No HTTP client can be set up.
    pub(super) fn all(config: &Config, net: &Net) -> Result<Vec<Route>, HttpError> {
        let mut routes = Vec::new();
        if config.p2p.has_dht() {
            routes.push(Route::Router {
                label: DHT_ROUTER.to_owned(),
                router: Box::new(Dht::new(net.clone())),
            });
        }
        if let Some(pubsub) = net.pubsub() {
            routes.push(Route::Gossip(pubsub.clone()));
        }
        let http = rt::http::Http::new(HttpTimes::default())?;
        // What is measured is one request.
        let once = Backoff {
            attempts: 1,
            ..Backoff::default()
        };
        for (label, endpoint) in config.ipns.endpoints() {
            let router = Http::new(http.clone(), endpoint, once).forwarding(FORWARDER);
            routes.push(Route::Router {
                label: label.clone(),
                router: Box::new(router),
            });
        }
        Ok(routes)
    }

    pub(super) fn label(&self) -> &str {
        match self {
            Route::Router { label, .. } => label,
            Route::Gossip(_) => "pubsub",
        }
    }

    /// Gives a record to those who are there.
    pub(super) async fn publish(&self, name: &Name, record: &Record) -> Result<(), Miss> {
        match self {
            Route::Router { router, .. } => Ok(router.publish(name, record).await?),
            Route::Gossip(pubsub) => match pubsub.tell(*name, record).await? {
                0 => Err(Miss::Nobody("no connected peer follows the canary name")),
                _ => Ok(()),
            },
        }
    }

    /// The record that others have, which should be `current`.
    pub(super) async fn resolve(&self, name: &Name, current: &Record) -> Result<Record, Miss> {
        match self {
            Route::Router { router, .. } => Ok(router.resolve(name).await?),
            Route::Gossip(pubsub) => {
                // Nobody acknowledges what is told. Whoever has not heard of it in time has it not.
                let until = rt::monotonic() + HEARD;
                let mut pause = HEARING;
                loop {
                    let found = pubsub.find(name).await;
                    let is_current = found.as_ref().is_ok_and(|found| found == current);
                    if is_current || rt::monotonic() + pause > until {
                        return Ok(found?);
                    }
                    rt::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
    }
}

impl From<RouteError> for Miss {
    fn from(error: RouteError) -> Miss {
        match error {
            RouteError::Dht(DhtError::NoPeers) => Miss::Nobody("no peers of the DHT are known"),
            error => Miss::Failed(error),
        }
    }
}

impl From<PubsubError> for Miss {
    fn from(error: PubsubError) -> Miss {
        Miss::Failed(error.into())
    }
}
