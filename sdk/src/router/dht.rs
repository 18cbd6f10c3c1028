//! The DHT as one of several places that keep records.

use perennis_net::{Net, dht::Sweep};
use perennis_rt::BoxFuture;
use perennis_shared::ipns::{Name, Record};

use super::{RouteError, Router};

/// Asks the peers of the DHT that are closest to a name.
pub struct Dht {
    net: Net,
    sweep: Sweep,
    /// Whether what this peer holds itself is no answer.
    of_others: bool,
}

impl Dht {
    /// Asks through this peer.
    #[must_use]
    pub fn new(net: Net) -> Self {
        Self {
            sweep: Sweep::new(net.clone()),
            net,
            of_others: false,
        }
    }

    /// Finds what other peers have: a record that this peer alone holds is not found.
    #[must_use]
    pub fn of_others(mut self) -> Self {
        self.of_others = true;
        self
    }
}

impl Router for Dht {
    fn label(&self) -> String {
        "dht".to_owned()
    }

    fn resolve<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<Record, RouteError>> {
        Box::pin(async move {
            let found = self.net.dht().find_record(name).await?;
            if self.of_others && found.answers == 0 {
                return Err(RouteError::NotFound { name: *name });
            }
            Ok(found.best)
        })
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
