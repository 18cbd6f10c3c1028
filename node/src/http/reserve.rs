//! The places that are kept back: a node that is full still says that it lives, and tells all others when to come again.
//!
//! Who finds no place is heard for a moment: a question after the node's health is answered, all else is refused. When these
//! places are taken as well, who came first among them goes: a question that is asked at once is answered at once, so that only those
//! go who wait. Must never touch: who finds a place.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Connections without a place that are heard at once.
const HEARD: usize = 64;

/// How long one is heard.
const MOMENT: Duration = Duration::from_secs(5);

/// The connections without a place.
#[derive(Clone, Default)]
pub(super) struct Reserve(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    next: u64,
    /// In the order in which they came; each ends when its sender is dropped.
    open: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Reserve {
    /// Hears a connection, until it ends or others need its place.
    pub(super) fn hear<F: Future<Output = ()> + Send>(
        &self,
        connection: F,
    ) -> impl Future<Output = ()> + Send + use<F> {
        let (place, mut gives_way) = oneshot::channel();
        let number = {
            let mut heard = self.0.lock();
            if heard.open.len() >= HEARD {
                heard.open.pop_front();
            }
            heard.next += 1;
            let number = heard.next;
            heard.open.push_back((number, place));
            number
        };
        let reserve = self.clone();
        async move {
            tokio::select! {
                () = connection => {}
                _ = &mut gives_way => {}
                () = tokio::time::sleep(MOMENT) => {}
            }
            reserve.0.lock().open.retain(|(open, _)| *open != number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_came_first_goes_when_more_come_than_are_heard() {
        let reserve = Reserve::default();
        let mut open: Vec<_> = (0..=HEARD)
            .map(|_| Box::pin(reserve.hear(pending())))
            .collect();
        let ended: Vec<bool> = open
            .iter_mut()
            .map(|open| open.as_mut().now_or_never().is_some())
            .collect();
        assert!(ended[0]);
        assert!(!ended[1..].contains(&true));
        // One that was answered leaves its place.
        drop(open);
        let answered = reserve.hear(async {});
        answered.await;
        assert!(reserve.0.lock().open.len() < HEARD);
    }
}
