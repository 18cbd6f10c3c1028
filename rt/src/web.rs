//! The browser twin: the event loop of a window or a worker, and `fetch`.

use std::{future::Future, pin::Pin, time::Duration};

use futures_util::Stream;
use perennis_shared::{
    sign::{SEED_BYTES, SignEngine},
    time::Millis,
};

use super::{Cancelled, address_rule::AddressRule};

/// Nothing to ask: tasks stay on their thread.
pub trait MaybeSend {}
impl<T: ?Sized> MaybeSend for T {}

/// Nothing to ask: references stay on their thread.
pub trait MaybeSync {}
impl<T: ?Sized> MaybeSync for T {}

/// A boxed future that a task may hold.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A boxed stream that a task may hold.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + 'a>>;

pub(super) fn now() -> Millis {
    // A double holds Unix milliseconds exactly for 285,000 years; the cast saturates.
    Millis(js_sys::Date::now() as u64)
}

pub(super) fn monotonic() -> Duration {
    Duration::from_millis(now().0)
}

pub(super) fn held_memory() -> Option<u64> {
    // A page is not told; its own memory never shrinks, so it would say little.
    None
}

pub(super) async fn sleep(duration: Duration) {
    // `setTimeout` takes a signed 32-bit number of milliseconds and fires at once beyond it.
    const LONGEST_MS: u128 = i32::MAX as u128;
    let mut left = duration.as_millis();
    while left > 0 {
        let step = left.min(LONGEST_MS);
        gloo_timers::future::TimeoutFuture::new(step as u32).await;
        left -= step;
    }
}

pub(super) fn spawn<F: Future<Output = ()> + 'static>(future: F) {
    wasm_bindgen_futures::spawn_local(future);
}

#[allow(
    clippy::unused_async,
    reason = "the native twin waits for another thread"
)]
pub(super) async fn blocking<T, F>(function: F) -> Result<T, Cancelled>
where
    F: FnOnce() -> T,
{
    Ok(function())
}

/// A client over `fetch`. The browser connects, so it has no deadline of its own for that.
pub(super) fn http_client(_connect: Duration) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().build()
}

/// The same: a browser shows no addresses to check.
pub(super) fn guarded_http_client(
    connect: Duration,
    _rule: AddressRule,
) -> Result<reqwest::Client, reqwest::Error> {
    http_client(connect)
}

/// Past the browser's cache (a record must be the newest, and blocks have their own store) and without
/// its cookies.
pub(super) fn prepare(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request.fetch_cache_no_store().fetch_credentials_omit()
}

/// Whether no connection came about: `fetch` does not say where it failed, and that is the usual place.
pub(super) fn is_connect(error: &reqwest::Error) -> bool {
    error.is_request()
}

/// WebCrypto signs asynchronously and only what it was given to keep: `shared` signs.
pub(super) fn sign_engine(_: &[u8; SEED_BYTES]) -> Option<Box<dyn SignEngine>> {
    None
}
