//! The peers that follow a name as one of several places that keep records.

use perennis_net::Pubsub;
use perennis_rt::BoxFuture;
use perennis_shared::ipns::{Name, Record};

use super::{RouteError, Router};

/// Asks connected peers that follow a name, and tells them of records.
pub struct PubSub {
    pubsub: Pubsub,
}

impl PubSub {
    /// Asks through this peer.
    #[must_use]
    pub fn new(pubsub: Pubsub) -> Self {
        Self { pubsub }
    }
}

impl Router for PubSub {
    fn label(&self) -> String {
        "pubsub".to_owned()
    }

    fn resolve<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Record, RouteError>> {
        Box::pin(async move { Ok(self.pubsub.find(name).await?) })
    }

    /// Tells those who follow the name. With nobody there it is done: whoever joins asks for it.
    fn publish<'a>(
        &'a self,
        name: &'a Name,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<(), RouteError>> {
        Box::pin(async move {
            self.pubsub.tell(*name, record).await?;
            Ok(())
        })
    }
}
