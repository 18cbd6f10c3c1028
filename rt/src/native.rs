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

use super::{Cancelled, address_rule::AddressRule};

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

pub(super) fn held_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok();
    let anonymous = status.as_deref().and_then(anonymous_bytes);
    // Elsewhere than on Linux all that is in the machine's memory has to do.
    anonymous.or_else(|| memory_stats::memory_stats().map(|stats| stats.physical_mem as u64))
}

/// Reads the memory that is of no file from a process's status as Linux writes it.
fn anonymous_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// Lets the system hold no more than so many bytes for a connection that it has not sent yet, for all connections that
/// `listener` accepts from now on. Without it a client that takes nothing makes the system hold megabytes, and a
/// thousand of them the memory of all connections of the machine. What is on its way is not counted, so that far and fast
/// clients lose nothing. It is done on Linux only.
///
/// # Errors
/// What the system reports.
pub fn hold_little_unsent(listener: &tokio::net::TcpListener, bytes: u32) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(listener).set_tcp_notsent_lowat(bytes)?;
    #[cfg(not(target_os = "linux"))]
    let _ = (listener, bytes);
    Ok(())
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

/// A client that goes through the proxies of the environment, follows no redirects, and has TLS by rustls on ring.
pub(super) fn http_client(connect: Duration) -> Result<reqwest::Client, reqwest::Error> {
    http_client_by(connect, |name| std::env::var(name).ok())
}

/// The proxies are those that the usual variables name, except to this machine itself.
fn http_client_by(
    connect: Duration,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<reqwest::Client, reqwest::Error> {
    let named = |names: [&str; 2]| {
        let mut given = names.iter().filter_map(|name| variable(name));
        given.find(|value| !value.trim().is_empty())
    };
    let but = named(["no_proxy", "NO_PROXY"]).unwrap_or_default();
    let but = reqwest::NoProxy::from_string(&format!("{LOOPBACK},{but}"));
    let mut builder = http_client_builder(connect);
    let proxies: [([&str; 2], MakeProxy); 3] = [
        (["https_proxy", "HTTPS_PROXY"], reqwest::Proxy::https),
        (["http_proxy", "HTTP_PROXY"], reqwest::Proxy::http),
        (["all_proxy", "ALL_PROXY"], reqwest::Proxy::all),
    ];
    for (names, proxy) in proxies {
        if let Some(url) = named(names) {
            builder = builder.proxy(proxy(url)?.no_proxy(but.clone()));
        }
    }
    builder.build()
}

type MakeProxy = fn(String) -> reqwest::Result<reqwest::Proxy>;

/// What is never reached through a proxy.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// A client that dials directly, and only addresses that the rule lets: what a proxy resolves nobody here could check.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// What comes to a listener first, which answers with 204.
    async fn first_line(listener: &tokio::net::TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 1_024];
        let length = stream.read(&mut head).await.unwrap();
        let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        let head = String::from_utf8_lossy(&head[..length]).into_owned();
        head.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn others_are_reached_through_the_proxy_and_this_machine_directly() {
        let proxy = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("http://{}", proxy.local_addr().unwrap());
        let variable = |name: &str| match name {
            "HTTP_PROXY" => Some(at.clone()),
            "no_proxy" => Some("other.example".to_owned()),
            _ => None,
        };
        let client = http_client_by(Duration::from_secs(5), variable).unwrap();

        let asked = client.get("http://node.example/v1/status").send();
        let (seen, answered) = tokio::join!(first_line(&proxy), asked);
        assert_eq!(seen, "GET http://node.example/v1/status HTTP/1.1");
        assert_eq!(answered.unwrap().status(), 204);

        for host in ["127.0.0.1", "localhost"] {
            let port = server.local_addr().unwrap().port();
            let asked = client.get(format!("http://{host}:{port}/v1/status")).send();
            let (seen, answered) = tokio::join!(first_line(&server), asked);
            assert_eq!(seen, "GET /v1/status HTTP/1.1");
            assert_eq!(answered.unwrap().status(), 204);
        }
    }

    #[test]
    fn a_proxy_that_is_no_url_is_refused() {
        let variable = |name: &str| (name == "https_proxy").then(|| "http://[".to_owned());
        assert!(http_client_by(Duration::from_secs(5), variable).is_err());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn accepted_connections_hold_as_little_as_their_listener_says() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        hold_little_unsent(&listener, 77_000).unwrap();
        let address = listener.local_addr().unwrap();
        let (dialled, accepted) =
            tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
        let (accepted, _) = accepted.unwrap();
        let held = socket2::SockRef::from(&accepted).tcp_notsent_lowat();
        assert_eq!(held.unwrap(), 77_000);
        drop(dialled);
    }

    #[test]
    fn what_is_of_files_is_not_held() {
        let status =
            "Name:\tperennis\nVmRSS:\t  9000 kB\nRssAnon:\t     123 kB\nRssFile:\t 8877 kB\n";
        assert_eq!(anonymous_bytes(status), Some(123 << 10));
        assert_eq!(anonymous_bytes("VmRSS:\t  9000 kB\n"), None);
        assert_eq!(anonymous_bytes("RssAnon:\t many kB\n"), None);
        assert!(held_memory().is_some_and(|bytes| bytes > 0));
    }
}
