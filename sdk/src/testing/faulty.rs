//! A store whose process dies at a chosen commit.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use perennis_shared::cid::{Block, Cid};

use crate::store::{BlockStore, Changes, RowsCheck, StoreError};

/// On which side of the fatal commit the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Nothing of the commit is kept.
    Before,
    /// The commit is kept, but its caller never hears of it.
    After,
}

/// A store that works until a commit, and from then on fails at everything, as for a process that is gone.
/// What was kept is in the store within, for the next process to open.
#[derive(Clone)]
pub struct Faulty<S> {
    within: S,
    plan: Arc<Mutex<Plan>>,
}

struct Plan {
    commits_left: usize,
    death: Death,
    is_dead: bool,
}

impl<S> Faulty<S> {
    /// Dies at the commit that follows `commits` good ones.
    #[must_use]
    pub fn new(within: S, commits: usize, death: Death) -> Self {
        let plan = Plan {
            commits_left: commits,
            death,
            is_dead: false,
        };
        Self {
            within,
            plan: Arc::new(Mutex::new(plan)),
        }
    }

    /// Whether the fatal commit has come.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.plan.lock().is_dead
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_dead() {
            return Err(dead());
        }
        Ok(())
    }
}

impl<S: BlockStore> BlockStore for Faulty<S> {
    async fn block(&self, cid: &Cid) -> Result<Option<Block>, StoreError> {
        self.check()?;
        self.within.block(cid).await
    }

    async fn blocks(&self, cids: &[Cid]) -> Result<Vec<Option<Block>>, StoreError> {
        self.check()?;
        self.within.blocks(cids).await
    }

    async fn has(&self, cid: &Cid) -> Result<bool, StoreError> {
        self.check()?;
        self.within.has(cid).await
    }

    async fn commit(&self, changes: Changes) -> Result<(), StoreError> {
        self.check()?;
        let death = {
            let mut plan = self.plan.lock();
            if plan.commits_left > 0 {
                plan.commits_left -= 1;
                None
            } else {
                plan.is_dead = true;
                Some(plan.death)
            }
        };
        match death {
            None => self.within.commit(changes).await,
            Some(Death::Before) => Err(dead()),
            Some(Death::After) => {
                self.within.commit(changes).await?;
                Err(dead())
            }
        }
    }

    async fn state(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.check()?;
        self.within.state(key).await
    }

    async fn state_keys(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.check()?;
        self.within.state_keys(prefix).await
    }

    async fn check_rows(&self) -> Result<RowsCheck, StoreError> {
        self.check()?;
        self.within.check_rows().await
    }

    async fn cids(&self, after: Option<&Cid>, limit: usize) -> Result<Vec<Cid>, StoreError> {
        self.check()?;
        self.within.cids(after, limit).await
    }
}

fn dead() -> StoreError {
    StoreError::Backend {
        action: "answer",
        source: "the process is gone".into(),
    }
}
