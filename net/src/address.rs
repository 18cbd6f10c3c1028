//! What an address tells: which network it belongs to, and who else shares it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// Which network an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressScope {
    /// Anybody can reach it, or its name says nothing else.
    Public,
    /// Only peers on the same network, machine or process can.
    Private,
}

/// The network an address belongs to. A relayed address is as public as its relay.
#[must_use]
pub fn scope_of(address: &Multiaddr) -> AddressScope {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) if !is_public_v4(ip) => AddressScope::Private,
        Some(Protocol::Ip6(ip)) if !is_public_v6(ip) => AddressScope::Private,
        Some(Protocol::Memory(_) | Protocol::Unix(_)) => AddressScope::Private,
        _ => AddressScope::Public,
    }
}

/// Addresses that are likely to be in one hand: a /24 of IPv4, a /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Group {
    V4([u8; 3]),
    V6([u8; 6]),
}

/// The group of a public address; `None` for others, which are not limited by group.
pub(crate) fn group_of(address: &Multiaddr) -> Option<Group> {
    if scope_of(address) == AddressScope::Private {
        return None;
    }
    match ip_of(address)? {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Some(Group::V4([a, b, c]))
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            Some(Group::V6([a, b, c, d, e, f]))
        }
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V4([a, b, c]) => write!(f, "{a}.{b}.{c}.0/24"),
            Self::V6([a, b, c, d, e, g]) => {
                let ip = Ipv6Addr::from([*a, *b, *c, *d, *e, *g, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                write!(f, "{ip}/48")
            }
        }
    }
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    }
}

/// RFC 6890 and RFC 6598: what is not global.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_benchmark = a == 198 && (18..20).contains(&b);
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_unspecified()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || is_shared
        || is_benchmark
        || a == 0
        || a >= 240)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return is_public_v4(ip);
    }
    let first = ip.segments()[0];
    // Global unicast is 2000::/3; 2001:db8::/32 is for documents.
    (first & 0xe000) == 0x2000 && ip.segments()[..2] != [0x2001, 0x0db8]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn scopes_follow_the_registries() {
        let private = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.1.2.3/tcp/1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip4/169.254.1.1/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/::ffff:10.0.0.1/tcp/1",
            "/memory/7",
        ];
        for text in private {
            assert_eq!(
                scope_of(&text.parse().unwrap()),
                AddressScope::Private,
                "{text}"
            );
        }
        let public = [
            "/ip4/104.131.131.82/tcp/4001",
            "/ip6/2a02:6b8::1/udp/4001/quic-v1",
            "/dns4/example.org/tcp/1",
        ];
        for text in public {
            assert_eq!(
                scope_of(&text.parse().unwrap()),
                AddressScope::Public,
                "{text}"
            );
        }
    }

    #[test]
    fn a_group_is_a_network_not_an_address() {
        let group = |text: &str| group_of(&text.parse().unwrap());
        assert_eq!(
            group("/ip4/8.8.8.8/tcp/1"),
            group("/ip4/8.8.8.9/udp/2/quic-v1")
        );
        assert_ne!(group("/ip4/8.8.8.8/tcp/1"), group("/ip4/8.8.9.8/tcp/1"));
        assert_eq!(group("/ip4/127.0.0.1/tcp/1"), None);
        assert_eq!(
            group("/ip4/8.8.8.8/tcp/1").unwrap().to_string(),
            "8.8.8.0/24"
        );
        assert_eq!(
            group("/ip6/2a02:6b8:1::5/tcp/1").unwrap().to_string(),
            "2a02:6b8:1::/48"
        );
    }
}
