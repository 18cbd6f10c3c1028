//! What is kept about a name that the operator follows.

use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value, dag_cbor};
use perennis_shared::time::Millis;

use super::nullable::nullable;

/// A followed name. Stored as DAG-CBOR beside its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FollowState {
    /// When the operator asked for it.
    pub(crate) since: Millis,
    /// Nodes and gateways that are asked for its record and blocks, beside those of the configuration.
    pub(crate) sources: Vec<String>,
    /// Whether the name is kept for another reason as well: it was here before, or its owner has published here.
    pub(crate) is_published: bool,
    /// When a record of it was found last, newer or not.
    pub(crate) found_at: Option<Millis>,
    /// Searches that found none since.
    pub(crate) failures: u32,
    /// Why the last one did not.
    pub(crate) last_error: Option<String>,
}

impl FollowState {
    /// What is known of a followed name when its row can no longer be read. It is taken to be kept for another reason as well, so
    /// that unfollowing it lets go of nothing that its owner has published here.
    pub(crate) fn of_damaged_row(now: Millis) -> FollowState {
        FollowState {
            since: now,
            sources: Vec::new(),
            is_published: true,
            found_at: None,
            failures: 0,
            last_error: Some(
                "what was known about following it was damaged: follow it again to name its sources"
                    .to_owned(),
            ),
        }
    }

    /// What is known once a record of the name was found.
    pub(crate) fn found(self, now: Millis) -> FollowState {
        FollowState {
            found_at: Some(now),
            failures: 0,
            last_error: None,
            ..self
        }
    }

    /// Takes over what somebody else has changed since `before` was read, as far as this does not change it too.
    pub(crate) fn keep_changes(&mut self, before: &FollowState, now: &FollowState) {
        self.is_published |= now.is_published;
        if self.sources == before.sources {
            self.sources.clone_from(&now.sources);
        }
        // It was unfollowed and followed anew.
        self.since = now.since;
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let sources = self.sources.iter().map(|url| Value::from(url.clone()));
        let text = self.last_error.clone();
        dag_cbor::encode(&Value::map([
            ("v", Value::from(1_u64)),
            ("since", Value::from(self.since.0)),
            ("sources", Value::List(sources.collect())),
            ("published", Value::from(self.is_published)),
            (
                "found",
                self.found_at.map_or(Value::Null, |at| Value::from(at.0)),
            ),
            ("failures", Value::from(u64::from(self.failures))),
            ("error", text.map_or(Value::Null, Value::Text)),
        ]))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<FollowState, CodecError> {
        let mut fields = Fields::new(dag_cbor::decode(bytes)?)?;
        if fields.take_u64("v")? != 1 {
            return Err(CodecError::field("v", FieldProblem::Range));
        }
        let row = FollowState {
            since: Millis(fields.take_u64("since")?),
            sources: fields.take_list("sources")?,
            is_published: fields.take("published")?,
            found_at: nullable(&mut fields, "found")?.map(Millis),
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

    fn row() -> FollowState {
        FollowState {
            since: Millis(1_790_000_000_000),
            sources: vec!["http://127.0.0.1:4780".into()],
            is_published: false,
            found_at: Some(Millis(1_790_000_000_001)),
            failures: 2,
            last_error: None,
        }
    }

    #[test]
    fn rows_are_read_back() {
        let unheard = FollowState {
            sources: Vec::new(),
            is_published: true,
            found_at: None,
            last_error: Some("no answer".into()),
            ..row()
        };
        for row in [row(), unheard] {
            assert_eq!(
                FollowState::from_bytes(&row.to_bytes().unwrap()).unwrap(),
                row
            );
        }
        assert!(FollowState::from_bytes(b"\xa0").is_err());
    }

    #[test]
    fn what_others_changed_meanwhile_stays() {
        let before = row();
        let now = FollowState {
            sources: vec!["http://127.0.0.2:4780".into()],
            is_published: true,
            ..row()
        };
        let mut found = FollowState {
            failures: 0,
            ..row()
        };
        found.keep_changes(&before, &now);
        assert_eq!(found.sources, now.sources);
        assert!(found.is_published);
        assert_eq!(found.failures, 0);
        // Who names sources means those.
        let mut named = FollowState {
            sources: Vec::new(),
            ..row()
        };
        named.keep_changes(&before, &now);
        assert!(named.sources.is_empty());
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let golden = concat!(
            "a7617601656572726f72f665666f756e641b000001a0c4506c016573696e63651b000001a0c4506c0067736f75",
            "726365738175687474703a2f2f3132372e302e302e313a34373830686661696c7572657302697075626c697368",
            "6564f4",
        );
        assert_eq!(hex::encode(row().to_bytes().unwrap()), golden);
    }
}
