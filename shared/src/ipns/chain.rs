//! Where a name leads whose record points at another name.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::{ContentPath, ContentPathError, Name, PathRoot};
use crate::cid::Cid;
use crate::error::{ErrorKind, Retryable};
use crate::limits::NAME_CHAIN;

/// The names that lead from one to content: the value of each record but the last is `/ipns/` and the next name.
///
/// It decides where to go on and when to stop; the records are found by whoever walks it. At most [`NAME_CHAIN`] names
/// are walked, and none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameChain {
    names: Vec<Name>,
    /// What is to follow the root of the last record, without the slash before it.
    rest: String,
}

/// What a record of a chain leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameStep {
    /// Content: the chain ends.
    Content {
        /// The CID at which the content path begins.
        root: Cid,
        /// What follows it, the paths of all records on the way put together, without the slash before it.
        rest: String,
    },
    /// Another name, whose record is looked at next.
    Name(Name),
}

impl NameChain {
    /// Begins at a name; `rest` is what is to be found below what it leads to, without the slash before it.
    pub fn new(name: Name, rest: &str) -> NameChain {
        NameChain {
            names: vec![name],
            rest: rest.trim_matches('/').to_string(),
        }
    }

    /// The names until now, in their order, the first one included.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Takes the value of the record of the last of [`NameChain::names`].
    ///
    /// # Errors
    /// It points at nothing that can be followed, at a name that the chain has been at, or at one too many.
    pub fn follow(&mut self, value: &[u8]) -> Result<NameStep, NameChainError> {
        let path = ContentPath::parse(value).map_err(|source| {
            let value = String::from_utf8_lossy(value).into_owned();
            NameChainError::NoContent { value, source }
        })?;
        match path.root {
            PathRoot::Cid(root) => Ok(NameStep::Content {
                root,
                rest: self.below(&path),
            }),
            PathRoot::Domain => Err(NameChainError::Domain {
                path: path.to_string(),
            }),
            PathRoot::Name(next) if self.names.contains(&next) => {
                let names = self.names.iter().copied().chain([next]);
                Err(NameChainError::Cycle {
                    names: names.collect(),
                })
            }
            PathRoot::Name(_) if self.names.len() >= NAME_CHAIN => Err(NameChainError::TooLong),
            PathRoot::Name(next) => {
                self.rest = self.below(&path);
                self.names.push(next);
                Ok(NameStep::Name(next))
            }
        }
    }

    /// What is to be found below the root of this path.
    fn below(&self, path: &ContentPath) -> String {
        match (path.rest.is_empty(), self.rest.is_empty()) {
            (_, true) => path.rest.clone(),
            (true, false) => self.rest.clone(),
            (false, false) => [&path.rest, "/", &self.rest].concat(),
        }
    }
}

/// Why names lead to no content.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameChainError {
    /// They lead in a circle.
    #[error("the names lead in a circle: {}", arrows(.names))]
    Cycle {
        /// All of them, in their order; the last is there before.
        names: Vec<Name>,
    },
    /// There are more of them than [`NAME_CHAIN`].
    #[error("the record points at another name, and that again, more than {NAME_CHAIN} times")]
    TooLong,
    /// The last one points at a domain (DNSLink), which is not followed.
    #[error("the record points at a domain, {path}, which is not followed")]
    Domain {
        /// What the record says.
        path: String,
    },
    /// The last one points at no content.
    #[error("the record points at {value:?}, which is no content path")]
    NoContent {
        /// What the record says.
        value: String,
        /// Why that is none.
        source: ContentPathError,
    },
}

impl NameChainError {
    /// A stable name for scripts and for JavaScript.
    pub const fn code(&self) -> &'static str {
        match self {
            NameChainError::Cycle { .. } => "name_cycle",
            NameChainError::TooLong => "name_chain_too_long",
            NameChainError::Domain { .. } | NameChainError::NoContent { .. } => "no_head",
        }
    }
}

impl Retryable for NameChainError {
    fn kind(&self) -> ErrorKind {
        match self {
            NameChainError::Cycle { .. }
            | NameChainError::TooLong
            | NameChainError::Domain { .. }
            | NameChainError::NoContent { .. } => ErrorKind::Reject,
        }
    }
}

fn arrows(names: &[Name]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.join(" → ")
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;
    use crate::cid::{Codec, cid_of};
    use crate::sign::SigningKey;

    fn name(number: u8) -> Name {
        Name::from_public_key(&SigningKey::from_seed(&[number; 32]).public())
    }

    #[test]
    fn paths_on_the_way_are_put_together_from_the_end() {
        let root = cid_of(Codec::Raw, b"content");
        for (asked, first, second, whole) in [
            ("", "", "", ""),
            ("c", "", "", "c"),
            ("/c/", "/b", "/a", "a/b/c"),
            ("", "/b", "", "b"),
            ("c", "", "/a/", "a/c"),
        ] {
            let mut chain = NameChain::new(name(1), asked);
            let step = chain.follow(format!("/ipns/{}{first}", name(2)).as_bytes());
            assert_eq!(step, Ok(NameStep::Name(name(2))));
            let step = chain.follow(format!("/ipfs/{root}{second}").as_bytes());
            let rest = whole.to_string();
            assert_eq!(step, Ok(NameStep::Content { root, rest }));
            assert_eq!(chain.names(), [name(1), name(2)]);
        }
    }

    #[test]
    fn a_circle_is_refused_whatever_its_size() {
        let mut chain = NameChain::new(name(1), "");
        let to = |number| format!("/ipns/{}", name(number)).into_bytes();
        let again = |numbers: &[u8]| NameChainError::Cycle {
            names: numbers.iter().map(|number| name(*number)).collect(),
        };
        assert_eq!(chain.follow(&to(1)), Err(again(&[1, 1])));
        chain.follow(&to(2)).unwrap();
        chain.follow(&to(3)).unwrap();
        let error = chain.follow(&to(1)).unwrap_err();
        assert_eq!(error, again(&[1, 2, 3, 1]));
        let text = format!("{0} → {1} → {2} → {0}", name(1), name(2), name(3));
        assert!(error.to_string().ends_with(&text), "{error}");
        assert_eq!(
            (error.code(), error.kind()),
            ("name_cycle", ErrorKind::Reject)
        );
    }

    #[test]
    fn as_many_names_are_followed_as_the_limit_says() {
        let mut chain = NameChain::new(name(0), "");
        let last = u8::try_from(NAME_CHAIN).unwrap();
        for number in 1..last {
            let next = format!("/ipns/{}", name(number));
            chain.follow(next.as_bytes()).unwrap();
        }
        assert_eq!(chain.names().len(), NAME_CHAIN);
        let mut whole = chain.clone();
        assert!(whole.follow(b"/ipfs/bafkqaaa").is_ok());
        let more = chain.follow(format!("/ipns/{}", name(last)).as_bytes());
        assert_eq!(more, Err(NameChainError::TooLong));
    }

    #[test]
    fn what_is_not_followed_says_what_it_is() {
        let follow = |value: &str| NameChain::new(name(1), "").follow(value.as_bytes());
        let domain = follow("/ipns/docs.example.org/x").unwrap_err();
        assert_eq!(
            domain.to_string(),
            "the record points at a domain, /ipns/docs.example.org/x, which is not followed"
        );
        let nothing = follow("hello").unwrap_err();
        assert_eq!(
            nothing.to_string(),
            "the record points at \"hello\", which is no content path"
        );
        assert_eq!((domain.code(), nothing.code()), ("no_head", "no_head"));
    }
}
