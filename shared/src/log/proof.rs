//! What a published list says about one label, to be shown to somebody who has nothing but the identity's name.
//!
//! The path through the tree ([`crate::taglist::tree::Proof`]) shows what a root says; the log entry shows who signed that
//! root, and the IPNS record that the name pointed at that entry and until when. Without a record the entry has to be signed
//! by the key that the name is: the DID document lists the keys of an identity, but anybody can write one that lists a key
//! of theirs. Together they are one DAG-CBOR map:
//!
//! | name | kind | meaning |
//! |---|---|---|
//! | `v` | 1 | version of this format |
//! | `doc` | bytes | the DID document |
//! | `key` | bytes | which label on which handle |
//! | `path` | list of bytes | the nodes from the root to where the key is or would be |
//! | `entry` | bytes | the log entry |
//! | `record` | bytes, optional | the IPNS record that points at the entry |
//!
//! A proof is about the list as it was at that entry: what was signed later it cannot know.

use alloc::{boxed::Box, vec::Vec};

use bytes::Bytes;

use super::{
    EntryError,
    entry::{Entry, UnverifiedEntry},
};
use crate::{
    cid::{Block, Codec, VerifyError},
    codec::{
        CodecError,
        dag_cbor::{Decoder, Encoder},
    },
    ipns::{Name, Record, RecordError, UnverifiedRecord},
    limits::{
        DID_DOCUMENT_BYTES, ENTRY_BYTES, LABEL_PROOF_BYTES, LIST_KEY_BYTES, LimitExceeded,
        RECORD_BYTES,
    },
    taglist::{
        Blocks, Key,
        tree::{self, Proof, ProofError, Proven, TreeError},
    },
    time::Millis,
};

/// Version of the format.
const VERSION: u64 = 1;

/// A proof of presence or absence. It shows nothing before [`LabelProof::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelProof {
    key: Key,
    path: Proof,
    entry: Bytes,
    document: Bytes,
    record: Option<Bytes>,
}

/// What a proof has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenLabel {
    /// Which label on which handle.
    pub key: Key,
    /// What the list says about it.
    pub proven: Proven,
    /// The entry the identity has signed.
    pub entry: Entry,
    /// The record by which the name pointed at it. It may have ended since. None where the name's own key signed the entry:
    /// then it may never have been published.
    pub record: Option<Record>,
}

/// Why a proof shows nothing.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelProofError {
    /// The entry or the document is not valid, or not of this identity.
    #[error("the log entry of the proof is not valid")]
    Entry(#[source] Box<EntryError>),
    /// The path does not lead from the entry's tree to the label.
    #[error("the path of the proof is not valid")]
    Path(#[from] ProofError),
    /// The record is not one of the name.
    #[error("the record of the proof is not valid")]
    Record(#[from] RecordError),
    /// The record points at something else than the entry.
    #[error("the record of the proof points at another entry")]
    OtherEntry,
    /// Nothing in the proof leads from the name to the entry: anybody could have made it.
    #[error(
        "the proof has no record of the name, and another key than that of the name signed the log entry"
    )]
    Unproven,
}

impl LabelProof {
    /// Makes the proof about `key` in the list at `entry`, with the record that points at the entry if there is one.
    ///
    /// # Errors
    /// Asks for missing blocks of the tree, and refuses blocks that are no nodes of one.
    pub fn new<B: Blocks + ?Sized>(
        key: &Key,
        entry: &Entry,
        document: &Block,
        record: Option<&Record>,
        blocks: &B,
    ) -> Result<LabelProof, TreeError> {
        Ok(LabelProof {
            key: *key,
            path: tree::prove(entry.root(), key, blocks)?,
            entry: entry.block().bytes().clone(),
            document: document.bytes().clone(),
            record: record.map(|record| record.bytes().clone()),
        })
    }

