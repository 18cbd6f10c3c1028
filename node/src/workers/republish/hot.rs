//! Names that have become hot: their next put is brought forward, since it was set when they were not.

use std::sync::Arc;
use std::time::Duration;

use perennis_rt as rt;
use perennis_shared::ipns::Name;
use perennis_shared::time::Millis;

use super::Republish;
use crate::shutdown::Stop;
use crate::storage::StorageError;
use crate::workers::{Ending, Worker, later};

/// Time between two looks at what has become hot, unless the hot period is shorter.
const LOOK: Duration = Duration::from_secs(30);

impl Republish {
    /// Brings forward what became hot, again and again.
    pub(in crate::workers) async fn run_hot(self: Arc<Self>, worker: Arc<Worker>, mut stop: Stop) {
        let _ending = Ending(Arc::clone(&worker));
        let pause = LOOK.min(self.hot_period);
        let mut waiting: Vec<Name> = Vec::new();
        loop {
            worker.waiting(Some(later(pause)));
            if stop.sleep(pause).await {
                return;
            }
            let now = rt::now();
            let hot = {
                let mut demand = self.demand.lock();
                waiting.extend(demand.take_heated());
                waiting.retain(|name| demand.is_hot(now, name));
                demand.hot_names()
            };
            self.metrics.heated(hot);
            if waiting.is_empty() {
                continue;
            }
            worker.working(format!("{} names have become hot", waiting.len()));
            let mut still = Vec::new();
            for name in std::mem::take(&mut waiting) {
                match self.bring_forward(name, now + pause).await {
                    Ok(true) => worker.stepped(),
                    Ok(false) => still.push(name),
                    Err(error) => worker.failed(&error),
                }
            }
            waiting = still;
        }
    }

    /// Makes a name due at once where its last put is longer ago than a hot name's may be. False when it has to be looked
    /// at again.
    async fn bring_forward(&self, name: Name, soon: Millis) -> Result<bool, StorageError> {
        let mut is_done = true;
        for target in &self.routers {
            let scheduled = self.storage.scheduled(&target.url, vec![name]).await?;
            let Some(scheduled) = scheduled.into_iter().flatten().next() else {
                continue;
            };
            // What failed is tried again at its own pace, which is faster.
            let Some(put) = scheduled
                .row
                .last_put
                .filter(|_| scheduled.row.failures == 0)
            else {
                continue;
            };
            let due = put + self.hot_period;
            if scheduled.due <= due.max(soon) {
                continue;
            }
            if due > soon {
                is_done = false;
                continue;
            }
            // A record that comes in meanwhile makes it due at this moment too.
            self.storage.make_due(&target.url, name).await?;
            self.soon.notify_waiters();
        }
        Ok(is_done)
    }
}
