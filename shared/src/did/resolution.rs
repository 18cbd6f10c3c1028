//! What a DID resolver says (W3C DID Resolution): which DIDs it takes, its options, its errors and its results.
//!
//! A node's HTTP interface and the command line answer with what is made here. The order of checks is that of the
//! specification's algorithm: the syntax, the method, the options. Must never touch: where a published document is found.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Core, Did, DidDocument, DidSyntaxError, DidUrl, KeyDid};
use crate::codec::Value;
use crate::time::Millis;

/// What a resolver is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A key, of which the DID tells everything.
    Key(KeyDid),
    /// An identity that publishes under an IPNS name.
    Ipns(Did),
}

impl Subject {
    /// Reads the DID of a DID URL.
    ///
    /// # Errors
    /// [`ResolutionError::MethodNotSupported`] for other methods than `key` and `ipns`, and [`ResolutionError::InvalidDid`]
    /// for what is none of these methods. A name of `did:ipns` has to be written as `k51…`: the id of a document is the
    /// DID that was asked for, letter by letter.
    pub fn of(url: &DidUrl<'_>) -> Result<Subject, Problem> {
        let invalid = |detail: String| Problem::new(ResolutionError::InvalidDid, detail);
        match url.method {
            "key" => KeyDid::parse(url.id)
                .map(Subject::Key)
                .map_err(|error| invalid(error.to_string())),
            "ipns" => {
                let did = Did::parse(url.did).map_err(|error| invalid(error.to_string()))?;
                if did.to_string() != url.did {
                    let detail = format!("its only spelling as a DID is {did}");
                    return Err(invalid(detail));
                }
                Ok(Subject::Ipns(did))
            }
            method => Err(Problem::new(
                ResolutionError::MethodNotSupported,
                format!("the method {method} is not known here; key and ipns are"),
            )),
        }
    }

    /// The identity that may have published a document under this DID: every `did:ipns`, and a `did:key` of Ed25519.
    pub fn publisher(&self) -> Option<Did> {
        match self {
            Subject::Ipns(did) => Some(*did),
            Subject::Key(key) => Did::parse(&key.to_string()).ok(),
        }
    }
}

/// What is asked for beside the DID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    version_id: Option<String>,
    version_time: Option<Millis>,
}

impl Options {
    /// Reads options: `versionId`, `versionTime` and `expandRelativeUrls`, which has nothing to expand, since our documents
    /// have absolute URLs only.
    ///
    /// # Errors
    /// [`ResolutionError::FeatureNotSupported`] for others: an option that is passed over would be answered with something
    /// else than was asked for. [`ResolutionError::InvalidOptions`] for one that is given twice, or whose value is malformed.
    pub fn parse<'a>(
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Options, Problem> {
        let mut options = Options::default();
        let mut seen: Vec<&str> = Vec::new();
        let mut malformed = None;
        for (name, value) in given {
            let wrong = match name {
                "versionId" => {
                    options.version_id = Some(value.to_string());
                    value.is_empty()
                }
                "versionTime" => {
                    options.version_time = parse_seconds(value);
                    options.version_time.is_none()
                }
                "expandRelativeUrls" => !matches!(value, "true" | "false"),
                _ => {
                    return Err(Problem::new(
                        ResolutionError::FeatureNotSupported,
                        format!(
                            "the option {name:?} is not known here; versionId, versionTime and expandRelativeUrls are"
                        ),
                    ));
                }
            };
            if malformed.is_none() && seen.contains(&name) {
                malformed = Some(format!("{name} is given more than once"));
            }
            if malformed.is_none() && wrong {
                malformed = Some(match name {
                    "versionTime" => {
                        "versionTime is a time in UTC in whole seconds, such as 2026-11-21T09:27:00Z"
                            .to_string()
                    }
                    "versionId" => "versionId is empty".to_string(),
                    _ => format!("{name} is true or false"),
                });
            }
            seen.push(name);
        }
        match malformed {
            Some(detail) => Err(Problem::new(ResolutionError::InvalidOptions, detail)),
            None => Ok(options),
        }
    }

