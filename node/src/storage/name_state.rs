//! What the node keeps about a name: its record, and facts found while storing it.

use bytes::Bytes;
use perennis_shared::cid::Cid;
use perennis_shared::codec::{CodecError, FieldProblem, Fields, Value, dag_cbor};
use perennis_shared::ipns::{Record, RecordError};
use perennis_shared::time::Millis;
use perennis_store::HeadRow;

use super::nullable::nullable;
use super::{FollowState, Shortfall};

/// A name's newest record and what is known about its graph.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NameState {
    /// The record. It was verified when it came in, and is not verified again.
    pub(crate) record: Record,
    /// Its sequence.
    pub(crate) sequence: u64,
    /// The CID its value points at, or into.
    pub(crate) head: Option<Cid>,
    /// Its end.
    pub(crate) valid_until: Millis,
    /// When it was stored.
    pub(crate) stored_at: Millis,
    /// The rest.
    pub(crate) facts: GraphFacts,
    /// Whether and how the operator follows it.
    pub(crate) followed: Option<FollowState>,
}

/// Why the row of a head is damaged, though the store can read it.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    /// What it holds is no record.
    #[error("what it holds is no record")]
    Record(#[from] RecordError),
    /// It holds a record of another sequence or value than it says.
    #[error("it holds another record than it says")]
    OtherRecord,
}

/// A record in one of the store's rows, which was verified when it came in.
#[allow(
    clippy::disallowed_methods,
    reason = "these are the store's own rows, and this is the one place that reads them"
)]
pub(super) fn stored_record(bytes: Bytes) -> Result<Record, RecordError> {
    Record::from_own_store(bytes)
}

/// The record in the row of a head.
pub(super) fn record_of(head: &HeadRow) -> Result<Record, HeadError> {
    let record = stored_record(head.record.clone())?;
    if record.sequence() != head.sequence || record.value() != &head.value[..] {
        return Err(HeadError::OtherRecord);
    }
    Ok(record)
}

/// What was found about a name, beside its record. Stored as DAG-CBOR beside the head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GraphFacts {
    /// Bytes of the blocks below the head that are here.
    pub(crate) bytes: u64,
    /// How many they are.
    pub(crate) blocks: u64,
    /// The DID of the identity, when the head is an entry of its log.
    pub(crate) did: Option<String>,
    /// The DID document the head links to.
    pub(crate) document: Option<Cid>,
    /// The root of the tag list the head links to; none for an empty list.
    pub(crate) list: Option<Cid>,
    /// Whether everything below the head is here.
    pub(crate) pin: Pin,
    /// Why it is not, or why what is below the head is not known.
    pub(crate) shortfall: Option<Shortfall>,
}

/// Whether everything below a head is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pin {
    /// Nobody has looked yet.
    Queued,
    /// Everything is here and held.
    Pinned,
    /// Everything that can be found is here and held. There are blocks whose links cannot be read, and what is below them
    /// is not known.
    Opaque,
    /// Some blocks are missing; the pin scan asks the sources for them again.
    Incomplete {
        /// How many are known to be missing; more may be below them.
        missing: u64,
    },
    /// The name points at something else than a log of ours and is not followed, or at no CID: its record is kept
    /// alive, no block is.
    RecordOnly,
}

impl Pin {
    /// The word for documents.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Pin::Queued => "queued",
            Pin::Pinned => "pinned",
            Pin::Opaque => "opaque",
            Pin::Incomplete { .. } => "incomplete",
            Pin::RecordOnly => "record_only",
        }
    }

    /// How many blocks are known to be missing, where somebody looked.
    pub(crate) const fn missing(self) -> Option<u64> {
        match self {
            Pin::Queued => None,
            Pin::Pinned | Pin::Opaque | Pin::RecordOnly => Some(0),
            Pin::Incomplete { missing } => Some(missing),
        }
    }
}

impl GraphFacts {
    /// What is known about a name whose head nobody has looked at.
    pub(crate) fn unknown() -> GraphFacts {
        GraphFacts {
            bytes: 0,
            blocks: 0,
            did: None,
            document: None,
            list: None,
            pin: Pin::Queued,
            shortfall: None,
        }
    }

