//! DID documents (W3C DID Core 1.0).
//!
//! The native block is the document in DAG-CBOR, under the names of DID Core: the DAG-JSON of the same value is at
//! once the compatible form and the text a resolver answers with. Every document has one encoding in each codec.
//!
//! A document carries no signature of its own, and anybody can write one that names another's DID and lists a key of
//! their own. It speaks for the identity where a signed log entry links it by its CID, the entry's key is one that it lists
//! ([`DidDocument::authorizes`]), its own id is the identity it was looked up for, and either a record of the name leads to
//! the entry or the key that the name is signed it. That a `did:key` lists the key of its own id (checked when it is read) is
//! no such thing: it may list others. A key listed in `alsoKnownAs` form (`did:key`) that signed the entry has thereby agreed
//! to it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::cid::{Block, Codec};
use crate::codec::{CodecError, dag_cbor, dag_json};
use crate::did::{Did, DidError, Identity};
use crate::limits::{
    DID_DOCUMENT_BYTES, DID_ENDPOINTS, DID_KEYS, DID_NAMES, DID_SERVICES, DID_URI_BYTES,
    LimitExceeded,
};
use crate::sign::PublicKey;
use crate::time::{Millis, TimeError};

mod value;

pub use value::Core;
pub(super) use value::key_document;

/// The type of the service that lists where the publisher's blocks can be fetched, one base URL each.
pub const SOURCES: &str = "PerennisSources";

/// What an identity publishes about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DidDocument {
    id: Did,
    also_known_as: Vec<String>,
    keys: Vec<PublicKey>,
    services: Vec<Service>,
    created: Millis,
    updated: Millis,
}

/// A service of an identity: a type and where it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name of the service within the document, without `#`: letters, digits, `-` and `_`.
    pub name: String,
    /// What kind of service it is, such as [`SOURCES`].
    pub kind: String,
    /// URLs of the service, best first.
    pub endpoints: Vec<String>,
}

impl DidDocument {
    /// The document of an identity: its key, its other name, and no service.
    pub fn new(identity: &Identity, created: Millis) -> DidDocument {
        DidDocument {
            id: identity.did(),
            also_known_as: Vec::from([identity.also_known_as().to_string()]),
            keys: Vec::from([identity.signer().public()]),
            services: Vec::new(),
            created,
            updated: created,
        }
    }

    /// Replaces the publisher's sources: base URLs of HTTP gateways that serve its blocks, best first. Without any,
    /// the document has no such service.
    ///
    /// # Errors
    /// Refuses more than [`DID_ENDPOINTS`] URLs, longer ones than [`DID_URI_BYTES`], and what is not `http://` or
    /// `https://`.
    pub fn set_sources(&mut self, urls: &[String], updated: Millis) -> Result<(), DocumentError> {
        if let Some(url) = urls.iter().find(|url| !is_http(url)) {
            return Err(DocumentError::NotHttp { url: url.clone() });
        }
        let mut changed = self.clone();
        changed.services.retain(|service| service.kind != SOURCES);
        if !urls.is_empty() {
            changed.services.push(Service {
                name: "sources".to_string(),
                kind: SOURCES.to_string(),
                endpoints: urls.to_vec(),
            });
        }
        changed.updated = updated.max(changed.created);
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// Base URLs where the publisher's blocks can be fetched, best first.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        let sources = self
            .services
            .iter()
            .filter(|service| service.kind == SOURCES);
        sources.flat_map(|service| service.endpoints.iter().map(String::as_str))
    }

    /// The identity the document is about.
    pub fn id(&self) -> &Did {
        &self.id
    }

    /// Other names the identity gives itself. A claim: only a `did:key` whose key signed the entry has agreed to it.
    pub fn also_known_as(&self) -> &[String] {
        &self.also_known_as
    }

    /// The keys that may sign for the identity.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The identity's services.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// When the document was first made.
    pub fn created(&self) -> Millis {
        self.created
    }

    /// When the document was last changed.
    pub fn updated(&self) -> Millis {
        self.updated
    }

