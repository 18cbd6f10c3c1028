//! Names and CIDs as people have them: bare, in a URI, or in the address of a gateway.

/// The schemes of gateways.
const GATEWAYS: [&str; 2] = ["https://", "http://"];

/// The name in `ipns://NAME`, `/ipns/NAME`, `https://GATEWAY/ipns/NAME` and `https://NAME.ipns.GATEWAY`, with or without a slash at its
/// end. Any other text as it is.
pub(crate) fn name_in(text: &str) -> &str {
    part_of(text, "ipns")
}

/// The CID in `ipfs://CID`, `/ipfs/CID`, `https://GATEWAY/ipfs/CID` and `https://CID.ipfs.GATEWAY`, with or without a slash at its end.
/// Any other text as it is: a path below a CID too, since it is another block.
pub(crate) fn cid_in(text: &str) -> &str {
    part_of(text, "ipfs")
}

fn part_of<'a>(text: &'a str, namespace: &str) -> &'a str {
    let found = in_path(text, namespace)
        .or_else(|| {
            let rest = without_prefix(text, namespace)?;
            rest.strip_prefix("://")
        })
        .or_else(|| in_gateway(text, namespace));
    let part = found.map_or(text, |part| part.split(['?', '#']).next().unwrap_or(part));
    let part = part.strip_suffix('/').unwrap_or(part);
    match part.is_empty() || part.contains('/') {
        true => text,
        false => part,
    }
}

/// What comes after `/ipns/`.
fn in_path<'a>(text: &'a str, namespace: &str) -> Option<&'a str> {
    let rest = text.strip_prefix('/')?.strip_prefix(namespace)?;
    rest.strip_prefix('/')
}

fn in_gateway<'a>(text: &'a str, namespace: &str) -> Option<&'a str> {
    let mut schemes = GATEWAYS.iter();
    let rest = schemes.find_map(|scheme| without_prefix(text, scheme))?;
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if let Some(part) = in_path(path, namespace) {
        return Some(part);
    }
    // The address of a page below it says more than the name.
    let is_whole = path.is_empty() || path == "/";
    let (part, gateway) = host.split_once('.').filter(|_| is_whole)?;
    let gateway = gateway.strip_prefix(namespace)?;
    gateway.starts_with('.').then_some(part)
}

/// The rest of a text that begins so, in any case.
fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_cids_are_found_wherever_people_have_them() {
        for (text, name) in [
            ("k51q", "k51q"),
            ("k51q/", "k51q"),
            ("ipns://k51q", "k51q"),
            ("IPNS://k51q/", "k51q"),
            ("/ipns/k51q", "k51q"),
            ("https://ipfs.io/ipns/k51q/", "k51q"),
            ("http://127.0.0.1:8080/ipns/k51q?format=ipns-record", "k51q"),
            ("https://k51q.ipns.dweb.link", "k51q"),
            ("https://k51q.ipns.dweb.link/", "k51q"),
            ("did:ipns:k51q", "did:ipns:k51q"),
        ] {
            assert_eq!(name_in(text), name, "{text}");
        }
        for (text, cid) in [
            ("bafy", "bafy"),
            ("ipfs://bafy/", "bafy"),
            ("/ipfs/bafy#top", "bafy"),
            ("https://bafy.ipfs.localhost:8080/", "bafy"),
            (
                "https://trustless-gateway.link/ipfs/bafy?format=raw",
                "bafy",
            ),
        ] {
            assert_eq!(cid_in(text), cid, "{text}");
        }
    }

    #[test]
    fn what_says_more_or_something_else_stays_as_it_is() {
        for text in [
            "",
            "/",
            "//",
            "ipfs://",
            "ipfs://bafy",
            "/ipns/",
            "/ipns/k51q/a",
            "ipns://k51q/a/b",
            "https://k51q.ipns.dweb.link/a",
            "https://example.com",
            "https://ipns.dweb.link",
            "https://",
            "ä",
            "httpsä//",
        ] {
            assert_eq!(name_in(text), text);
        }
    }
}
