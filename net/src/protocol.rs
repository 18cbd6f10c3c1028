//! The door for protocols: whoever has a protocol to speak brings a handler and opens streams, and touches neither the
//! swarm nor the task that owns it.
//!
//! [`Net::accept`](crate::Net::accept) registers a [`Handler`] for a [`Protocol`] until its [`Registration`] is dropped
//! or the peer ends; other peers are told of the protocol meanwhile. [`Net::open`](crate::Net::open) dials where it has
//! to and gives a stream. What strangers may take is a part of the protocol: so many streams at once, so many of them of
//! one peer, so long for each; what is beyond is reset, and nothing waits in a queue. Messages are bounded by
//! [`framing`](crate::framing).
//!
//! - `registry`: who answers for which protocol, and how many streams are being served.
//! - `behaviour` and `connection`: the part of the swarm, and of each connection.
//! - `streams`: the handle.
//!
//! Must never touch: what is said on a stream. A stream is served in a task of its own, so a handler may wait and compute
//! without holding up others; its task ends with the registration.
//!
//! ```
//! use std::time::Duration;
//!
//! use perennis_net::{
//!     Net, OpenError, PeerId,
//!     framing::{read_frame, write_frame},
//!     protocol::{Handler, Protocol, ServeResult, Stream},
//! };
//! use perennis_rt::BoxFuture;
//!
//! /// Says back what it is told.
//! const ECHO: Protocol = Protocol::new("/example/echo", "1.0.0")
//!     .with_deadline(Duration::from_secs(10))
//!     .with_streams(64, 4);
//!
//! /// Longest message, in bytes.
//! const MESSAGE_BYTES: usize = 1_024;
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn serve(&self, _peer: PeerId, mut stream: Stream) -> BoxFuture<'_, ServeResult> {
//!         Box::pin(async move {
//!             let message = read_frame(&mut stream, MESSAGE_BYTES).await?;
//!             write_frame(&mut stream, &message).await?;
//!             Ok(())
//!         })
//!     }
//! }
//!
//! async fn echo(net: &Net, peer: PeerId, message: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//!     let mut stream = net.open(peer, &ECHO).await?;
//!     write_frame(&mut stream, message).await?;
//!     Ok(read_frame(&mut stream, MESSAGE_BYTES).await?)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # use perennis_net::{NetConfig, config::identity_of, dht::MemoryDhtStore};
//! # use std::sync::Arc;
//! # let start = |seed: u8| {
//! #     let mut config = NetConfig::new(identity_of(&[seed; 32]), Arc::new(MemoryDhtStore::new(1)));
//! #     config.listen = vec!["/memory/0".parse().expect("it is an address")];
//! #     Net::start(config)
//! # };
//! # let (server, client) = (start(1).await?, start(2).await?);
//! let registration = server.accept(ECHO, Echo)?;
//! # client.connect_to(&server.addresses()[0]).await?;
//! assert_eq!(echo(&client, server.peer_id(), b"hello").await?, b"hello");
//!
//! drop(registration);
//! let refused = client.open(server.peer_id(), &ECHO).await;
//! assert!(matches!(refused, Err(OpenError::Unsupported { .. })));
//! # Ok(())
//! # })
//! # }
//! ```

use std::{
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    time::Duration,
};

use libp2p::{PeerId, StreamProtocol};
use perennis_rt::{BoxFuture, MaybeSend, MaybeSync};

mod behaviour;
mod connection;
mod error;
mod registry;
mod streams;

pub(crate) use behaviour::Behaviour;
pub use error::{AcceptError, OpenError};
pub use libp2p::Stream;
pub use registry::Registration;
pub(crate) use registry::Serving;
pub(crate) use streams::Streams;

/// Longest name of a protocol with its version, in bytes: each connection is told the names of all.
const NAME_BYTES: usize = 140;

/// How long a stream is served when the protocol does not say.
const DEADLINE: Duration = Duration::from_secs(30);

/// Streams that are served at once when the protocol does not say, and those of one peer among them.
const STREAMS: (usize, usize) = (256, 16);

/// A protocol: what it is called and what other peers may take of this one. Two are the same when name and version are.
#[derive(Clone, Debug)]
pub struct Protocol {
    name: Cow<'static, str>,
    version: Cow<'static, str>,
    deadline: Duration,
    streams: usize,
    streams_per_peer: usize,
    /// Of one peer when more than half of all places are taken.
    fair_share: usize,
}

