//! What the node says it has stored, signed by its key.

use perennis_shared::cid::{Codec, cid_of};
use perennis_shared::codec::{Value, dag_cbor};
use perennis_shared::ipns::{Name, Record};
use perennis_shared::sign::Domain;
use perennis_shared::time::Millis;
use serde::Serialize;

use crate::keystore::Keystore;

/// The answer to a publish.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt {
    name: String,
    sequence: u64,
    head: Option<String>,
    stored: bool,
    valid_until: String,
    blocks: Counts,
    receipt: Signed,
}

#[derive(Debug, Serialize)]
struct Counts {
    received: u64,
    new: u64,
}

/// A statement and the node's signature over it, so that it can be shown to others.
#[derive(Debug, Serialize)]
struct Signed {
    /// The node's `did:key`.
    node: String,
    /// The signed bytes: DAG-CBOR in multibase base64url.
    statement: String,
    /// Ed25519 over the domain `perennis/node-receipt/v1` and the statement, in multibase base64url.
    signature: String,
}

impl Receipt {
    pub(super) fn sign(
        keystore: &Keystore,
        name: &Name,
        record: &Record,
        stored_at: Millis,
        received: u64,
        new: u64,
    ) -> Receipt {
        let statement = statement(keystore.did(), name, record, stored_at);
        let signature = keystore.key().sign(Domain::NodeReceipt, &statement);
        Receipt {
            name: name.to_string(),
            sequence: record.sequence(),
            head: record.head().map(|head| head.to_string()),
            stored: true,
            valid_until: record.validity().to_string(),
            blocks: Counts { received, new },
            receipt: Signed {
                node: keystore.did().to_owned(),
                statement: base64url(&statement),
                signature: base64url(signature.as_bytes()),
            },
        }
    }
}

/// What is signed: who stored which record when.
fn statement(node: &str, name: &Name, record: &Record, stored_at: Millis) -> Vec<u8> {
    let value = Value::map([
        ("node", Value::from(node)),
        ("name", Value::Bytes(name.to_bytes())),
        ("sequence", Value::from(record.sequence())),
        ("value", Value::Bytes(record.value().to_vec())),
        ("validUntil", Value::from(record.validity().to_string())),
        ("record", Value::Link(cid_of(Codec::Raw, record.bytes()))),
        ("storedAt", Value::from(stored_at.0)),
    ]);
    dag_cbor::encode(&value).expect("a map of seven short values is within every limit")
}

fn base64url(bytes: &[u8]) -> String {
    multibase::encode(multibase::Base::Base64Url, bytes)
}
