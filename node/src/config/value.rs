//! Values as they are given, and how text becomes a number, a span of time, a size or an address.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use perennis_net::config::peer_of;
use perennis_net::{Bootstrap, DhtMode, Multiaddr, PeerId};
use perennis_shared::did::Did;
use perennis_shared::ipns::Name;

use super::Origin;

/// A value somebody gave.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) origin: Origin,
    pub(super) items: Vec<String>,
    is_list: bool,
}

/// Why a value is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) fix: String,
}

fn refuse<T>(message: &str, fix: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        message: message.to_owned(),
        fix: fix.into(),
    })
}

impl Given {
    /// A value given as text: a list setting takes it as items separated by commas.
    pub(super) fn text(value: &str, origin: Origin) -> Given {
        Given {
            origin,
            items: vec![value.to_owned()],
            is_list: false,
        }
    }

    /// A list.
    pub(super) fn list(items: Vec<String>, origin: Origin) -> Given {
        Given {
            origin,
            items,
            is_list: true,
        }
    }

    /// The value for a message.
    pub(super) fn quoted(&self) -> String {
        if self.is_list {
            return format!("= {:?}", self.items);
        }
        let text = self.items.first().map_or("", String::as_str);
        let cut: String = text.chars().take(80).collect();
        format!("= {cut:?}")
    }

    fn one(&self) -> Result<&str, Refusal> {
        match self.items.as_slice() {
            [one] if !self.is_list => Ok(one.trim()),
            _ => refuse("is a list", "write one value"),
        }
    }

    fn many(&self) -> impl Iterator<Item = &str> {
        let separator = if self.is_list { '\0' } else { ',' };
        self.items
            .iter()
            .flat_map(move |item| item.split(separator))
            .map(str::trim)
            .filter(|item| !item.is_empty())
    }

    pub(super) fn string(&self) -> Result<String, Refusal> {
        self.one().map(str::to_owned)
    }

    pub(super) fn flag(&self) -> Result<bool, Refusal> {
        match self.one()? {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => refuse("is neither true nor false", "write true or false"),
        }
    }

