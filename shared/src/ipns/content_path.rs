//! Where the value of a record points.

use alloc::string::{String, ToString};
use core::fmt;

use super::{Name, NameError};
use crate::cid::{Cid, CidError, parse_cid};

/// What comes before a CID.
const IPFS: &str = "/ipfs/";
/// What comes before a name or a domain.
const IPNS: &str = "/ipns/";

/// A content path (IPFS path specification), as the value of anybody's record holds one.
///
/// A record may point at any path, at a CID in any base, and at a bare CID. It says which content is meant; what is
/// kept for a name is everything below the root, whichever part of it the path goes on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentPath {
    /// Where the path begins.
    pub root: PathRoot,
    /// What follows the root, without the slash before it. Empty where the root itself is meant.
    pub rest: String,
}

/// Where a content path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRoot {
    /// At content that does not change.
    Cid(Cid),
    /// At what another name points at.
    Name(Name),
    /// At what a domain says in the DNS (DNSLink), which is not followed here: the path says which.
    Domain,
}

impl ContentPath {
    /// Parses the value of a record.
    ///
    /// # Errors
    /// Refuses what is no text, begins with neither `/ipfs/`, `/ipns/` nor a CID, or has no CID behind `/ipfs/` and
    /// neither a name nor a domain behind `/ipns/`.
    pub fn parse(value: &[u8]) -> Result<ContentPath, ContentPathError> {
        let text = core::str::from_utf8(value).map_err(|_| ContentPathError::NotText)?;
        if let Some(path) = text.strip_prefix(IPNS) {
            let (root, rest) = split(path);
            return match Name::parse(root) {
                Ok(name) => Ok(ContentPath {
                    root: PathRoot::Name(name),
                    rest: rest.to_string(),
                }),
                Err(_) if is_domain(root) => Ok(ContentPath {
                    root: PathRoot::Domain,
                    rest: path.to_string(),
                }),
                Err(error) => Err(ContentPathError::Name(error)),
            };
        }
        let path = match text.strip_prefix(IPFS) {
            Some(path) => path,
            None if text.starts_with('/') => return Err(ContentPathError::OtherNamespace),
            None => text,
        };
        let (root, rest) = split(path);
        Ok(ContentPath {
            root: PathRoot::Cid(parse_cid(root)?),
            rest: rest.to_string(),
        })
    }

    /// The CID that the path begins at; none where that is a name or a domain.
    pub fn cid(&self) -> Option<Cid> {
        match self.root {
            PathRoot::Cid(cid) => Some(cid),
            PathRoot::Name(_) | PathRoot::Domain => None,
        }
    }

    /// The name that the path begins at; none where that is a CID or a domain.
    pub fn name(&self) -> Option<Name> {
        match self.root {
            PathRoot::Name(name) => Some(name),
            PathRoot::Cid(_) | PathRoot::Domain => None,
        }
    }
}

/// The path in the form that is usual: the CID and the name in their own base.
impl fmt::Display for ContentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.root {
            PathRoot::Cid(cid) => write!(f, "{IPFS}{cid}")?,
            PathRoot::Name(name) => write!(f, "{IPNS}{name}")?,
            PathRoot::Domain => return write!(f, "{IPNS}{}", self.rest),
        }
        if self.rest.is_empty() {
            Ok(())
        } else {
            write!(f, "/{}", self.rest)
        }
    }
}

/// Splits a path into its first part and what follows, without the slashes between and at the end.
fn split(path: &str) -> (&str, &str) {
    let (root, rest) = path.split_once('/').unwrap_or((path, ""));
    (root, rest.trim_matches('/'))
}

/// Whether a text has the form of a domain with two parts or more.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= 253
        && text.contains('.')
        && text
            .strip_suffix('.')
            .unwrap_or(text)
            .split('.')
            .all(is_label)
}

/// Why the value of a record is no content path.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentPathError {
    /// It is no UTF-8.
    #[error("it is no text")]
    NotText,
    /// It is a path, but neither of content nor of a name.
    #[error("it begins with neither /ipfs/ nor /ipns/")]
    OtherNamespace,
    /// Where a CID should stand is none.
    #[error(transparent)]
    Cid(#[from] CidError),
    /// Behind `/ipns/` stand neither a name nor a domain.
    #[error("neither a name nor a domain: {0}")]
    Name(#[source] NameError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::{Codec, cid_of};
    use alloc::{format, string::ToString};
    use multibase::Base;
    use proptest::prelude::*;

    #[test]
    fn any_path_to_content_is_read() {
        let cid = cid_of(Codec::DagPb, b"root");
        let in_base = |base| cid.to_string_of_base(base).unwrap();
        for (value, rest) in [
            (format!("/ipfs/{cid}"), ""),
            (format!("/ipfs/{cid}/"), ""),
            (format!("/ipfs/{cid}//"), ""),
            (format!("/ipfs/{cid}/a b/ü.html"), "a b/ü.html"),
            (format!("/ipfs/{cid}/a/"), "a"),
            (cid.to_string(), ""),
            (format!("{cid}/a"), "a"),
            (format!("/ipfs/{}", in_base(Base::Base16Lower)), ""),
            (format!("/ipfs/{}/x", in_base(Base::Base32PadLower)), "x"),
            (format!("/ipfs/{}", in_base(Base::Base58Flickr)), ""),
        ] {
            let path = ContentPath::parse(value.as_bytes()).expect(&value);
            assert_eq!((path.cid(), &*path.rest), (Some(cid), rest), "{value}");
            let usual = path.to_string();
            assert_eq!(ContentPath::parse(usual.as_bytes()), Ok(path), "{usual}");
        }
        let old = "/ipfs/QmWDtUQj38YLW8v3q4A6LwPn4vYKEbuKWpgSm6bjKW6Xfe/x";
        let path = ContentPath::parse(old.as_bytes()).unwrap();
        assert_eq!(path.to_string(), old);
    }

    #[test]
    fn names_and_domains_are_told_apart() {
        let name = Name::from_public_key(&crate::sign::SigningKey::from_seed(&[1; 32]).public());
        for (value, root, text) in [
            (
                format!("/ipns/{name}/a"),
                PathRoot::Name(name),
                format!("/ipns/{name}/a"),
            ),
            (
                "/ipns/docs.example.org/x".into(),
                PathRoot::Domain,
                "/ipns/docs.example.org/x".into(),
            ),
        ] {
            let path = ContentPath::parse(value.as_bytes()).expect(&value);
            assert_eq!((path.root, path.cid()), (root, None));
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn what_points_at_no_content_is_refused_with_its_reason() {
        for (value, reason) in [
            (&b"\xff"[..], "it is no text"),
            (b"/dns/x", "it begins with neither /ipfs/ nor /ipns/"),
            (b"", "not a CID: it begins with no base of multibase"),
            (b"/ipfs/", "not a CID: it begins with no base of multibase"),
        ] {
            let error = ContentPath::parse(value).unwrap_err();
            assert_eq!(error.to_string(), reason);
        }
        for value in ["/ipfs/no", "hello", "/ipns/", "/ipns/a b.c", "/ipns/x"] {
            assert!(ContentPath::parse(value.as_bytes()).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_read_without_panic(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = ContentPath::parse(&value);
        }

        #[test]
        fn any_text_is_read_without_panic(value in "(/ip[fn]s/)?[bkQz]?\\PC{0,60}") {
            let _ = ContentPath::parse(value.as_bytes());
        }
    }
}
