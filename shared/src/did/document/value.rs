//! The document as a value of the IPLD data model, under the names of DID Core.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{DidDocument, DocumentError, Service};
use crate::codec::{CodecError, FieldProblem, Fields, FromValue, Value, dag_json};
use crate::did::Did;
use crate::did::id::{multikey, multikey_x25519, parse_multikey};
use crate::limits::{DID_KEYS, LimitExceeded};
use crate::sign::PublicKey;
use crate::time::Millis;

const CONTEXT: [&str; 2] = [
    "https://www.w3.org/ns/did/v1",
    "https://w3id.org/security/multikey/v1",
];

const KEY_TYPE: &str = "Multikey";

/// The document that a `did:key` stands for by itself (did:key method specification), as JSON-LD text: the key for
/// every signing relationship, and the X25519 key of the same point for key agreement.
pub fn key_document(key: &PublicKey) -> String {
    let id = Did::from_key(key).to_string();
    let signing = multikey(key.as_bytes());
    let agreement = multikey_x25519(&key.to_x25519());
    let only = |name: &str| Value::List(Vec::from([reference(&id, name)]));
    let document = Value::map([
        ("@context", texts(CONTEXT)),
        ("id", id.as_str().into()),
        (
            "verificationMethod",
            Value::List(Vec::from([method(&id, &signing), method(&id, &agreement)])),
        ),
        ("authentication", only(&signing)),
        ("assertionMethod", only(&signing)),
        ("capabilityInvocation", only(&signing)),
        ("capabilityDelegation", only(&signing)),
        ("keyAgreement", only(&agreement)),
    ]);
    dag_json::encode(&document).expect("the document is small and holds text only")
}

impl DidDocument {
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
