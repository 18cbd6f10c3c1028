//! The client's state rows and their bytes.
//!
//! | row | holds |
//! |---|---|
//! | `me` | the current identity: DID, did:key, name, profile; public facts only |
//! | `staged/{name}/{number}` | unsigned changes, and when they were made; ascending numbers |
//! | `head/{name}` | the newest log entry of the list that is here whole |
//! | `outbox/{name}` | the record to deliver, the rungs that go with it, and the nodes that have not acknowledged it |
//! | `node/{name}/{url}` | what a node acknowledged last |
//! | `added/{name}/{entry}` | the blocks that came with an entry, until every node has them |
//! | `added/{name}/{entry}/{part}` | more of them, where they are many |
//! | `undone/{name}` | the sequence of a record that was undone, and the nodes that wait, until the next publish |
//! | `record/{name}`, `equivocation/{name}/…` | see [`router::Local`](crate::router::Local) |
//!
//! Values are DAG-CBOR maps, read strictly. What grows with the list is cut into rows of a bounded size. Rows are written only in commits that make them true. The store keeps them
//! under a checksum and gives out none that is damaged ([`row`](crate::store::row)).

use bytes::Bytes;
use perennis_shared::{
    cid::{Cid, parse_cid_bytes},
    codec::{CodecError, FieldProblem, Fields, FromValue, Value, dag_cbor},
    did::{Did, DidDocument, Identity, Profile},
    ipns::{Ladder, Name, Record, UnverifiedRecord},
    taglist::DeviceTag,
    time::Millis,
};

use super::undone::Undone;
use crate::{
    node_url::NodeUrl,
    router::parse_mark,
    store::{
        StoreError,
        row::{ADDED, EQUIVOCATION, HEAD, NODE, OUTBOX, RECORD, STAGED, UNDONE},
    },
};

mod staged;

pub(super) use crate::store::row::ME;
pub(super) use staged::{STAGED_ROW_OPS, count_staged, encode_staged, parse_staged};

/// Most blocks that one row of an entry names.
const ADDED_ROW_BLOCKS: usize = 10_000;

pub(super) fn staged_prefix(name: &Name) -> String {
    format!("{STAGED}{name}/")
}

pub(super) fn staged_key(name: &Name, number: u64) -> String {
    format!("{STAGED}{name}/{number:020}")
}

/// The number in the key of a staged row.
pub(super) fn staged_number(name: &Name, key: &str) -> Option<u64> {
    key.strip_prefix(&staged_prefix(name))?.parse().ok()
}

pub(super) fn head_key(name: &Name) -> String {
    format!("{HEAD}{name}")
}

pub(super) fn outbox_key(name: &Name) -> String {
    format!("{OUTBOX}{name}")
}

pub(super) fn undone_key(name: &Name) -> String {
    format!("{UNDONE}{name}")
}

pub(super) fn node_prefix(name: &Name) -> String {
    format!("{NODE}{name}/")
}

pub(super) fn node_key(name: &Name, url: &NodeUrl) -> String {
    format!("{NODE}{name}/{url}")
}

pub(super) fn added_prefix(name: &Name) -> String {
    format!("{ADDED}{name}/")
}

pub(super) fn added_key(name: &Name, entry: &Cid) -> String {
    format!("{ADDED}{name}/{entry}")
}

fn added_part_key(name: &Name, entry: &Cid, part: u64) -> String {
    format!("{ADDED}{name}/{entry}/{part:08}")
}

/// What is public about an identity. It is kept so that changes can be staged without the passphrase, and so
/// that another passphrase is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFacts {
    /// The DID.
    pub did: Did,
    /// The DID document's other name for it: the `did:key` of a v2 identity, the `did:ipns` of a v1 one.
    pub also_known_as: Did,
    /// The `did:key` of the key that signs the log.
    pub did_key: String,
    /// The IPNS name.
    pub name: Name,
    /// How it was derived.
    pub profile: Profile,
}

impl From<&Identity> for IdentityFacts {
    fn from(identity: &Identity) -> Self {
        Self {
            did: identity.did(),
            also_known_as: identity.also_known_as(),
            did_key: identity.did_key_uri(),
            name: identity.name(),
            profile: identity.profile(),
        }
    }
}