    pub(super) fn number(&self, min: u64, max: u64) -> Result<u64, Refusal> {
        let fix = || format!("write a whole number from {min} to {max}");
        let Ok(number) = self.one()?.replace('_', "").parse::<u64>() else {
            return refuse("is no whole number", fix());
        };
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            refuse("is out of range", fix())
        }
    }

    pub(super) fn count(&self, min: usize, max: usize) -> Result<usize, Refusal> {
        let number = self.number(min as u64, max as u64)?;
        Ok(usize::try_from(number).unwrap_or(max))
    }

    pub(super) fn span(&self, min: Duration, max: Duration) -> Result<Duration, Refusal> {
        let fix = || {
            let (min, max) = (show_span(min), show_span(max));
            format!("write a span of time such as 30s, 15m, 4h or 7d, from {min} to {max}")
        };
        let Some(span) = parse_span(self.one()?) else {
            return refuse("is no span of time", fix());
        };
        if (min..=max).contains(&span) {
            Ok(span)
        } else {
            refuse("is out of range", fix())
        }
    }

    /// A span of time, or `off`, which is none.
    pub(super) fn span_or_off(
        &self,
        min: Duration,
        max: Duration,
    ) -> Result<Option<Duration>, Refusal> {
        if self.is_word("off") {
            return Ok(None);
        }
        self.span(min, max).map(Some).map_err(|refusal| Refusal {
            fix: format!("{}, or off", refusal.fix),
            ..refusal
        })
    }

    pub(super) fn size(&self, min: u64, max: u64) -> Result<u64, Refusal> {
        let fix = || {
            let (min, max) = (show_size(min), show_size(max));
            format!("write a size such as 64MiB, from {min} to {max}")
        };
        let Some(size) = parse_size(self.one()?) else {
            return refuse("is no size", fix());
        };
        if (min..=max).contains(&size) {
            Ok(size)
        } else {
            refuse("is out of range", fix())
        }
    }

    pub(super) fn address(&self) -> Result<SocketAddr, Refusal> {
        let text = self.one()?.replacen("localhost:", "127.0.0.1:", 1);
        text.parse().or_else(|_| {
            refuse(
                "is no address with a port",
                "write it as 127.0.0.1:4780 or [::1]:4780",
            )
        })
    }

    /// A path. In the file it is relative to the file's directory, else to the working directory.
    pub(super) fn path(&self) -> Result<PathBuf, Refusal> {
        let text = self.one()?;
        if text.is_empty() {
            return refuse("is empty", "write a path");
        }
        let path = PathBuf::from(text);
        match &self.origin {
            Origin::File { path: file, .. } => {
                Ok(file.parent().map_or(path.clone(), |dir| dir.join(path)))
            }
            _ => Ok(path),
        }
    }

    /// Multiaddrs; the word `none` alone is an empty list.
    pub(super) fn multiaddrs(&self) -> Result<Vec<Multiaddr>, Refusal> {
        if self.is_word("none") {
            return Ok(Vec::new());
        }
        self.many()
            .map(|text| match text.parse() {
                Ok(address) => Ok(address),
                Err(error) => refuse(
                    &format!("holds {text:?}, which is no multiaddr ({error})"),
                    "write addresses such as /ip4/0.0.0.0/tcp/4781 or /ip4/0.0.0.0/udp/4781/quic-v1, or none",
                ),
            })
            .collect()
    }

    /// Where to listen: multiaddrs, `none`, or `auto`, which leaves it to the node.
    pub(super) fn listen(&self) -> Result<Option<Vec<Multiaddr>>, Refusal> {
        if self.is_word("auto") {
            return Ok(None);
        }
        self.multiaddrs().map(Some)
    }

    /// Whom to dial first: `public`, `none`, or addresses that end in a peer id.
    pub(super) fn bootstrap(&self) -> Result<Bootstrap, Refusal> {
        if self.is_word("public") {
            return Ok(Bootstrap::Public);
        }
        let addresses = self.multiaddrs()?;
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

    pub(super) fn peers(&self) -> Result<Vec<PeerId>, Refusal> {
        self.many()
            .map(|text| match text.parse() {
                Ok(peer) => Ok(peer),
                Err(error) => refuse(
                    &format!("holds {text:?}, which is no peer id ({error})"),
                    "write peer ids such as 12D3KooW…",
                ),
            })
            .collect()
    }

    pub(super) fn dht(&self) -> Result<DhtMode, Refusal> {
        match self.one()?.parse() {
            Ok(mode) => Ok(mode),
            Err(_) => refuse("is no part in the DHT", "write server, client or off"),
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.items.as_slice(), [only] if only.trim() == word)
    }

    pub(super) fn urls(&self) -> Result<Vec<String>, Refusal> {
        self.many()
            .map(|text| {
                let rest = text
                    .strip_prefix("http://")
                    .or_else(|| text.strip_prefix("https://"));
                let valid = rest.is_some_and(|rest| {
                    !rest.is_empty()
                        && !rest.starts_with('/')
                        && !rest.contains(['@', '?', '#', ' '])
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
            })
            .collect()
    }

    pub(super) fn names(&self) -> Result<Vec<Name>, Refusal> {
        self.many()
            .map(|text| match Did::parse(text) {
                Ok(did) => Ok(did.name()),
                Err(error) => refuse(
                    "holds something that is no IPNS name and no DID",
                    format!("correct {text:?}: {error}"),
                ),
            })
            .collect()
    }
}

const SPANS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZES: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

fn parse_span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, millis) = SPANS.iter().find(|(name, _)| *name == unit.trim())?;
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_millis(number.checked_mul(*millis)?))
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = if unit.is_empty() { "B" } else { unit.trim() };
    let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// A span as it can be written in the file.
pub(super) fn show_span(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let (unit, size) = SPANS
        .iter()
        .rev()
        .find(|(_, size)| millis >= *size && millis.is_multiple_of(*size))
        .unwrap_or(&SPANS[0]);
    format!("{}{unit}", millis / size)
}

/// A size as it can be written in the file.
pub(super) fn show_size(bytes: u64) -> String {
    let (unit, size) = SIZES
        .iter()
        .find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size))
        .unwrap_or(&SIZES[4]);
    format!("{}{unit}", bytes / size)
}
