//! One entry: its bytes, its signature and who may sign it.

use alloc::{boxed::Box, string::ToString, vec::Vec};

use super::EntryError;
use crate::{
    cid::{Block, Cid, Codec, VerifyError, parse_cid_bytes},
    codec::{
        CodecError, FieldProblem,
        dag_cbor::{Decoder, Encoder, Kind},
    },
    did::{Did, DidDocument},
    ipns::Name,
    limits::{ENTRY_BYTES, ENTRY_CHANGES, ENTRY_PREVIOUS, LimitExceeded},
    sign::{Domain, PublicKey, Signature, SigningKey},
    taglist::{DatedOp, DeviceTag, Hlc},
    time::Millis,
};

/// Version of the format of entries.
const VERSION: u64 = 1;

/// What an entry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Changes labels, or nothing but the DID document.
    Change,
    /// Joins several heads.
    Merge,
    /// Starts a new log in the place of an old one.
    Compaction,
}

/// An entry that was signed by a key of the DID document it links, or that a verified entry links.
///
/// Anybody can write a document that names another's DID and lists a key of their own. So an entry speaks for the identity
/// only where a record of the name leads to it, directly or by way of later entries ([`super::builds_on`]), or where the key
/// that the name is signed it ([`Entry::is_signed_by_name`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    block: Block,
    body: Body,
}

/// An entry that has been read; its signature and its identity have not been checked.
#[derive(Debug, Clone)]
pub struct UnverifiedEntry {
    block: Block,
    body: Body,
    signed: core::ops::Range<usize>,
    signature: Signature,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) did: Did,
    pub(super) doc: Cid,
    pub(super) key: PublicKey,
    pub(super) ops: Option<Vec<DatedOp>>,
    pub(super) seq: u64,
    pub(super) prev: Vec<Cid>,
    pub(super) root: Option<Cid>,
    pub(super) clock: Hlc,
    pub(super) changes: u64,
    pub(super) compacts: Option<Cid>,
}

impl Entry {
    /// The entry's name.
    pub fn cid(&self) -> &Cid {
        self.block.cid()
    }

    /// The entry's block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Whose log it is.
    pub fn did(&self) -> &Did {
        &self.body.did
    }

    /// The DID document that lists the key.
    pub fn document(&self) -> &Cid {
        &self.body.doc
    }

    /// The key of the device that signed.
    pub fn key(&self) -> &PublicKey {
        &self.body.key
    }

    /// Whether the key that `name` is signed the entry, so that it needs no record to be of that identity.
    pub fn is_signed_by_name(&self, name: &Name) -> bool {
        *name == Name::from_public_key(&self.body.key)
    }

    /// The changes and when each was made, sorted by key; `None` when the tree's root alone carries them.
    pub fn ops(&self) -> Option<&[DatedOp]> {
        self.body.ops.as_deref()
    }

    /// How many changes the entry makes.
    pub fn changes(&self) -> u64 {
        self.body.changes
    }

    /// The entry's number: one more than the greatest before it.
    pub fn seq(&self) -> u64 {
        self.body.seq
    }

    /// The entries it follows.
    pub fn prev(&self) -> &[Cid] {
        &self.body.prev
    }

    /// The root of the list's tree; `None` for an empty list.
    pub fn root(&self) -> Option<Cid> {
        self.body.root
    }

    /// When it was signed, by the hybrid logical clock.
    pub fn clock(&self) -> Hlc {
        self.body.clock
    }

    /// The device in the stamps of its changes.
    pub fn device(&self) -> DeviceTag {
        DeviceTag::from(&self.body.key)
    }

    /// The head of the log that this entry compacts.
    pub fn compacts(&self) -> Option<&Cid> {
        self.body.compacts.as_ref()
    }

    /// What the entry does.
    pub fn kind(&self) -> EntryKind {
        match (self.body.compacts, self.body.prev.len()) {
            (Some(_), _) => EntryKind::Compaction,
            (None, 0 | 1) => EntryKind::Change,
            (None, _) => EntryKind::Merge,
        }
    }

    /// Signs a body.
    pub(super) fn sign(mut body: Body, signer: &SigningKey) -> Result<Entry, LimitExceeded> {
        let listed = body.encode_ops();
        let is_short = listed.len() <= ENTRY_BYTES / 2;
        if !(is_short
            && body
                .ops
                .as_ref()
                .is_some_and(|ops| ops.len() <= ENTRY_CHANGES))
        {
            body.ops = None;
        }
        let signed = body.encode(&listed);
        let signature = signer.sign(Domain::LogEntry, &signed);
        let mut encoder = Encoder::with_capacity(signed.len() + 80);
        let written = (|| {
            encoder.map(2)?;
            encoder.key("sig");
            encoder.bytes(signature.as_bytes());
            encoder.key("body");
            encoder.encoded(&signed);
            encoder.end();
            encoder.finish()
        })();
        let bytes = written.expect("an entry is shallow and its parts are bounded");
        LimitExceeded::check("log entry bytes", ENTRY_BYTES, bytes.len())?;
        let block = Block::new(Codec::DagCbor, bytes)?;
        Ok(Entry { block, body })
    }
}

