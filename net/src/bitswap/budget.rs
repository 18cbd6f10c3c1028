//! Memory for what peers send, lent in bytes.
//!
//! One budget is shared by all connections and one belongs to each, so that a peer that sends without pause, or many
//! messages at once and none to the end, waits for itself and not for others. What was lent comes back when
//! the [`Loan`] is dropped, wherever the message has gone by then.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// Bytes that may be lent. Cheap to clone; clones are the same budget.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Mutex<Available>>);

#[derive(Debug)]
struct Available {
    left: usize,
    waiting: VecDeque<Waker>,
}

/// Bytes that were lent, by one budget or by several.
#[derive(Debug, Default)]
pub struct Loan(Vec<(Budget, usize)>);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Available {
            left: bytes,
            waiting: VecDeque::new(),
        })))
    }

    fn poll_take(&self, bytes: usize, cx: &Context<'_>) -> Poll<()> {
        let mut available = self.0.lock();
        if available.left >= bytes {
            available.left -= bytes;
            return Poll::Ready(());
        }
        if !available
            .waiting
            .iter()
            .any(|known| known.will_wake(cx.waker()))
        {
            available.waiting.push_back(cx.waker().clone());
        }
        Poll::Pending
    }

    fn give_back(&self, bytes: usize) {
        let waiting = {
            let mut available = self.0.lock();
            available.left += bytes;
            std::mem::take(&mut available.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Loan {
    /// Waits until `lender` has `bytes` more.
    pub(super) async fn take(&mut self, lender: &Budget, bytes: usize) {
        poll_fn(|cx| lender.poll_take(bytes, cx)).await;
        self.0.push((lender.clone(), bytes));
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        for (lender, bytes) in &self.0 {
            lender.give_back(*bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_loan_waits_for_the_bytes_of_another() {
        let (all, own) = (Budget::new(10), Budget::new(6));
        let mut first = Loan::default();
        assert_eq!(first.take(&own, 6).now_or_never(), Some(()));
        assert_eq!(first.take(&all, 10).now_or_never(), Some(()));
        let mut second = Loan::default();
        assert_eq!(second.take(&own, 1).now_or_never(), None);
        drop(first);
        assert_eq!(second.take(&own, 6).now_or_never(), Some(()));
        assert_eq!((own.0.lock().left, all.0.lock().left), (0, 10));
    }
}
