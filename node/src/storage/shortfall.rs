//! Why not everything below a name is here: which block it is about, why, and what the operator can do.

use std::fmt::Display;

use perennis_shared::cid::Cid;
use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value};
use perennis_shared::error::chain;
use perennis_shared::ipns::{PathRoot, Record};

use super::nullable::nullable;

/// Longest cause that is kept, in bytes.
const CAUSE_BYTES: usize = 512;

/// What keeps a name from being held whole. Stored with the facts about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shortfall {
    pub(crate) kind: ShortfallKind,
    /// The block it is about, the first of several.
    pub(crate) block: Option<Cid>,
    /// What went wrong, in a sentence for people.
    pub(crate) cause: String,
}

/// What kind of thing is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShortfallKind {
    /// Nobody has been asked yet.
    Awaited,
    /// There is nobody to ask.
    NoSource,
    /// Whoever was asked has not given it.
    Unavailable,
    /// More than may be kept for a name.
    Quota,
    /// A fetch would take more memory than messages may.
    Memory,
    /// A block is here whose links cannot be read, so that what is below it is not known.
    Opaque,
    /// It is no list of ours, and nobody follows the name.
    NotFollowed,
    /// The record points at another name.
    OtherName,
    /// The record points at a domain.
    DnsLink,
    /// The record points at no content.
    NoContent,
}

const KINDS: [ShortfallKind; 10] = [
    ShortfallKind::Awaited,
    ShortfallKind::NoSource,
    ShortfallKind::Unavailable,
    ShortfallKind::Quota,
    ShortfallKind::Memory,
    ShortfallKind::Opaque,
    ShortfallKind::NotFollowed,
    ShortfallKind::OtherName,
    ShortfallKind::DnsLink,
    ShortfallKind::NoContent,
];

impl ShortfallKind {
    /// The word for documents.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            ShortfallKind::Awaited => "awaited",
            ShortfallKind::NoSource => "no_source",
            ShortfallKind::Unavailable => "unavailable",
            ShortfallKind::Quota => "quota",
            ShortfallKind::Memory => "memory",
            ShortfallKind::Opaque => "opaque",
            ShortfallKind::NotFollowed => "not_followed",
            ShortfallKind::OtherName => "other_name",
            ShortfallKind::DnsLink => "dnslink",
            ShortfallKind::NoContent => "no_content",
        }
    }

    /// What the operator can do about it.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            ShortfallKind::Awaited => {
                "wait a moment: it is asked for; where this stays, follow the name with --source URL"
            }
            ShortfallKind::NoSource => {
                "follow the name with --source URL or --car FILE, or set pins.sources"
            }
            ShortfallKind::Unavailable => {
                "it is asked for again; follow the name with --source URL of somebody who has it, or with --car FILE"
            }
            ShortfallKind::Quota => {
                "raise admission.name-size or admission.name-blocks, and follow or publish the name again"
            }
            ShortfallKind::Memory => "raise admission.memory, or have its owner publish it here",
            ShortfallKind::Opaque => {
                "what is below that block is not kept: fetch it by its own CID (perennis fetch CID)"
            }
            ShortfallKind::NotFollowed => {
                "follow the name (perennis name follow) to keep what it points at"
            }
            ShortfallKind::OtherName => {
                "follow the name (perennis name follow): what it points at is then followed for it, and looked for again where it was not found"
            }
            ShortfallKind::DnsLink => {
                "domains are not followed: fetch what it points at by its CID (perennis fetch CID)"
            }
            ShortfallKind::NoContent => "only its owner can change that: the record alone is kept",
        }
    }
}

impl Shortfall {
    pub(crate) fn new(
        kind: ShortfallKind,
        block: Option<Cid>,
        cause: impl Into<String>,
    ) -> Shortfall {
        let mut cause = cause.into();
        if cause.len() > CAUSE_BYTES {
            cause.truncate(cause.floor_char_boundary(CAUSE_BYTES - '…'.len_utf8()));
            cause.push('…');
        }
        Shortfall { kind, block, cause }
    }

    /// A block that is not here and that nobody was asked for yet, the first of so many.
    pub(crate) fn awaited(block: Cid, missing: u64) -> Shortfall {
        let cause = match missing {
            1 => format!("block {block} is not here"),
            _ => format!("block {block} and {} more are not here", missing - 1),
        };
        Shortfall::new(ShortfallKind::Awaited, Some(block), cause)
    }

    /// A block whose links cannot be read.
    pub(crate) fn opaque(block: Cid, error: &CodecError) -> Shortfall {
        let cause = format!(
            "the links of block {block} cannot be read: {}",
            chain(error)
        );
        Shortfall::new(ShortfallKind::Opaque, Some(block), cause)
    }

    /// More than may be kept for one name.
    pub(crate) fn quota(error: &impl Display) -> Shortfall {
        let cause = format!("what is below it is not kept to its end: {error}");
        Shortfall::new(ShortfallKind::Quota, None, cause)
    }

    /// What a record points at, where that is nothing that can be kept below it.
    pub(crate) fn of_value(record: &Record) -> Option<Shortfall> {
        let (kind, cause) = match record.content_path() {
            Ok(path) => match path.root {
                PathRoot::Cid(_) => return None,
                PathRoot::Name(_) => (
                    ShortfallKind::OtherName,
                    format!("it points at another name, {path}"),
                ),
                PathRoot::Domain => (
                    ShortfallKind::DnsLink,
                    format!("it points at a domain, {path}"),
                ),
            },
            Err(error) => (
                ShortfallKind::NoContent,
                format!(
                    "its value {:?} is no content path: {}",
                    String::from_utf8_lossy(record.value()),
                    chain(&error)
                ),
            ),
        };
        Some(Shortfall::new(kind, None, cause))
    }

    pub(super) fn to_value(&self) -> Value {
        Value::map([
            ("kind", Value::from(self.kind.code())),
            ("block", self.block.map_or(Value::Null, Value::Link)),
            ("cause", Value::from(self.cause.clone())),
        ])
    }

    pub(super) fn from_value(value: Value) -> Result<Shortfall, CodecError> {
        let mut fields = Fields::new(value)?;
        let code = fields.take_text("kind")?;
        let kind = KINDS.into_iter().find(|kind| kind.code() == code);
        let shortfall = Shortfall {
            kind: kind.ok_or(CodecError::field("kind", FieldProblem::Invalid("no kind")))?,
            block: nullable(&mut fields, "block")?,
            cause: fields.take_text("cause")?,
        };
        fields.finish()?;
        Ok(shortfall)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::cid::{Codec, cid_of};

    use super::*;

    #[test]
    fn every_kind_is_read_back() {
        for kind in KINDS {
            for block in [None, Some(cid_of(Codec::Raw, b"a"))] {
                let shortfall = Shortfall::new(kind, block, "why");
                assert_eq!(
                    Shortfall::from_value(shortfall.to_value()).unwrap(),
                    shortfall
                );
            }
        }
    }

    #[test]
    fn a_cause_is_bounded_between_characters() {
        let long = Shortfall::new(ShortfallKind::Quota, None, "ü".repeat(1_000));
        assert!(long.cause.len() <= CAUSE_BYTES && long.cause.ends_with("ü…"));
    }

    #[test]
    fn the_first_of_several_missing_blocks_is_named() {
        let block = cid_of(Codec::Raw, b"a");
        let cause = |missing| Shortfall::awaited(block, missing).cause;
        assert_eq!(cause(1), format!("block {block} is not here"));
        assert_eq!(cause(3), format!("block {block} and 2 more are not here"));
    }
}
