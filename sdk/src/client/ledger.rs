//! The own log: reading entries, following them, adding to them.

use std::collections::{BTreeMap, HashSet};

use perennis_rt as rt;
use perennis_shared::{
    cid::{Block, Cid},
    did::{Did, DidDocument, DocumentError, Identity},
    error::{ErrorKind, Retryable},
    ipns::Name,
    limits::PAGE_ROWS,
    log::{self, Author, Entry, EntryError, EntryKind, LogError, Relation, UnverifiedEntry},
    taglist::{
        DatedOp, DeviceTag, Key, LabelError, Op,
        tree::{self, DiffPage, TreeError},
    },
};

use super::{
    Client, StageError,
    publish::keep_entry,
    resolve::ResolveError,
    rows::{self, Acknowledged, RowValue},
    view::{NeedsBlock, View, ViewError},
};
use crate::{
    exchange::{Exchange, FetchError},
    node_url::NodeUrl,
    store::{BlockStore, Changes, StoreError},
};

/// From so many changes on nearly every node of a list is read to make them.
const MANY_CHANGES: usize = 4_096;

/// Why a list or its log cannot be read.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// There is no current identity.
    #[error("there is no identity here yet")]
    NoIdentity,
    /// The DID or name does not resolve.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A block cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A block is not part of a tag list.
    #[error("the list is not valid")]
    Tree(#[source] Box<TreeError>),
    /// A log cannot be read or continued.
    #[error("the log is not valid")]
    Log(#[source] Box<LogError>),
    /// An entry is not genuine.
    #[error("log entry {cid} is not genuine")]
    Entry {
        /// The entry.
        cid: Box<Cid>,
        /// What is wrong with it.
        source: Box<EntryError>,
    },
    /// The DID document of the log cannot be read.
    #[error("the DID document is not valid")]
    Document(#[from] DocumentError),
    /// An entry that was asked for is in no log of the identity, as far as that can be seen.
    #[error("nothing shows that log entry {cid} is of this identity")]
    Unproven {
        /// The entry.
        cid: Box<Cid>,
    },
    /// Nothing was published yet.
    #[error("the list has no entry yet")]
    Empty,
    /// The filter matches no possible label.
    #[error("the filter is not valid")]
    Filter(#[from] LabelError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ListError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NoIdentity => "no_identity",
            Self::Resolve(error) => error.code(),
            Self::Fetch(error) => error.code(),
            Self::Tree(_) => "invalid_list",
            Self::Log(error) if is_clock(error) => "clock_off",
            Self::Log(_) => "invalid_log",
            Self::Entry { .. } => "invalid_entry",
            Self::Unproven { .. } => "unproven_entry",
            Self::Document(_) => "invalid_document",
            Self::Empty => "empty_list",
            Self::Filter(_) => "invalid_filter",
            Self::Store(error) => error.code(),
        }
    }
}

impl Retryable for ListError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoIdentity | Self::Empty | Self::Filter(_) | Self::Unproven { .. } => {
                ErrorKind::Reject
            }
            Self::Log(error) if is_clock(error) => ErrorKind::Reject,
            Self::Resolve(error) => error.kind(),
            Self::Fetch(error) => error.kind(),
            Self::Tree(_) | Self::Log(_) | Self::Entry { .. } | Self::Document(_) => {
                ErrorKind::Corrupt
            }
            Self::Store(error) => error.kind(),
        }
    }
}

fn is_clock(error: &LogError) -> bool {
    matches!(error, LogError::Clock(_))
}

impl From<TreeError> for ListError {
    fn from(error: TreeError) -> Self {
        Self::Tree(Box::new(error))
    }
}

impl From<LogError> for ListError {
    fn from(error: LogError) -> Self {
        Self::Log(Box::new(error))
    }
}

impl<E: Into<Self>> From<ViewError<E>> for ListError {
    fn from(error: ViewError<E>) -> Self {
        match error {
            ViewError::Function(error) => error.into(),
            ViewError::Fetch(error) => error.into(),
        }
    }
}

impl From<StageError> for ListError {
    fn from(error: StageError) -> Self {
        match error {
            StageError::NoIdentity => Self::NoIdentity,
            StageError::Store(error) => error.into(),
        }
    }
}

impl NeedsBlock for LogError {
    fn missing(&self) -> Option<Cid> {
        Self::missing(self)
    }
}

