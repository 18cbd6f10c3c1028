//! Settings about who calls over HTTP: where the operator does, which proxies are believed, which pages may publish.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use perennis_shared::error::{ErrorKind, Retryable};

use super::syntax::{Address, Syntax, join};
use super::value::{Given, Refusal, refuse};

/// Where the operator calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// Nowhere.
    Off,
    /// At an address of loopback.
    At(SocketAddr),
}

impl Default for AdminListen {
    fn default() -> Self {
        AdminListen::At(SocketAddr::from(([127, 0, 0, 1], 4783)))
    }
}

/// An address of loopback with a port, or `none`.
pub(super) struct AdminAddress;

impl Syntax<AdminListen> for AdminAddress {
    fn parse(&self, given: &Given) -> Result<AdminListen, Refusal> {
        if given.is_word("none") {
            return Ok(AdminListen::Off);
        }
        let address: SocketAddr = Address.parse(given)?;
        if !address.ip().is_loopback() {
            return refuse(
                "can be reached from other machines, and everything is granted there without a token",
                "write an address of loopback such as 127.0.0.1:4783, or none; from other machines call http.listen with a token (perennis node token)",
            );
        }
        Ok(AdminListen::At(address))
    }

    fn show(&self, value: &AdminListen) -> String {
        match value {
            AdminListen::Off => "none".to_owned(),
            AdminListen::At(address) => address.to_string(),
        }
    }
}

/// Who may publish at the public listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishPolicy {
    /// Everybody whom the rules of `admission` let.
    Open,
    /// Who shows a token with the scope publish.
    Token,
}

impl PublishPolicy {
    pub(super) const WORDS: &'static [(&'static str, PublishPolicy)] = &[
        ("open", PublishPolicy::Open),
        ("token", PublishPolicy::Token),
    ];
}

/// Addresses that begin with the same bits; one address where these are all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPrefix {
    address: IpAddr,
    bits: u8,
}

impl IpPrefix {
    /// Whether an address is among them. One of IPv4 is so in both of its forms.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        let (own, own_width) = bits_of(self.address);
        let (other, width) = bits_of(address.to_canonical());
        own_width == width
            && (own ^ other)
                .checked_shr(width - u32::from(self.bits))
                .unwrap_or(0)
                == 0
    }
}

/// An address as a number, and how many bits that has.
fn bits_of(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no prefix such as 10.0.0.0/8")]
pub struct NoPrefix(String);

impl Retryable for NoPrefix {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Reject
    }
}

impl FromStr for IpPrefix {
    type Err = NoPrefix;

    fn from_str(text: &str) -> Result<IpPrefix, NoPrefix> {
        let none = || NoPrefix(text.chars().take(80).collect());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| none())?;
        let (number, width) = bits_of(address);
        let bits: u32 = match bits {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| none())?
            }
            Some(_) => return Err(none()),
            None => width,
        };
        // A prefix that names bits behind it is a slip more often than not.
        let behind = width.checked_sub(bits).ok_or_else(none)?;
        let mask = 1_u128.checked_shl(behind).map_or(u128::MAX, |bit| bit - 1);
        if number & mask != 0 {
            return Err(none());
        }
        let bits = u8::try_from(bits).map_err(|_| none())?;
        // ::ffff:10.0.0.0/104 and 10.0.0.0/8 are the same addresses.
        match address {
            IpAddr::V6(v6) if bits >= 96 && v6.to_ipv4_mapped().is_some() => Ok(IpPrefix {
                address: address.to_canonical(),
                bits: bits - 96,
            }),
            address => Ok(IpPrefix { address, bits }),
        }
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, width) = bits_of(self.address);
        match u32::from(self.bits) == width {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.bits),
        }
    }
}

/// Addresses and prefixes; the word `none` alone is an empty list.
pub(super) struct Prefixes;

