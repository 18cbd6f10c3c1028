//! What is kept about a name that the operator follows.

use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value, dag_cbor};
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use super::nullable::nullable;

/// Most names of which it is known that they lead to one.
pub(crate) const LED_BY: usize = 16;

/// A followed name. Stored as DAG-CBOR beside its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FollowState {
    /// Since when it is followed.
    pub(crate) since: Millis,
    /// Whether the operator has asked for it, and not only a name that is followed points at it.
    pub(crate) is_asked: bool,
    /// Followed names whose records point at it, as far as there is room ([`LED_BY`]). Some may point elsewhere by now.
    pub(crate) led_by: Vec<Name>,
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
            is_asked: true,
            led_by: Vec::new(),
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
        if self.is_asked == before.is_asked {
            self.is_asked = now.is_asked;
        }
        if self.led_by == before.led_by {
            self.led_by.clone_from(&now.led_by);
        }
        // It was unfollowed and followed anew.
        self.since = now.since;
    }

    /// The same, led to by one more name, where there is room.
    pub(crate) fn led_by(mut self, name: Name) -> FollowState {
        if !self.is_led_by(&name) {
            self.led_by.push(name);
        }
        self
    }

    /// Whether it is known that a name leads here; of more than there is room for, nothing more is to be known.
    pub(crate) fn is_led_by(&self, name: &Name) -> bool {
        self.led_by.len() >= LED_BY || self.led_by.contains(name)
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let sources = self.sources.iter().map(|url| Value::from(url.clone()));
        let text = self.last_error.clone();
        let mut value = Value::map([
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
        ]);
        // What version 1 can say is written as that.
        if (!self.is_asked || !self.led_by.is_empty())
            && let Value::Map(fields) = &mut value
        {
            let names = self.led_by.iter().map(|name| Value::from(name.to_string()));
            fields.insert("v".to_owned(), Value::from(2_u64));
            fields.insert("asked".to_owned(), Value::from(self.is_asked));
            fields.insert("led".to_owned(), Value::List(names.collect()));
        }
        dag_cbor::encode(&value)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<FollowState, CodecError> {
        let mut fields = Fields::new(dag_cbor::decode(bytes)?)?;
        let (is_asked, led_by) = match fields.take_u64("v")? {
            1 => (true, Vec::new()),
            2 => (fields.take("asked")?, names(&mut fields, "led")?),
            _ => return Err(CodecError::field("v", FieldProblem::Range)),
        };
        let row = FollowState {
            since: Millis(fields.take_u64("since")?),
            is_asked,
            led_by,
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

fn names(fields: &mut Fields, field: &str) -> Result<Vec<Name>, CodecError> {
    let texts: Vec<String> = fields.take_list(field)?;
    let names = texts.iter().map(|text| Name::parse(text));
    names
        .collect::<Result<_, _>>()
        .map_err(|_| CodecError::field(field, FieldProblem::Invalid("no name")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use perennis_shared::sign::SigningKey;

    use super::*;

    fn name(number: u8) -> Name {
        Name::from_public_key(&SigningKey::from_seed(&[number; 32]).public())
    }

    fn row() -> FollowState {
        FollowState {
            since: Millis(1_790_000_000_000),
            is_asked: true,
            led_by: Vec::new(),
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
        let led = FollowState {
            is_asked: false,
            ..row().led_by(name(1)).led_by(name(2))
        };
        let both = row().led_by(name(1));
        for row in [row(), unheard, led, both] {
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
    fn names_that_lead_here_are_bounded_and_there_once() {
        let most = u8::try_from(LED_BY).unwrap();
        let full = (0..most + 4).fold(row(), |row, number| row.led_by(name(number % (most + 2))));
        let names: Vec<Name> = (0..most).map(name).collect();
        assert_eq!(full.led_by, names);
        assert!(full.is_led_by(&name(most)));
        let some = row().led_by(name(1)).led_by(name(1));
        assert_eq!(some.led_by, [name(1)]);
        assert!(!some.is_led_by(&name(2)));
    }

    #[test]
    fn golden_bytes_of_version_2() {
        let led = FollowState {
            is_asked: false,
            ..row().led_by(name(1))
        };
        let golden = concat!(
            "a9617602636c656481783e6b3531717a693575717535646a6d7732797666386b6b3563646a6331646463",
            "30306f346435736a776936663739787a636179396a33676b646477357575346561736b6564f465657272",
            "6f72f665666f756e641b000001a0c4506c016573696e63651b000001a0c4506c0067736f757263657381",
            "75687474703a2f2f3132372e302e302e313a34373830686661696c7572657302697075626c6973686564",
            "f4",
        );
        assert_eq!(hex::encode(led.to_bytes().unwrap()), golden);
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
