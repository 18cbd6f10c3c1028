//! The document as a value of the IPLD data model, under the names of DID Core.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{DidDocument, DocumentError, Service};
use crate::codec::{CodecError, FieldProblem, Fields, FromValue, Value};
use crate::did::Did;
use crate::did::id::{multikey, parse_multikey};
use crate::limits::{DID_KEYS, LimitExceeded};
use crate::time::Millis;

/// The contexts of the stored document, which are those of DID Core 1.0.
const CONTEXT: [&str; 2] = [
    "https://www.w3.org/ns/did/v1",
    "https://w3id.org/security/multikey/v1",
];

/// The context of DID Core 1.1, which has Multikeys.
const CONTEXT_1_1: &str = "https://www.w3.org/ns/did/v1.1";

/// Where types of services have their meaning that no context has: our own, and those of documents of others.
const SERVICE_TYPES: &str =
    "https://github.com/perennis/perennis/blob/main/docs/did-ipns-method.md#";

const KEY_TYPE: &str = "Multikey";

/// The version of DID Core that a document is given in: its `@context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// 1.0: `application/did+ld+json` and `application/did+json`.
    V1,
    /// 1.1: `application/did`.
    V1_1,
}

impl Core {
    /// The contexts, and what else a document of these types of services needs so that each of its terms has a meaning.
    fn context<'a>(self, service_types: impl Iterator<Item = &'a str>) -> Value {
        let mut contexts: Vec<Value> = match self {
            Core::V1 => CONTEXT.map(Value::from).into(),
            Core::V1_1 => Vec::from([CONTEXT_1_1.into()]),
        };
        let terms: Vec<_> = service_types
            .filter(|name| is_term(name))
            .map(|name| (name, Value::from(format!("{SERVICE_TYPES}{name}"))))
            .collect();
        if !terms.is_empty() {
            contexts.push(Value::map(terms));
        }
        Value::List(contexts)
    }
}

/// Whether a type is a word that a context has to explain. One with a colon says by itself what it means.
fn is_term(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.bytes().all(is_plain)
}

/// The document that a `did:key` stands for by itself (did:key method specification): the key that signs for every
/// relationship of signatures, and the one for key agreement.
pub(in crate::did) fn key_document(
    core: Core,
    id: &str,
    signing: Option<&String>,
    agreement: Option<&String>,
) -> Value {
    let mut keys: Vec<&String> = signing.into_iter().chain(agreement).collect();
    keys.dedup();
    let mut entries = Vec::from([
        ("@context", core.context([].into_iter())),
        ("id", id.into()),
        (
            "verificationMethod",
            list(keys.into_iter().map(|key| method(id, key))),
        ),
    ]);
    let relationships = [
        ("authentication", signing),
        ("assertionMethod", signing),
        ("capabilityInvocation", signing),
        ("capabilityDelegation", signing),
        ("keyAgreement", agreement),
    ];
    for (name, key) in relationships {
        entries.extend(key.map(|key| (name, Value::List(Vec::from([reference(id, key)])))));
    }
    Value::map(entries)
}

impl DidDocument {
    /// The document as a resolver gives it: as JSON-LD of which every term has a meaning. `created` and `updated` are not in
    /// it: DID Core has them in what a resolver says about a document.
    pub fn represent(&self, core: Core) -> Value {
        let mut value = self.to_value();
        if let Value::Map(map) = &mut value {
            map.remove("created");
            map.remove("updated");
            let types = self.services.iter().map(|service| service.kind.as_str());
            map.insert("@context".to_string(), core.context(types));
        }
        value
    }

    pub(super) fn to_value(&self) -> Value {
        let id = self.id.to_string();
        let names: Vec<String> = self
            .keys
            .iter()
            .map(|key| multikey(key.as_bytes()))
            .collect();
        let references = || list(names.iter().map(|name| reference(&id, name)));
        let mut entries = Vec::from([
            ("@context", texts(CONTEXT)),
            ("id", id.as_str().into()),
            (
                "verificationMethod",
                list(names.iter().map(|name| method(&id, name))),
            ),
            ("authentication", references()),
            ("assertionMethod", references()),
            ("created", self.created.to_string().into()),
            ("updated", self.updated.to_string().into()),
        ]);
        if !self.also_known_as.is_empty() {
            entries.push(("alsoKnownAs", texts(&self.also_known_as)));
        }
        if !self.services.is_empty() {
            let services = self.services.iter().map(|service| service.to_value(&id));
            entries.push(("service", list(services)));
        }
        Value::map(entries)
    }

    pub(super) fn from_value(value: Value) -> Result<DidDocument, DocumentError> {
        let mut fields = value.into_fields()?;
        let id = fields.take_text("id")?;
        let methods: Vec<Value> = fields.take_list("verificationMethod")?;
        LimitExceeded::check("DID document keys", DID_KEYS, methods.len())?;
        let keys = methods.into_iter().map(|method| {
            let text = method.into_fields()?.take_text("publicKeyMultibase")?;
            Ok(parse_multikey(&text)?)
        });
        let keys = keys.collect::<Result<_, DocumentError>>()?;
        let services: Vec<Value> = take_list_or_none(&mut fields, "service")?;
        let services = services
            .into_iter()
            .map(|service| Service::from_value(service, &id));
        Ok(DidDocument {
            id: Did::parse(&id)?,
            also_known_as: take_list_or_none(&mut fields, "alsoKnownAs")?,
            keys,
            services: services.collect::<Result<_, CodecError>>()?,
            created: Millis::parse_rfc3339(&fields.take_text("created")?)?,
            updated: Millis::parse_rfc3339(&fields.take_text("updated")?)?,
        })
    }
}

impl Service {
    fn to_value(&self, id: &str) -> Value {
        Value::map([
            ("id", reference(id, &self.name)),
            ("type", self.kind.as_str().into()),
            ("serviceEndpoint", texts(&self.endpoints)),
        ])
    }

    fn from_value(value: Value, id: &str) -> Result<Service, CodecError> {
        let mut fields = value.into_fields()?;
        let reference = fields.take_text("id")?;
        let name = reference
            .strip_prefix(id)
            .and_then(|rest| rest.strip_prefix('#'))
            .ok_or(CodecError::field(
                "id",
                FieldProblem::Invalid("not a fragment of the document's id"),
            ))?;
        Ok(Service {
            name: name.to_string(),
            kind: fields.take_text("type")?,
            endpoints: fields.take_list("serviceEndpoint")?,
        })
    }
}

/// A verification method: its name within the document is the key itself.
fn method(id: &str, multikey: &str) -> Value {
    Value::map([
        ("id", reference(id, multikey)),
        ("type", KEY_TYPE.into()),
        ("controller", id.into()),
        ("publicKeyMultibase", multikey.into()),
    ])
}

fn reference(id: &str, name: &str) -> Value {
    format!("{id}#{name}").into()
}

fn texts<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Value {
    list(items.into_iter().map(|item| item.as_ref().into()))
}

fn list(items: impl Iterator<Item = Value>) -> Value {
    Value::List(items.collect())
}

fn take_list_or_none<T: FromValue>(fields: &mut Fields, name: &str) -> Result<Vec<T>, CodecError> {
    match fields.take_opt::<Vec<Value>>(name)? {
        None => Ok(Vec::new()),
        Some(items) => items
            .into_iter()
            .map(T::from_value)
            .collect::<Result<_, _>>()
            .map_err(|problem| CodecError::field(name, problem)),
    }
}