/// A signed entry and the blocks that came with it.
pub(super) struct Signed {
    pub(super) entry: Block,
    pub(super) blocks: Vec<Block>,
}

impl<S: BlockStore + 'static> Client<S> {
    /// The newest `limit` entries of the own log, newest first. A compacted log ends with its compaction.
    ///
    /// # Errors
    /// There is no current identity, nothing was signed yet, or a block cannot be had.
    pub async fn history(&self, limit: usize) -> Result<Vec<Entry>, ListError> {
        let name = self.identity().await?.ok_or(ListError::NoIdentity)?.name;
        self.mend_clock().await?;
        let head = self.own_head(&name).await?.ok_or(ListError::Empty)?;
        self.history_from(&name, &head, limit).await
    }

    /// The newest `limit` entries that somebody has published, newest first.
    ///
    /// # Errors
    /// The DID does not resolve, or a block cannot be had or is not genuine.
    pub async fn history_of(&self, did: &Did, limit: usize) -> Result<Vec<Entry>, ListError> {
        let resolved = self.resolve_list(did, &[]).await?;
        self.history_from(&resolved.name, &resolved.head, limit)
            .await
    }

    async fn history_from(
        &self,
        name: &Name,
        head: &Cid,
        limit: usize,
    ) -> Result<Vec<Entry>, ListError> {
        let mut view = self.view(&[]);
        let head = entry(&mut view, name, head).await?;
        let entries = view
            .run(|blocks| log::history(&head, limit, blocks))
            .await?;
        self.keep(view).await?;
        Ok(entries)
    }

    /// What changed from the list at the entry `old` to the list at the entry `new`, both of `did`: at most
    /// `limit` changes behind the key `after`. Without `old` everything is new. Where nothing that was seen of the name
    /// before leads to the entries, it is resolved.
    ///
    /// # Errors
    /// An entry is not one of `did`, [`ListError::Unproven`] where nothing shows that it is, the DID does not resolve, or a
    /// block cannot be had.
    pub async fn diff(
        &self,
        did: &Did,
        old: Option<&Cid>,
        new: &Cid,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<DiffPage, ListError> {
        let mut view = self.view(&[]);
        let old = match old {
            Some(old) => self.proven_entry(&mut view, did, old).await?.root(),
            None => None,
        };
        let new = self.proven_entry(&mut view, did, new).await?.root();
        let page = view
            .run(|blocks| tree::diff(old, new, after, limit, blocks))
            .await?;
        self.keep(view).await?;
        Ok(page)
    }

    /// Stages what makes the labels that the newest own entry has changed what they were before it, and gives these changes.
    /// A label that was changed since stays. None where the newest entry is a merge or a compaction, or changes no label.
    ///
    /// # Errors
    /// There is no current identity, nothing was signed yet, a row of the store is damaged, or a block cannot be had.
    pub async fn revert(&self) -> Result<Vec<Op>, ListError> {
        let name = self.identity().await?.ok_or(ListError::NoIdentity)?.name;
        self.mend_clock().await?;
        let head = self.own_head(&name).await?.ok_or(ListError::Empty)?;
        let mut view = self.view(&[]);
        let newest = entry(&mut view, &name, &head).await?;
        if newest.kind() != EntryKind::Change {
            return Ok(Vec::new());
        }
        let before = match newest.prev().first() {
            Some(before) => entry(&mut view, &name, before).await?.root(),
            None => None,
        };
        let waiting = self.read_staged(&name).await?.whole()?.changes;
        let waiting: HashSet<Key> = waiting.iter().map(DatedOp::key).collect();
        let (mut ops, mut after) = (Vec::new(), None);
        loop {
            let page = view
                .run(|blocks| tree::diff(newest.root(), before, after.as_ref(), PAGE_ROWS, blocks))
                .await?;
            let changes = page.items.into_iter();
            let changes = changes.filter(|change| !waiting.contains(&change.key));
            ops.extend(changes.map(|change| change.after.map_or(Op::Remove(change.key), Op::Set)));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        self.keep(view).await?;
        if !ops.is_empty() {
            self.stage(&ops).await?;
        }
        Ok(ops)
    }

    /// The entry `cid` of the log of `did`. Whoever asks for it may have its CID from anybody, so either the key of the name
    /// signed it, or the own head, a record seen before or one that is resolved now leads to it.
    async fn proven_entry(
        &self,
        view: &mut View<'_, S>,
        did: &Did,
        cid: &Cid,
    ) -> Result<Entry, ListError> {
        let name = did.name();
        let found = entry(view, &name, cid).await?;
        if found.is_signed_by_name(&name) {
            return Ok(found);
        }
        let mark = self.shared.local.mark(&name).await?;
        let known = [
            self.own_head(&name).await?,
            mark.and_then(|record| record.head()),
        ];
        for head in known.into_iter().flatten() {
            if has_entry(view, &name, &head, &found).await? {
                return Ok(found);
            }
        }
        let head = self.resolve_list(did, &[]).await?.head;
        if !known.contains(&Some(head)) && has_entry(view, &name, &head, &found).await? {
            return Ok(found);
        }
        Err(ListError::Unproven {
            cid: Box::new(*cid),
        })
    }

    pub(super) fn view(&self, more: &[NodeUrl]) -> View<'_, S> {
        View::new(&self.shared.store, self.sources(more))
    }

    pub(super) async fn keep(&self, view: View<'_, S>) -> Result<(), StoreError> {
        match view.keep() {
            Some(changes) => self.shared.store.commit(changes).await,
            None => Ok(()),
        }
    }

    /// Fetches the whole log at `head` and makes it part of the own one: adopts it when it builds on the own
    /// head, merges when both have gone on. Without an identity nothing can be merged: then the blocks are kept,
    /// and the next publish merges.
    pub(super) async fn take_in(
        &self,
        identity: Option<&Identity>,
        name: &Name,
        head: Cid,
        nodes: &[NodeUrl],
    ) -> Result<(), ListError> {
        let own = self.own_head(name).await?;
        if own == Some(head) {
            return Ok(());
        }
        self.fetch_log(name, &head, nodes).await?;
        let store = &self.shared.store;
        let mut view = self.view(nodes);
        let theirs = entry(&mut view, name, &head).await?;
        let adopt = Changes::new().set(rows::head_key(name), head.to_bytes());
        let Some(own) = own else {
            return Ok(store.commit(adopt).await?);
        };
        let ours = entry(&mut view, name, &own).await?;
        let relation = view
            .run(|blocks| log::relation(&ours, &theirs, blocks))
            .await?;
        match relation {
            Relation::Same | Relation::Older => return Ok(()),
            Relation::Newer => return Ok(store.commit(adopt).await?),
            // Whoever compacted had what was published, so only an unpublished head has something of its own.
            Relation::NewerCompacted if self.is_published(name, &own).await? => {
                return Ok(store.commit(adopt).await?);
            }
            Relation::NewerCompacted | Relation::Concurrent => {}
        }
        let Some(identity) = identity else {
            return Ok(());
        };
        let newer = if theirs.clock() > ours.clock() {
            &theirs
        } else {
            &ours
        };
        let author = author(identity, *newer.document());
        let document = view.block(newer.document()).await?;
        let (heads, now) = ([ours, theirs], rt::now());
        let merged = view
            .run(|blocks| log::merge(&author, &heads, now, blocks))
            .await?;
        let signed = Signed::new(&merged.entry, merged.added, &document, None);
        let changes = keep_entry(Changes::new(), name, &signed, [own, head])?;
        Ok(store.commit(changes).await?)
    }

    /// Signs changes as the entry after the own head; those that are older than what the list says are dropped, and their
    /// labels given as well.
    pub(super) async fn append(
        &self,
        identity: &Identity,
        name: &Name,
        own: Option<Cid>,
        changes: Vec<DatedOp>,
        document: &Block,
    ) -> Result<(Signed, Vec<Key>), ListError> {
        let mut view = self.view(&[]);
        let head = match own {
            Some(own) => Some(entry(&mut view, name, &own).await?),
            None => None,
        };
        if changes.len() > MANY_CHANGES {
            view.warm(head.as_ref().and_then(Entry::root)).await?;
        }
        let author = author(identity, *document.cid());
        let outdated = match &head {
            Some(head) => outdated(&mut view, head, &author, &changes).await?,
            None => Vec::new(),
        };
        let now = rt::now();
        let appended = view
            .run(|blocks| log::append_dated(&author, head.as_ref(), changes.clone(), now, blocks))
            .await?;
        let signed = Signed::new(&appended.entry, appended.added, document, head.as_ref());
        Ok((signed, outdated))
    }

    async fn is_published(&self, name: &Name, head: &Cid) -> Result<bool, StoreError> {
        for key in self
            .shared
            .store
            .state_keys(&rows::node_prefix(name))
            .await?
        {
            if let Some(row) = self.shared.store.state(&key).await?
                && Acknowledged::from_row(&key, &row)?.head == *head
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Nobody to fetch from.
    pub(super) fn offline(&self) -> Exchange {
        let config = &self.shared.config;
        Exchange::new(
            self.shared.http.clone(),
            Vec::new(),
            config.backoff,
            config.fetch,
        )
    }
}

impl Signed {
    /// The size of its blocks, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let blocks = self.blocks.iter().chain([&self.entry]);
        blocks.map(|block| block.bytes().len()).sum()
    }

    /// An entry that follows `before`; its document goes along when none of those had it.
    pub(super) fn new(
        entry: &Entry,
        mut added: Vec<Block>,
        document: &Block,
        before: Option<&Entry>,
    ) -> Self {
        added.retain(|block| block.cid() != entry.cid());
        if before.is_none_or(|before| before.document() != document.cid()) {
            added.push(document.clone());
        }
        Self {
            entry: entry.block().clone(),
            blocks: added,
        }
    }
}

/// Whether the log at `head` has an entry. What is not to be had of that log, such as what was before a compaction, shows
/// nothing.
async fn has_entry<S: BlockStore>(
    view: &mut View<'_, S>,
    name: &Name,
    head: &Cid,
    older: &Entry,
) -> Result<bool, ListError> {
    let head = match entry(view, name, head).await {
        Ok(head) => head,
        Err(ListError::Fetch(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    match view
        .run(|blocks| log::builds_on(&head, older, blocks))
        .await
    {
        Ok(has) => Ok(has),
        Err(ViewError::Fetch(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The entry `cid` of the log of `name`: signed by a key that its DID document lists. That speaks for the identity only where
/// `cid` comes from its record, from the own head, or from an entry that does.
pub(super) async fn entry<S: BlockStore>(
    view: &mut View<'_, S>,
    name: &Name,
    cid: &Cid,
) -> Result<Entry, ListError> {
    let block = view.block(cid).await?;
    let refused = |source| ListError::Entry {
        cid: Box::new(*cid),
        source: Box::new(source),
    };
    let unverified = UnverifiedEntry::parse(&block).map_err(refused)?;
    let document = view.block(unverified.document()).await?;
    unverified
        .verify(name, &document, rt::now())
        .map_err(refused)
}

/// The DID document of an entry.
pub(super) async fn document_of<S: BlockStore>(
    view: &mut View<'_, S>,
    entry: &Entry,
) -> Result<DidDocument, ListError> {
    let block = view.block(entry.document()).await?;
    Ok(DidDocument::from_block(&block)?)
}

/// Verifies every entry of the log at `head`: who signed it, and that it follows from those before it.
pub(super) async fn verify_log<S: BlockStore>(
    view: &mut View<'_, S>,
    name: &Name,
    head: &Cid,
) -> Result<(), ListError> {
    let head = entry(view, name, head).await?;
    let all = view
        .run(|blocks| log::history(&head, usize::MAX, blocks))
        .await?;
    for linked in all {
        let verified = entry(view, name, linked.cid()).await?;
        view.run(|blocks| log::follows(&verified, blocks)).await?;
    }
    Ok(())
}

/// The labels of which the list at `head` has a later change than the last of these, each once.
async fn outdated<S: BlockStore>(
    view: &mut View<'_, S>,
    head: &Entry,
    author: &Author<'_>,
    changes: &[DatedOp],
) -> Result<Vec<Key>, ListError> {
    let is_older = |change: &DatedOp| change.clock <= head.clock();
    if !changes.iter().any(is_older) {
        return Ok(Vec::new());
    }
    let last: BTreeMap<Key, &DatedOp> = changes
        .iter()
        .map(|change| (change.key(), change))
        .collect();
    let older = last.into_values().filter(|change| is_older(change));
    let older: Vec<DatedOp> = older.cloned().collect();
    let device = DeviceTag::from(&author.signer.public());
    let effective = view
        .run(|blocks| log::in_effect(Some(head), older.clone(), device, blocks))
        .await?;
    let effective: HashSet<Key> = effective.iter().map(DatedOp::key).collect();
    let keys = older.iter().map(DatedOp::key);
    Ok(keys.filter(|key| !effective.contains(key)).collect())
}

pub(super) fn author(identity: &Identity, document: Cid) -> Author<'_> {
    Author {
        did: identity.did(),
        signer: identity.signer(),
        document,
    }
}
