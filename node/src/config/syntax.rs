//! How the value of a setting is written: how text becomes a number, a span of time, a size or an address, and how it is shown.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use perennis_net::config::peer_of;
use perennis_net::dht::{BadDhtProtocol, DhtProtocol};
use perennis_net::{Bootstrap, Multiaddr, PeerId};
use perennis_shared::ipns::Name;
use perennis_shared::uri;

use super::Origin;
use super::value::{Given, Refusal, parse_size, parse_span, refuse, show_size, show_span};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const TIB: u64 = 1 << 40;

/// How values of a type are written. What is shown can be given again; only what is empty is shown as nothing.
pub(super) trait Syntax<T> {
    /// The value, or why it is refused.
    fn parse(&self, given: &Given) -> Result<T, Refusal>;

    /// The value as text.
    fn show(&self, value: &T) -> String;
}

/// A whole number, from and to.
pub(super) struct Number(pub(super) u64, pub(super) u64);

impl<T: TryFrom<u64> + Display> Syntax<T> for Number {
    fn parse(&self, given: &Given) -> Result<T, Refusal> {
        let Number(min, max) = self;
        let fix = || format!("write a whole number from {min} to {max}");
        let Ok(number) = given.one()?.replace('_', "").parse::<u64>() else {
            return refuse("is no whole number", fix());
        };
        match T::try_from(number) {
            Ok(value) if (*min..=*max).contains(&number) => Ok(value),
            _ => refuse("is out of range", fix()),
        }
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A value that was read and lies in its range.
fn within<T: PartialOrd>(
    range: RangeInclusive<T>,
    value: Option<T>,
    unread: &str,
    fix: impl Fn() -> String,
) -> Result<T, Refusal> {
    match value {
        Some(value) if range.contains(&value) => Ok(value),
        Some(_) => refuse("is out of range", fix()),
        None => refuse(unread, fix()),
    }
}

/// A span of time, from and to.
pub(super) struct Span(pub(super) Duration, pub(super) Duration);

impl Syntax<Duration> for Span {
    fn parse(&self, given: &Given) -> Result<Duration, Refusal> {
        let Span(min, max) = *self;
        let fix = || {
            let (min, max) = (show_span(min), show_span(max));
            format!("write a span of time such as 30s, 15m, 4h or 7d, from {min} to {max}")
        };
        let span = parse_span(given.one()?);
        within(min..=max, span, "is no span of time", fix)
    }

    fn show(&self, value: &Duration) -> String {
        show_span(*value)
    }
}

/// A span of time, from and to, or a word for none.
pub(super) struct SpanOr(
    pub(super) Duration,
    pub(super) Duration,
    pub(super) &'static str,
);

impl Syntax<Option<Duration>> for SpanOr {
    fn parse(&self, given: &Given) -> Result<Option<Duration>, Refusal> {
        let SpanOr(min, max, word) = *self;
        if given.is_word(word) {
            return Ok(None);
        }
        let span = Span(min, max).parse(given);
        span.map(Some).map_err(|refusal| Refusal {
            fix: format!("{}, or {word}", refusal.fix),
            ..refusal
        })
    }

    fn show(&self, value: &Option<Duration>) -> String {
        value.map_or_else(|| self.2.to_owned(), show_span)
    }
}

/// A size in bytes, from and to.
pub(super) struct Size(pub(super) u64, pub(super) u64);

impl Syntax<u64> for Size {
    fn parse(&self, given: &Given) -> Result<u64, Refusal> {
        let Size(min, max) = *self;
        let fix = || {
            let (min, max) = (show_size(min), show_size(max));
            format!("write a size such as 64MiB, from {min} to {max}")
        };
        let size = parse_size(given.one()?);
        within(min..=max, size, "is no size", fix)
    }

    fn show(&self, value: &u64) -> String {
        show_size(*value)
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Syntax<bool> for Flag {
    fn parse(&self, given: &Given) -> Result<bool, Refusal> {
        match given.one()? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => refuse("is neither true nor false", "write true or false"),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// One of several words: what is said of any other, and what each word means. Every value has its word.
pub(super) struct Choice<T: 'static>(
    pub(super) &'static str,
    pub(super) &'static [(&'static str, T)],
);

impl<T: Copy + PartialEq> Syntax<T> for Choice<T> {
    fn parse(&self, given: &Given) -> Result<T, Refusal> {
        let Choice(refusal, choices) = self;
        let text = given.one()?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let fix = match words.split_last() {
            Some((last, rest)) => format!("write {} or {last}", rest.join(", ")),
            None => String::new(),
        };
        refuse(refusal, fix)
    }

    fn show(&self, value: &T) -> String {
        let choice = self.1.iter().find(|(_, known)| known == value);
        choice.map_or("", |(word, _)| *word).to_owned()
    }
}

/// A path. In the file it is relative to the file's directory, else to the working directory.
pub(super) struct Path;

impl Syntax<PathBuf> for Path {
    fn parse(&self, given: &Given) -> Result<PathBuf, Refusal> {
        let text = given.one()?;
        if text.is_empty() {
            return refuse("is empty", "write a path");
        }
        let path = PathBuf::from(text);
        match &given.origin {
            Origin::File { path: file, .. } => {
                Ok(file.parent().map_or(path.clone(), |dir| dir.join(path)))
            }
            _ => Ok(path),
        }
    }

    fn show(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }
}

impl Syntax<Option<PathBuf>> for Path {
    fn parse(&self, given: &Given) -> Result<Option<PathBuf>, Refusal> {
        Syntax::<PathBuf>::parse(self, given).map(Some)
    }

    fn show(&self, value: &Option<PathBuf>) -> String {
        let path = value.as_deref();
        path.map(|path| path.display().to_string())
            .unwrap_or_default()
    }
}

/// An IP address and a port.
pub(super) struct Address;

impl Syntax<SocketAddr> for Address {
    fn parse(&self, given: &Given) -> Result<SocketAddr, Refusal> {
        let text = given.one()?.replacen("localhost:", "127.0.0.1:", 1);
        text.parse().or_else(|_| {
            refuse(
                "is no address with a port",
                "write it as 127.0.0.1:4780 or [::1]:4780",
            )
        })
    }

    fn show(&self, value: &SocketAddr) -> String {
        value.to_string()
    }
}

impl Syntax<Option<SocketAddr>> for Address {
    fn parse(&self, given: &Given) -> Result<Option<SocketAddr>, Refusal> {
        Syntax::<SocketAddr>::parse(self, given).map(Some)
    }

    fn show(&self, value: &Option<SocketAddr>) -> String {
        value.map(|address| address.to_string()).unwrap_or_default()
    }
}

/// Multiaddrs; the word `none` alone is an empty list.
pub(super) struct Multiaddrs;

impl Syntax<Vec<Multiaddr>> for Multiaddrs {
    fn parse(&self, given: &Given) -> Result<Vec<Multiaddr>, Refusal> {
        if given.is_word("none") {
            return Ok(Vec::new());
        }
        let addresses = given.many().map(|text| match text.parse() {
            Ok(address) => Ok(address),
            Err(error) => refuse(
                &format!("holds {text:?}, which is no multiaddr ({error})"),
                "write addresses such as /ip4/0.0.0.0/tcp/4781 or /ip4/0.0.0.0/udp/4781/quic-v1, or none",
            ),
        });
        addresses.collect()
    }

    fn show(&self, value: &Vec<Multiaddr>) -> String {
        join(value)
    }
}

/// Where to listen: multiaddrs, `none`, or `auto`, which leaves it to the node.
pub(super) struct Listen;

impl Syntax<Option<Vec<Multiaddr>>> for Listen {
    fn parse(&self, given: &Given) -> Result<Option<Vec<Multiaddr>>, Refusal> {
        if given.is_word("auto") {
            return Ok(None);
        }
        Multiaddrs.parse(given).map(Some)
    }

    fn show(&self, value: &Option<Vec<Multiaddr>>) -> String {
        match value.as_deref() {
            None => "auto".to_owned(),
            Some([]) => "none".to_owned(),
            Some(addresses) => join(addresses),
        }
    }
}

/// Whom to dial first: `public`, `none`, or addresses that end in a peer id.
pub(super) struct DialFirst;

impl Syntax<Bootstrap> for DialFirst {
    fn parse(&self, given: &Given) -> Result<Bootstrap, Refusal> {
        if given.is_word("public") {
            return Ok(Bootstrap::Public);
        }
        let addresses = Multiaddrs.parse(given)?;
        if let Some(address) = addresses.iter().find(|address| peer_of(address).is_none()) {
            return refuse(
                &format!("holds {address}, which names no peer"),
                "end each address with /p2p/ and the peer's id, or write public or none",
            );
        }
        if addresses.is_empty() {
            return Ok(Bootstrap::None);
        }
        Ok(Bootstrap::Peers(addresses))
    }

    fn show(&self, value: &Bootstrap) -> String {
        match value {
            Bootstrap::Public => "public".to_owned(),
            Bootstrap::None => "none".to_owned(),
            Bootstrap::Peers(addresses) => join(addresses),
        }
    }
}

/// What the names of a DHT's protocols begin with.
pub(super) struct Prefix;

impl Syntax<DhtProtocol> for Prefix {
    fn parse(&self, given: &Given) -> Result<DhtProtocol, Refusal> {
        given.one()?.parse().or_else(|error: BadDhtProtocol| {
            refuse(
                &format!("is no name of a protocol: {error}"),
                "write /ipfs for the DHT of IPFS, or a name of your own such as /example",
            )
        })
    }

    fn show(&self, value: &DhtProtocol) -> String {
        value.to_string()
    }
}

/// Ids of peers.
pub(super) struct Peers;

impl Syntax<Vec<PeerId>> for Peers {
    fn parse(&self, given: &Given) -> Result<Vec<PeerId>, Refusal> {
        let peers = given.many().map(|text| match text.parse() {
            Ok(peer) => Ok(peer),
            Err(error) => refuse(
                &format!("holds {text:?}, which is no peer id ({error})"),
                "write peer ids such as 12D3KooW…",
            ),
        });
        peers.collect()
    }

    fn show(&self, value: &Vec<PeerId>) -> String {
        join(value)
    }
}

/// Base URLs of HTTP servers.
pub(super) struct Urls;

impl Syntax<Vec<String>> for Urls {
    fn parse(&self, given: &Given) -> Result<Vec<String>, Refusal> {
        let urls = given.many().map(|text| {
            let rest = text
                .strip_prefix("http://")
                .or_else(|| text.strip_prefix("https://"));
            let valid = rest.is_some_and(|rest| {
                !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['@', '?', '#', ' '])
            });
            if valid {
                Ok(text.trim_end_matches('/').to_owned())
            } else {
                refuse(
                    "holds something that is no base URL",
                    format!(
                        "write {text:?} as https://host[:port], without user, query or fragment"
                    ),
                )
            }
        });
        urls.collect()
    }

    fn show(&self, value: &Vec<String>) -> String {
        join(value)
    }
}

/// Names, each also as a DID.
pub(super) struct Names;

impl Syntax<Vec<Name>> for Names {
    fn parse(&self, given: &Given) -> Result<Vec<Name>, Refusal> {
        let names = given.many().map(|text| {
            uri::parse_name(text).or_else(|error| {
                refuse(
                    "holds something that is no IPNS name and no DID",
                    format!("correct {text:?}: {error}"),
                )
            })
        });
        names.collect()
    }

    fn show(&self, value: &Vec<Name>) -> String {
        join(value)
    }
}

/// Which log lines are written.
pub(super) struct LogFilter;

impl Syntax<String> for LogFilter {
    fn parse(&self, given: &Given) -> Result<String, Refusal> {
        let text = given.one()?.to_owned();
        if tracing_subscriber::EnvFilter::try_new(&text).is_err() {
            return refuse(
                "is no filter",
                "write a level such as info, or info,perennis_node::workers=debug",
            );
        }
        Ok(text)
    }

    fn show(&self, value: &String) -> String {
        value.clone()
    }
}

pub(super) fn join<T: Display>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
