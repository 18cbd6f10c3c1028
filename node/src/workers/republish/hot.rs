//! Names that have become hot: their next put is brought forward, since it was set when they were not.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use super::Republish;
use crate::storage::StorageError;
use crate::workers::timing::is_ahead;
use crate::workers::{Context, Parts, Step, Worker};

/// Time between two looks at what has become hot, unless the hot period is shorter.
const LOOK: Duration = Duration::from_secs(30);

pub(crate) struct HotWorker {
    republish: Arc<Republish>,
    /// Names that have become hot and have to be looked at again.
    waiting: Vec<Name>,
}

impl HotWorker {
    /// None where no name is put more often, or to nobody.
    pub(crate) fn if_on(parts: &Parts<'_>) -> Option<HotWorker> {
        let has_routers = !parts.republish.routers.is_empty();
        (has_routers && parts.config.ipns.hot.names > 0).then(|| HotWorker {
            republish: Arc::clone(parts.republish),
            waiting: Vec::new(),
        })
    }
}

impl Worker for HotWorker {
    type Error = Infallible;

    fn name(&self) -> String {
        "hot names".to_owned()
    }

    fn throttle(&self) -> String {
        "one name at a time".to_owned()
    }

    async fn step(&mut self, context: &mut Context) -> Result<Step, Infallible> {
        let pause = LOOK.min(self.republish.hot_period);
        let now = rt::now();
        let hot = {
            let mut demand = self.republish.demand.lock();
            self.waiting.extend(demand.take_heated());
            self.waiting.retain(|name| demand.is_hot(now, name));
            demand.hot_names()
        };
        self.republish.metrics.hot_names.set(hot);
        if !self.waiting.is_empty() {
            context.working(format!("{} names have become hot", self.waiting.len()));
        }
        for name in std::mem::take(&mut self.waiting) {
            match self.republish.bring_forward(name, now + pause).await {
                Ok(true) => context.stepped(),
                Ok(false) => self.waiting.push(name),
                Err(error) => context.failed(&error),
            }
        }
        Ok(Step::idle(pause))
    }
}

impl Republish {
    /// Makes a name due at once where its last put is longer ago than a hot name's may be. False when it has to be looked
    /// at again.
    async fn bring_forward(&self, name: Name, soon: Millis) -> Result<bool, StorageError> {
        let mut is_done = true;
        for target in &self.routers {
            let queued = self.storage.queued_puts(&target.url, vec![name]).await?;
            let Some(queued) = queued.into_iter().flatten().next() else {
                continue;
            };
            // What failed is tried again at its own pace, which is faster.
            let last_put = queued.put.last_put.filter(|_| queued.put.failures == 0);
            // A put that the clock says is to come makes the name due by itself: its next is even further ahead.
            let Some(last_put) = last_put.filter(|put| !is_ahead(*put, rt::now())) else {
                continue;
            };
            let due = last_put + self.hot_period;
            if queued.due <= due.max(soon) {
                continue;
            }
            if due > soon {
                is_done = false;
                continue;
            }
            // A record that comes in meanwhile makes it due at this moment too.
            self.storage
                .queue_put(target.queue, &name, rt::now(), ())
                .await?;
        }
        Ok(is_done)
    }
}