    /// Whether a key may sign log entries of this identity.
    pub fn authorizes(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// With a further key: what anybody can write about any identity.
    #[cfg(test)]
    pub(crate) fn with_key(mut self, key: PublicKey) -> DidDocument {
        self.keys.push(key);
        self
    }

    /// The native block: DAG-CBOR.
    ///
    /// # Errors
    /// None for a document within its limits; the block's own limit is checked.
    pub fn to_block(&self) -> Result<Block, DocumentError> {
        let bytes = dag_cbor::encode(&self.to_value())?;
        Ok(Block::new(Codec::DagCbor, bytes)?)
    }

    /// The compatible block: DAG-JSON.
    ///
    /// # Errors
    /// None for a document within its limits; the block's own limit is checked.
    pub fn to_dag_json(&self) -> Result<Block, DocumentError> {
        let bytes = dag_json::encode_bytes(&self.to_value())?;
        Ok(Block::new(Codec::DagJson, bytes)?)
    }

    /// The stored document as text: that of [`DidDocument::to_dag_json`].
    ///
    /// # Errors
    /// None for a document within its limits.
    pub fn to_json(&self) -> Result<String, DocumentError> {
        Ok(dag_json::encode(&self.to_value())?)
    }

    /// Reads a document from its block in either codec.
    ///
    /// # Errors
    /// Refuses other codecs, fields that are missing, unknown or malformed, a `did:key` whose key is not listed, a
    /// document above its limits, and one that is not in its only encoding.
    pub fn from_block(block: &Block) -> Result<DidDocument, DocumentError> {
        let bytes = block.bytes();
        LimitExceeded::check("DID document bytes", DID_DOCUMENT_BYTES, bytes.len())?;
        let value = match Codec::from_code(block.cid().codec()) {
            Some(Codec::DagCbor) => dag_cbor::decode(bytes)?,
            Some(Codec::DagJson) => dag_json::decode(bytes)?,
            _ => return Err(CodecError::UnknownCodec(block.cid().codec()).into()),
        };
        let document = DidDocument::from_value(value.clone())?;
        document.check()?;
        // Ids, controllers and relationships follow from the rest; making the value again checks
        // them all. The codecs have one encoding for each value.
        if document.to_value() != value {
            return Err(DocumentError::NotCanonical);
        }
        Ok(document)
    }

    fn check(&self) -> Result<(), DocumentError> {
        LimitExceeded::check("DID document names", DID_NAMES, self.also_known_as.len())?;
        LimitExceeded::check("DID document keys", DID_KEYS, self.keys.len())?;
        LimitExceeded::check("DID document services", DID_SERVICES, self.services.len())?;
        for name in &self.also_known_as {
            LimitExceeded::check("DID document name bytes", DID_URI_BYTES, name.len())?;
        }
        for service in &self.services {
            service.check()?;
        }
        let own_key_is_missing = self
            .id
            .public_key()
            .is_some_and(|key| !self.authorizes(&key));
        if self.keys.is_empty() || own_key_is_missing {
            return Err(DocumentError::KeyMissing);
        }
        Ok(())
    }
}

impl Service {
    fn check(&self) -> Result<(), DocumentError> {
        LimitExceeded::check("service endpoints", DID_ENDPOINTS, self.endpoints.len())?;
        LimitExceeded::check("service type bytes", DID_URI_BYTES, self.kind.len())?;
        LimitExceeded::check("service name bytes", DID_URI_BYTES, self.name.len())?;
        for endpoint in &self.endpoints {
            LimitExceeded::check("service endpoint bytes", DID_URI_BYTES, endpoint.len())?;
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if self.name.is_empty() || !self.name.bytes().all(is_plain) {
            return Err(DocumentError::ServiceName {
                name: self.name.clone(),
            });
        }
        Ok(())
    }
}

/// Whether a URL is one of HTTP with a host, and without white space and control characters.
fn is_http(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    host.is_some_and(|host| !host.is_empty())
        && !url.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Why a DID document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The block cannot be decoded, or a field is missing, unknown or of the wrong kind.
    #[error("not a DID document: it cannot be decoded")]
    Codec(#[from] CodecError),
    /// The document's id or one of its keys is not one we know.
    #[error("the DID document holds an identifier or key that cannot be used")]
    Did(#[from] DidError),
    /// A time in the document is malformed.
    #[error("the DID document holds a malformed time")]
    Time(#[from] TimeError),
    /// A size or count is above its limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// No key is listed, or not the one that the document's `did:key` is.
    #[error("the DID document does not list the key of its own id")]
    KeyMissing,
    /// A service's name cannot be the fragment of an identifier.
    #[error("`{name}` cannot name a service: use letters, digits, - and _")]
    ServiceName {
        /// The name.
        name: String,
    },
    /// A source is not an HTTP URL.
    #[error("`{url}` is not a source: an address such as https://node.example is expected")]
    NotHttp {
        /// The text that was given.
        url: String,
    },
    /// The document says the same in another way than it is written here.
    #[error("the DID document is not in its only encoding")]
    NotCanonical,
}

#[cfg(test)]
mod tests;
