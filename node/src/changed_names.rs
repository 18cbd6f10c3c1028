//! Names whose record has changed, for whoever tells others of it.
//!
//! A set, and a notification when it grows: a name that changes often is told of once, and memory is bounded by the names
//! kept here. What is lost at a restart is told of at the next turn of the worker that tells.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use perennis_shared::ipns::Name;
use tokio::sync::Notify;

/// Names that wait; of further ones the worker hears at its next turn through all names.
const WAITING: usize = 65_536;

/// Names with a new record, or that are kept no more.
#[derive(Debug, Default)]
pub(crate) struct ChangedNames {
    names: Mutex<BTreeSet<Name>>,
    added: Notify,
}

impl ChangedNames {
    /// The record of a name has changed, or the name is forgotten.
    pub(crate) fn add(&self, name: Name) {
        let mut names = self.names.lock();
        if names.len() < WAITING {
            names.insert(name);
        }
        drop(names);
        self.added.notify_one();
    }

    /// A name that has changed, where there is one.
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
    async fn a_name_is_told_of_once() {
        let changed = ChangedNames::default();
        let name = |seed: u8| Name::from_public_key(&SigningKey::from_seed(&[seed; 32]).public());
        for _ in 0..3 {
            changed.add(name(1));
        }
        changed.add(name(2));
        changed.added().await;
        let told = BTreeSet::from_iter(std::iter::from_fn(|| changed.pop()));
        assert_eq!(told, BTreeSet::from([name(1), name(2)]));
        assert!(changed.pop().is_none());
    }
}
