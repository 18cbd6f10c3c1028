//! Names that wait for a worker: those whose record has changed, and those that are newly followed by gossip.
//!
//! A set, and a notification when it grows: a name that comes often is taken once, and memory is bounded by the names
//! kept here. What is lost at a restart is made up for at the next turn of the worker through all names.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use perennis_shared::ipns::Name;
use tokio::sync::Notify;

/// Names that wait; of further ones the worker hears at its next turn through all names.
const WAITING: usize = 65_536;

/// Names that one worker takes, each once however often it was added.
#[derive(Debug, Default)]
pub(crate) struct PendingNames {
    names: Mutex<BTreeSet<Name>>,
    added: Notify,
}

impl PendingNames {
    /// Puts a name in, and notifies who waits.
    pub(crate) fn add(&self, name: Name) {
        let mut names = self.names.lock();
        if names.len() < WAITING {
            names.insert(name);
        }
        drop(names);
        self.added.notify_one();
    }

    /// Takes a name out, where there is one.
    pub(crate) fn pop(&self) -> Option<Name> {
        self.names.lock().pop_first()
    }

    /// Waits until a name was added since the last time that this ended.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use perennis_shared::sign::SigningKey;

    use super::*;

    #[tokio::test]
    async fn a_name_is_taken_once() {
        let pending = PendingNames::default();
        let name = |seed: u8| Name::from_public_key(&SigningKey::from_seed(&[seed; 32]).public());
        for _ in 0..3 {
            pending.add(name(1));
        }
        pending.add(name(2));
        pending.added().await;
        let taken = BTreeSet::from_iter(std::iter::from_fn(|| pending.pop()));
        assert_eq!(taken, BTreeSet::from([name(1), name(2)]));
        assert!(pending.pop().is_none());
    }
}
