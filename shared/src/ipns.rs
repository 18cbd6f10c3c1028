//! IPNS names and records (IPNS Record and Protocol specification).
//!
//! Owns reading, checking, making and comparing records. A record is a signed statement of the holder of a key:
//! "my name points at this value, until then". Must never touch: the clock (the current time is an argument), the
//! network, storage.
//!
//! Invariants:
//! - Value, sequence, validity and TTL are read from the signed CBOR only. The fields of version 1 beside it are
//!   unsigned; where present they must say the same, and nothing is ever taken from them.
//! - A record is identified by its signed data and `signatureV2`, never by its raw bytes: the version 1 part can be
//!   changed by anyone who carries the record.
//! - A [`Record`] is verified; bytes from outside are an [`UnverifiedRecord`] until then.

mod chain;
mod content_path;
mod create;
mod key;
mod ladder;
mod name;
mod record;
#[cfg(test)]
mod samples;
mod select;
mod wire;

pub use chain::{NameChain, NameChainError, NameStep};
pub use content_path::{ContentPath, ContentPathError, PathRoot};
pub use create::{RecordFields, create};
pub use key::{KeyType, NameKey, NameKeyError};
pub use ladder::{Ladder, LadderError, LadderPlan};
pub use name::{Name, NameError};
pub use record::{Record, RecordError, UnverifiedRecord};
pub use select::{Equivocation, compare, equivocates, select};
