//! The peers that follow a name as one of several places that keep records.

use perennis_net::Pubsub;
use perennis_rt::BoxFuture;
use perennis_shared::ipns::{Name, Record};

use super::{RouteError, Router};

/// Asks connected peers that follow a name, and tells them of records.
pub struct PubSub {
    pubsub: Pubsub,
    /// Whether what this peer has heard before is no answer.
    of_others: bool,
}

impl PubSub {
    /// Asks through this peer.
    #[must_use]
    pub fn new(pubsub: Pubsub) -> Self {
        Self {
            pubsub,
            of_others: false,
        }
    }

    /// Finds what other peers have now: a record that this peer alone has is not found.
    #[must_use]
    pub fn of_others(mut self) -> Self {
        self.of_others = true;
        self
    }
}

impl Router for PubSub {
    fn label(&self) -> String {
        "pubsub".to_owned()
    }

    fn resolve<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Record, RouteError>> {
        Box::pin(async move {
            Ok(match self.of_others {
                true => self.pubsub.find_at_peers(name).await?,
                false => self.pubsub.find(name).await?,
            })
        })
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
