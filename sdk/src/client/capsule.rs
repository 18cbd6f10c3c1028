//! The capsule: one CAR file with everything of an identity that is public.
//!
//! It has the layout of the publish message: its roots are the newest entry and the record, the record's block
//! is the last one. It needs no secret, opens in any IPFS implementation, and is believed only after everything
//! in it was verified: the record's signature, each entry's signature, every block.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use perennis_shared::{
    cid::{Block, Cid},
    codec::car::{CarError, Decoder, Event, Writer},
    did::{DidDocument, Identity},
    error::{ErrorKind, Retryable},
    ipns::{self, Name, RecordError, UnverifiedRecord},
    log::UnverifiedEntry,
};

use super::{
    Client, DeliverError, IdentityError, IdentityFacts, ListError, ResolveError, Resolved,
    ledger::{entry, verify_log},
    message,
    resolve::offered_list,
    rows::{self, RowValue},
    view::View,
};
use crate::{
    exchange::{FetchError, Walk},
    node_url::NodeUrl,
    router::{Gathered, Router as _, mark_changes},
    store::{BlockStore, Changes, Memory, StoreError},
};

/// Blocks written at once.
const CHUNK_BYTES: usize = 256 << 10;

/// A capsule being written, in chunks.
pub struct Export<'a, S> {
    store: &'a S,
    blocks: std::vec::IntoIter<Cid>,
    record: Option<Block>,
    writer: Writer,
    summary: CapsuleSummary,
}

/// What a capsule holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapsuleSummary {
    /// The name.
    pub name: Name,
    /// The newest entry.
    pub head: Cid,
    /// The record's sequence.
    pub sequence: u64,
    /// Blocks, the record's not counted.
    pub blocks: usize,
}

/// Why a capsule cannot be written.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no current identity.
    #[error("there is no identity here yet")]
    NoIdentity,
    /// Nothing was published yet, so there is no record.
    #[error("nothing was published yet")]
    Unpublished,
    /// A block is not here.
    #[error(transparent)]
    Incomplete(#[from] DeliverError),
    /// The file cannot be made.
    #[error("the file cannot be made")]
    Car(#[from] CarError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ExportError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NoIdentity => "no_identity",
            Self::Unpublished => "unpublished",
            Self::Incomplete(error) => error.code(),
            Self::Car(_) => "car_failed",
            Self::Store(error) => error.code(),
        }
    }
}

impl Retryable for ExportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoIdentity | Self::Unpublished | Self::Car(_) => ErrorKind::Reject,
            Self::Incomplete(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

/// Why a capsule is not taken, or an identity not restored. Nothing of it was kept.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is no CAR file, or breaks off, or holds a block that is not what it says.
    #[error("the file is damaged or no CAR file")]
    Car(#[from] CarError),
    /// The file is a CAR file but no capsule.
    #[error("the file is no capsule: {what}")]
    Form {
        /// What is missing.
        what: &'static str,
    },
    /// The file is larger than is taken.
    #[error("the file exceeds {max} bytes")]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// The record in it is not valid.
    #[error("the record is not valid")]
    Record(#[from] RecordError),
    /// The identity is not the one whose list is here.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The name does not resolve.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A newer state of this identity is here already.
    #[error("what is here is newer: sequence {here}, offered {offered}")]
    Older {
        /// The sequence here.
        here: u64,
        /// The sequence offered.
        offered: u64,
    },
    /// The list cannot be read or is not whole.
    #[error(transparent)]
    List(#[from] ListError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RestoreError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Car(_) => "car_damaged",
            Self::Form { .. } => "not_a_capsule",
            Self::TooLarge { .. } => "capsule_too_large",
            Self::Record(error) => error.code(),
            Self::Identity(error) => error.code(),
            Self::Resolve(error) => error.code(),
            Self::Older { .. } => "older_than_here",
            Self::List(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}

impl Retryable for RestoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Car(_) | Self::Record(_) => ErrorKind::Corrupt,
            Self::Form { .. } | Self::TooLarge { .. } | Self::Older { .. } => ErrorKind::Reject,
            Self::Identity(error) => error.kind(),
            Self::Resolve(error) => error.kind(),
            Self::List(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

/// A capsule being read. Feed it with [`CapsuleReader::push`], hand it to [`Client::import`].
pub struct CapsuleReader {
    decoder: Decoder,
    roots: Vec<Cid>,
    blocks: HashMap<Cid, Block>,
    last: Option<Cid>,
    bytes: usize,
    max_bytes: usize,
}

impl CapsuleReader {
    /// Takes a file of at most `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            decoder: Decoder::new(),
            roots: Vec::new(),
            blocks: HashMap::new(),
            last: None,
            bytes: 0,
            max_bytes,
        }
    }

    /// Reads the next piece of the file. Each block is checked against its CID.
    ///
    /// # Errors
    /// The file is too large or malformed.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), RestoreError> {
        self.bytes += piece.len();
        if self.bytes > self.max_bytes {
            let max = self.max_bytes;
            return Err(RestoreError::TooLarge { max });
        }
        self.decoder.push(piece);
        while let Some(event) = self.decoder.next_event()? {
            match event {
                Event::Header(header) => self.roots = header.roots,
                Event::Block(block) => {
                    self.last = Some(*block.cid());
                    self.blocks.insert(*block.cid(), block);
                }
            }
        }
        Ok(())
    }

    /// Ends the reading: head, record's bytes, and all other blocks.
    fn finish(mut self) -> Result<(Cid, Bytes, HashMap<Cid, Block>), RestoreError> {
        self.decoder.finish()?;
        let [head, record] = self.roots[..] else {
            let what = "it does not name a head and a record";
            return Err(RestoreError::Form { what });
        };
        let what = "its last block is not the record";
        if self.last != Some(record) {
            return Err(RestoreError::Form { what });
        }
        let record = self
            .blocks
            .remove(&record)
            .ok_or(RestoreError::Form { what })?;
        Ok((head, record.bytes().clone(), self.blocks))
    }
}

impl<S: BlockStore> Export<'_, S> {
    /// What is being written.
    #[must_use]
    pub fn summary(&self) -> &CapsuleSummary {
        &self.summary
    }

    /// The next chunk of the file; none at its end.
    ///
    /// # Errors
    /// The store fails, or a block went away meanwhile.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ExportError> {
        while self.writer.ready() < CHUNK_BYTES {
            let several: Vec<Cid> = self.blocks.by_ref().take(64).collect();
            if !several.is_empty() {
                let found = self.store.blocks(&several).await?;
                for (cid, block) in several.into_iter().zip(found) {
                    let lost = || DeliverError::Incomplete { cid: Box::new(cid) };
                    self.writer.push(&block.ok_or_else(lost)?);
                }
            } else if let Some(record) = self.record.take() {
                self.writer.push(&record);
            } else {
                break;
            }
        }
        let chunk = self.writer.take();
        Ok((!chunk.is_empty()).then(|| chunk.into()))
    }
}

