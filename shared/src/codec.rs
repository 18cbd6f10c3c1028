//! Strict, bounded codecs between bytes and values.
//!
//! One value of the IPLD data model has one encoding: everything that could be written in a second
//! way is refused, so that decoding and encoding again always gives the same bytes. Each decoder
//! checks its limits before it takes memory. [`dag_cbor`] is the native codec; hot types use its
//! streaming encoder and borrowing decoder, everything else the tree [`Value`] and [`Fields`].

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    cid::{Cid, CidError},
    limits::LimitExceeded,
};

pub mod car;
pub mod dag_cbor;
pub mod dag_json;
pub mod dag_pb;
mod fields;
mod link;
pub mod protobuf;

pub use fields::{Fields, FromValue};
pub use link::{links, links_of_version_1};

/// A value of the IPLD data model.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number from −2⁶⁴ to 2⁶⁴ − 1.
    Int(i128),
    /// A finite number with a fraction; NaN and the infinities have no encoding.
    Float(f64),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
    /// A link to a block.
    Link(Cid),
}

impl Value {
    /// What the value is, as a word for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Link(_) => "a link",
        }
    }

    /// A map of the given entries; of two with the same name the later one stays.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }

    /// The value's fields, for a strict typed reader.
    ///
    /// # Errors
    /// Refuses values that are no map.
    pub fn into_fields(self) -> Result<Fields, CodecError> {
        Fields::new(self)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Int(value.into())
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_string())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(value)
    }
}

impl From<Cid> for Value {
    fn from(value: Cid) -> Value {
        Value::Link(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Value {
        Value::List(value)
    }
}

/// Why bytes or a value are refused by a codec.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The input ends inside a value.
    #[error("the input ends at byte {offset}, inside a value")]
    Truncated {
        /// Length of the input in bytes.
        offset: usize,
    },
    /// The input breaks a rule of the format.
    #[error("{reason} at byte {offset}")]
    Malformed {
        /// Where, in bytes from the start of the input.
        offset: usize,
        /// The broken rule.
        reason: &'static str,
    },
    /// A link in the input is no CID.
    #[error("link at byte {offset}: {source}")]
    Link {
        /// Where, in bytes from the start of the input.
        offset: usize,
        /// What is wrong with the CID.
        source: CidError,
    },
    /// A value that the format cannot express.
    #[error("cannot be encoded: {0}")]
    Inexpressible(&'static str),
    /// A field of a typed document is missing, unknown or of the wrong kind.
    #[error("field `{name}` {problem}")]
    Field {
        /// The field's name; empty for the document itself.
        name: String,
        /// What is wrong with it.
        problem: FieldProblem,
    },
    /// A codec we cannot read.
    #[error("codec {0:#x} is unknown")]
    UnknownCodec(u64),
    /// A size, count or depth is above its limit.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
}

impl CodecError {
    /// An error about the field `name` of a typed document.
    pub fn field(name: &str, problem: FieldProblem) -> CodecError {
        CodecError::Field {
            name: name.to_string(),
            problem,
        }
    }
}

/// What is wrong with a field of a typed document.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// The document must have it and has not.
    #[error("is missing")]
    Missing,
    /// The document has a field its type does not define.
    #[error("is not known here")]
    Unknown,
    /// It holds a value of another kind.
    #[error("must be {expected}, not {found}")]
    Kind {
        /// The kind that is required.
        expected: &'static str,
        /// The kind that was found.
        found: &'static str,
    },
    /// The number does not fit where it belongs.
    #[error("is out of range")]
    Range,
    /// The value breaks a rule of its type.
    #[error("is invalid: {0}")]
    Invalid(&'static str),
}
