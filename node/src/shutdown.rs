//! How everything that runs by itself learns that the node is stopping.

use std::time::Duration;

use tokio::sync::watch;

/// Whether the node is stopping.
#[derive(Clone)]
pub(crate) struct Stop(pub(crate) watch::Receiver<bool>);

impl Stop {
    /// Waits; true when the node is stopping.
    pub(crate) async fn sleep(&mut self, duration: Duration) -> bool {
        self.or(tokio::time::sleep(duration)).await.is_none()
    }

    /// Waits for a future; `None` when the node is stopping first.
    pub(crate) async fn or<F: Future>(&mut self, future: F) -> Option<F::Output> {
        tokio::select! {
            // A sender that is gone means the same.
            _ = self.0.wait_for(|stop| *stop) => None,
            output = future => Some(output),
        }
    }

    /// Whether the node is stopping now.
    pub(crate) fn is_now(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}
