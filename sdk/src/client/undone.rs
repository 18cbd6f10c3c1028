//! The row of a record that was undone, and its bytes.

use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value};

use super::rows::RowValue;
use crate::node_url::NodeUrl;

/// A record that was signed with a clock that was ahead, that no node took, and that is undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Undone {
    /// Its sequence, which is not used again.
    pub(super) sequence: u64,
    /// The nodes that waited for it.
    pub(super) waiting: Vec<NodeUrl>,
}

impl RowValue for Undone {
    fn to_value(&self) -> Value {
        let waiting = self.waiting.iter().map(|url| Value::from(url.to_string()));
        Value::map([
            ("sequence", self.sequence.into()),
            ("waiting", Value::List(waiting.collect())),
        ])
    }

    fn from_fields(fields: &mut Fields) -> Result<Self, CodecError> {
        let parse = |url: &String| {
            let invalid = |_| CodecError::field("waiting", FieldProblem::Invalid("no URL"));
            url.parse().map_err(invalid)
        };
        Ok(Self {
            sequence: fields.take_u64("sequence")?,
            waiting: fields
                .take_list::<String>("waiting")?
                .iter()
                .map(parse)
                .collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_row_is_read_back_and_golden() {
        let undone = Undone {
            sequence: 7,
            waiting: vec!["http://127.0.0.1:4780".parse().unwrap()],
        };
        let row = undone.to_row("undone/k51").unwrap();
        assert_eq!(Undone::from_row("undone/k51", &row).unwrap(), undone);
        assert_eq!(
            hex::encode(&row),
            "a26777616974696e678175687474703a2f2f3132372e302e302e313a343738306873657175656e636507"
        );
        assert!(Undone::from_row("undone/k51", b"\xa0").is_err());
    }
}
