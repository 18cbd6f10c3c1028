//! The platform: time, randomness, tasks and HTTP.
//!
//! Two twin modules with equal behaviour stand behind these functions: `native` on tokio, `web` on the
//! browser's event loop (window and every kind of worker). This file and its folder are the only place
//! where the target may be asked for. Futures are `Send` on native targets and need not be in a browser;
//! [`MaybeSend`] and [`BoxFuture`] say so once.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use futures_util::future::{AbortHandle, Either, abortable, select};
use perennis_shared::{
    error::{ErrorKind, Retryable},
    sign::{SEED_BYTES, SignEngine},
    time::Millis,
};

mod address_rule;
pub mod files;
pub mod http;
#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod web;

#[cfg(not(target_family = "wasm"))]
use native as platform;
#[cfg(target_family = "wasm")]
use web as platform;

#[cfg(not(target_family = "wasm"))]
pub use native::hold_little_unsent;
pub use platform::{BoxFuture, BoxStream, MaybeSend, MaybeSync};

/// The fastest Ed25519 signing the platform has for a key with this seed, for
/// [`Identity::with_engine`](perennis_shared::did::Identity::with_engine); none where `shared`'s own is the fastest.
#[must_use]
pub fn sign_engine(seed: &[u8; SEED_BYTES]) -> Option<Box<dyn SignEngine>> {
    platform::sign_engine(seed)
}

/// Operating system or browser had no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("no randomness is available")]
pub struct RandomError(#[from] getrandom::Error);

impl Retryable for RandomError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Fatal
    }
}

/// A future did not finish within its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not finished within {} ms", .after.as_millis())]
pub struct Elapsed {
    /// The time it was given.
    pub after: Duration,
}

impl Retryable for Elapsed {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Retry
    }
}

/// The wall clock in Unix milliseconds. It may jump; measure durations with [`monotonic`].
#[must_use]
pub fn now() -> Millis {
    platform::now()
}

/// Time since an arbitrary start, for measuring. In a browser it follows the page's clock.
#[must_use]
pub fn monotonic() -> Duration {
    platform::monotonic()
}

/// Waits. On a native target it must be called within a tokio runtime.
pub async fn sleep(duration: Duration) {
    platform::sleep(duration).await;
}

/// Lets other tasks go on, and is then ready. A task that always finds more to do must not keep them waiting.
pub async fn yield_now() {
    let mut has_yielded = false;
    std::future::poll_fn(|cx| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Runs `future` for at most `after`, then drops it.
///
/// # Errors
/// [`Elapsed`] when it had not finished.
pub async fn timeout<F: Future>(after: Duration, future: F) -> Result<F::Output, Elapsed> {
    match select(pin!(future), pin!(platform::sleep(after))).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(((), _)) => Err(Elapsed { after }),
    }
}

/// The memory that this process holds and that nobody can take away from it, in bytes: on Linux without the pages of
/// files. `None` where the platform does not tell.
#[must_use]
pub fn held_memory() -> Option<u64> {
    platform::held_memory()
}

/// `N` random bytes fit for keys.
///
/// # Errors
/// [`RandomError`] when the platform has none.
pub fn random<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// A number to spread retries with. It is not secret: without randomness it falls back to the clock.
#[must_use]
pub fn jitter() -> u64 {
    random::<8>().map_or_else(
        |_| monotonic().as_nanos().try_into().unwrap_or(u64::MAX),
        u64::from_le_bytes,
    )
}

/// Runs `future` beside the caller, to its end. On a native target it must be called within a tokio
/// runtime, and ends with it.
pub fn spawn<F: Future<Output = ()> + MaybeSend + 'static>(future: F) {
    platform::spawn(future);
}

/// Does `work` again and again beside the caller, each time after what `timer` gives has ended, until the handle
/// is dropped. The timer is an argument so that a test decides when time has passed; `|| rt::sleep(period)` is the
/// usual one. On a native target it must be called within a tokio runtime, and ends with it.
pub fn every<T, W>(
    mut timer: impl FnMut() -> T + MaybeSend + 'static,
    mut work: impl FnMut() -> W + MaybeSend + 'static,
) -> Repeating
where
    T: Future<Output = ()> + MaybeSend + 'static,
    W: Future<Output = ()> + MaybeSend + 'static,
{
    let (repeated, handle) = abortable(async move {
        loop {
            timer().await;
            work().await;
        }
    });
    // It ends by being aborted, which says nothing more.
    spawn(async move {
        let _ = repeated.await;
    });
    Repeating(handle)
}

/// Work that is repeated while this lives. Dropping it ends the work at its next pause.
#[derive(Debug)]
#[must_use = "the work ends when this is dropped"]
pub struct Repeating(AbortHandle);

impl Drop for Repeating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a function that waits for a disk or computes for long, away from the event loop where the
/// platform has other threads, and in place where it has none.
///
/// # Errors
/// The function panicked, or the runtime is shutting down.
pub async fn blocking<T, F>(function: F) -> Result<T, Cancelled>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    platform::blocking(function).await
}

/// A blocking function did not come back.
#[derive(Debug, thiserror::Error)]
#[error("a background task was cancelled")]
pub struct Cancelled(#[source] Option<Box<dyn std::error::Error + Send + Sync>>);

impl Retryable for Cancelled {
    /// What was to run it ends, or the function itself is at fault.
    fn kind(&self) -> ErrorKind {
        ErrorKind::Fatal
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn timeout_ends_what_never_ends() {
        let after = Duration::from_millis(1);
        assert_eq!(
            timeout(after, pending::<()>()).await,
            Err(Elapsed { after })
        );
    }

    #[tokio::test]
    async fn timeout_gives_what_is_ready_even_with_no_time() {
        assert_eq!(timeout(Duration::ZERO, ready(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn blocking_brings_its_result_back() {
        assert_eq!(blocking(|| 6 * 7).await.unwrap(), 42);
    }

    #[tokio::test]
    async fn blocking_reports_a_panic_as_an_error() {
        assert!(blocking(|| panic!("on purpose")).await.is_err());
    }

    #[tokio::test]
    async fn spawned_work_runs() {
        let (tell, told) = tokio::sync::oneshot::channel();
        spawn(async move { assert!(tell.send(5).is_ok()) });
        assert_eq!(told.await.unwrap(), 5);
    }

    #[tokio::test]
    async fn repeated_work_follows_its_timer_and_ends_with_its_handle() {
        let (tick, ticks) = tokio::sync::mpsc::unbounded_channel::<()>();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let ticks = std::sync::Arc::new(tokio::sync::Mutex::new(ticks));
        let repeating = every(
            move || {
                let ticks = std::sync::Arc::clone(&ticks);
                async move {
                    let _ = ticks.lock().await.recv().await;
                }
            },
            move || {
                let tell = tell.clone();
                async move { tell.send(()).unwrap() }
            },
        );
        for _ in 0..3 {
            assert!(told.try_recv().is_err(), "worked before its time");
            tick.send(()).unwrap();
            told.recv().await.unwrap();
        }
        drop(repeating);
        // What it held is dropped with it: nobody can tell any more.
        assert_eq!(told.recv().await, None);
    }

    #[test]
    fn two_draws_differ() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
    }
}