impl UnverifiedEntry {
    /// Reads an entry.
    ///
    /// # Errors
    /// Refuses blocks that are not in the only form of an entry.
    pub fn parse(block: &Block) -> Result<UnverifiedEntry, EntryError> {
        let bytes = block.bytes();
        LimitExceeded::check("log entry bytes", ENTRY_BYTES, bytes.len())
            .map_err(CodecError::Limit)?;
        if block.cid().codec() != Codec::DagCbor.code() {
            return Err(CodecError::UnknownCodec(block.cid().codec()).into());
        }
        let mut decoder = Decoder::new(bytes)?;
        let mut fields = decoder.map()?;
        fields.required(&mut decoder, "sig")?;
        let signature = Signature::from_bytes(decoder.byte_array()?);
        fields.required(&mut decoder, "body")?;
        let start = decoder.offset();
        let body = Body::decode(&mut decoder)?;
        let signed = start..decoder.offset();
        fields.finish(&mut decoder)?;
        decoder.finish()?;
        Ok(UnverifiedEntry {
            block: block.clone(),
            body,
            signed,
            signature,
        })
    }

    /// When it says that it was signed.
    pub fn clock(&self) -> Hlc {
        self.body.clock
    }

    /// The DID document to verify the entry with.
    pub fn document(&self) -> &Cid {
        &self.body.doc
    }

    /// Verifies the entry against its document: that is the linked one and names the identity behind `name`, it lists the
    /// key, the signature matches, and the clock is not ahead of `now` by more than [`crate::taglist::MAX_DRIFT`]. Whether
    /// the document itself is of that identity, what led to the entry shows ([`Entry`]).
    ///
    /// # Errors
    /// Says which of these does not hold.
    pub fn verify(self, name: &Name, document: &Block, now: Millis) -> Result<Entry, EntryError> {
        if self.body.doc != *document.cid() {
            return Err(EntryError::OtherDocument);
        }
        let document = DidDocument::from_block(document)
            .map_err(|error| EntryError::Document(Box::new(error)))?;
        if document.id() != &self.body.did || self.body.did.name() != *name {
            return Err(EntryError::OtherIdentity(self.body.did));
        }
        if !document.authorizes(&self.body.key) {
            return Err(EntryError::KeyNotAuthorized);
        }
        self.body.clock.check_drift(now)?;
        let signed = &self.block.bytes()[self.signed.clone()];
        self.body
            .key
            .verify(Domain::LogEntry, signed, &self.signature)
            .map_err(|_| EntryError::Signature)?;
        Ok(self.trusted())
    }

    /// The entry without any check of its own: for an entry that a verified one links, whose hash therefore
    /// vouches that the identity has accepted it.
    pub(super) fn trusted(self) -> Entry {
        Entry {
            block: self.block,
            body: self.body,
        }
    }
}

impl From<VerifyError> for EntryError {
    fn from(error: VerifyError) -> EntryError {
        match error {
            VerifyError::TooLarge(limit) => EntryError::Codec(CodecError::Limit(limit)),
            _ => EntryError::Codec(CodecError::Inexpressible("content of another CID")),
        }
    }
}

impl Body {
    /// The encoded list of changes; empty bytes when there is none.
    fn encode_ops(&self) -> Vec<u8> {
        let Some(ops) = self.ops.as_ref().filter(|ops| ops.len() <= ENTRY_CHANGES) else {
            return Vec::new();
        };
        let mut encoder = Encoder::with_capacity(16 + ops.len() * 48);
        let written = (|| {
            encoder.list(ops.len())?;
            for op in ops {
                op.encode(&mut encoder, self.clock)?;
            }
            encoder.end();
            encoder.finish()
        })();
        written.expect("a bounded number of bounded changes")
    }

