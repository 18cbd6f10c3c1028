//! Handing what was published to nodes, until each has acknowledged it.
//!
//! The outbox names the record to deliver and the nodes that still lack it. It is written in the commit that
//! makes a publish durable here and shrinks by one node in the commit that records its acknowledgement, so an
//! interruption at any point costs at most a message sent twice. Delivering needs no identity: the record is
//! signed.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use perennis_rt::{self as rt, BoxFuture};
use perennis_shared::{
    cid::{Block, Cid},
    codec::car::CarError,
    error::{ErrorKind, Retryable},
    ipns::{Ladder, Name, Record},
    limits::LimitExceeded,
    taglist::Key,
    time::Timestamp,
};

use super::{
    Client,
    message::{self, Reply},
    rows::{self, Acknowledged, Outbox, RowValue},
};
use crate::{
    exchange::{FetchError, Walk},
    node_url::NodeUrl,
    remote::{BearerToken, Refusal, RemoteError, with_retries},
    store::{BlockStore, Changes, StoreError},
    tokens::NodeTokens,
};

/// Messages to one node within one delivery: each further one carries blocks the node said it lacks.
const ROUNDS: usize = 4;

/// What became of a publish.
#[derive(Clone, Debug)]
pub struct PublishOutcome {
    /// The name.
    pub name: Name,
    /// The record's sequence.
    pub sequence: u64,
    /// The newest log entry.
    pub head: Cid,
    /// Until when the name resolves without being renewed.
    pub valid_until: Timestamp,
    /// Rungs of the renewal ladder that were sent along.
    pub rungs: usize,
    /// Until when the name resolves if a node that stored this releases every rung; the record's end without any.
    pub alive_until: Timestamp,
    /// Each node and what it answered.
    pub nodes: Vec<NodeOutcome>,
    /// Labels of which another device had published a later change than the one that waited here: that one was not made.
    pub outdated: Vec<Key>,
}

/// What one node answered.
#[derive(Clone, Debug)]
pub struct NodeOutcome {
    /// The node.
    pub url: NodeUrl,
    /// Whether it holds everything durably.
    pub stored: bool,
    /// Why it does not.
    pub error: Option<Arc<DeliverError>>,
}

/// Why a node has not acknowledged a message.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The node failed or refused.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The node has seen something newer, from another device of this identity.
    #[error("the node holds something newer ({}): publish again to merge it", .0.code)]
    Superseded(Refusal),
    /// The node keeps lacking blocks that were sent.
    #[error("the node lacks block {cid} although it was sent")]
    Insatiable {
        /// One of the blocks.
        cid: Box<Cid>,
    },
    /// A block of the own list is not here any more.
    #[error("block {cid} of the own list is not here; check the backup")]
    Incomplete {
        /// The block.
        cid: Box<Cid>,
    },
    /// A block of the own list cannot be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The message cannot be made.
    #[error("the message cannot be made")]
    Car(#[from] CarError),
    /// The record is too large for a block.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DeliverError {
    /// A stable name for scripts and for JavaScript.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Remote(error) => error.code(),
            Self::Superseded(_) => "superseded",
            Self::Insatiable { .. } => "node_lacks_blocks",
            Self::Incomplete { .. } => "block_lost",
            Self::Fetch(error) => error.code(),
            Self::Car(_) | Self::Limit(_) => "message_too_large",
            Self::Store(error) => error.code(),
        }
    }
}

