//! Identities: derivation from a passphrase, decentralized identifiers and their documents.
//!
//! Owns the way from a passphrase to keys, the text of `did:key` and `did:ipns`, and the DID document. Must never
//! touch: randomness, the clock, files; a passphrase is an argument and no secret is ever printed. What a resolver says of
//! the DIDs of others too is in [`resolution`].

mod derive;
mod document;
mod id;
mod key_did;
pub mod resolution;
mod url;

pub use derive::{CreateError, DeriveError, Identity, Profile, Purpose};
pub use document::{Core, DidDocument, DocumentError, SOURCES, Service};
pub use id::{Did, DidError};
pub use key_did::{Curve, KeyDid, KeyDidError};
pub use url::{DidSyntaxError, DidUrl};