    /// The same of a graph that is here as far as it can be known; `opaque` is a block whose links cannot be read.
    pub(crate) fn with_opaque(self, opaque: Option<Shortfall>) -> GraphFacts {
        match opaque {
            Some(opaque) => GraphFacts {
                pin: Pin::Opaque,
                shortfall: Some(opaque),
                ..self
            },
            None => self,
        }
    }

    /// Whether this is a tag list that is here completely.
    pub(crate) fn is_pinned_list(&self) -> bool {
        self.pin == Pin::Pinned && self.did.is_some()
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let link = |cid: Option<Cid>| cid.map_or(Value::Null, Value::Link);
        let value = Value::map([
            ("v", Value::from(2_u64)),
            ("bytes", Value::from(self.bytes)),
            ("blocks", Value::from(self.blocks)),
            ("did", self.did.clone().map_or(Value::Null, Value::Text)),
            ("doc", link(self.document)),
            ("list", link(self.list)),
            ("pin", Value::from(self.pin.name())),
            ("missing", Value::from(self.pin.missing().unwrap_or(0))),
            (
                "why",
                self.shortfall
                    .as_ref()
                    .map_or(Value::Null, Shortfall::to_value),
            ),
        ]);
        dag_cbor::encode(&value)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<GraphFacts, CodecError> {
        let mut fields = Fields::new(dag_cbor::decode(bytes)?)?;
        let shortfall = match fields.take_u64("v")? {
            // Version 1 did not say why.
            1 => None,
            2 => match fields.take::<Value>("why")? {
                Value::Null => None,
                value => Some(Shortfall::from_value(value)?),
            },
            _ => return Err(CodecError::field("v", FieldProblem::Range)),
        };
        let missing = fields.take_u64("missing")?;
        let facts = GraphFacts {
            bytes: fields.take_u64("bytes")?,
            blocks: fields.take_u64("blocks")?,
            did: nullable(&mut fields, "did")?,
            document: nullable(&mut fields, "doc")?,
            list: nullable(&mut fields, "list")?,
            pin: match fields.take_text("pin")?.as_str() {
                "queued" => Pin::Queued,
                "pinned" => Pin::Pinned,
                "opaque" => Pin::Opaque,
                "incomplete" => Pin::Incomplete { missing },
                "record_only" => Pin::RecordOnly,
                _ => return Err(CodecError::field("pin", FieldProblem::Invalid("no state"))),
            },
            shortfall,
        };
        fields.finish()?;
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use perennis_shared::cid::{Codec, cid_of};
    use perennis_shared::ipns::{Name, RecordFields, create};
    use perennis_shared::sign::SigningKey;
    use perennis_shared::time::Timestamp;
    use perennis_store::Batch;

    use super::*;
    use crate::storage::queues::DueWindow;
    use crate::storage::{ShortfallKind, Storage};

    fn name(number: u8) -> Name {
        Name::from_public_key(&SigningKey::from_seed(&[number; 32]).public())
    }

    fn record(number: u8) -> Record {
        let fields = RecordFields {
            value: "/ipfs/bafkqaaa",
            sequence: 3,
            validity: Timestamp::from(Millis(4_000_000_000_000)),
            ttl: Duration::from_secs(60),
        };
        create(&SigningKey::from_seed(&[number; 32]), &fields).unwrap()
    }

    #[tokio::test]
    async fn a_head_whose_record_cannot_be_read_is_set_aside_and_looked_for_and_the_rest_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open(dir.path(), &[]).unwrap();
        let mut batch = Batch::new();
        batch.put_head(name(1), HeadRow::new(&record(1), Millis(5)));
        let no_record = HeadRow {
            record: b"no record".as_slice().into(),
            ..HeadRow::new(&record(2), Millis(5))
        };
        batch.put_head(name(2), no_record);
        // A record of its own that is not the one the row tells of.
        let other = HeadRow {
            sequence: 4,
            ..HeadRow::new(&record(3), Millis(5))
        };
        batch.put_head(name(3), other);
        storage.write(batch).await.unwrap();

        let kept = storage.kept(name(1)).await.unwrap().unwrap();
        assert_eq!(kept.record, record(1));
        for damaged in [name(2), name(3)] {
            assert_eq!(storage.kept(damaged).await.unwrap(), None);
        }
        // A page that has nothing else does not end the pages.
        let mut names = Vec::new();
        while let [(name, _)] = storage.names(names.last().copied(), 1).await.unwrap()[..] {
            names.push(name);
        }
        assert_eq!(names, [name(1)]);
        storage.write(Batch::new()).await.unwrap();
        assert_eq!(storage.store.damage().unwrap().rows_set_aside, 2);
        let mut lost: Vec<Name> = storage
            .lost_heads_due(DueWindow::new(Millis(u64::MAX), Duration::ZERO), 10)
            .await
            .unwrap()
            .iter()
            .map(|lost| lost.name)
            .collect();
        lost.sort_unstable();
        let mut damaged = [name(2), name(3)];
        damaged.sort_unstable();
        assert_eq!(lost, damaged);
    }

    fn facts(pin: Pin) -> GraphFacts {
        GraphFacts {
            bytes: 4_096,
            blocks: 7,
            did: Some("did:key:z6Mk".into()),
            document: Some(cid_of(Codec::DagCbor, b"document")),
            list: None,
            pin,
            shortfall: None,
        }
    }

    #[test]
    fn facts_are_read_back() {
        for pin in [
            Pin::Queued,
            Pin::Pinned,
            Pin::Opaque,
            Pin::Incomplete { missing: 3 },
            Pin::RecordOnly,
        ] {
            for shortfall in [None, Some(Shortfall::quota(&"too many blocks"))] {
                let facts = GraphFacts {
                    shortfall,
                    ..facts(pin)
                };
                let bytes = facts.to_bytes().unwrap();
                assert_eq!(GraphFacts::from_bytes(&bytes).unwrap(), facts);
            }
        }
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let golden = concat!(
            "a8617601636469646c6469643a6b65793a7a364d6b63646f63d82a5825000171122043cc23fa52b87b4c",
            "c1d02b5b114154151d6adddb17c9fddc06b027fa99e240086370696e6a696e636f6d706c657465646c69",
            "7374f665627974657319100066626c6f636b7307676d697373696e6703",
        );
        let bytes = hex::decode(golden).unwrap();
        let facts = facts(Pin::Incomplete { missing: 3 });
        assert_eq!(GraphFacts::from_bytes(&bytes).unwrap(), facts);
    }

    #[test]
    fn golden_bytes_of_version_2() {
        let golden = concat!(
            "a9617602636469646c6469643a6b65793a7a364d6b63646f63d82a5825000171122043cc23fa52b87b4c",
            "c1d02b5b114154151d6adddb17c9fddc06b027fa99e240086370696e666f7061717565637768",
            "79a3646b696e646571756f746165626c6f636bf665636175736563776879",
            "646c697374f665627974657319100066626c6f636b7307676d697373696e6700",
        );
        let facts = GraphFacts {
            shortfall: Some(Shortfall::new(ShortfallKind::Quota, None, "why")),
            ..facts(Pin::Opaque)
        };
        assert_eq!(hex::encode(facts.to_bytes().unwrap()), golden);
        let bytes = hex::decode(golden).unwrap();
        assert_eq!(GraphFacts::from_bytes(&bytes).unwrap(), facts);
    }

    #[test]
    fn other_versions_and_unknown_fields_are_refused() {
        let mut value = match dag_cbor::decode(&facts(Pin::Pinned).to_bytes().unwrap()).unwrap() {
            Value::Map(map) => map,
            other => panic!("{other:?}"),
        };
        value.insert("v".into(), Value::from(3_u64));
        let newer = dag_cbor::encode(&Value::Map(value.clone())).unwrap();
        assert!(GraphFacts::from_bytes(&newer).is_err());
        value.insert("v".into(), Value::from(2_u64));
        value.insert("more".into(), Value::Null);
        let more = dag_cbor::encode(&Value::Map(value)).unwrap();
        assert!(GraphFacts::from_bytes(&more).is_err());
    }
}
