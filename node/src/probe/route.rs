//! One way by which records are published and found.

use std::time::Duration;

use perennis_net::dht::DhtError;
use perennis_net::{Pubsub, PubsubError};
use perennis_rt as rt;
use perennis_sdk::router::{RouteError, Router};
use perennis_shared::backoff::Backoff;
use perennis_shared::ipns::{Name, Record};

use crate::config::DHT_ROUTER;
use crate::routes::Routes;

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
    /// Every route that the node has.
    pub(super) fn all(routes: &Routes) -> Vec<Route> {
        let mut all = Vec::new();
        if let Some(dht) = routes.dht() {
            all.push(Route::Router {
                label: DHT_ROUTER.to_owned(),
                router: Box::new(dht),
            });
        }
        if let Some(pubsub) = routes.pubsub() {
            all.push(Route::Gossip(pubsub.clone()));
        }
        // What is measured is one request.
        let once = Backoff {
            attempts: 1,
            ..Backoff::default()
        };
        for (label, router) in routes.labelled_endpoints(once) {
            all.push(Route::Router {
                label: label.to_owned(),
                router: Box::new(router),
            });
        }
        all
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
