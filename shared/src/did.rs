//! Identities: derivation from a passphrase, decentralized identifiers and their documents.
//!
//! Owns the way from a passphrase to keys, the text of `did:key` and `did:ipns`, and the DID document. Must never
//! touch: randomness, the clock, files; a passphrase is an argument and no secret is ever printed.

mod derive;
mod document;
mod id;

pub use derive::{CreateError, DeriveError, Identity, Profile, Purpose};
pub use document::{DidDocument, DocumentError, SOURCES, Service, key_document};
pub use id::{Did, DidError};
