//! Who calls through reverse proxies, by what they say in `Forwarded` (RFC 7239) or `X-Forwarded-For`.
//!
//! Each proxy puts behind what it got whom it got it from. So only what the operator's own proxies wrote is believed: from the right, the
//! first address that is none of theirs is the caller. What stands before it anybody may have sent. From others the headers are ignored;
//! who ignores them while a proxy is there treats everybody as one address, so that is told in the log, once an hour.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::header::{self, HeaderName};

use super::refusal::Refusal;
use crate::config::IpPrefix;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Longest header that is read, in bytes.
const LONGEST: usize = 2_048;

/// Most proxies on the way.
const HOPS: usize = 32;

/// How long nothing is told in the log again.
const QUIET: Duration = Duration::from_secs(3_600);

/// The address of the caller, of whom a request came over a connection with `peer`.
pub(super) fn caller(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpPrefix],
    notice: &Notice,
) -> Result<IpAddr, Refusal> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|prefix| prefix.has(address));
    if !is_trusted(peer) {
        let is_told =
            headers.contains_key(header::FORWARDED) || headers.contains_key(X_FORWARDED_FOR);
        if is_told && trusted.is_empty() && notice.is_due() {
            tracing::warn!(
                %peer,
                "a proxy is in front of this node, and all its callers count as one address; set http.trusted-proxies"
            );
        }
        return Ok(peer);
    }
    let forwarded = hops(headers, &header::FORWARDED, read_forwarded)?;
    let x_forwarded_for = hops(headers, &X_FORWARDED_FOR, read_x_forwarded_for)?;
    let by = |hops: Option<Vec<Hop>>| hops.map(|hops| behind(peer, &hops, is_trusted));
    match (by(forwarded), by(x_forwarded_for)) {
        // A proxy writes one of the two and passes the other on as it came.
        (Some(one), Some(other)) if one != other => Err(refused(
            "Forwarded and X-Forwarded-For name different callers",
            "let the proxy write one of them and remove the other",
        )),
        (Some(caller), _) | (None, Some(caller)) => Ok(caller),
        (None, None) => Ok(peer),
    }
}

/// Whom a proxy got a request from: an address, or somebody whom it does not name.
type Hop = Option<IpAddr>;

/// The first from the right that is no trusted proxy. One that is not named counts as the proxy that does not name it.
fn behind(peer: IpAddr, hops: &[Hop], is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut caller = peer;
    for hop in hops.iter().rev() {
        let Some(address) = hop else { break };
        caller = address.to_canonical();
        if !is_trusted(caller) {
            break;
        }
    }
    caller
}

/// All hops of a header, of whose lines the later ones were added later; none where it is not there.
fn hops(
    headers: &HeaderMap,
    name: &HeaderName,
    read: fn(&str, &mut Vec<Hop>) -> Option<()>,
) -> Result<Option<Vec<Hop>>, Refusal> {
    let mut hops = Vec::new();
    let mut length = 0;
    let mut is_there = false;
    for line in headers.get_all(name) {
        is_there = true;
        length += line.len();
        if length > LONGEST {
            return Err(nonsense(name, "is too long"));
        }
        let read = line.to_str().ok().and_then(|line| read(line, &mut hops));
        read.ok_or_else(|| nonsense(name, "cannot be read"))?;
    }
    if hops.len() > HOPS {
        return Err(nonsense(name, "names too many"));
    }
    Ok(is_there.then_some(hops))
}

fn nonsense(name: &HeaderName, problem: &str) -> Refusal {
    let name = match *name == X_FORWARDED_FOR {
        true => "X-Forwarded-For",
        false => "Forwarded",
    };
    refused(
        &format!("the header {name} {problem}"),
        "leave it out: the proxy writes it",
    )
}

fn refused(message: &str, hint: &str) -> Refusal {
    Refusal::new("invalid_forwarded", message, hint).closing()
}

/// Addresses with commas between, some proxies add the port.
fn read_x_forwarded_for(line: &str, hops: &mut Vec<Hop>) -> Option<()> {
    for item in line.split(',').map(str::trim) {
        // An empty item of a list is allowed, and says nothing (RFC 9110, section 5.6.1).
        if !item.is_empty() {
            hops.push(read_node(item)?);
        }
    }
    Some(())
}

/// Elements with commas between, of pairs with semicolons between, of which `for` is read (RFC 7239, section 4).
fn read_forwarded(line: &str, hops: &mut Vec<Hop>) -> Option<()> {
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start();
            continue;
        }
        let mut hop = None;
        loop {
            let (name, after) = rest.split_once('=')?;
            if !is_token(name) {
                return None;
            }
            let value;
            (value, rest) = read_value(after)?;
            if name.eq_ignore_ascii_case("for") && hop.replace(read_node(&value)?).is_some() {
                // Twice in one element.
                return None;
            }
            rest = rest.trim_start();
            match rest.strip_prefix(';') {
                Some(after) => rest = after.trim_start(),
                None => break,
            }
        }
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        // Whoever does not say from whom does not name them.
        hops.push(hop.flatten());
    }
    Some(())
}

/// A token or a quoted string, and what is behind it.
fn read_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        return is_token(token).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// Whether it is a token (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_token)
}

/// `address`, `address:port`, `[address]`, `[address]:port`, a bare address of IPv6, `unknown`, or a word that begins with `_`
/// (RFC 7239, section 6).
fn read_node(text: &str) -> Option<Hop> {
    let is_port = |port: &str| {
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && port.parse::<u16>().is_ok()) || is_obfuscated(port)
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return is_whole.then_some(Some(address.into()));
    }
    // Of IPv6 in X-Forwarded-For.
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(Some(address.into()));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    if !port.is_none_or(is_port) {
        return None;
    }
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Some(None);
    }
    let address: Ipv4Addr = name.parse().ok()?;
    Some(Some(address.into()))
}

/// A word in the place of an address that a proxy does not tell.
fn is_obfuscated(text: &str) -> bool {
    let is_of_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    text.strip_prefix('_')
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(is_of_word))
}

/// What is told in the log once an hour.
pub(super) struct Notice {
    since: Instant,
    /// Milliseconds from `since` at which it is told again.
    next: AtomicU64,
}

impl Notice {
    pub(super) fn new() -> Notice {
        Notice {
            since: Instant::now(),
            next: AtomicU64::new(0),
        }
    }

    /// Whether it is to be told now; one of many that ask at once is told so.
    fn is_due(&self) -> bool {
        self.is_due_at(self.since.elapsed())
    }

    fn is_due_at(&self, elapsed: Duration) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, next) = (millis(elapsed), self.next.load(Ordering::Relaxed));
        let again = now.saturating_add(millis(QUIET));
        now >= next
            && self
                .next
                .compare_exchange(next, again, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests;
