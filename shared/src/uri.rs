//! Names and CIDs as people have them: bare, in a URI, or in the address of a gateway.
//!
//! One reader for whatever a person or a program of somebody else writes: the command line, a node's API, the settings of a
//! node and the page take the same. Formats of our own, and what goes between peers, are read by [`Name::parse`],
//! [`Did::parse`] and [`cid::parse_cid`], which take nothing around a name or a CID.

use crate::cid::{self, Cid, CidError};
use crate::did::{Did, DidError};
use crate::error::{ErrorKind, Retryable};
use crate::ipns::{Name, NameError};

/// Longest text that is looked at, in bytes: a gateway and a name, with room for a query.
const TEXT_BYTES: usize = 4_096;

/// The schemes of gateways.
const GATEWAYS: [&str; 2] = ["https://", "http://"];

/// Reads the name in `k51…`, `ipns://k51…`, `/ipns/k51…`, `https://GATEWAY/ipns/k51…` and `https://k51….ipns.GATEWAY`, with or without a
/// slash at its end and in any base; or in a DID, which stands for its name. White space around it is passed over.
///
/// # Errors
/// There is no name in it, or more than a name: a path below it is something else.
pub fn parse_name(text: &str) -> Result<Name, NamedError> {
    let bare = name_in(text);
    if bare.starts_with("did:") {
        return Ok(Did::parse(bare)?.name());
    }
    Ok(Name::parse(bare)?)
}

/// As [`parse_name`], for the identity: a name stands for its `did:ipns`.
///
/// # Errors
/// As [`parse_name`], and the name of another key than Ed25519 has no DID.
pub fn parse_did(text: &str) -> Result<Did, DidError> {
    Did::parse(name_in(text))
}

/// Reads the CID in `bafy…`, `Qm…`, `ipfs://bafy…`, `/ipfs/bafy…`, `https://GATEWAY/ipfs/bafy…` and `https://bafy….ipfs.GATEWAY`, with or
/// without a slash at its end and in any base. White space around it is passed over.
///
/// # Errors
/// There is no CID in it, or more than a CID: a path below it is another block.
pub fn parse_cid(text: &str) -> Result<Cid, CidError> {
    cid::parse_cid(cid_in(text))
}

/// Why there is no name in a text.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamedError {
    /// It is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It is no DID, though it begins like one.
    #[error(transparent)]
    Did(#[from] DidError),
}

impl Retryable for NamedError {
    fn kind(&self) -> ErrorKind {
        match self {
            NamedError::Name(_) | NamedError::Did(_) => ErrorKind::Reject,
        }
    }
}

fn name_in(text: &str) -> &str {
    part_of(text.trim(), "ipns")
}

fn cid_in(text: &str) -> &str {
    part_of(text.trim(), "ipfs")
}

fn part_of<'a>(text: &'a str, namespace: &str) -> &'a str {
    if text.len() > TEXT_BYTES {
        return text;
    }
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
    use std::format;
    use std::string::ToString;

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

    #[test]
    fn every_spelling_of_a_name_in_every_place_is_the_same_name() {
        use crate::sign::SigningKey;
        use multibase::Base;

        let name = Name::from_public_key(&SigningKey::from_seed(&[1; 32]).public());
        let did = Did::from_name(name).unwrap();
        let in_base = |base| name.to_cid().to_string_of_base(base).unwrap();
        let spellings = [
            name.to_string(),
            name.peer_id(),
            in_base(Base::Base36Upper),
            in_base(Base::Base32Lower),
            in_base(Base::Base32PadUpper),
            in_base(Base::Base16Lower),
            in_base(Base::Base58Btc),
        ];
        for spelling in &spellings {
            for text in [
                spelling.clone(),
                format!("{spelling}/"),
                format!(" {spelling}\n"),
                format!("ipns://{spelling}"),
                format!("Ipns://{spelling}/"),
                format!("/ipns/{spelling}/"),
                format!("https://dweb.link/ipns/{spelling}"),
                format!("http://127.0.0.1:8080/ipns/{spelling}/?format=ipns-record"),
                format!("https://{spelling}.ipns.dweb.link/"),
            ] {
                assert_eq!(parse_name(&text), Ok(name), "{text}");
                assert_eq!(parse_did(&text), Ok(did), "{text}");
            }
        }
        assert_eq!(parse_name(&did.to_string()), Ok(name));
        for text in ["", "/ipns/", "did:web:example.org", "ipfs://bafkqaaa"] {
            assert!(parse_name(text).is_err(), "{text}");
        }
        let path = format!("ipns://{name}/a");
        assert!(parse_name(&path).is_err(), "{path}");
    }

    #[test]
    fn every_spelling_of_a_cid_in_every_place_is_the_same_cid() {
        use multibase::Base;

        let block = cid::cid_of(cid::Codec::DagPb, b"x");
        let old = Cid::new_v0(*block.hash()).unwrap();
        let in_base = |base| block.to_string_of_base(base).unwrap();
        for (cid, spelling) in [
            (block, block.to_string()),
            (block, in_base(Base::Base32Upper)),
            (block, in_base(Base::Base16Lower)),
            (block, in_base(Base::Base58Btc)),
            (old, old.to_string()),
        ] {
            for text in [
                spelling.clone(),
                format!("\t{spelling}/"),
                format!("ipfs://{spelling}"),
                format!("/ipfs/{spelling}"),
                format!("https://ipfs.io/ipfs/{spelling}/#top"),
                format!("https://{spelling}.ipfs.localhost:8080"),
            ] {
                assert_eq!(parse_cid(&text), Ok(cid), "{text}");
            }
        }
        for text in ["", "/ipfs/", "ipns://k51q", "ipfs://bafkqaaa/a"] {
            assert!(parse_cid(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_refused() {
        let text = format!("ipfs://{}", "b".repeat(TEXT_BYTES));
        assert!(parse_cid(&text).is_err());
        assert!(parse_name(&text).is_err());
    }
}
