//! One change of a name at a time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use perennis_shared::ipns::Name;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// The names that are being changed; there is an entry as long as somebody changes a name or waits to.
#[derive(Default)]
pub(super) struct NameLocks(Arc<Names>);

type Names = Mutex<HashMap<Name, Arc<Turn<()>>>>;

/// That a name is changed by nobody else, until this is dropped.
pub(super) struct LockedName {
    /// Taken when this is dropped.
    turn: Option<OwnedMutexGuard<()>>,
    name: Name,
    names: Arc<Names>,
}

impl NameLocks {
    /// Waits until nobody else changes a name.
    pub(super) async fn lock(&self, name: &Name) -> LockedName {
        // Before it waits: who gives up waiting leaves nothing behind either.
        let mut locked = self.locked(name, None);
        locked.turn = Some(self.turn(name).lock_owned().await);
        locked
    }

    /// A name that nobody changes now.
    pub(super) fn try_lock(&self, name: &Name) -> Option<LockedName> {
        let turn = self.turn(name).try_lock_owned().ok()?;
        Some(self.locked(name, Some(turn)))
    }

    fn turn(&self, name: &Name) -> Arc<Turn<()>> {
        Arc::clone(self.0.lock().entry(*name).or_default())
    }

    fn locked(&self, name: &Name, turn: Option<OwnedMutexGuard<()>>) -> LockedName {
        LockedName {
            turn,
            name: *name,
            names: Arc::clone(&self.0),
        }
    }
}

impl LockedName {
    pub(super) fn name(&self) -> Name {
        self.name
    }
}

impl Drop for LockedName {
    fn drop(&mut self) {
        let mut names = self.names.lock();
        // Before it is looked at who else has it.
        drop(self.turn.take());
        let turn = names.get(&self.name);
        if turn.is_some_and(|turn| Arc::strong_count(turn) == 1) {
            names.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;
    use perennis_shared::sign::SigningKey;

    use super::*;

    #[tokio::test]
    async fn a_name_is_changed_by_one_at_a_time_and_leaves_nothing_behind() {
        let name = |seed: u8| Name::from_public_key(&SigningKey::from_seed(&[seed; 32]).public());
        let locks = NameLocks::default();
        let one = name(1);
        let first = locks.lock(&one).await;
        let other = locks.try_lock(&name(2));
        assert_eq!(other.map(|locked| locked.name()), Some(name(2)));
        assert!(locks.try_lock(&one).is_none());
        let mut second = pin!(locks.lock(&one));
        assert!(poll!(second.as_mut()).is_pending());
        drop(first);
        drop(second.await);
        assert!(locks.0.lock().is_empty());
        // One who does not wait any longer leaves nothing behind once the last one has gone.
        let first = locks.lock(&one).await;
        {
            let mut given_up = pin!(locks.lock(&one));
            assert!(poll!(given_up.as_mut()).is_pending());
        }
        drop(first);
        assert!(locks.0.lock().is_empty());
    }
}
