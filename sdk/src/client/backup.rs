//! Whether everything is safe: here, and at the nodes; once, or again and again.

use std::{future::Future, sync::Arc, time::Duration};

use perennis_rt::{self as rt, MaybeSend, MaybeSync, Repeating};
use perennis_shared::{
    cid::Cid,
    ipns::Name,
    time::{Millis, Timestamp},
};

use super::{
    Client, ListError,
    rows::{self, Acknowledged, RowValue},
};
use crate::{
    exchange::{FetchError, Walk},
    node_url::NodeUrl,
    store::{BlockStore, Changes, StoreError},
};

/// The state of the current identity's data.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The name.
    pub name: Name,
    /// The newest own entry here; none before the first publish.
    pub head: Option<Cid>,
    /// The sequence of the newest record.
    pub sequence: Option<u64>,
    /// Until when that record is valid.
    pub valid_until: Option<Timestamp>,
    /// Changes that wait to be signed.
    pub staged: usize,
    /// What each node that ever acknowledged has.
    pub nodes: Vec<NodeBackup>,
    /// Nodes that were published to and have not acknowledged the newest record.
    pub waiting: Vec<NodeUrl>,
}

/// What a node acknowledged last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeBackup {
    /// The node.
    pub url: NodeUrl,
    /// The sequence of the record.
    pub sequence: u64,
    /// When it was acknowledged.
    pub at: Millis,
    /// Whether that is the newest state.
    pub is_current: bool,
}

/// What checking every own block found.
#[derive(Clone, Debug, Default)]
pub struct BackupCheck {
    /// Blocks that are here and sound, those brought back among them.
    pub blocks: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that were lost or damaged here and were fetched again.
    pub repaired: Vec<Cid>,
    /// Blocks that are lost or damaged here and could not be had, and why.
    pub lost: Vec<(Cid, Arc<FetchError>)>,
}

impl<S: BlockStore + 'static> Client<S> {
    /// What is kept where, without reading a block or asking anybody.
    ///
    /// # Errors
    /// There is no current identity, or the store fails.
    pub async fn backup(&self) -> Result<Backup, ListError> {
        let name = self.identity().await?.ok_or(ListError::NoIdentity)?.name;
        let record = self.shared.local.mark(&name).await?;
        let sequence = record.as_ref().map(|record| record.sequence());
        let mut nodes = Vec::new();
        let prefix = rows::node_prefix(&name);
        for key in self.shared.store.state_keys(&prefix).await? {
            let url = key.strip_prefix(&prefix).and_then(|url| url.parse().ok());
            let row = self.shared.store.state(&key).await?;
            if let (Some(url), Some(row)) = (url, row) {
                let has = Acknowledged::from_row(&key, &row)?;
                nodes.push(NodeBackup {
                    url,
                    sequence: has.sequence,
                    at: has.at,
                    is_current: Some(has.sequence) == sequence,
                });
            }
        }
        Ok(Backup {
            head: self.own_head(&name).await?,
            sequence,
            valid_until: record.map(|record| record.validity()),
            staged: self.waiting(&name).await?.count,
            nodes,
            waiting: self
                .outbox(&name)
                .await?
                .map(|outbox| outbox.waiting)
                .unwrap_or_default(),
            name,
        })
    }

    /// Reads every block of the own list, checks it, and fetches again from the configured nodes what is
    /// lost or damaged here.
    ///
    /// # Errors
    /// There is no current identity, a block breaks its codec, or the store fails.
    pub async fn check_backup(&self) -> Result<BackupCheck, ListError> {
        let name = self.identity().await?.ok_or(ListError::NoIdentity)?.name;
        let mut check = BackupCheck::default();
        let Some(head) = self.own_head(&name).await? else {
            return Ok(check);
        };
        let exchange = self.sources(&[]);
        let mut walk = Walk::new(&[head]);
        while let Some(cid) = walk.next() {
            let block = match self.shared.store.block(&cid).await {
                Ok(Some(block)) => block,
                Ok(None) | Err(StoreError::Corrupt { .. }) => match exchange.block(&cid).await {
                    Ok(block) => {
                        let changes = Changes::new().delete([cid]).put([block.clone()]);
                        self.shared.store.commit(changes).await?;
                        check.repaired.push(cid);
                        block
                    }
                    Err(error) => {
                        check.lost.push((cid, Arc::new(error)));
                        continue;
                    }
                },
                Err(error) => return Err(error.into()),
            };
            check.blocks += 1;
            check.bytes += block.bytes().len() as u64;
            walk.follow(&block)?;
        }
        Ok(check)
    }

    /// One step of a backup: sends what still waits in the outbox, then checks every own block
    /// ([`Client::check_backup`]). That a node does not answer is no error: the next step tries again.
    ///
    /// # Errors
    /// As [`Client::check_backup`].
    pub async fn back_up(&self) -> Result<BackupCheck, ListError> {
        self.deliver().await?;
        self.check_backup().await
    }

    /// Backs up every `period` until the handle is dropped, and tells what each step found. The first step comes
    /// after one period. On a native target it must be called within a tokio runtime.
    pub fn start_backup(
        &self,
        period: Duration,
        tell: impl Fn(Result<BackupCheck, ListError>) + MaybeSend + MaybeSync + 'static,
    ) -> Repeating {
        self.start_backup_by(move || rt::sleep(period), tell)
    }

    /// [`Client::start_backup`] with a timer of the caller's: a step is made whenever what it gives has ended.
    pub fn start_backup_by<T: Future<Output = ()> + MaybeSend + 'static>(
        &self,
        timer: impl FnMut() -> T + MaybeSend + 'static,
        tell: impl Fn(Result<BackupCheck, ListError>) + MaybeSend + MaybeSync + 'static,
    ) -> Repeating {
        let (client, tell) = (self.clone(), Arc::new(tell));
        rt::every(timer, move || {
            let (client, tell) = (client.clone(), Arc::clone(&tell));
            async move { tell(client.back_up().await) }
        })
    }

    /// Drops blocks that neither the own list nor, with `keep`, a list that was read needs any more. Gives their number.
    ///
    /// # Errors
    /// A block of what is kept cannot be read, or the store fails: then nothing is dropped.
    pub async fn clean(&self, keep: &[Cid]) -> Result<usize, ListError> {
        const PAGE: usize = 4_096;
        let _publishing = self.shared.publishing.lock().await;
        let mut roots = keep.to_vec();
        if let Some(facts) = self.identity().await? {
            roots.extend(self.own_head(&facts.name).await?);
            let mark = self.shared.local.mark(&facts.name).await?;
            roots.extend(mark.and_then(|record| record.head()));
        }
        let mut needed = std::collections::HashSet::new();
        let mut walk = Walk::new(&roots);
        while let Some(cid) = walk.next() {
            if let Some(block) = self.shared.store.block(&cid).await? {
                walk.follow(&block)?;
            }
            needed.insert(*cid.hash());
        }
        let mut dropped = 0;
        let mut after = None;
        loop {
            let page = self.shared.store.cids(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(dropped);
            };
            after = Some(*last);
            let unneeded: Vec<Cid> = page
                .into_iter()
                .filter(|cid| !needed.contains(cid.hash()))
                .collect();
            dropped += unneeded.len();
            self.shared
                .store
                .commit(Changes::new().delete(unneeded))
                .await?;
        }
    }
}