    /// Whether the newest version of a document is the one that is asked for.
    ///
    /// # Errors
    /// [`ResolutionError::NotFound`] for a time before the document was made, [`ResolutionError::FeatureNotSupported`] for an older
    /// version, which is not looked for here.
    pub fn check(&self, metadata: &Metadata) -> Result<(), Problem> {
        let older = |detail: &str| {
            Err(Problem::new(
                ResolutionError::FeatureNotSupported,
                detail.to_string(),
            ))
        };
        if self.version_id.is_some() && self.version_id != metadata.version_id {
            return older(
                "only the newest version is given here, whose versionId is in the answer without this option",
            );
        }
        let second = |time: Millis| time.0 / 1_000;
        match (self.version_time, metadata.created) {
            (Some(time), Some(created)) if second(time) < second(created) => Err(Problem::new(
                ResolutionError::NotFound,
                "the document was made after that time".to_string(),
            )),
            (Some(time), _)
                if metadata
                    .updated
                    .is_some_and(|updated| second(time) < second(updated)) =>
            {
                older("only the newest version is given here, which was made after that time")
            }
            _ => Ok(()),
        }
    }
}

/// A time in UTC without a fraction of a second.
fn parse_seconds(text: &str) -> Option<Millis> {
    let is_plain = text.len() == "2026-11-21T09:27:00Z".len() && text.ends_with('Z');
    Millis::parse_rfc3339(text).ok().filter(|_| is_plain)
}

/// What is known about a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// When the identity was made.
    pub created: Option<Millis>,
    /// When the document was changed last; none where it never was.
    pub updated: Option<Millis>,
    /// The CID of the log entry that the name leads to.
    pub version_id: Option<String>,
}

impl Metadata {
    /// What a published document says about itself, and the entry that leads to it.
    pub fn of(document: &DidDocument, version_id: String) -> Metadata {
        Metadata {
            created: Some(document.created()),
            updated: Some(document.updated()).filter(|updated| *updated != document.created()),
            version_id: Some(version_id),
        }
    }

    fn to_value(&self) -> Value {
        let seconds = |time: &Option<Millis>| time.map(|time| Value::from(time.to_seconds()));
        let entries = [
            ("created", seconds(&self.created)),
            ("updated", seconds(&self.updated)),
            ("versionId", self.version_id.as_deref().map(Value::from)),
        ];
        Value::map(
            entries
                .into_iter()
                .filter_map(|(name, value)| value.map(|value| (name, value))),
        )
    }
}

/// The errors of DID Resolution. Those of a document that is gone for ever are missing: neither method has a way to say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolutionError {
    /// It is no DID.
    InvalidDid,
    /// It is no DID URL.
    InvalidDidUrl,
    /// An option is malformed.
    InvalidOptions,
    /// There is no such document, or nothing of that name in it.
    NotFound,
    /// No media type that is asked for can be served.
    RepresentationNotSupported,
    /// What was found is no DID document.
    InvalidDidDocument,
    /// The method of the DID is not known.
    MethodNotSupported,
    /// An option, or what it asks for, is not known.
    FeatureNotSupported,
}

impl ResolutionError {
    /// The URL that names the error, its title, and its status in the HTTPS binding.
    const fn facts(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::InvalidDid => ("https://www.w3.org/ns/did#INVALID_DID", "Invalid DID", 400),
            Self::InvalidDidUrl => (
                "https://www.w3.org/ns/did#INVALID_DID_URL",
                "Invalid DID URL",
                400,
            ),
            Self::InvalidOptions => (
                "https://www.w3.org/ns/did#INVALID_OPTIONS",
                "Invalid options",
                400,
            ),
            Self::NotFound => ("https://www.w3.org/ns/did#NOT_FOUND", "Not found", 404),
            Self::RepresentationNotSupported => (
                "https://www.w3.org/ns/did#REPRESENTATION_NOT_SUPPORTED",
                "Representation not supported",
                406,
            ),
            Self::InvalidDidDocument => (
                "https://www.w3.org/ns/did#INVALID_DID_DOCUMENT",
                "Invalid DID document",
                500,
            ),
            Self::MethodNotSupported => (
                "https://www.w3.org/ns/did#METHOD_NOT_SUPPORTED",
                "Method not supported",
                501,
            ),
            Self::FeatureNotSupported => (
                "https://www.w3.org/ns/did#FEATURE_NOT_SUPPORTED",
                "Feature not supported",
                501,
            ),
        }
    }

    /// The URL that names the error.
    pub const fn url(self) -> &'static str {
        self.facts().0
    }

    /// Its status in the HTTPS binding.
    pub const fn status(self) -> u16 {
        self.facts().2
    }
}

/// Why a DID is not resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The error.
    pub error: ResolutionError,
    /// What is wrong, for people.
    pub detail: String,
}

impl Problem {
    /// A problem and what is wrong.
    pub fn new(error: ResolutionError, detail: impl Into<String>) -> Problem {
        Problem {
            error,
            detail: detail.into(),
        }
    }

