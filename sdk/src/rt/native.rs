//! The native twin: tokio for time and tasks, rustls for TLS.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Once, OnceLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::Stream;
use perennis_shared::{
    sign::{SEED_BYTES, SignEngine},
    time::Millis,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{Cancelled, http::AddressRule};

/// `Send` where tasks move between threads.
pub trait MaybeSend: Send {}
impl<T: Send + ?Sized> MaybeSend for T {}

/// `Sync` where references move between threads.
pub trait MaybeSync: Sync {}
impl<T: Sync + ?Sized> MaybeSync for T {}

/// A boxed future that a task may hold.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A boxed stream that a task may hold.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

pub(super) fn now() -> Millis {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Millis(since_epoch.as_millis().try_into().unwrap_or(u64::MAX))
}

pub(super) fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

pub(super) async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

pub(super) fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) {
    drop(tokio::spawn(future));
}

pub(super) async fn blocking<T, F>(function: F) -> Result<T, Cancelled>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    tokio::task::spawn_blocking(function)
        .await
        .map_err(|error| Cancelled(Some(Box::new(error))))
}

/// A client that dials directly: no proxy of the environment, no redirects, TLS by rustls on ring.
pub(super) fn http_client(connect: Duration) -> Result<reqwest::Client, reqwest::Error> {
    http_client_builder(connect).build()
}

/// The same, and only to addresses the rule lets.
pub(super) fn guarded_http_client(
    connect: Duration,
    rule: AddressRule,
) -> Result<reqwest::Client, reqwest::Error> {
    http_client_builder(connect)
        .dns_resolver(Arc::new(Guarded(rule)))
        .build()
}

fn http_client_builder(connect: Duration) -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    // A program that has chosen another provider keeps it.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder()
        .connect_timeout(connect)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("perennis/", env!("CARGO_PKG_VERSION")))
}

/// The system's resolver, without the addresses that the rule forbids. The connection is made to what comes out of
/// it, so that a name cannot resolve to something else after the check.
struct Guarded(AddressRule);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let rule = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| rule(address.ip())).collect();
            if allowed.is_empty() {
                return Err("the name has no address that may be dialled".into());
            }
            let allowed: Addrs = Box::new(allowed.into_iter());
            Ok(allowed)
        })
    }
}

/// What the platform adds to each request: nothing here, no cache stands in between.
pub(super) fn prepare(request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    request
}

/// Whether no connection came about.
pub(super) fn is_connect(error: &reqwest::Error) -> bool {
    error.is_connect()
}

/// AWS-LC signs in half the time. Whoever has QUIC has it already.
#[cfg(feature = "aws-lc")]
pub(super) fn sign_engine(seed: &[u8; SEED_BYTES]) -> Option<Box<dyn SignEngine>> {
    aws_lc::Engine::new(seed).map(|engine| Box::new(engine) as _)
}

#[cfg(not(feature = "aws-lc"))]
pub(super) fn sign_engine(_: &[u8; SEED_BYTES]) -> Option<Box<dyn SignEngine>> {
    None
}

#[cfg(feature = "aws-lc")]
mod aws_lc;
