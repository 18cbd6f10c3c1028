//! Publishing: merge what is newer, sign, keep, send.
//!
//! The order is what makes it safe. First the network is asked for the newest head; what another device has
//! published is fetched and merged. Then one entry for all staged changes and one record are signed, with a
//! sequence above every one seen. Blocks, head, record and outbox are kept in one durable commit, which also
//! ends the staging. Only then anything is sent. A node that meanwhile took a record of another device
//! says so, and the whole is done again on top of that. More changes than one message has room for become several entries, one
//! after the other; what is cut off in between goes on waiting.

use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::{
    cid::{Block, Cid},
    did::{DidDocument, DocumentError, Identity},
    error::{ErrorKind, Retryable},
    ipns::{self, Ladder, LadderError, LadderPlan, Name, Record, RecordError, RecordFields},
    taglist::Key,
    time::Timestamp,
};

use super::{
    Client, DeliverError, IdentityError, IdentityFacts, ListError, PublishOutcome, ResolveError,
    distinct,
    ledger::{Signed, document_of, entry},
    rows::{self, Added, Outbox},
};
use crate::{
    node_url::NodeUrl,
    router::{RouteError, mark_changes},
    store::{BlockStore, Changes, StoreError},
    tokens::NodeTokens,
};

/// How often a publish starts over because another device was faster.
const ATTEMPTS: usize = 4;
/// Largest new blocks of one entry, in bytes, where it can be cut: what nodes take by default in one message is a third more.
const PART_BYTES: usize = 24 << 20;
/// Most sources that a DID document lists by itself.
const SOURCES: usize = 8;

/// What a publish may be told.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// How long the record is valid: until then the name resolves without being renewed.
    pub lifetime: Duration,
    /// How long readers may use the record without asking again.
    pub ttl: Duration,
    /// Records that end later, which the nodes keep back and release one by one when the present one comes near its
    /// end, so that the name outlives its owner's absence. The next publish with a new head voids them. None: the name
    /// ends with its record.
    pub ladder: Option<LadderPlan>,
    /// Signs a record also where the present one would do, so that this lifetime, TTL and ladder hold from now on. Without it they
    /// hold from the next record that is needed: with a new head, or when half of the present one's life is over.
    pub renew: bool,
    /// Starts the log anew where most of what it records is dead ([`super::DEAD_PERCENT`]). Without it the whole history stays.
    pub compact: bool,
    /// Where the DID document says that blocks can be fetched. None adds the nodes that are published to.
    pub sources: Option<Vec<NodeUrl>>,
    /// Tokens of the nodes, each of which wins over that of [`ClientConfig::tokens`](super::ClientConfig::tokens). They are kept nowhere:
    /// [`Client::deliver`] has those of the client alone.
    pub tokens: NodeTokens,
}

impl Default for PublishOptions {
    /// Valid for 90 days, renewed by 12 rungs of 30 days, cached for 5 minutes.
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(90 * 24 * 60 * 60),
            ttl: Duration::from_secs(5 * 60),
            ladder: Some(LadderPlan::default()),
            renew: false,
            compact: true,
            sources: None,
            tokens: NodeTokens::default(),
        }
    }
}