    /// As RFC 9457 has it.
    fn to_value(&self) -> Value {
        let (url, title, _) = self.error.facts();
        Value::map([
            ("type", Value::from(url)),
            ("title", title.into()),
            ("detail", self.detail.as_str().into()),
        ])
    }
}

impl From<DidSyntaxError> for Problem {
    fn from(error: DidSyntaxError) -> Problem {
        let kind = match error.is_of_did() {
            true => ResolutionError::InvalidDid,
            false => ResolutionError::InvalidDidUrl,
        };
        Problem::new(kind, error.to_string())
    }
}

/// What was found: a document, or what a DID URL names in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The document, or the part of it.
    pub content: Value,
    /// What is known about the document.
    pub metadata: Metadata,
}

/// What a DID URL without path and query names in a document: the document itself, or by its fragment one of its keys and
/// services, with the contexts of the document.
///
/// # Errors
/// [`ResolutionError::NotFound`] for a path, which neither method gives a meaning, and for a fragment that names nothing.
pub fn dereference(url: &DidUrl<'_>, document: Value) -> Result<Value, Problem> {
    let not_found = |detail: String| Err(Problem::new(ResolutionError::NotFound, detail));
    if !url.path.is_empty() {
        return not_found(format!(
            "did:{} has no paths: {} is a DID and {:?} behind it",
            url.method, url.did, url.path
        ));
    }
    let Some(fragment) = url.fragment else {
        return Ok(document);
    };
    let named = Value::from(format!("{}#{fragment}", url.did));
    let Value::Map(mut document) = document else {
        return not_found("the document has no parts".to_string());
    };
    let context = document.remove("@context");
    for list in ["verificationMethod", "service"] {
        let Some(Value::List(parts)) = document.remove(list) else {
            continue;
        };
        for part in parts {
            let Value::Map(mut part) = part else { continue };
            if part.get("id") == Some(&named) {
                let mut context = context.unwrap_or(Value::Null);
                if let (Value::List(contexts), "service") = (&mut context, list) {
                    contexts.push(endpoint_term());
                }
                part.insert("@context".to_string(), context);
                return Ok(Value::Map(part));
            }
        }
    }
    not_found(format!(
        "the document of {} has no key and no service with the name #{fragment}",
        url.did
    ))
}

/// What `serviceEndpoint` means: the contexts of DID Core say it only inside `service`.
fn endpoint_term() -> Value {
    let endpoint = Value::map([
        (
            "@id",
            Value::from("https://www.w3.org/ns/did#serviceEndpoint"),
        ),
        ("@type", "@id".into()),
    ]);
    Value::map([("serviceEndpoint", endpoint)])
}

/// A result of DID resolution; `linked` is that of `application/ld+json`, in which every term has a meaning.
pub fn resolution_result(found: Result<&Found, &Problem>, core: Core, linked: bool) -> Value {
    result(
        [
            "didDocument",
            "didResolutionMetadata",
            "didDocumentMetadata",
        ],
        found,
        core,
        linked,
    )
}

/// A result of dereferencing a DID URL.
pub fn dereferencing_result(found: Result<&Found, &Problem>, core: Core) -> Value {
    let names = ["content", "didUrlDereferencingMetadata", "contentMetadata"];
    result(names, found, core, false)
}

fn result(
    [content, process, metadata]: [&str; 3],
    found: Result<&Found, &Problem>,
    core: Core,
    linked: bool,
) -> Value {
    let empty = || Value::map::<&str>([]);
    let mut entries = Vec::from(match found {
        Ok(found) => [
            (content, found.content.clone()),
            (
                process,
                Value::map([("contentType", core.media_type().into())]),
            ),
            (metadata, found.metadata.to_value()),
        ],
        Err(problem) => [
            (content, Value::Null),
            (process, Value::map([("error", problem.to_value())])),
            (metadata, empty()),
        ],
    });
    if linked {
        entries.push(("@context", linked_context()));
    }
    Value::map(entries)
}

/// The context of results, and the terms of RFC 9457 that it does not have.
fn linked_context() -> Value {
    Value::List(Vec::from([
        "https://w3id.org/did-resolution/v1".into(),
        Value::map([
            (
                "title",
                Value::from("https://www.rfc-editor.org/rfc/rfc9457#name-title"),
            ),
            (
                "detail",
                "https://www.rfc-editor.org/rfc/rfc9457#name-detail".into(),
            ),
        ]),
    ]))
}

impl Core {
    /// The media type of a document of this version.
    pub const fn media_type(self) -> &'static str {
        match self {
            Core::V1 => "application/did+ld+json",
            Core::V1_1 => "application/did",
        }
    }
}

#[cfg(test)]
mod tests;