impl<S: BlockStore + 'static> Client<S> {
    /// Writes the capsule of the current identity as it was last published. That every block is here is
    /// checked before the first byte.
    ///
    /// # Errors
    /// Nothing was published, or a block is missing.
    pub async fn export(&self) -> Result<Export<'_, S>, ExportError> {
        let name = self.identity().await?.ok_or(ExportError::NoIdentity)?.name;
        let record = self
            .shared
            .local
            .mark(&name)
            .await?
            .ok_or(ExportError::Unpublished)?;
        let head = record.head().ok_or(ExportError::Unpublished)?;
        let block = message::record_block(&record).map_err(DeliverError::from)?;
        let blocks = self.reachable(&[head], &HashSet::new()).await?;
        let summary = CapsuleSummary {
            name,
            head,
            sequence: record.sequence(),
            blocks: blocks.len(),
        };
        Ok(Export {
            store: self.store(),
            blocks: blocks.into_iter(),
            writer: message::writer(&head, &block, &[])?,
            record: Some(block),
            summary,
        })
    }

    /// Takes a capsule in. With no current identity here, its identity becomes the current one; another one's
    /// is refused. Everything is verified first, then kept in one commit.
    ///
    /// # Errors
    /// The capsule is malformed, not whole, not genuine, older than what is here, or of another identity.
    pub async fn import(&self, capsule: CapsuleReader) -> Result<CapsuleSummary, RestoreError> {
        let _publishing = self.shared.publishing.lock().await;
        let (head, record, blocks) = capsule.finish()?;
        let inside = Memory::new();
        inside
            .commit(Changes::new().put(blocks.into_values()))
            .await?;
        let facts = self.verify_capsule(&inside, &head).await?;
        let name = facts.name;
        match self.identity().await? {
            Some(known) if known.name != name => {
                return Err(RestoreError::Identity(IdentityError::Other {
                    given: facts.did.to_string(),
                    known: known.did.to_string(),
                }));
            }
            Some(_) => {}
            None => self.expect_nobody_else(&facts).await?,
        }
        let record = UnverifiedRecord::parse(&record)?.verify_at_any_time(&name)?;
        if record.head() != Some(head) {
            let what = "its record does not point at its head";
            return Err(RestoreError::Form { what });
        }
        let needed = needed_blocks(&inside, &head).await?;
        let summary = CapsuleSummary {
            name,
            head,
            sequence: record.sequence(),
            blocks: needed.len(),
        };
        let mut changes = Changes::new()
            .delete(needed.iter().map(|block| *block.cid()))
            .put(needed)
            .set(rows::ME, facts.to_row(rows::ME)?);
        if self.own_head(&name).await?.is_none() {
            changes = changes.set(rows::head_key(&name), head.to_bytes());
        }
        {
            let _observing = self.shared.local.hold().await;
            if let Some(mark) = self.shared.local.mark(&name).await?
                && ipns::compare(&record, &mark).is_lt()
            {
                return Err(RestoreError::Older {
                    here: mark.sequence(),
                    offered: record.sequence(),
                });
            }
            changes.state.extend(mark_changes(&name, &record).state);
            self.shared.store.commit(changes).await?;
        }
        // What is here already goes on from the capsule's head, or is merged by the next publish.
        self.take_in(None, &name, head, &[]).await?;
        Ok(summary)
    }

    /// Verifies the log inside a capsule. Whose it is, its newest DID document says; that the name's key agrees,
    /// the record will show.
    async fn verify_capsule(
        &self,
        inside: &Memory,
        head: &Cid,
    ) -> Result<IdentityFacts, ListError> {
        let mut view = View::new(inside, self.offline());
        let block = view.block(head).await?;
        let unverified = UnverifiedEntry::parse(&block).map_err(|source| ListError::Entry {
            cid: Box::new(*head),
            source: Box::new(source),
        })?;
        let document = view.block(unverified.document()).await?;
        let facts = IdentityFacts::of_document(&DidDocument::from_block(&document)?)
            .ok_or(ListError::NoIdentity)?;
        verify_log(&mut view, &facts.name, head).await?;
        Ok(facts)
    }

    /// Brings an identity back from nodes that keep it: resolves its name, fetches everything and verifies it.
    /// It becomes the current identity. Where nobody has a record that is valid, one that has ended and that a node still holds will do:
    /// it is signed by this very identity, and the next publish makes it live again. Rows that are damaged are repaired or dropped
    /// ([`Client::repair_state`]); [`Client::check_state`] tells before what that costs. All of that comes after everything was
    /// fetched and verified: a restore that does not come so far changes nothing, but that blocks it has fetched are kept.
    ///
    /// # Errors
    /// No node has a valid record, the data cannot be had whole, or another identity is the current one.
    pub async fn restore(
        &self,
        identity: &Identity,
        nodes: &[NodeUrl],
    ) -> Result<Resolved, RestoreError> {
        let _publishing = self.shared.publishing.lock().await;
        let given = IdentityFacts::from(identity);
        self.expect_identity_to_be(&given).await?;
        let gathered = match self.routers(nodes).gather(&given.name).await {
            Ok(gathered) => Some(gathered),
            // Nobody answers: what was seen before may do.
            Err(_) if self.shared.local.resolve(&given.name).await.is_ok() => None,
            Err(error) => match self.held_ended(&given.name, nodes, &error).await {
                Some((record, holder)) => Some(Gathered::only(record, holder)),
                None => return Err(RestoreError::Resolve(error.into())),
            },
        };
        if let Some(gathered) = &gathered {
            let source = gathered.source.clone();
            let offered = offered_list(&given.did, gathered.best.clone(), source)?;
            self.fetch_log(&given.name, &offered.head, nodes).await?;
        }
        self.repair_locked().await?;
        {
            let _writing = self.shared.writing.lock().await;
            self.recognise(identity).await?
        };
        self.mend_clock_locked().await?;
        let resolved = match gathered {
            Some(gathered) => self.judge(&given.did, gathered).await?,
            None => self.resolve_list(&given.did, nodes).await?,
        };
        self.take_in(Some(identity), &given.name, resolved.head, nodes)
            .await?;
        Ok(resolved)
    }

    /// Another identity is not the current one, as far as that can be read.
    async fn expect_identity_to_be(&self, given: &IdentityFacts) -> Result<(), RestoreError> {
        let known = match self.identity().await {
            Err(error) if error.is_damage() => None,
            known => known?,
        };
        match known {
            Some(known) if known != *given => Err(RestoreError::Identity(IdentityError::Other {
                given: given.did.to_string(),
                known: known.did.to_string(),
            })),
            Some(_) => Ok(()),
            // Names of rows that are damaged say nothing; after the repair the identity is held against what is left.
            None if !self.shared.store.check_rows().await?.is_sound() => Ok(()),
            None => Ok(self.expect_nobody_else(given).await?),
        }
    }

    /// Fetches and keeps what is missing of the log at `head`, and verifies its newest entry.
    pub(super) async fn fetch_log(
        &self,
        name: &Name,
        head: &Cid,
        nodes: &[NodeUrl],
    ) -> Result<(), ListError> {
        let store = &self.shared.store;
        let missing = self
            .sources(nodes)
            .missing_below(&**store, std::slice::from_ref(head))
            .await?;
        if !missing.is_empty() {
            let damaged: Vec<Cid> = missing.iter().map(|block| *block.cid()).collect();
            let changes = Changes::new().delete(damaged).put(missing);
            store.commit(changes).await?;
        }
        let mut view = View::new(&**store, self.offline());
        entry(&mut view, name, head).await?;
        Ok(())
    }
}

/// The blocks below `head`. A file may hold others; they are not taken.
async fn needed_blocks(inside: &Memory, head: &Cid) -> Result<Vec<Block>, ListError> {
    let mut walk = Walk::new(&[*head]);
    let mut needed = Vec::new();
    while let Some(cid) = walk.next() {
        let absent = || FetchError::NoSource { cid: Box::new(cid) };
        let block = inside.block(&cid).await?.ok_or_else(absent)?;
        walk.follow(&block)?;
        needed.push(block);
    }
    Ok(needed)
}