impl Syntax<Vec<IpPrefix>> for Prefixes {
    fn parse(&self, given: &Given) -> Result<Vec<IpPrefix>, Refusal> {
        if given.is_word("none") {
            return Ok(Vec::new());
        }
        let prefixes = given.many().map(|text| match text.parse() {
            Ok(prefix) => Ok(prefix),
            Err(_) => refuse(
                &format!("holds {text:?}, which is no address and no prefix"),
                "write addresses such as 127.0.0.1 and prefixes such as 10.0.0.0/8 or fd00::/8, without bits behind the prefix",
            ),
        });
        prefixes.collect()
    }

    fn show(&self, value: &Vec<IpPrefix>) -> String {
        join(value)
    }
}

/// The origins of pages that may publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Where only this machine calls, its own pages and the extensions of its browsers; else all.
    ByAddress,
    /// All.
    All,
    /// These.
    These(Vec<String>),
}

/// Origins, `*`, or `auto`.
pub(super) struct Origins;

impl Syntax<AllowedOrigins> for Origins {
    fn parse(&self, given: &Given) -> Result<AllowedOrigins, Refusal> {
        if given.is_word("auto") {
            return Ok(AllowedOrigins::ByAddress);
        }
        if given.is_word("*") {
            return Ok(AllowedOrigins::All);
        }
        if given.is_word("none") {
            return Ok(AllowedOrigins::These(Vec::new()));
        }
        let origins = given.many().map(|text| match is_origin(text) {
            true => Ok(text.to_owned()),
            false => refuse(
                &format!("holds {text:?}, which is no origin"),
                "write origins such as https://app.example or http://localhost:8080, without a path; or * for all, auto or none",
            ),
        });
        Ok(AllowedOrigins::These(origins.collect::<Result<_, _>>()?))
    }

    fn show(&self, value: &AllowedOrigins) -> String {
        match value {
            AllowedOrigins::ByAddress => "auto".to_owned(),
            AllowedOrigins::All => "*".to_owned(),
            AllowedOrigins::These(origins) if origins.is_empty() => "none".to_owned(),
            AllowedOrigins::These(origins) => join(origins),
        }
    }
}

/// Whether it is written as a browser sends it: a scheme and an authority.
fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, authority)| {
        let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let is_of_authority = |byte: u8| byte.is_ascii_graphic() && !b"/?#@*,".contains(&byte);
        !scheme.is_empty()
            && scheme.bytes().all(is_of_scheme)
            && !authority.is_empty()
            && authority.bytes().all(is_of_authority)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn given(text: &str) -> Given {
        Given::text(text, Origin::Default)
    }

    #[test]
    fn the_admin_listener_is_reached_from_this_machine_alone() {
        let parse = |text: &str| AdminAddress.parse(&given(text));
        for text in ["127.0.0.1:4783", "127.0.0.2:0", "[::1]:4783", "none"] {
            assert_eq!(AdminAddress.show(&parse(text).unwrap()), text);
        }
        for text in ["0.0.0.0:4783", "[::]:4783", "192.168.0.1:4783", "4783", ""] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_has_the_addresses_that_begin_with_it() {
        for (prefix, within, outside) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("0.0.0.0/0", "203.0.113.7", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.7"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
        ] {
            let parsed: IpPrefix = prefix.parse().unwrap();
            assert!(parsed.has(within.parse().unwrap()), "{prefix} {within}");
            assert!(!parsed.has(outside.parse().unwrap()), "{prefix} {outside}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }
        for text in [
            "",
            "x",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "fd00::/129",
            "10.0.0.0/8/8",
        ] {
            assert!(text.parse::<IpPrefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        let parse = |text: &str| Origins.parse(&given(text));
        for text in [
            "auto",
            "*",
            "none",
            "https://app.example",
            "http://localhost:8080, chrome-extension://abcdef",
        ] {
            assert_eq!(Origins.show(&parse(text).unwrap()), text);
        }
        for text in [
            "app.example",
            "https://",
            "https://a/",
            "://a",
            "https://*.example",
            "null",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