/// What became of a stream. An error is logged for whoever looks for it, and the stream is reset.
pub type ServeResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Answers the streams that other peers open for a protocol.
///
/// One that holds a [`Net`](crate::Net) keeps the peer running until its registration is dropped or the peer is stopped.
pub trait Handler: MaybeSend + MaybeSync + 'static {
    /// Serves one stream of a peer, in a task of its own. It is dropped at the deadline of the protocol, when the
    /// registration is dropped, and when the peer stops.
    fn serve(&self, peer: PeerId, stream: Stream) -> BoxFuture<'_, ServeResult>;
}

/// So that handlers of several protocols can stand in one list.
impl<H: Handler + ?Sized> Handler for Box<H> {
    fn serve(&self, peer: PeerId, stream: Stream) -> BoxFuture<'_, ServeResult> {
        (**self).serve(peer, stream)
    }
}

impl Protocol {
    /// The protocol that is negotiated as `name`, a slash, and `version`: `/perennis/cluster` and `1.0.0`. A stream is
    /// served for 30 seconds, and 256 at once, 16 of one peer.
    ///
    /// # Panics
    /// `name` does not begin with a slash or ends with one, `version` is empty or has one in it, or both together are
    /// longer than 139 bytes. In a constant the compiler says so.
    #[must_use]
    pub const fn new(name: &'static str, version: &'static str) -> Self {
        assert!(
            matches!(name.as_bytes(), [b'/', .., last] if *last != b'/'),
            "the name of a protocol begins with a slash and ends without one"
        );
        let bytes = version.as_bytes();
        assert!(!bytes.is_empty(), "a protocol has a version");
        let mut at = 0;
        while at < bytes.len() {
            assert!(bytes[at] != b'/', "a version has no slash in it");
            at += 1;
        }
        assert!(
            name.len() + 1 + version.len() <= NAME_BYTES,
            "the name of a protocol is short"
        );
        Self {
            name: Cow::Borrowed(name),
            version: Cow::Borrowed(version),
            deadline: DEADLINE,
            streams: STREAMS.0,
            streams_per_peer: STREAMS.1,
            fair_share: STREAMS.1,
        }
    }

    /// The protocol that is negotiated as `name`, which was looked at before: it keeps the rules of [`Protocol::new`], the
    /// version being what is behind the last slash.
    pub(crate) fn named(name: &str) -> Self {
        let (name, version) = name.rsplit_once('/').unwrap_or((name, ""));
        Self {
            name: Cow::Owned(name.to_owned()),
            version: Cow::Owned(version.to_owned()),
            deadline: DEADLINE,
            streams: STREAMS.0,
            streams_per_peer: STREAMS.1,
            fair_share: STREAMS.1,
        }
    }

    /// Serves a stream for so long and no longer.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Serves so many streams at once, and so many of one peer among them. Those beyond are reset.
    #[must_use]
    pub const fn with_streams(mut self, streams: usize, of_one_peer: usize) -> Self {
        self.streams = streams;
        self.streams_per_peer = of_one_peer;
        self.fair_share = of_one_peer;
        self
    }

    /// Serves no more than so many streams of one peer when more than half of those that are served at once are being
    /// served: bursts have room, and a few peers cannot take all of it.
    #[must_use]
    pub const fn with_fair_share(mut self, of_one_peer: usize) -> Self {
        self.fair_share = of_one_peer;
        self
    }

    /// What it is called, without its version.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How it is negotiated.
    fn wire_name(&self) -> StreamProtocol {
        StreamProtocol::try_from_owned(self.to_string()).expect("its name begins with a slash")
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.version) == (&other.name, &other.version)
    }
}

impl Eq for Protocol {}

impl Hash for Protocol {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, &self.version).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_breaks_a_rule_is_refused() {
        const LONG: &str = "/0123456789012345678901234567890123456789012345678901234567890123456789\
             0123456789012345678901234567890123456789012345678901234567890123456789";
        let bad = [
            ("echo", "1"),
            ("", "1"),
            ("/", "1"),
            ("/echo/", "1"),
            ("/echo", ""),
            ("/echo", "1/2"),
            (LONG, "1"),
        ];
        for (name, version) in bad {
            let made = std::panic::catch_unwind(|| Protocol::new(name, version));
            assert!(made.is_err(), "{name:?} {version:?}");
        }
        let echo = Protocol::new("/example/echo", "1.0.0");
        assert_eq!(echo.wire_name().as_ref(), "/example/echo/1.0.0");
    }
}
