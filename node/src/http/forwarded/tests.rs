use hyper::header::HeaderValue;
use proptest::prelude::*;

use super::*;

fn told(peer: &str, trusted: &[&str], headers: &[(&'static str, &str)]) -> Option<String> {
    let trusted: Vec<IpPrefix> = trusted.iter().map(|text| text.parse().unwrap()).collect();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let caller = caller(peer.parse().unwrap(), &map, &trusted, &Notice::new());
    caller.ok().map(|address| address.to_string())
}

#[test]
fn the_rightmost_address_that_is_no_trusted_proxy_calls() {
    let proxies = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"];
    for (header, value, expected) in [
        ("x-forwarded-for", "203.0.113.7", "203.0.113.7"),
        ("x-forwarded-for", "1.2.3.4, 203.0.113.7", "203.0.113.7"),
        (
            "x-forwarded-for",
            "1.2.3.4, 203.0.113.7, 10.1.1.1",
            "203.0.113.7",
        ),
        ("x-forwarded-for", "1.2.3.4,, 203.0.113.7 ,", "203.0.113.7"),
        ("x-forwarded-for", "203.0.113.7:4711", "203.0.113.7"),
        ("x-forwarded-for", "2001:db8::7", "2001:db8::7"),
        ("x-forwarded-for", "[2001:db8::7]:4711", "2001:db8::7"),
        ("x-forwarded-for", "::ffff:203.0.113.7", "203.0.113.7"),
        // Nobody but proxies: the first of them.
        ("x-forwarded-for", "10.0.0.2, 10.0.0.1", "10.0.0.2"),
        ("x-forwarded-for", "", "127.0.0.1"),
        // The proxy does not know; what stands before it nobody has vouched for.
        ("x-forwarded-for", "1.2.3.4, unknown", "127.0.0.1"),
        ("x-forwarded-for", "1.2.3.4, unknown, 10.1.1.1", "10.1.1.1"),
        ("forwarded", "for=203.0.113.7", "203.0.113.7"),
        (
            "forwarded",
            "For=203.0.113.7;proto=https;by=10.0.0.1",
            "203.0.113.7",
        ),
        ("forwarded", "for=1.2.3.4, for=203.0.113.7", "203.0.113.7"),
        (
            "forwarded",
            "for=1.2.3.4,for=203.0.113.7, for=\"10.0.0.1:80\"",
            "203.0.113.7",
        ),
        (
            "forwarded",
            "for=\"[2001:db8:cafe::17]:4711\"",
            "2001:db8:cafe::17",
        ),
        (
            "forwarded",
            "for=\"[fd00::1]\";host=\"a, b; \\\"c\"",
            "fd00::1",
        ),
        ("forwarded", "for=1.2.3.4, for=_hidden", "127.0.0.1"),
        (
            "forwarded",
            "for=1.2.3.4, for=unknown, for=10.1.1.1",
            "10.1.1.1",
        ),
        ("forwarded", "for=\"_gazonk:_port\"", "127.0.0.1"),
        ("forwarded", "for=1.2.3.4, proto=https", "127.0.0.1"),
        ("forwarded", "", "127.0.0.1"),
    ] {
        let told = told("127.0.0.1", &proxies, &[(header, value)]);
        assert_eq!(told.as_deref(), Some(expected), "{header}: {value}");
    }
    // Lines are one list.
    let lines = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "203.0.113.7"),
    ];
    assert_eq!(
        told("127.0.0.1", &proxies, &lines).as_deref(),
        Some("203.0.113.7")
    );
}

#[test]
fn who_is_no_trusted_proxy_is_the_caller_whatever_it_says() {
    for (peer, trusted) in [
        ("127.0.0.1", &[][..]),
        ("192.0.2.1", &["127.0.0.1"][..]),
        ("192.0.2.1", &["10.0.0.0/8", "fd00::/8"][..]),
    ] {
        for value in ["203.0.113.7", "nonsense", "for=x"] {
            for header in ["x-forwarded-for", "forwarded"] {
                let told = told(peer, trusted, &[(header, value)]);
                assert_eq!(told.as_deref(), Some(peer));
            }
        }
    }
}

#[test]
fn nonsense_of_a_trusted_proxy_is_refused() {
    let long = format!("{}203.0.113.7", "1.2.3.4, ".repeat(300));
    let many = "1.1.1.1,".repeat(HOPS + 1);
    for (header, value) in [
        ("x-forwarded-for", "nonsense"),
        ("x-forwarded-for", "1.2.3.4 5.6.7.8"),
        ("x-forwarded-for", "1.2.3.4:x"),
        ("x-forwarded-for", "1.2.3.4:99999"),
        ("x-forwarded-for", "[::1"),
        ("x-forwarded-for", "[::1]x"),
        ("x-forwarded-for", "[1.2.3.4]"),
        ("x-forwarded-for", &*long),
        ("x-forwarded-for", &*many),
        ("forwarded", "203.0.113.7"),
        ("forwarded", "for=2001:db8::1"),
        ("forwarded", "for=\"[2001:db8::1]"),
        ("forwarded", "for=1.2.3.4;for=5.6.7.8"),
        ("forwarded", "for=1.2.3.4 for=5.6.7.8"),
        ("forwarded", "for=1.2.3.4;"),
        ("forwarded", "for="),
        ("forwarded", "=1.2.3.4"),
        ("forwarded", "for=example.org"),
    ] {
        let told = told("127.0.0.1", &["127.0.0.1"], &[(header, value)]);
        assert_eq!(told, None, "{header}: {value}");
    }
}

/// Through a proxy that writes one of the headers and passes the other on, a stranger chooses that one.
#[test]
fn a_header_that_the_proxy_passes_on_says_nothing_else_than_the_one_it_writes() {
    let both = |forwarded: &str| {
        let headers = [("forwarded", forwarded), ("x-forwarded-for", "203.0.113.7")];
        told("127.0.0.1", &["127.0.0.1"], &headers)
    };
    assert_eq!(both("for=1.2.3.4"), None);
    assert_eq!(both("for=unknown"), None);
    assert_eq!(both("for=203.0.113.7").as_deref(), Some("203.0.113.7"));
}

#[test]
fn a_notice_is_told_once_an_hour() {
    let notice = Notice::new();
    let told: Vec<bool> = [0, 1, 3_599, 3_600, 3_601, 7_300]
        .map(|second| notice.is_due_at(Duration::from_secs(second)))
        .into();
    assert_eq!(told, [true, false, false, true, false, true]);
}

proptest! {
    #[test]
    fn no_header_panics(value in "\\PC{0,80}", list in "[for=\"\\[\\]:;, .0-9a-f_\\\\]{0,80}") {
        let mut hops = Vec::new();
        for text in [&value, &list] {
            let _ = read_forwarded(text, &mut hops);
            let _ = read_x_forwarded_for(text, &mut hops);
        }
    }

    #[test]
    fn every_address_is_read_in_every_form(address: IpAddr, port: u16) {
        let forms = match address {
            IpAddr::V4(v4) => vec![format!("{v4}"), format!("{v4}:{port}")],
            IpAddr::V6(v6) => vec![format!("{v6}"), format!("[{v6}]"), format!("[{v6}]:{port}")],
        };
        for form in forms {
            prop_assert_eq!(read_node(&form), Some(Some(address)));
            let mut hops = Vec::new();
            let line = format!("for=\"{form}\"");
            prop_assert!(read_forwarded(&line, &mut hops).is_some());
            prop_assert_eq!(hops, vec![Some(address)]);
        }
    }
}
