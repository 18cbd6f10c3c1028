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
pub(super) struct Budget(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    left: usize,
    waiting: VecDeque<Waker>,
}

/// Bytes lent by several budgets at once.
#[derive(Debug, Default)]
pub struct Loan {
    lenders: Vec<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            left: bytes,
            waiting: VecDeque::new(),
        })))
    }

    fn poll_take(&self, bytes: usize, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.left >= bytes {
            state.left -= bytes;
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|known| known.will_wake(cx.waker())) {
            state.waiting.push_back(cx.waker().clone());
        }
        Poll::Pending
    }

    fn give_back(&self, bytes: usize) {
        let waiting = {
            let mut state = self.0.lock();
            state.left += bytes;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Loan {
    /// Nothing lent yet, by these. They are asked in this order, and must be asked in the same by everybody.
    pub(super) fn of(lenders: [&Budget; 2]) -> Self {
        Self {
            lenders: lenders.into_iter().cloned().collect(),
            bytes: 0,
        }
    }

    /// Waits until `bytes` more are lent by all.
    pub(super) async fn extend(&mut self, bytes: usize) {
        for (at, lender) in self.lenders.iter().enumerate() {
            let mut partial = Partial {
                from: &self.lenders[..at],
                bytes,
            };
            poll_fn(|cx| lender.poll_take(bytes, cx)).await;
            partial.bytes = 0;
        }
        self.bytes += bytes;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        for lender in &self.lenders {
            lender.give_back(self.bytes);
        }
    }
}

/// What some lenders have given while another is waited for. It comes back if the wait is given up.
struct Partial<'a> {
    from: &'a [Budget],
    bytes: usize,
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.from.iter().for_each(|lender| lender.give_back(self.bytes));
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
        let mut first = Loan::of([&own, &all]);
        assert_eq!(first.extend(6).now_or_never(), Some(()));
        let mut second = Loan::of([&own, &all]);
        assert_eq!(second.extend(1).now_or_never(), None);
        drop(first);
        assert_eq!(second.extend(6).now_or_never(), Some(()));
    }

    #[test]
    fn a_wait_given_up_takes_nothing() {
        let (all, own) = (Budget::new(4), Budget::new(6));
        let mut loan = Loan::of([&own, &all]);
        assert_eq!(loan.extend(5).now_or_never(), None);
        drop(loan);
        assert_eq!((own.0.lock().left, all.0.lock().left), (6, 4));
    }
}