impl IdentityFacts {
    /// The device in the stamps of what this identity signs; nobody's for a row whose key cannot be read.
    pub(super) fn device(&self) -> DeviceTag {
        let did = Did::parse(&self.did_key).ok();
        let key = did.and_then(|did| did.public_key());
        key.as_ref().map_or(DeviceTag([0; 8]), DeviceTag::from)
    }

    /// What a DID document says about its identity; none when it does not say enough.
    pub(super) fn of_document(document: &DidDocument) -> Option<Self> {
        let did = *document.id();
        let also_known_as = document.also_known_as().first()?;
        let profile = if did.is_key() {
            Profile::V1
        } else {
            Profile::V2
        };
        Some(Self {
            did,
            also_known_as: Did::parse(also_known_as).ok()?,
            did_key: Did::from_key(document.keys().first()?).to_string(),
            name: did.name(),
            profile,
        })
    }
}

/// What is still to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outbox {
    pub(super) record: Record,
    /// They are here until every node has them, and nowhere else.
    pub(super) ladder: Ladder,
    pub(super) waiting: Vec<NodeUrl>,
}

/// What a node acknowledged last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) head: Cid,
    pub(super) sequence: u64,
    pub(super) at: Millis,
}

/// What came with an own log entry, as far as one row says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    /// The entry's block and the others that it needs and its predecessors do not.
    pub(super) blocks: Vec<Cid>,
    /// The entries it follows.
    pub(super) previous: Vec<Cid>,
    /// How many further rows name blocks.
    pub(super) parts: u64,
}

impl Added {
    /// The rows that say what came with an entry, as many as the blocks take.
    pub(super) fn rows(
        name: &Name,
        entry: &Cid,
        blocks: &[Cid],
        previous: Vec<Cid>,
    ) -> Result<Vec<(String, Bytes)>, StoreError> {
        let mut chunks = blocks.chunks(ADDED_ROW_BLOCKS);
        let first = Self {
            blocks: chunks.next().unwrap_or_default().to_vec(),
            previous,
            parts: chunks.len() as u64,
        };
        let parts = (1..).zip(chunks).map(|(part, blocks)| {
            let row = Self {
                blocks: blocks.to_vec(),
                ..Self::default()
            };
            (added_part_key(name, entry, part), row)
        });
        [(added_key(name, entry), first)]
            .into_iter()
            .chain(parts)
            .map(|(key, row)| {
                let value = row.to_row(&key)?;
                Ok((key, value))
            })
            .collect()
    }

    /// The names of the further rows of an entry.
    pub(super) fn part_keys(&self, name: &Name, entry: &Cid) -> impl Iterator<Item = String> {
        let (name, entry) = (*name, *entry);
        (1..=self.parts).map(move |part| added_part_key(&name, &entry, part))
    }
}

/// A row's type: how its value is written and read.
pub(super) trait RowValue: Sized {
    fn to_value(&self) -> Value;
    fn from_fields(fields: &mut Fields) -> Result<Self, CodecError>;

    fn to_row(&self, key: &str) -> Result<Bytes, StoreError> {
        encode(key, &self.to_value())
    }

    fn from_row(key: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let read = || -> Result<Self, CodecError> {
            let mut fields = dag_cbor::decode(bytes)?.into_fields()?;
            let row = Self::from_fields(&mut fields)?;
            fields.finish()?;
            Ok(row)
        };
        read().map_err(|_| damaged(key))
    }
}

impl RowValue for IdentityFacts {
    fn to_value(&self) -> Value {
        Value::map([
            ("did", Value::from(self.did.to_string())),
            ("alsoKnownAs", self.also_known_as.to_string().into()),
            ("didKey", self.did_key.clone().into()),
            ("name", self.name.to_string().into()),
            ("profile", self.profile.as_str().into()),
        ])
    }

    fn from_fields(fields: &mut Fields) -> Result<Self, CodecError> {
        Ok(Self {
            did: parsed(fields, "did", |text| Did::parse(text).ok())?,
            also_known_as: parsed(fields, "alsoKnownAs", |text| Did::parse(text).ok())?,
            did_key: fields.take_text("didKey")?,
            name: parsed(fields, "name", |text| Name::parse(text).ok())?,
            profile: parsed(fields, "profile", Profile::parse)?,
        })
    }
}

impl RowValue for Acknowledged {
    fn to_value(&self) -> Value {
        Value::map([
            ("head", Value::Link(self.head)),
            ("sequence", self.sequence.into()),
            ("at", self.at.0.into()),
        ])
    }