    fn encode(&self, listed: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(listed.len() + 400);
        let optional = usize::from(self.ops.is_some()) + usize::from(self.compacts.is_some());
        let written = (|| {
            encoder.map(9 + optional)?;
            encoder.key("did");
            encoder.text(&self.did.to_string());
            encoder.key("doc");
            encoder.link(&self.doc);
            encoder.key("key");
            encoder.bytes(self.key.as_bytes());
            if self.ops.is_some() {
                encoder.key("ops");
                encoder.encoded(listed);
            }
            encoder.key("seq");
            encoder.uint(self.seq);
            encoder.key("prev");
            encoder.list(self.prev.len())?;
            self.prev.iter().for_each(|cid| encoder.link(cid));
            encoder.end();
            encoder.key("root");
            match &self.root {
                Some(root) => encoder.link(root),
                None => encoder.null(),
            }
            encoder.key("clock");
            encoder.uint(self.clock.as_u64());
            encoder.key("changes");
            encoder.uint(self.changes);
            encoder.key("version");
            encoder.uint(VERSION);
            if let Some(cid) = &self.compacts {
                encoder.key("compacts");
                encoder.bytes(&cid.to_bytes());
            }
            encoder.end();
            encoder.finish()
        })();
        written.expect("an entry is shallow and its parts are bounded")
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Body, CodecError> {
        let mut fields = decoder.map()?;
        fields.required(decoder, "did")?;
        let text = decoder.text()?;
        let did = Did::parse(text)
            .ok()
            .filter(|did| did.to_string() == text)
            .ok_or_else(|| {
                CodecError::field(
                    "did",
                    FieldProblem::Invalid("not a DID in its canonical form"),
                )
            })?;
        fields.required(decoder, "doc")?;
        let doc = decoder.link()?;
        fields.required(decoder, "key")?;
        let key = PublicKey::from_bytes(&decoder.byte_array()?)
            .map_err(|_| CodecError::field("key", FieldProblem::Invalid("not an Ed25519 key")))?;
        // The changes are read with the clock, which comes after them.
        let mut listed = None;
        if fields.optional(decoder, "ops")? {
            listed = Some(decoder.clone());
            decoder.skip(&mut |_| Err(CodecError::Inexpressible("a link inside a change")))?;
        }
        fields.required(decoder, "seq")?;
        let seq = decoder.uint()?;
        fields.required(decoder, "prev")?;
        let prev = decode_prev(decoder)?;
        fields.required(decoder, "root")?;
        let root = if decoder.kind()? == Kind::Null {
            decoder.null()?;
            None
        } else {
            Some(decoder.link()?)
        };
        fields.required(decoder, "clock")?;
        let clock = Hlc::from_u64(decoder.uint()?);
        fields.required(decoder, "changes")?;
        let changes = decoder.uint()?;
        fields.required(decoder, "version")?;
        if decoder.uint()? != VERSION {
            return Err(decoder.malformed("a version that is not known here"));
        }
        let mut compacts = None;
        if fields.optional(decoder, "compacts")? {
            let cid = parse_cid_bytes(decoder.bytes()?);
            compacts = Some(cid.map_err(|source| CodecError::Link {
                offset: decoder.offset(),
                source,
            })?);
        }
        fields.finish(decoder)?;
        let ops = listed
            .map(|mut listed| decode_ops(&mut listed, clock))
            .transpose()?;
        let body = Body {
            did,
            doc,
            key,
            ops,
            seq,
            prev,
            root,
            clock,
            changes,
            compacts,
        };
        body.check(decoder)?;
        Ok(body)
    }

    /// What the parts must agree on.
    fn check(&self, decoder: &Decoder<'_>) -> Result<(), CodecError> {
        let listed = self.ops.as_ref().map(|ops| ops.len() as u64);
        let refused = if listed.is_some_and(|listed| listed != self.changes) {
            "a number of changes other than that of the listed ones"
        } else if listed.is_some() && (self.prev.len() > 1 || self.compacts.is_some()) {
            "changes in a merge or a compaction"
        } else if self.compacts.is_some() && !self.prev.is_empty() {
            "a compaction that links entries before it"
        } else if self.seq == 0 {
            "entry number zero"
        } else if self.prev.is_empty() && self.compacts.is_none() && self.seq != 1 {
            "a first entry whose number is not one"
        } else if (!self.prev.is_empty() || self.compacts.is_some()) && self.seq == 1 {
            "entry number one after others"
        } else {
            return Ok(());
        };
        Err(decoder.malformed(refused))
    }
}

fn decode_prev(decoder: &mut Decoder<'_>) -> Result<Vec<Cid>, CodecError> {
    let mut list = decoder.list()?;
    LimitExceeded::check("previous entries", ENTRY_PREVIOUS, list.remaining())?;
    let mut prev: Vec<Cid> = Vec::with_capacity(list.remaining());
    while list.next(decoder)? {
        let cid = decoder.link()?;
        if prev
            .last()
            .is_some_and(|last| last.to_bytes() >= cid.to_bytes())
        {
            return Err(decoder.malformed("previous entries that are not sorted or not unique"));
        }
        prev.push(cid);
    }
    Ok(prev)
}

fn decode_ops(decoder: &mut Decoder<'_>, clock: Hlc) -> Result<Vec<DatedOp>, CodecError> {
    let mut list = decoder.list()?;
    LimitExceeded::check("changes of a log entry", ENTRY_CHANGES, list.remaining())?;
    let mut ops: Vec<DatedOp> = Vec::with_capacity(list.remaining());
    let mut last = None;
    while list.next(decoder)? {
        let op = DatedOp::decode(decoder, clock)?;
        let key = op.key();
        if last.is_some_and(|last| last >= key) {
            return Err(decoder.malformed("changes that are not sorted or not unique"));
        }
        last = Some(key);
        ops.push(op);
    }
    Ok(ops)
}