    /// Which label on which handle it is about.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Checks every part for the identity behind `name`.
    ///
    /// # Errors
    /// Says which part does not hold; [`LabelProofError::Unproven`] where all parts agree and the name vouches for none.
    pub fn verify(&self, name: &Name, now: Millis) -> Result<ProvenLabel, LabelProofError> {
        let entry = self.verify_entry(name, now)?;
        let proven = self.path.verify(entry.root().as_ref(), &self.key)?;
        let record = match &self.record {
            Some(record) => Some(UnverifiedRecord::parse(record)?.verify_at_any_time(name)?),
            None => None,
        };
        match &record {
            Some(record) if record.head() != Some(*entry.cid()) => {
                return Err(LabelProofError::OtherEntry);
            }
            None if !entry.is_signed_by_name(name) => return Err(LabelProofError::Unproven),
            _ => {}
        }
        Ok(ProvenLabel {
            key: self.key,
            proven,
            entry,
            record,
        })
    }

    fn verify_entry(&self, name: &Name, now: Millis) -> Result<Entry, LabelProofError> {
        let verified = || -> Result<Entry, EntryError> {
            let of_limit = |limit| VerifyError::TooLarge(limit);
            let block = Block::new(Codec::DagCbor, self.entry.clone()).map_err(of_limit)?;
            let entry = UnverifiedEntry::parse(&block)?;
            let document = Block::verified(*entry.document(), self.document.clone());
            // Whatever is wrong with it: it is not the document that the entry links.
            let document = document.map_err(|_| EntryError::OtherDocument)?;
            entry.verify(name, &document, now)
        };
        verified().map_err(|error| LabelProofError::Entry(Box::new(error)))
    }

    /// The proof's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(self.entry.len() + self.document.len() + 4_096);
        let written = (|| {
            encoder.map(5 + usize::from(self.record.is_some()))?;
            encoder.key("v");
            encoder.uint(VERSION);
            encoder.key("doc");
            encoder.bytes(&self.document);
            encoder.key("key");
            encoder.bytes(self.key.as_bytes());
            encoder.key("path");
            encoder.encoded(&self.path.to_bytes());
            encoder.key("entry");
            encoder.bytes(&self.entry);
            if let Some(record) = &self.record {
                encoder.key("record");
                encoder.bytes(record);
            }
            encoder.end();
            encoder.finish()
        })();
        written.expect("a proof is shallow and its parts are bounded")
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// Refuses other forms, and what is above [`LABEL_PROOF_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<LabelProof, CodecError> {
        LimitExceeded::check("label proof bytes", LABEL_PROOF_BYTES, bytes.len())?;
        let mut decoder = Decoder::new(bytes)?;
        let mut fields = decoder.map()?;
        fields.required(&mut decoder, "v")?;
        if decoder.uint()? != VERSION {
            return Err(decoder.malformed("a version that is not known here"));
        }
        fields.required(&mut decoder, "doc")?;
        let document = part(&mut decoder, "DID document bytes", DID_DOCUMENT_BYTES)?;
        fields.required(&mut decoder, "key")?;
        let key = part(&mut decoder, "list key bytes", LIST_KEY_BYTES)?;
        let key = Key::parse(&key).map_err(|_| decoder.malformed("not the key of a label"))?;
        fields.required(&mut decoder, "path")?;
        let path = Proof::decode(&mut decoder)?;
        fields.required(&mut decoder, "entry")?;
        let entry = part(&mut decoder, "log entry bytes", ENTRY_BYTES)?;
        let mut record = None;
        if fields.optional(&mut decoder, "record")? {
            record = Some(part(&mut decoder, "IPNS record bytes", RECORD_BYTES)?);
        }
        fields.finish(&mut decoder)?;
        decoder.finish()?;
        Ok(LabelProof {
            key,
            path,
            entry,
            document,
            record,
        })
    }
}

fn part(
    decoder: &mut Decoder<'_>,
    limit: &'static str,
    max_bytes: usize,
) -> Result<Bytes, CodecError> {
    let bytes = decoder.bytes()?;
    LimitExceeded::check(limit, max_bytes, bytes.len())?;
    Ok(Bytes::copy_from_slice(bytes))
}