    fn from_fields(fields: &mut Fields) -> Result<Self, CodecError> {
        Ok(Self {
            head: fields.take_link("head")?,
            sequence: fields.take_u64("sequence")?,
            at: Millis(fields.take_u64("at")?),
        })
    }
}

impl RowValue for Added {
    fn to_value(&self) -> Value {
        let links = |cids: &[Cid]| Value::List(cids.iter().copied().map(Value::Link).collect());
        let mut fields = vec![
            ("blocks", links(&self.blocks)),
            ("previous", links(&self.previous)),
        ];
        if self.parts > 0 {
            fields.push(("parts", self.parts.into()));
        }
        Value::map(fields)
    }

    fn from_fields(fields: &mut Fields) -> Result<Self, CodecError> {
        Ok(Self {
            blocks: fields.take_list("blocks")?,
            previous: fields.take_list("previous")?,
            parts: fields.take_opt("parts")?.unwrap_or(0),
        })
    }
}

impl Outbox {
    pub(super) fn to_row(&self, key: &str) -> Result<Bytes, StoreError> {
        let waiting = self.waiting.iter().map(|url| Value::from(url.to_string()));
        let bytes = |record: &Record| Value::Bytes(record.bytes().to_vec());
        let mut fields = vec![
            ("record", bytes(&self.record)),
            ("waiting", Value::List(waiting.collect())),
        ];
        if !self.ladder.is_empty() {
            let rungs = self.ladder.rungs().iter().map(bytes);
            fields.push(("rungs", Value::List(rungs.collect())));
        }
        encode(key, &Value::map(fields))
    }

    pub(super) fn from_row(name: &Name, key: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let read = || -> Option<Self> {
            let mut fields = dag_cbor::decode(bytes).ok()?.into_fields().ok()?;
            let record = fields.take_bytes("record").ok()?;
            let waiting = fields.take_list::<String>("waiting").ok()?;
            let rungs: Option<Vec<Value>> = fields.take_opt("rungs").ok()?;
            let rungs = rungs.unwrap_or_default().into_iter();
            let rungs: Vec<Vec<u8>> = rungs
                .map(|rung| FromValue::from_value(rung).ok())
                .collect::<Option<_>>()?;
            fields.finish().ok()?;
            let record = UnverifiedRecord::parse(&record).ok()?;
            let record = record.verify_at_any_time(name).ok()?;
            Some(Self {
                ladder: Ladder::verify(name, &record, rungs.iter().map(Vec::as_slice)).ok()?,
                record,
                waiting: waiting
                    .iter()
                    .map(|url| url.parse().ok())
                    .collect::<Option<_>>()?,
            })
        };
        read().ok_or_else(|| damaged(key))
    }
}

/// Whether a row can be read by those who need it.
pub(super) fn check(key: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let after = |prefix: &str| key.strip_prefix(prefix);
    let name_of = |rest: &str| {
        let name = rest.split('/').next().unwrap_or_default();
        Name::parse(name).map_err(|_| damaged(key))
    };
    if key == ME {
        IdentityFacts::from_row(key, bytes).map(drop)
    } else if after(STAGED).is_some() {
        parse_staged(key, bytes).map(drop)
    } else if after(HEAD).is_some() {
        parse_head(key, bytes).map(drop)
    } else if let Some(rest) = after(OUTBOX) {
        Outbox::from_row(&name_of(rest)?, key, bytes).map(drop)
    } else if after(NODE).is_some() {
        Acknowledged::from_row(key, bytes).map(drop)
    } else if after(UNDONE).is_some() {
        Undone::from_row(key, bytes).map(drop)
    } else if after(ADDED).is_some() {
        Added::from_row(key, bytes).map(drop)
    } else if let Some(rest) = after(RECORD).or_else(|| after(EQUIVOCATION)) {
        parse_mark(&name_of(rest)?, key, bytes).map(drop)
    } else {
        Ok(())
    }
}

/// A head row is the binary CID.
pub(super) fn parse_head(key: &str, bytes: &[u8]) -> Result<Cid, StoreError> {
    parse_cid_bytes(bytes).map_err(|_| damaged(key))
}

