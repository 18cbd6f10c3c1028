//! What is kept about a name at a router.

use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value, dag_cbor};
use perennis_shared::time::Millis;

use super::nullable::nullable;

/// What is kept about a name at a router. Stored as DAG-CBOR with the row of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PutState {
    /// When the router took the record last.
    pub(crate) last_put: Option<Millis>,
    /// Peers of the DHT that took it then; `None` of a router that is one machine.
    pub(crate) peers: Option<u64>,
    /// Puts that failed since.
    pub(crate) failures: u32,
    /// Why the last one did.
    pub(crate) last_error: Option<String>,
}

impl PutState {
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let time = |at: Option<Millis>| at.map_or(Value::Null, |at| Value::from(at.0));
        dag_cbor::encode(&Value::map([
            ("v", Value::from(2_u64)),
            ("put", time(self.last_put)),
            ("peers", self.peers.map_or(Value::Null, Value::from)),
            ("failures", Value::from(u64::from(self.failures))),
            (
                "error",
                self.last_error.clone().map_or(Value::Null, Value::Text),
            ),
        ]))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<PutState, CodecError> {
        let mut fields = Fields::new(dag_cbor::decode(bytes)?)?;
        let version = fields.take_u64("v")?;
        if !(1..=2).contains(&version) {
            return Err(CodecError::field("v", FieldProblem::Range));
        }
        let row = PutState {
            last_put: nullable(&mut fields, "put")?.map(Millis),
            // The first version did not count them.
            peers: match version {
                1 => None,
                _ => nullable(&mut fields, "peers")?,
            },
            failures: u32::try_from(fields.take_u64("failures")?)
                .map_err(|_| CodecError::field("failures", FieldProblem::Range))?,
            last_error: nullable(&mut fields, "error")?,
        };
        fields.finish()?;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn row() -> PutState {
        PutState {
            last_put: Some(Millis(1_790_000_000_000)),
            peers: Some(19),
            failures: 3,
            last_error: Some("no answer".into()),
        }
    }

    #[test]
    fn rows_are_read_back() {
        for row in [row(), PutState::default()] {
            assert_eq!(PutState::from_bytes(&row.to_bytes().unwrap()).unwrap(), row);
        }
        assert!(PutState::from_bytes(b"\xa0").is_err());
    }

    #[test]
    fn golden_bytes_of_version_1_are_read() {
        let golden = "a4617601637075741b000001a0c4506c00656572726f72f6686661696c7572657303";
        let read = PutState::from_bytes(&hex::decode(golden).unwrap()).unwrap();
        let kept = PutState {
            peers: None,
            last_error: None,
            ..row()
        };
        assert_eq!(read, kept);
    }

    #[test]
    fn golden_bytes_of_version_2() {
        let row = PutState {
            last_error: None,
            ..row()
        };
        let golden =
            "a5617602637075741b000001a0c4506c00656572726f72f665706565727313686661696c7572657303";
        assert_eq!(hex::encode(row.to_bytes().unwrap()), golden);
    }
}