/// Why nothing was published. What became of each node is no error: the outcome tells it.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No node was named.
    #[error("no node was named to publish to")]
    NoNode,
    /// The identity is not the one whose list is here.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What the network has newer cannot be read, so it cannot be merged.
    #[error(transparent)]
    List(#[from] ListError),
    /// What the network says about the own name cannot be used.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The record cannot be made.
    #[error("the record cannot be made")]
    Record(#[from] RecordError),
    /// The ladder cannot be made.
    #[error("the renewal ladder cannot be made")]
    Ladder(#[from] LadderError),
    /// The DID document cannot be made.
    #[error("the DID document cannot be made")]
    Document(#[from] DocumentError),
    /// The name has used up its sequence numbers.
    #[error("the name has used its last sequence number and cannot be published any more")]
    SequenceExhausted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PublishError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NoNode => "no_node",
            Self::Identity(error) => error.code(),
            Self::List(error) => error.code(),
            Self::Resolve(error) => error.code(),
            Self::Record(error) => error.code(),
            Self::Ladder(_) => "invalid_ladder",
            Self::Document(_) => "invalid_document",
            Self::SequenceExhausted => "sequence_exhausted",
            Self::Store(error) => error.code(),
        }
    }
}

impl Retryable for PublishError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoNode
            | Self::Record(_)
            | Self::Ladder(_)
            | Self::Document(_)
            | Self::SequenceExhausted => ErrorKind::Reject,
            Self::Identity(error) => error.kind(),
            Self::List(error) => error.kind(),
            Self::Resolve(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

impl<S: BlockStore + 'static> Client<S> {
    /// Signs what is staged and publishes the list to `nodes`, merging what other devices have published. Where that is too much
    /// for one message it is published in parts, as long as a node stores them; the outcome is of the last one.
    /// With nothing staged the record is delivered again where it is missing, and renewed when half of its
    /// life is over or [`PublishOptions::renew`] asks for it.
    ///
    /// When this returns, and already when sending begins, everything is durable here: what a node has not
    /// acknowledged stays in the outbox for [`Client::deliver`] or the next publish.
    ///
    /// # Errors
    /// Nothing could be signed. That no node has acknowledged is not an error, but told in the outcome.
    pub async fn publish(
        &self,
        identity: &Identity,
        nodes: &[NodeUrl],
        options: &PublishOptions,
    ) -> Result<PublishOutcome, PublishError> {
        if nodes.is_empty() {
            return Err(PublishError::NoNode);
        }
        let nodes = distinct(nodes.iter());
        let _publishing = self.shared.publishing.lock().await;
        self.expect_sound().await?;
        let facts = self.recognise_locked(identity).await?;
        self.mend_clock_locked().await?;
        let mut outdated = Vec::new();
        let mut renew = options.renew;
        loop {
            let published =
                self.publish_part(identity, &facts, &nodes, options, renew, &mut outdated);
            let outcome = published.await?;
            renew = false;
            let is_stored = outcome.nodes.iter().any(|node| node.stored);
            // Every part takes from what waits, so this ends.
            if !is_stored || self.waiting(&facts.name).await?.count == 0 {
                return Ok(PublishOutcome {
                    outdated,
                    ..outcome
                });
            }
        }
    }

    /// Publishes as much of what is staged as one message has room for.
    async fn publish_part(
        &self,
        identity: &Identity,
        facts: &IdentityFacts,
        nodes: &[NodeUrl],
        options: &PublishOptions,
        renew: bool,
        outdated: &mut Vec<Key>,
    ) -> Result<PublishOutcome, PublishError> {
        let mut last: Option<(Record, PublishOutcome)> = None;
        for _ in 0..ATTEMPTS {
            self.catch_up(identity, facts, nodes).await?;
            if options.compact {
                self.compact_if_due(identity, &facts.name).await?;
            }
            // Once: another attempt is for what is newer.
            let renew = renew && last.is_none();
            let (outbox, lost) = self.sign(identity, facts, nodes, options, renew).await?;
            outdated.extend(lost);
            if let Some((record, outcome)) = &last
                && *record == outbox.record
            {
                // The node speaks of something newer but does not show it: no reason to fail for the others.
                return Ok(outcome.clone());
            }
            let sent = self.send(&facts.name, &outbox, nodes, &options.tokens);
            let outcome = sent.await?;
            let is_superseded = outcome
                .nodes
                .iter()
                .any(|node| matches!(node.error.as_deref(), Some(DeliverError::Superseded(_))));
            if !is_superseded {
                return Ok(outcome);
            }
            last = Some((outbox.record, outcome));
        }
        // Other devices were faster each time. What is here is kept, and the nodes' answers tell it.
        last.map(|(_, outcome)| outcome).ok_or(PublishError::NoNode)
    }

    pub(super) async fn recognise_locked(
        &self,
        identity: &Identity,
    ) -> Result<IdentityFacts, IdentityError> {
        let _writing = self.shared.writing.lock().await;
        self.recognise(identity).await
    }

    /// Brings the own list up to what the network and imported records say.
    async fn catch_up(
        &self,
        identity: &Identity,
        facts: &IdentityFacts,
        nodes: &[NodeUrl],
    ) -> Result<(), PublishError> {
        let mut heads: Vec<Cid> = Vec::new();
        match self.resolve_list(&facts.did, nodes).await {
            Ok(resolved) => {
                heads.push(resolved.head);
                heads.extend(resolved.equivocation.and_then(|pair| pair.other.head()));
            }
            Err(ResolveError::Route(error)) if is_silence(&error) => {
                if let RouteError::Ended { record, .. } = &*error {
                    // What was published last goes on, though nobody resolves it any more.
                    self.shared.local.observe(&facts.name, record).await?;
                }
                tracing::debug!(%error, "nobody tells a newer head; going on with what is here");
            }
            Err(error) => return Err(error.into()),
        }
        let mark = self.shared.local.mark(&facts.name).await?;
        heads.extend(mark.and_then(|record| record.head()));
        for head in heads {
            self.take_in(Some(identity), &facts.name, head, nodes)
                .await?;
        }
        Ok(())
    }

    /// Makes entry and record, and keeps them with the outbox in one commit. Gives the labels whose changes came too late as well.
    async fn sign(
        &self,
        identity: &Identity,
        facts: &IdentityFacts,
        nodes: &[NodeUrl],
        options: &PublishOptions,
        renew: bool,
    ) -> Result<(Outbox, Vec<Key>), PublishError> {
        let _writing = self.shared.writing.lock().await;
        let name = &facts.name;
        let most = self.shared.config.publish_changes;
        let mut staged = self.read_staged_rows(name, most).await?;
        let own = self.own_head(name).await?;
        let (document, is_new_document) =
            self.document(identity, name, own, nodes, options).await?;
        let mut changes = Changes::new();
        let mut outdated = Vec::new();
        let head = match own {
            Some(head) if staged.is_empty() && !is_new_document => head,
            _ => {
                let signed = loop {
                    let ops = staged.iter().flat_map(|(_, ops)| ops).cloned().collect();
                    let appended = self.append(identity, name, own, ops, &document);
                    let (signed, lost) = appended.await?;
                    // Edits all over a long list change nodes that are far larger than they are.
                    if staged.len() > 1 && signed.bytes() > PART_BYTES {
                        staged.truncate(staged.len() / 2);
                        continue;
                    }
                    outdated = lost;
                    break signed;
                };
                changes = keep_entry(changes, name, &signed, own)?;
                let taken = staged.into_iter().map(|(key, _)| key);
                changes = taken.fold(changes, Changes::clear);
                *signed.entry.cid()
            }
        };
        let record = self.record(identity, name, head, options, renew).await?;
        let ladder = match &options.ladder {
            Some(plan) => Ladder::sign(identity.ipns_signer(), &record, plan)?,
            None => Ladder::default(),
        };
        let former = self.outbox(name).await?;
        let waiting = former.map(|outbox| outbox.waiting).unwrap_or_default();
        let undone = self.undone(name).await?.unwrap_or_default();
        let outbox = Outbox {
            record,
            ladder,
            waiting: distinct(nodes.iter().chain(&waiting).chain(&undone.waiting)),
        };
        // The mark must not be replaced by an older record that is being observed at the same time.
        let _observing = self.shared.local.hold().await;
        let mark = mark_changes(name, &outbox.record);
        changes.state.extend(mark.state);
        let key = rows::outbox_key(name);
        let row = outbox.to_row(&key)?;
        let changes = changes.set(key, row).clear(rows::undone_key(name));
        self.shared.store.commit(changes).await?;
        Ok((outbox, outdated))
    }

    /// The record for `head`: the one there is while it points there and has half of its life left, unless another is asked for.
    async fn record(
        &self,
        identity: &Identity,
        name: &Name,
        head: Cid,
        options: &PublishOptions,
        renew: bool,
    ) -> Result<Record, PublishError> {
        let now = rt::now();
        let mark = self.shared.local.mark(name).await?;
        let contradicted = self.shared.local.equivocation(name).await?;
        if let Some(mark) = &mark {
            let is_contradicted = contradicted.is_some_and(|pair| pair.kept == *mark);
            let renew_at = now + options.lifetime / 2;
            let is_good = !is_contradicted && !mark.is_expired(renew_at);
            if mark.head() == Some(head) && is_good && !renew {
                return Ok(mark.clone());
            }
        }
        let undone = self.undone(name).await?.map_or(0, |undone| undone.sequence);
        let known = mark.map_or(0, |mark| mark.sequence()).max(undone);
        let sequence = known.checked_add(1);
        let fields = RecordFields {
            value: &format!("/ipfs/{head}"),
            sequence: sequence.ok_or(PublishError::SequenceExhausted)?,
            validity: Timestamp::from(now + options.lifetime),
            ttl: options.ttl,
        };
        Ok(ipns::create(identity.ipns_signer(), &fields)?)
    }

    /// The DID document to publish, and whether it differs from the one of the own head.
    async fn document(
        &self,
        identity: &Identity,
        name: &Name,
        own: Option<Cid>,
        nodes: &[NodeUrl],
        options: &PublishOptions,
    ) -> Result<(Block, bool), PublishError> {
        let now = rt::now();
        let mut former = None;
        if let Some(own) = own {
            let mut view = self.view(nodes);
            let own = entry(&mut view, name, &own).await?;
            former = Some(document_of(&mut view, &own).await?);
        }
        let is_new = former.is_none();
        let mut document = former.unwrap_or_else(|| DidDocument::new(identity, now));
        let listed: Vec<String> = document.sources().map(str::to_owned).collect();
        let mut wanted: Vec<String> = match &options.sources {
            Some(sources) => sources.iter().map(NodeUrl::to_string).collect(),
            None => {
                let new = nodes.iter().map(NodeUrl::to_string);
                listed
                    .iter()
                    .cloned()
                    .chain(new.filter(|url| !listed.contains(url)))
                    .collect()
            }
        };
        wanted.truncate(SOURCES.max(listed.len()));
        let has_changed = wanted != listed;
        if has_changed {
            document.set_sources(&wanted, now)?;
        }
        Ok((document.to_block()?, is_new || has_changed))
    }
}

/// The changes that make a signed entry the own head.
pub(super) fn keep_entry(
    mut changes: Changes,
    name: &Name,
    signed: &Signed,
    previous: impl IntoIterator<Item = Cid>,
) -> Result<Changes, StoreError> {
    let entry = *signed.entry.cid();
    let blocks = || signed.blocks.iter().chain([&signed.entry]);
    let cids: Vec<Cid> = blocks().map(|block| *block.cid()).collect();
    for (key, row) in Added::rows(name, &entry, &cids, previous.into_iter().collect())? {
        changes = changes.set(key, row);
    }
    let changes = changes.put(blocks().cloned());
    Ok(changes.set(rows::head_key(name), entry.to_bytes()))
}

/// Nobody has a record, or nobody answered: nothing newer is known.
fn is_silence(error: &RouteError) -> bool {
    match error {
        RouteError::NotFound { .. } | RouteError::Ended { .. } | RouteError::Stale { .. } => true,
        other => other.kind() == ErrorKind::Retry || matches!(other, RouteError::Nobody { .. }),
    }
}