fn parsed<T>(
    fields: &mut Fields,
    name: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, CodecError> {
    parse(&fields.take_text(name)?).ok_or_else(|| out_of_range(name))
}

fn out_of_range(name: &str) -> CodecError {
    CodecError::field(name, FieldProblem::Range)
}

fn encode(key: &str, value: &Value) -> Result<Bytes, StoreError> {
    match dag_cbor::encode(value) {
        Ok(bytes) => Ok(bytes.into()),
        Err(source) => Err(unwritable(key, source)),
    }
}

fn unwritable(key: &str, source: CodecError) -> StoreError {
    StoreError::RowTooLarge {
        key: key.to_owned(),
        source,
    }
}

fn damaged(key: &str) -> StoreError {
    StoreError::CorruptRow {
        key: key.to_owned(),
        what: "it cannot be decoded",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use perennis_shared::{
        cid::{Codec, cid_of},
        ipns::{self, LadderPlan, RecordFields},
        sign::SigningKey,
        taglist::{Colour, DatedOp, Handle, Hlc, Key, Label, Note, Op, Tag},
        time::Timestamp,
    };
    use proptest::prelude::*;

    use super::*;

    const CLOCK: Hlc = Hlc::at(Millis(1_700_000_000_000));

    fn facts() -> IdentityFacts {
        let key = SigningKey::from_seed(&[1; 32]).public();
        let name = Name::from_public_key(&SigningKey::from_seed(&[2; 32]).public());
        IdentityFacts {
            did: Did::from_name(name).unwrap(),
            also_known_as: Did::from_key(&key),
            did_key: Did::from_key(&key).to_string(),
            name,
            profile: Profile::V2,
        }
    }

    fn ops() -> Vec<Op> {
        let handle = Handle::parse("@Some_One").unwrap();
        let tag = Tag::parse("spam").unwrap();
        let mut full = Label::new(handle, tag.clone(), Millis(1_700_000_000_000));
        full.subject.id = Some(42);
        full.colour = Some(Colour([255, 136, 0]));
        full.note = Some(Note::parse("a note").unwrap());
        full.expires = Some(Millis(1_800_000_000_000));
        full.negated = true;
        let plain = Label::new(handle, tag.clone(), Millis(1_700_000_000_000));
        vec![
            Op::Set(plain),
            Op::Set(full),
            Op::Remove(Key::new(&handle, &tag)),
        ]
    }

    fn record(name_key: &SigningKey) -> Record {
        let fields = RecordFields {
            value: &format!("/ipfs/{}", cid_of(Codec::Raw, b"head")),
            sequence: 7,
            validity: Timestamp::new(1_800_000_000, 0).unwrap(),
            ttl: Duration::from_secs(300),
        };
        ipns::create(name_key, &fields).unwrap()
    }

    fn digest(bytes: &[u8]) -> String {
        cid_of(Codec::DagCbor, bytes).to_string()
    }

    /// Stores of earlier versions must stay readable: these bytes never change without a migration.
    #[test]
    fn rows_keep_their_bytes() {
        let key = SigningKey::from_seed(&[2; 32]);
        let name = Name::from_public_key(&key.public());
        let cid = cid_of(Codec::Raw, b"head");
        let has = Acknowledged {
            head: cid,
            sequence: 7,
            at: Millis(1_700_000_000_000),
        };
        let added = Added {
            blocks: vec![cid],
            ..Added::default()
        };
        let outbox = Outbox {
            record: record(&key),
            ladder: Ladder::default(),
            waiting: vec!["http://127.0.0.1:4780".parse().unwrap()],
        };
        let rows = [
            facts().to_row("").unwrap(),
            encode_staged("", CLOCK, &ops()).unwrap(),
            has.to_row("").unwrap(),
            added.to_row("").unwrap(),
            outbox.to_row("").unwrap(),
        ];
        let digests: Vec<String> = rows.iter().map(|row| digest(row)).collect();
        let golden = [
            "bafyreihtjs5m7cyouvuhatbou2invstopa4cvwtzoxy3krndwyrowiekiu",
            "bafyreidfqwm4pdoit7ao77om6nftpoxt7j37mbghjknqbu46drevn6b7hy",
            "bafyreicftcn6i2agyg5ohn5rasa5rp37gkuxpa7b6nqdz3lo3r3d6cuq4i",
            "bafyreidgm74anfmc2gsnagiixt62kdxahuwwcbmhbs623xxyrv5sv2vd4q",
            "bafyreifbg2uhnasf6u36ugc5gx7nns7kt3xox6ixzp54wuf5dsiqodqj64",
        ];
        assert_eq!(digests, golden);

        assert_eq!(IdentityFacts::from_row("", &rows[0]).unwrap(), facts());
        let dated = ops().into_iter().map(|op| DatedOp { op, clock: CLOCK });
        assert_eq!(
            parse_staged("", &rows[1]).unwrap(),
            dated.collect::<Vec<_>>()
        );
        assert_eq!(count_staged("", &rows[1]).unwrap(), (3, CLOCK));
        assert_eq!(Acknowledged::from_row("", &rows[2]).unwrap(), has);
        assert_eq!(Added::from_row("", &rows[3]).unwrap(), added);
        assert_eq!(Outbox::from_row(&name, "", &rows[4]).unwrap(), outbox);
        let plan = LadderPlan::default();
        let outbox = Outbox {
            ladder: Ladder::sign(&key, &outbox.record, &plan).unwrap(),
            ..outbox
        };
        let row = outbox.to_row("").unwrap();
        assert_eq!(Outbox::from_row(&name, "", &row).unwrap(), outbox);
    }

    #[test]
    fn blocks_of_a_large_entry_are_in_several_rows() {
        let name = facts().name;
        let entry = cid_of(Codec::Raw, b"entry");
        let mut blocks: Vec<Cid> = Vec::new();
        // More than half a million labels make; one row has room for a tenth of it.
        for number in 0..3 * ADDED_ROW_BLOCKS as u32 + 1 {
            blocks.push(cid_of(Codec::Raw, &number.to_be_bytes()));
        }
        let rows = Added::rows(&name, &entry, &blocks, vec![entry]).unwrap();
        assert_eq!(rows.len(), 4);
        let mut read = Vec::new();
        for (key, bytes) in &rows {
            assert!(bytes.len() < 512 << 10, "{key} has {} bytes", bytes.len());
            check(key, bytes).unwrap();
            read.extend(Added::from_row(key, bytes).unwrap().blocks);
        }
        assert_eq!(read, blocks);
        let first = Added::from_row("", &rows[0].1).unwrap();
        assert_eq!((first.parts, first.previous.len()), (3, 1));
        let keys: Vec<String> = first.part_keys(&name, &entry).collect();
        let further: Vec<&String> = rows[1..].iter().map(|(key, _)| key).collect();
        assert_eq!(keys.iter().collect::<Vec<_>>(), further);
        for count in [0, 1, ADDED_ROW_BLOCKS] {
            let rows = Added::rows(&name, &entry, &blocks[..count], Vec::new()).unwrap();
            assert_eq!(rows.len(), 1, "{count} blocks");
        }
    }

    #[test]
    fn a_row_that_cannot_be_written_is_an_error() {
        let url = format!("http://example.org/{}", "x".repeat(1_000));
        let outbox = Outbox {
            record: record(&SigningKey::from_seed(&[2; 32])),
            ladder: Ladder::default(),
            waiting: vec![url.parse().unwrap(); 3_000],
        };
        let error = outbox.to_row("outbox/x").unwrap_err();
        assert!(matches!(error, StoreError::RowTooLarge { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn damaged_rows_are_errors(
            row in 0..3_usize,
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let staged = |ops: &[Op]| encode_staged("", CLOCK, ops).unwrap();
            let whole = [facts().to_row("").unwrap(), staged(&ops()), staged(&[])][row].to_vec();
            let mut damaged = whole.clone();
            damaged[at.index(whole.len())] ^= flip;
            // Either refused, or another row that says something else: never a panic.
            let _ = IdentityFacts::from_row("", &damaged);
            if let Ok(read) = parse_staged("", &damaged) && let Some(first) = read.first() {
                let ops: Vec<Op> = read.iter().map(|change| change.op.clone()).collect();
                prop_assert_eq!(encode_staged("", first.clock, &ops).unwrap().to_vec(), damaged);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let name = facts().name;
            let _ = IdentityFacts::from_row("", &bytes);
            let _ = parse_staged("", &bytes);
            let _ = Added::from_row("", &bytes);
            let _ = Acknowledged::from_row("", &bytes);
            let _ = Outbox::from_row(&name, "", &bytes);
            let _ = parse_head("", &bytes);
        }
    }
}
