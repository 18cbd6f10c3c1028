//! The DHT as one of several places that keep records.

use perennis_net::{Net, dht::Sweep};
use perennis_rt::BoxFuture;
use perennis_shared::ipns::{Name, Record};

use super::{RouteError, Router};

/// Asks the peers of the DHT that are closest to a name.
pub struct Dht {
    net: Net,
    sweep: Sweep,
}

impl Dht {
    /// Asks through this peer.
    #[must_use]
    pub fn new(net: Net) -> Self {
        Self {
            sweep: Sweep::new(net.clone()),
            net,
        }
    }
}

impl Router for Dht {
    fn label(&self) -> String {
        "dht".to_owned()
    }

    fn resolve<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Record, RouteError>> {
        Box::pin(async move { Ok(self.net.dht().find_record(name).await?.best) })
    }

    fn publish<'a>(
        &'a self,
        name: &'a Name,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<(), RouteError>> {
        Box::pin(async move {
            self.sweep.put_record(name, record).await?;
            Ok(())
        })
    }
}