impl Retryable for DeliverError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Remote(error) => error.kind(),
            Self::Superseded(_) => ErrorKind::Retry,
            Self::Insatiable { .. } | Self::Car(_) | Self::Limit(_) => ErrorKind::Reject,
            Self::Incomplete { .. } => ErrorKind::Corrupt,
            Self::Fetch(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

impl<S: BlockStore + 'static> Client<S> {
    /// Sends what was published before to the nodes that have not acknowledged it. None when nothing waits.
    ///
    /// # Errors
    /// The store fails. What each node answers is in the outcome.
    pub async fn deliver(&self) -> Result<Option<PublishOutcome>, StoreError> {
        let _publishing = self.shared.publishing.lock().await;
        let Some(facts) = self.identity().await? else {
            return Ok(None);
        };
        match self.outbox(&facts.name).await? {
            Some(outbox) => {
                let none = NodeTokens::default();
                let sent = self
                    .send(&facts.name, &outbox, &outbox.waiting, &none)
                    .await;
                sent.map(Some)
            }
            None => Ok(None),
        }
    }

    pub(super) async fn outbox(&self, name: &Name) -> Result<Option<Outbox>, StoreError> {
        let key = rows::outbox_key(name);
        let row = self.shared.store.state(&key).await?;
        row.map(|bytes| Outbox::from_row(name, &key, &bytes))
            .transpose()
    }

    /// Sends to all these nodes at once and records each acknowledgement as it comes.
    pub(super) async fn send(
        &self,
        name: &Name,
        outbox: &Outbox,
        to: &[NodeUrl],
        tokens: &NodeTokens,
    ) -> Result<PublishOutcome, StoreError> {
        let (record, ladder) = (&outbox.record, &outbox.ladder);
        let head = record.head().unwrap_or_default();
        let mut under_way = FuturesUnordered::new();
        for (index, url) in to.iter().enumerate() {
            let token = tokens.of(url).or(self.shared.config.tokens.of(url));
            let sent = self.send_to(name, outbox, &head, url, token);
            let sending = async move { (index, sent.await) };
            let sending: BoxFuture<'_, _> = Box::pin(sending);
            under_way.push(sending);
        }
        let mut nodes: Vec<Option<NodeOutcome>> = to.iter().map(|_| None).collect();
        while let Some((index, sent)) = under_way.next().await {
            let url = to[index].clone();
            let error = match sent {
                Ok(()) => {
                    self.acknowledge(name, record, &head, &url).await?;
                    None
                }
                Err(error) => {
                    tracing::debug!(%url, %error, "a node has not stored what was published");
                    Some(Arc::new(error))
                }
            };
            nodes[index] = Some(NodeOutcome {
                url,
                stored: error.is_none(),
                error,
            });
        }
        Ok(PublishOutcome {
            name: *name,
            sequence: record.sequence(),
            head,
            valid_until: record.validity(),
            rungs: ladder.rungs().len(),
            alive_until: ladder.alive_until().unwrap_or(record.validity()),
            nodes: nodes.into_iter().flatten().collect(),
            outdated: Vec::new(),
        })
    }

    async fn send_to(
        &self,
        name: &Name,
        outbox: &Outbox,
        head: &Cid,
        url: &NodeUrl,
        token: Option<&BearerToken>,
    ) -> Result<(), DeliverError> {
        let (record, ladder) = (&outbox.record, &outbox.ladder);
        let known = self.acknowledged(name, url).await?;
        let mut blocks = self
            .unknown_to(name, head, known.map(|known| known.head))
            .await?;
        let mut sent: HashSet<Cid> = blocks.iter().copied().collect();
        for round in 0..ROUNDS {
            let body = self.message(record, ladder, head, &blocks).await?;
            let shared = &self.shared;
            let deadline = shared.config.publish_time;
            let reply = with_retries(&shared.config.backoff, || {
                let request = message::request(url, name, body.clone()).within(deadline);
                let request = match token {
                    Some(token) => token.carried_by(request),
                    None => request,
                };
                message::send(&shared.http, request, record)
            });
            let missing = match reply.await? {
                Reply::Stored => return Ok(()),
                Reply::Superseded(refusal) => return Err(DeliverError::Superseded(refusal)),
                Reply::Missing(missing) => missing,
            };
            if let Some(cid) = missing.iter().find(|cid| sent.contains(cid)) {
                return Err(DeliverError::Insatiable {
                    cid: Box::new(*cid),
                });
            }
            // It cannot know what lies below the blocks it lacks, so those are sent with all below them. It may
            // also not list all it lacks: the next time it is given everything.
            let roots = if round == 0 {
                &missing[..]
            } else {
                &[*head][..]
            };
            let below = self.reachable(roots, &HashSet::new()).await?;
            blocks.extend(below.into_iter().filter(|cid| sent.insert(*cid)));
        }
        let cid = Box::new(*head);
        Err(DeliverError::Insatiable { cid })
    }

    async fn message(
        &self,
        record: &Record,
        ladder: &Ladder,
        head: &Cid,
        blocks: &[Cid],
    ) -> Result<Bytes, DeliverError> {
        let record = message::record_block(record)?;
        let rungs = ladder.rungs().iter().map(message::record_block);
        let rungs = rungs.collect::<Result<Vec<Block>, _>>()?;
        let mut writer = message::writer(head, &record, &rungs)?;
        for several in blocks.chunks(256) {
            for block in self.present(several).await? {
                writer.push(&block);
            }
        }
        rungs.iter().for_each(|rung| writer.push(rung));
        writer.push(&record);
        Ok(writer.take().into())
    }

    /// The blocks of the list at `head` that a node which has `known` is likely to lack.
    async fn unknown_to(
        &self,
        name: &Name,
        head: &Cid,
        known: Option<Cid>,
    ) -> Result<Vec<Cid>, DeliverError> {
        let stop: HashSet<Cid> = known.into_iter().collect();
        let mut unknown = Vec::new();
        let mut entries = vec![*head];
        while let Some(entry) = entries.pop() {
            if stop.contains(&entry) {
                continue;
            }
            match self.added(name, &entry).await? {
                Some(added) => {
                    unknown.extend(added.blocks);
                    entries.extend(added.previous);
                }
                None => unknown.extend(self.reachable(&[entry], &stop).await?),
            }
        }
        let mut seen = HashSet::new();
        unknown.retain(|cid| seen.insert(*cid));
        Ok(unknown)
    }

    /// All that came with an own entry; none where not every row of it is here.
    async fn added(&self, name: &Name, entry: &Cid) -> Result<Option<rows::Added>, StoreError> {
        let key = rows::added_key(name, entry);
        let Some(row) = self.shared.store.state(&key).await? else {
            return Ok(None);
        };
        let mut added = rows::Added::from_row(&key, &row)?;
        let parts: Vec<String> = added.part_keys(name, entry).collect();
        for key in parts {
            let Some(row) = self.shared.store.state(&key).await? else {
                return Ok(None);
            };
            added
                .blocks
                .extend(rows::Added::from_row(&key, &row)?.blocks);
        }
        Ok(Some(added))
    }

    /// Everything in the own store below `roots`, these among them, except what only lies below `stop`.
    pub(super) async fn reachable(
        &self,
        roots: &[Cid],
        stop: &HashSet<Cid>,
    ) -> Result<Vec<Cid>, DeliverError> {
        let mut walk = Walk::new(roots);
        let mut reachable = Vec::new();
        loop {
            let mut cids = walk.next_several();
            if cids.is_empty() {
                return Ok(reachable);
            }
            cids.retain(|cid| !stop.contains(cid));
            for block in self.present(&cids).await? {
                walk.follow(&block)?;
                reachable.push(*block.cid());
            }
        }
    }

    /// Own blocks that must be here.
    async fn present(&self, cids: &[Cid]) -> Result<Vec<Block>, DeliverError> {
        let found = self.shared.store.blocks(cids).await?;
        let or_lost = |(block, cid): (Option<Block>, &Cid)| {
            block.ok_or_else(|| DeliverError::Incomplete {
                cid: Box::new(*cid),
            })
        };
        found.into_iter().zip(cids).map(or_lost).collect()
    }

    pub(super) async fn acknowledged(
        &self,
        name: &Name,
        url: &NodeUrl,
    ) -> Result<Option<Acknowledged>, StoreError> {
        let key = rows::node_key(name, url);
        let row = self.shared.store.state(&key).await?;
        row.map(|bytes| Acknowledged::from_row(&key, &bytes))
            .transpose()
    }

    /// Takes a node out of the outbox, in the commit that says what it has.
    async fn acknowledge(
        &self,
        name: &Name,
        record: &Record,
        head: &Cid,
        url: &NodeUrl,
    ) -> Result<(), StoreError> {
        let _writing = self.shared.writing.lock().await;
        let has = Acknowledged {
            head: *head,
            sequence: record.sequence(),
            at: rt::now(),
        };
        let key = rows::node_key(name, url);
        let row = has.to_row(&key)?;
        let mut changes = Changes::new().set(key, row);
        if let Some(mut outbox) = self.outbox(name).await?
            && outbox.record == *record
        {
            outbox.waiting.retain(|waiting| waiting != url);
            if outbox.waiting.is_empty() {
                changes = changes.clear(rows::outbox_key(name));
                let added = self
                    .shared
                    .store
                    .state_keys(&rows::added_prefix(name))
                    .await?;
                changes = added.into_iter().fold(changes, Changes::clear);
            } else {
                let key = rows::outbox_key(name);
                let row = outbox.to_row(&key)?;
                changes = changes.set(key, row);
            }
        }
        self.shared.store.commit(changes).await
    }
}
